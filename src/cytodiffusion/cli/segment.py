"""``cytodiffusion segment``: an image in, a label image out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cytodiffusion.cli.options import (
    CellposeModelOption,
    DeviceOption,
    DownloadOption,
    ImageArgument,
    JsonOption,
    Method,
    MethodOption,
    PixelSizeOption,
    QuietOption,
)
from cytodiffusion.cli.reporter import reporting


def segment(
    image: ImageArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="LABELS.tif", help="Label image to write.")
    ],
    pixel_size: PixelSizeOption = None,
    method: MethodOption = Method.auto,
    cellpose_model: CellposeModelOption = None,
    device: DeviceOption = "auto",
    allow_download: DownloadOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find the cells of an image: every cell gets a number of its own in LABELS.tif."""
    with reporting("segment", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.cli.inputs import check_output
        from cytodiffusion.image.image import open_image
        from cytodiffusion.image.labels import write_labels_tif
        from cytodiffusion.pipeline import SegmentOptions, find_cells

        check_output(out, ".tif", ".tiff", inputs=[image])
        opened = open_image(image)
        options = SegmentOptions(
            method=method.value,
            pixel_size_um=pixel_size,
            model=cellpose_model,
            device=device,
            allow_download=allow_download,
        )
        with reporter.progress(opened.name) as progress:
            found = find_cells(opened, options, progress)
        write_labels_tif(out, found.labels, found.pixel_size_um)
        warnings = [*opened.notes, *found.warnings]
        for warning in warnings:
            reporter.warn(warning)
        record = {
            "image": image,
            "labels": out,
            "cells": found.n_cells,
            "method": found.method,
            "pixel_size_um": found.pixel_size_um,
            "pixel_size_source": found.pixel_size_source,
            "settings": found.settings,
            "warnings": warnings,
        }
        size = f"{found.pixel_size_um:.4g} um a pixel, {found.pixel_size_source}"
        reporter.result(record, f"{found.n_cells:,} cells ({found.method}, {size}) -> {out}")
