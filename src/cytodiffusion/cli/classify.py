"""``cytodiffusion classify``: labels or single-cell images in, a table out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cytodiffusion.cli.options import (
    CorrectionsOption,
    DeviceOption,
    DownloadOption,
    Given,
    JsonOption,
    ModelOption,
    QuietOption,
    classify_settings,
    read_settings,
    takes,
    takes_classification,
)
from cytodiffusion.cli.reporter import Reporter, reporting
from cytodiffusion.errors import InputError
from cytodiffusion.settings import SegmentOptions

if TYPE_CHECKING:
    import pandas as pd

    from cytodiffusion.classification.correction_table import CorrectionTable
    from cytodiffusion.classification.settings import ClassifySettings
    from cytodiffusion.predict import Classifier


@takes_classification
@takes(SegmentOptions, "pixel_size_um", into="scale", panel="Finding cells")
def classify(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IMAGE|FOLDER",
            help="An image, with --labels; or a folder of single-cell images, the cell in the "
            "centre, folders in it included.",
            readable=False,  # the engine says it better
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="CELLS.csv", help="Table to write.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels", "-l", metavar="LABELS.tif", help="Label image of IMAGE.", readable=False
        ),
    ] = None,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    *,
    classification: Given,
    corrections: CorrectionsOption = None,
    allow_download: DownloadOption = False,
    scale: Given,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Classify cells that have been found already, or images of one cell each."""
    with reporting("classify", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.cli.inputs import check_output
        from cytodiffusion.cli.shared import load_model

        pixel_size = read_settings(SegmentOptions, scale).pixel_size_um
        check_output(out, ".csv", inputs=[source, *([labels] if labels else [])])
        _check_kind(source, labels)
        settings = classify_settings(classification)
        table = _corrections(corrections, source, labels)

        def load() -> Classifier:
            return load_model(reporter, model, device, allow_download)

        if labels is None:
            _classify_folder(reporter, source, out, load, settings, pixel_size, table)
        else:
            _classify_field(reporter, source, labels, out, load, settings, pixel_size, table)


def _corrections(file: Path | None, source: Path, labels: Path | None) -> CorrectionTable | None:
    """Read corrections, and make sure before the work that they are of such cells."""
    if file is None:
        return None
    from cytodiffusion.classification.correction_table import read_corrections

    table = read_corrections(file)
    if labels is None:
        table.place_paths([], ())
        return table
    return table.of_image(source.name, [source.name])


def _check_kind(source: Path, labels: Path | None) -> None:
    if not source.exists():
        raise InputError(f"{source} does not exist.")
    if source.is_dir() and labels is not None:
        raise InputError(f"Labels belong to one image, but {source} is a folder.")
    if not source.is_dir() and labels is None:
        raise InputError(
            f"{source} is one image: give its label image with --labels, or use "
            '"cytodiffusion run" to find its cells.'
        )


def _classify_field(
    reporter: Reporter,
    source: Path,
    labels: Path,
    out: Path,
    load: Callable[[], Classifier],
    settings: ClassifySettings,
    pixel_size: float | None,
    corrections: CorrectionTable | None,
) -> None:
    from cytodiffusion.cells.single_cell import labelled_scale, open_labels
    from cytodiffusion.field import open_field
    from cytodiffusion.files.writers import write_cells_csv
    from cytodiffusion.pipeline import classify_labels

    image = open_field(source, pixel_size_um=pixel_size)
    opened = open_labels(labels, image)
    warnings = [*image.notes, *opened.notes]
    for warning in warnings:
        reporter.warn(warning)
    found = labelled_scale(image, labels, pixel_size)
    size, origin = found.pixel_size_um, found.source
    if origin not in ("given", "file", "labels"):
        reporter.warn(
            f"The pixel size is {origin}: {size:.4g} um. Give --pixel-size if you know it."
        )
    bundle = load()
    with reporter.progress(source.name) as progress:
        results = classify_labels(
            image.rgb(),
            opened.labels,
            bundle,
            settings,
            pixel_size_um=size,
            corrections=corrections,
            progress=progress,
        )
    write_cells_csv(out, results.frame)
    results.frame.attrs["prior"] = results.record["prior"]
    scale = {"pixel_size_um": size, "pixel_size_source": origin}
    record = {"image": source, "labels": labels, "warnings": warnings, **scale}
    _report(reporter, results.frame, bundle, settings, out, record)


def _classify_folder(
    reporter: Reporter,
    folder: Path,
    out: Path,
    load: Callable[[], Classifier],
    settings: ClassifySettings,
    pixel_size: float | None,
    corrections: CorrectionTable | None,
) -> None:
    from cytodiffusion.cli.shared import folder_images
    from cytodiffusion.files.writers import write_cells_csv
    from cytodiffusion.single_cells import classify_images

    files = folder_images(reporter, folder)
    bundle = load()
    with reporter.progress(folder.name) as progress:
        frame, skipped = classify_images(
            files,
            bundle,
            settings,
            pixel_size_um=pixel_size,
            corrections=corrections,
            progress=progress,
        )
    for sentence in skipped:
        reporter.warn(f"Skipped: {sentence}")
    if skipped:
        reporter.warn(f"{len(skipped)} of {len(files)} images were skipped.")
    write_cells_csv(out, frame)
    record = {"folder": folder, "skipped": skipped, "notes": frame.attrs["notes"]}
    _report(reporter, frame, bundle, settings, out, record)


def _report(
    reporter: Reporter,
    frame: pd.DataFrame,
    bundle: Classifier,
    settings: ClassifySettings,
    out: Path,
    record: dict[str, Any],
) -> None:
    from cytodiffusion.classification.cautions import CORRECTIONS, RECORDED, cautions
    from cytodiffusion.classification.prior import prior_sentence
    from cytodiffusion.pipeline import classes_of
    from cytodiffusion.results import class_counts

    counts = class_counts(frame, classes_of(bundle, frame, settings.level))
    people = frame.attrs.get(CORRECTIONS, {})
    anomalies, review = int(frame["anomaly"].sum()), int(frame["review"].sum())
    if sentence := prior_sentence(frame.attrs["prior"], int(frame["by_prior"].sum())):
        reporter.say(sentence)
    for sentence in cautions(frame, bundle, settings):
        reporter.warn(sentence)
    record |= {
        "table": out,
        "cells": len(frame),
        "anomalies": anomalies,
        "review": review,
        **{key: frame.attrs[key] for key in RECORDED},
        "prior": frame.attrs["prior"],
        "counts": counts,
        "model": bundle.record(),
    }
    if people:
        record[CORRECTIONS] = people
        reporter.say(people["said"])
    found = ", ".join(f"{n:,} {name}" for name, n in counts.items() if n)
    unsure = f", {review:,} for review" if review else ""
    reporter.result(
        record, f"{len(frame):,} cells ({found}; {anomalies:,} anomalous{unsure}) -> {out}"
    )
