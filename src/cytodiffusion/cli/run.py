"""``cytodiffusion run``: images in, folders of results out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cytodiffusion.cli.options import (
    DeviceOption,
    DownloadOption,
    Given,
    JsonOption,
    ModelOption,
    QuietOption,
    classify_settings,
    read_settings,
    takes_classification,
    takes_segmentation,
)
from cytodiffusion.cli.reporter import FAILED, Reporter, reporting
from cytodiffusion.errors import Cancelled, CytoDiffusionError, InputError, naming
from cytodiffusion.settings import SegmentOptions

if TYPE_CHECKING:
    from cytodiffusion.classification.settings import ClassifySettings
    from cytodiffusion.pipeline import Analysis
    from cytodiffusion.predict import Classifier


@takes_classification
@takes_segmentation
def run(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE", help="Images, or folders of images.", readable=False),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the results.")
    ],
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    *,
    classification: Given,
    allow_download: DownloadOption = False,
    cells: Given,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find and classify the cells of images.

    Writes labels.tif, cells.csv, cells.geojson (for QuPath), overlay.png, uncertainty.png and
    run.json into FOLDER, or into a folder for each image below it when there are several. An image
    that fails is reported and the others go on; the exit code is 1 then.
    """
    with reporting("run", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.cli.inputs import result_folders
        from cytodiffusion.cli.shared import load_model
        from cytodiffusion.files.atomic import check_folder

        computer = {"device": device, "allow_download": allow_download}
        options = read_settings(SegmentOptions, cells | computer)
        check_folder(out)
        paths = expand(images, reporter)
        settings = classify_settings(classification)
        bundle = load_model(reporter, model, device, allow_download)
        folders = result_folders(paths, out)
        done, failed = _run_all(reporter, paths, folders, bundle, settings, options)
        record: dict[str, Any] = {"images": [a.record() for a in done], "failed": failed}
        if failed:
            reporter.exit_code = FAILED
            if len(paths) == 1:
                record["error"] = failed[0]["error"]
            else:
                record["error"] = f"{len(failed)} of {len(paths)} images failed."
                reporter.error(record["error"])
        reporter.result(record, summary(done) if done else "")


def expand(images: Sequence[Path], reporter: Reporter) -> list[Path]:
    """Return the images to work on: folders replaced by their images, doubles left out."""
    if not any(image.exists() for image in images):
        raise InputError(f"There is no file {images[0]}.")
    from cytodiffusion.image.formats import image_files, list_folder

    paths: dict[Path, Path] = {}
    for image in images:
        found = image_files(image) if image.is_dir() else [image]
        notes = list_folder(image).notes if image.is_dir() else ()
        if not found:
            raise InputError(" ".join((f"There are no images in the folder {image}.", *notes)))
        for note in notes:
            reporter.warn(note)
        for path in found:
            if paths.setdefault(path.resolve(), path) is not path:
                reporter.warn(f"{path} is given twice and analysed once.")
    return list(paths.values())


def summary(analyses: Sequence[Analysis]) -> Any:
    """Return a table of the cells of every class, a column an image (or the sum of many)."""
    from rich.table import Table

    shown = analyses if len(analyses) <= 4 else []
    table = Table(box=None, pad_edge=False)
    table.add_column("Cells")
    for analysis in shown:
        table.add_column(Path(analysis.image).name, justify="right", overflow="fold")
    if len(shown) != 1:
        table.add_column("all", justify="right")
    rows = {name: [a.counts[name] for a in analyses] for name in analyses[0].counts}
    rows |= {"[bold]total": [a.cells for a in analyses]}
    rows |= {"anomalous": [a.anomalies for a in analyses]}
    if any(a.review for a in analyses):
        rows |= {"for review": [a.review for a in analyses]}
    for name, counts in rows.items():
        cells = [f"{n:,}" for n in counts] if shown else []
        table.add_row(name, *cells, *([f"{sum(counts):,}"] if len(shown) != 1 else []))
    return table


def _run_all(
    reporter: Reporter,
    paths: Sequence[Path],
    folders: Sequence[Path],
    bundle: Classifier,
    settings: ClassifySettings,
    options: SegmentOptions,
) -> tuple[list[Analysis], list[dict[str, str]]]:
    from cytodiffusion.pipeline import analyse

    done: list[Analysis] = []
    failed: list[dict[str, str]] = []
    for number, (path, folder) in enumerate(zip(paths, folders, strict=True), start=1):
        title = path.name if len(paths) == 1 else f"{number}/{len(paths)} {path.name}"
        try:
            with reporter.progress(title) as progress:
                analysis = analyse(path, folder, bundle, settings, options, progress=progress)
        except Cancelled:
            raise
        except CytoDiffusionError as error:
            reporter.error(str(error) if len(paths) == 1 else naming(path, error))
            failed.append({"image": str(path), "error": str(error)})
            continue
        for warning in analysis.warnings:
            reporter.warn(f"{path.name}: {warning}")
        reporter.say(f"{path.name}: {analysis.cells:,} cells, {analysis.seconds:.1f} s -> {folder}")
        done.append(analysis)
    return done, failed
