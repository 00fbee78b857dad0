"""``cytodiffusion heatmap``: where a cell would have to look different to be of another class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cytodiffusion.cli.counterfactual import CellImageArgument, CellOption, LabelsOption
from cytodiffusion.cli.options import (
    DeviceOption,
    DownloadOption,
    JsonOption,
    ModelOption,
    PixelSizeOption,
    QuietOption,
    SeedOption,
)
from cytodiffusion.cli.reporter import Reporter, reporting

if TYPE_CHECKING:
    from cytodiffusion.counterfactual.explain import Explanation

_MAP = "Heatmap"


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
            show_default="the runner-up",
        ),
    ] = None,
    sigmas: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="SIGMAS",
            help="Standard deviations, of what chance does, that the figure's overlay keeps.",
            show_default="the engine's, 3",
            rich_help_panel=_MAP,
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials",
            help="Passes of the network; more make the map converge.",
            show_default="the engine's, 64",
            rich_help_panel=_MAP,
        ),
    ] = None,
    views: Annotated[
        int | None,
        typer.Option(
            "--views",
            help="Turns and flips of the cell: 1, 2, 4 or 8.",
            show_default="the engine's, 8",
            rich_help_panel=_MAP,
        ),
    ] = None,
    seed: SeedOption = 0,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            help="Passes at once: memory and speed, never the results.",
            show_default="the engine's",
            rich_help_panel=_MAP,
        ),
    ] = None,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    allow_download: DownloadOption = False,
    pixel_size: PixelSizeOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show where a cell would have to look different to be taken for another class.

    Writes heatmap.tif (signed, at the image's pixels; its offset is in the metadata), figure.png
    and heatmap.json.
    """
    given = {
        "sigmas": sigmas, "trials": trials, "views": views, "batch_size": batch_size, "seed": seed,
    }  # fmt: skip
    with reporting("heatmap", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.cli.shared import load_model, make_settings
        from cytodiffusion.counterfactual.explain import explain_cell
        from cytodiffusion.counterfactual.heatmap import HeatmapSettings, check_explains
        from cytodiffusion.files.atomic import check_folder

        check_folder(out)
        values = {name: value for name, value in given.items() if value is not None}
        settings = make_settings(HeatmapSettings, values)
        bundle = check_explains(load_model(reporter, model, device, allow_download))
        with reporter.progress(source.name) as progress:
            found = explain_cell(
                source,
                bundle,
                labels=labels,
                cell=cell,
                target=target,
                settings=settings,
                pixel_size_um=pixel_size,
                progress=progress,
            )
        _report(reporter, found, out)


def _report(reporter: Reporter, found: Explanation, out: Path) -> None:
    files = found.save(out)
    for sentence in found.cell.warnings():
        reporter.warn(sentence)
    one = found.heatmap
    share = None if found.mask is None else one.energy_share(found.mask)
    record = one.record() | {"energy_in_mask": share, "files": list(files.values())}
    inside = "" if share is None else f", {share:.0%} of its energy in the cell"
    reporter.result(
        record,
        f"{one.predicted_name} ({found.probability:.3f}) towards {one.target_name}: convergence "
        f"{one.convergence:.3f}{inside} -> {out}",
    )
