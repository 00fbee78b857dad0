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

if TYPE_CHECKING:
    from cytodiffusion.counterfactual.explain import Explanation


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
    and heatmap.json.
    """
    with reporting("heatmap", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.cli.shared import load_model
        from cytodiffusion.counterfactual.explain import explain_cell
        from cytodiffusion.counterfactual.heatmap import check_explains
        from cytodiffusion.files.atomic import check_folder

        check_folder(out)
        settings = read_settings(HeatmapSettings, given)
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
