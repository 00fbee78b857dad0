"""``cytodiffusion attributes``: single-cell images in, a table of their attributes out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.cli.options import (
    DeviceOption,
    DownloadOption,
    Given,
    JsonOption,
    ModelOption,
    QuietOption,
    classify_settings,
    read_settings,
    takes,
)
from cytodiffusion.cli.reporter import Reporter, reporting
from cytodiffusion.errors import InputError
from cytodiffusion.settings import SegmentOptions


@takes(
    ClassifySettings,
    *("trials", "seed", "batch_size", "alone"),
    into="classification",
    panel="Classification",
)
@takes(SegmentOptions, "pixel_size_um", into="scale", panel="Finding cells")
def attributes(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER|IMAGE",
            help="A folder of single-cell images, the cell in the centre, folders in it included; "
            "or one such image.",
            readable=False,  # the engine says it better
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="ATTRIBUTES.csv", help="Table to write.")
    ],
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth",
            metavar="TABLE.csv",
            help="Table of true attributes, such as that of WBCAtt, to compare with.",
            readable=False,
        ),
    ] = None,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    *,
    classification: Given,
    allow_download: DownloadOption = False,
    scale: Given,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Tell the attributes of cells: shape of the nucleus, chromatin, granules and others."""
    with reporting("attributes", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.attributes import attribute_scores, attribute_table, check_attributes
        from cytodiffusion.cli.inputs import check_output
        from cytodiffusion.cli.shared import load_model
        from cytodiffusion.files.writers import write_cells_csv

        pixel_size = read_settings(SegmentOptions, scale).pixel_size_um
        check_output(out, ".csv", inputs=[source, *([truth] if truth else [])])
        if truth is not None and not truth.is_file():
            raise InputError(f"There is no file {truth}.")
        settings = classify_settings(classification)
        files = _images(source, reporter)
        bundle = load_model(reporter, model, device, allow_download)
        check_attributes(bundle)
        with reporter.progress(source.name) as progress:
            frame, skipped = attribute_table(
                files, bundle, settings, pixel_size_um=pixel_size, progress=progress
            )
        for sentence in skipped:
            reporter.warn(f"Skipped: {sentence}")
        write_cells_csv(out, frame)
        record: dict[str, Any] = {
            "table": out,
            "cells": len(frame),
            "skipped": skipped,
            "notes": frame.attrs["notes"],
            "model": bundle.record(),
        }
        text = f"{len(frame):,} cells -> {out}"
        if truth is not None:
            scores = attribute_scores(frame, truth)
            record |= {"macro_f1": scores, "mean_macro_f1": _mean(scores)}
            text = f"{text}\n{_scores_text(scores)}"
        reporter.result(record, text)


def _images(source: Path, reporter: Reporter) -> list[Path]:
    """Return the images that are asked for."""
    from cytodiffusion.cli.shared import folder_images

    if not source.exists():
        raise InputError(f"{source} does not exist.")
    return folder_images(reporter, source) if source.is_dir() else [source]


def _mean(scores: dict[str, float]) -> float:
    return sum(scores.values()) / len(scores)


def _scores_text(scores: dict[str, float]) -> str:
    each = ", ".join(f"{name.replace('_', ' ')} {score:.3f}" for name, score in scores.items())
    return f"Macro F1 {_mean(scores):.3f} on average: {each}."
