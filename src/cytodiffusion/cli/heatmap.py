"""``cytodiffusion heatmap``: where a cell would have to look different to be of another class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cytodiffusion.cli.counterfactual import CellImageArgument, CellOption, LabelsOption
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
from cytodiffusion.counterfactual.settings import HeatmapSettings
from cytodiffusion.errors import InputError

if TYPE_CHECKING:
    from cytodiffusion.counterfactual.explain import Explanation
    from cytodiffusion.counterfactual.explain_class import ClassExplanation, NamedCell
    from cytodiffusion.model.bundle import ModelBundle
    from cytodiffusion.progress import Progress

#: Most cells of a class whose mean is made, if nothing is said.
_MOST = 20


@takes(
    HeatmapSettings,
    *("method", "versions", "strength", "guidance", "sigmas"),
    *("trials", "views", "seed", "batch_size"),
    panel="Heatmap",
    sigmas="--threshold SIGMAS",
)
def heatmap(
    source: CellImageArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the results.")
    ],
    labels: LabelsOption = None,
    cell: CellOption = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            "-t",
            metavar="CLASS",
            help='Class to compare with; "all" draws a grid of every class besides.',
            show_default="the likeliest other class",
        ),
    ] = None,
    of_class: Annotated[
        str | None,
        typer.Option(
            "--class",
            metavar="CLASS",
            help="Heatmaps of the cells that are taken for this class, and their mean; IMAGE may "
            "be a folder of single-cell images.",
        ),
    ] = None,
    most: Annotated[
        int | None,
        typer.Option(
            "--most",
            metavar="N",
            help="At most so many cells of the class, the surest.",
            show_default=str(_MOST),
        ),
    ] = None,
    saliency: Annotated[
        bool,
        typer.Option(
            "--saliency",
            help="Also map which pixels the answer rests on (integrated gradients; they know no "
            "target).",
        ),
    ] = False,
    *,
    given: Given,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    allow_download: DownloadOption = False,
    pixel_size: PixelSizeOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show where a cell would have to look different to be taken for another class.

    Writes heatmap.tif (signed, at the image's pixels; its offset is in the metadata), figure.png
    and heatmap.json; with --class a folder with these for each cell, and mean.tif, mean.png and
    mean.json of what the cells have in common. With --saliency also saliency.tif and
    saliency.png.
    """
    with reporting("heatmap", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.cli.shared import load_model
        from cytodiffusion.counterfactual.explain import explain_cell
        from cytodiffusion.counterfactual.heatmap import check_explains
        from cytodiffusion.files.atomic import check_folder

        check_folder(out)
        settings = read_settings(HeatmapSettings, given)
        _check_options(of_class, most, cell, target, saliency)
        bundle = check_explains(load_model(reporter, model, device, allow_download))
        if of_class is not None:
            with reporter.progress(source.name) as progress:
                found_many = _of_class(
                    bundle, source, labels, of_class, target, most, settings, pixel_size, progress
                )
            _report_class(reporter, found_many, out)
            return
        with reporter.progress(source.name) as progress:
            found = explain_cell(
                source,
                bundle,
                labels=labels,
                cell=cell,
                target=target,
                settings=settings,
                saliency=saliency,
                pixel_size_um=pixel_size,
                progress=progress,
            )
        _report(reporter, found, out)


def _check_options(
    of_class: str | None, most: int | None, cell: int | None, target: str | None, saliency: bool
) -> None:
    from cytodiffusion.counterfactual.explain import EVERY_CLASS

    if of_class is None:
        if most is not None:
            raise InputError("--most goes with --class.")
        return
    if cell is not None:
        raise InputError("Give either --cell or --class.")
    if saliency:
        raise InputError("--saliency is of one cell: leave out --class.")
    if target is not None and target.casefold() == EVERY_CLASS:
        raise InputError("The mean of a class is made towards one target, not towards all.")


def _of_class(
    bundle: ModelBundle,
    source: Path,
    labels: Path | None,
    of_class: str,
    target: str | None,
    most: int | None,
    settings: HeatmapSettings,
    pixel_size: float | None,
    progress: Progress,
) -> ClassExplanation:
    from cytodiffusion.counterfactual.explain_class import (
        cells_of_file,
        cells_of_folder,
        explain_class,
    )
    from cytodiffusion.progress import part_of

    reading = part_of(progress, 0.0, 0.1)
    cells: list[NamedCell]
    if labels is None:
        cells = cells_of_folder([source], bundle, settings, pixel_size, reading)
    else:
        cells = cells_of_file(source, labels, bundle, settings, pixel_size, reading)
    return explain_class(
        cells,
        bundle,
        of_class,
        target=target,
        most=_MOST if most is None else most,
        settings=settings,
        progress=part_of(progress, 0.1, 1.0),
        image=source,
        labels=labels,
    )


def _report_class(reporter: Reporter, found: ClassExplanation, out: Path) -> None:
    files = found.save(out)
    for sentence in dict.fromkeys(s for one in found.cells.values() for s in one.cell.warnings()):
        reporter.warn(sentence)
    mean = found.mean
    one = mean.heatmap
    reporter.result(
        mean.record() | {"files": list(files.values())},
        f"{found.sentence}\n{mean.cells} cells taken for {one.predicted_name} towards "
        f"{one.target_name}: agreement of two halves of them {one.convergence:.3f} -> {out}",
    )


def _report(reporter: Reporter, found: Explanation, out: Path) -> None:
    files = found.save(out)
    for sentence in found.cell.warnings():
        reporter.warn(sentence)
    one = found.heatmap
    share = None if found.mask is None else one.energy_share(found.mask)
    record = one.record() | {
        "sentence": found.sentence,
        "energy_in_mask": share,
        "files": list(files.values()),
    }
    inside = "" if share is None else f", {share:.0%} of its energy in the cell"
    said = f"{found.sentence}\n" if found.sentence else ""
    reporter.result(
        record,
        f"{said}{one.predicted_name} ({found.probability:.3f}) towards {one.target_name}: "
        f"convergence {one.convergence:.3f}{inside} -> {out}",
    )
