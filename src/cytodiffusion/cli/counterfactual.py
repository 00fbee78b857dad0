"""``cytodiffusion counterfactual`` and ``morph``: a cell as another class would look."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cytodiffusion.cli.options import (
    DeviceOption,
    DownloadOption,
    Given,
    JsonOption,
    ModelOption,
    PixelSizeOption,
    QuietOption,
    read_settings,
    takes,
)
from cytodiffusion.cli.reporter import Reporter, reporting
from cytodiffusion.counterfactual.settings import CounterfactualSettings

if TYPE_CHECKING:
    from cytodiffusion.counterfactual.cells import Counterfactuals
    from cytodiffusion.counterfactual.explain import ChosenCell
    from cytodiffusion.model.bundle import ModelBundle


CellImageArgument = Annotated[
    Path,
    typer.Argument(
        metavar="IMAGE",
        help="An image, with --labels; or a single-cell image.",
        readable=False,  # the engine says it better
    ),
]
LabelsOption = Annotated[
    Path | None,
    typer.Option(
        "--labels", "-l", metavar="LABELS.tif", help="Label image of IMAGE.", readable=False
    ),
]
CellOption = Annotated[
    int | None, typer.Option("--cell", metavar="N", help="Label of the cell.", min=1)
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        metavar="CLASS",
        help="Class that the cell is to become.",
        show_default="the runner-up",
    ),
]
_takes_change = takes(
    CounterfactualSettings,
    *("strength", "confidence", "guidance", "steps", "method", "seed"),
    panel="Change",
    strength="--strength SHARE",
)


@_takes_change
def counterfactual(
    source: CellImageArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the results.")
    ],
    labels: LabelsOption = None,
    cell: CellOption = None,
    target: TargetOption = None,
    *,
    given: Given,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    allow_download: DownloadOption = False,
    pixel_size: PixelSizeOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Draw the nearest version of a cell that the model takes for another class.

    Writes counterfactual.png, the same at the pixels of its image (in_image.png), figure.png and
    counterfactual.json. The pictures are synthetic, and their metadata say so.
    """
    with reporting("counterfactual", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.counterfactual.figures import save_counterfactual
        from cytodiffusion.files.atomic import check_folder

        check_folder(out)
        settings = read_settings(CounterfactualSettings, given)
        bundle, one = _prepare(
            reporter, source, labels, cell, model, device, allow_download, pixel_size
        )
        with reporter.progress(source.name) as progress:
            wanted = _target(bundle, one, target, settings)
            made = _change(bundle, one, wanted, settings, progress)
        record = _record(source, labels, cell, one, bundle, settings)
        files = save_counterfactual(out, made, record=record, in_image=one.in_image(made.pixels[0]))
        _warn(reporter, one, made)
        said = record | made.record() | {"files": files}
        reporter.result(said, f"{_summary(made)} -> {out}")


@_takes_change
def morph(
    source: CellImageArgument,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="MORPH.gif", help="Film (.gif, .png) or stack (.tif)."),
    ],
    labels: LabelsOption = None,
    cell: CellOption = None,
    target: TargetOption = None,
    frames: Annotated[
        int, typer.Option("--frames", help="Pictures from the one to the other, 2 to 240.")
    ] = 16,
    speed: Annotated[float, typer.Option("--fps", help="Pictures a second of a film.")] = 10.0,
    *,
    given: Given,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    allow_download: DownloadOption = False,
    pixel_size: PixelSizeOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Turn a cell into its version of another class, picture by picture.

    A record of how it was made is written beside the film. The pictures are synthetic, and their
    metadata say so.
    """
    with reporting("morph", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.cli.inputs import check_output
        from cytodiffusion.counterfactual.files import MORPH_SUFFIXES
        from cytodiffusion.counterfactual.morph import make_morph, save_morph
        from cytodiffusion.files.writers import write_run_json

        check_output(out, *MORPH_SUFFIXES, inputs=[source, *([labels] if labels else [])])
        settings = read_settings(CounterfactualSettings, given)
        bundle, one = _prepare(
            reporter, source, labels, cell, model, device, allow_download, pixel_size
        )
        with reporter.progress(source.name) as progress:
            wanted = _target(bundle, one, target, settings)
            film = make_morph(
                one.pixels,
                bundle,
                wanted,
                frames=frames,
                background=one.background,
                mask=one.outline(),
                neighbours=one.neighbours(),
                settings=settings,
                progress=progress,
            )
        record = _record(source, labels, cell, one, bundle, settings) | film.record()
        size = bundle.window_um / film.frames.shape[1]
        save_morph(film.frames, out, record, frames_per_second=speed, pixel_size_um=size)
        beside = write_run_json(out.with_name(f"{out.name}.json"), record)
        _warn(reporter, one, film.last)
        said = record | {"file": out, "record": beside}
        reporter.result(said, f"{_summary(film.last)} in {frames} pictures -> {out}")


def _prepare(
    reporter: Reporter,
    source: Path,
    labels: Path | None,
    cell: int | None,
    model: str,
    device: str,
    allow_download: bool,
    pixel_size: float | None,
) -> tuple[ModelBundle, ChosenCell]:
    from cytodiffusion.cli.shared import load_model
    from cytodiffusion.counterfactual.explain import choose_cell
    from cytodiffusion.counterfactual.heatmap import check_explains
    from cytodiffusion.generation.sampler import drawn_size

    bundle = check_explains(load_model(reporter, model, device, allow_download))
    size = drawn_size(bundle)
    return bundle, choose_cell(source, labels, cell, size, bundle.window_um, pixel_size)


def _target(
    model: ModelBundle, one: ChosenCell, name: str | None, settings: CounterfactualSettings
) -> int:
    from cytodiffusion.counterfactual.cells import runner_up
    from cytodiffusion.counterfactual.heatmap import class_number

    if name is not None:
        return class_number(name, model.class_names)
    return int(runner_up(one.pixels[None], model, one.background, settings)[0])


def _change(
    model: ModelBundle,
    one: ChosenCell,
    target: int,
    settings: CounterfactualSettings,
    progress: Any,
) -> Counterfactuals:
    from cytodiffusion.counterfactual.cells import counterfactual_cells

    known = (one.outline(), one.neighbours())
    mask, neighbours = (None if where is None else where[None] for where in known)
    return counterfactual_cells(
        one.pixels[None],
        model,
        [target],
        background=one.background,
        masks=mask,
        neighbours=neighbours,
        settings=settings,
        progress=progress,
    )


def _record(
    source: Path,
    labels: Path | None,
    cell: int | None,
    one: ChosenCell,
    model: ModelBundle,
    settings: CounterfactualSettings,
) -> dict[str, Any]:
    from cytodiffusion import __version__
    from cytodiffusion.files.record import provenance

    return provenance(
        model,
        settings,
        program="cytodiffusion",
        version=__version__,
        image=source,
        labels=labels,
        cell=cell,
        pixel_size_um=one.pixel_size_um,
        pixel_size_source=one.scale_source,
        touches_border=one.touches_border,
        offset=[one.placement.top, one.placement.left],
        window_pixels=one.placement.side,
    )


def _warn(reporter: Reporter, one: ChosenCell, made: Counterfactuals) -> None:
    for sentence in one.warnings():
        reporter.warn(sentence)
    if not made.flipped[0]:
        taken, asked = (made.class_names[index[0]] for index in (made.taken_for, made.target))
        reporter.warn(
            f"The model takes the version for {taken}, not for {asked}: try more --strength or "
            "--guidance."
        )


def _summary(made: Counterfactuals) -> str:
    before, after = (made.class_names[index[0]] for index in (made.predicted, made.taken_for))
    return (
        f"{before} -> {after} (probability of {made.class_names[made.target[0]]} "
        f"{made.confidence_before[0]:.3f} -> {made.confidence[0]:.3f}, mean difference "
        f"{made.distance[0]:.3f})"
    )
