"""``cytodiffusion evaluate``: a model and labelled images in, a report out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cytodiffusion.cli.options import (
    AloneOption,
    BatchOption,
    ByClassOption,
    CoverageOption,
    DeviceOption,
    DownloadOption,
    ErrorRateOption,
    JsonOption,
    PixelSizeOption,
    QuietOption,
    SeedOption,
    TrialsOption,
)
from cytodiffusion.cli.reporter import reporting
from cytodiffusion.errors import InputError

_COMPARE, _MORE, _DATA = "Compared with", "More to measure", "Data"


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help='"default" (bundled), the folder of a model or baseline, or a Hugging Face id.',
        ),
    ],
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Labelled single-cell images: whatever cytodiffusion train takes.",
            readable=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="REPORT", help="Folder for the report.")
    ],
    shift: Annotated[
        list[str] | None,
        typer.Option(
            "--shift",
            metavar="[NAME=]OTHER",
            help="Another laboratory's data; its test split, or all of it. Repeatable.",
            rich_help_panel=_COMPARE,
        ),
    ] = None,
    baseline: Annotated[
        list[Path] | None,
        typer.Option(
            "--baseline",
            metavar="FOLDER",
            help="Another classifier to stand beside the model in every table. Repeatable.",
            rich_help_panel=_COMPARE,
            readable=False,
        ),
    ] = None,
    leave_out: Annotated[
        str | None,
        typer.Option(
            "--leave-out",
            metavar="CLASS",
            help="Class whose cells are the anomalies. Where the model knows it, a copy is trained "
            "without it and kept in REPORT/without-CLASS.",
            rich_help_panel=_MORE,
        ),
    ] = None,
    leave_out_model: Annotated[
        list[Path] | None,
        typer.Option(
            "--leave-out-model",
            metavar="FOLDER",
            help="A model or baseline that was trained without that class. Repeatable: it stands "
            "for the first of its kind among the model and the baselines.",
            rich_help_panel=_MORE,
            readable=False,
        ),
    ] = None,
    leave_out_steps: Annotated[
        int | None,
        typer.Option(
            "--leave-out-steps",
            min=1,
            help="Training steps of the copy.",
            show_default="as many as the model took",
            rich_help_panel=_MORE,
        ),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(
            "--annotations",
            metavar="CSV",
            help="Answers of human annotators, for psychometric curves.",
            rich_help_panel=_MORE,
            readable=False,
        ),
    ] = None,
    taxonomy: Annotated[
        str | None,
        typer.Option(
            "--taxonomy",
            metavar="NAME|FILE.json",
            help="Class hierarchy of the tolerant scores.",
            show_default="the one that fits the classes",
            rich_help_panel=_MORE,
        ),
    ] = None,
    low_data: Annotated[
        str | None,
        typer.Option(
            "--low-data",
            metavar="N,N,...",
            help="Train with so few labelled cells a class, such as 10,20,50. Takes long.",
            rich_help_panel=_MORE,
        ),
    ] = None,
    low_data_steps: Annotated[
        int | None,
        typer.Option(
            "--low-data-steps",
            min=1,
            help="Training steps of each of these.",
            show_default="the engine's",
            rich_help_panel=_MORE,
        ),
    ] = None,
    published_cells: Annotated[
        int | None,
        typer.Option(
            "--published-cells",
            min=1,
            help="Classify so many cells by the published rule as well, for a model with Stable "
            "Diffusion's network. Takes up to 2,000 trials a cell.",
            rich_help_panel=_MORE,
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="Repetitions of it.", rich_help_panel=_MORE)
    ] = 5,
    split: Annotated[
        str,
        typer.Option("--split", help="test, val, train or all of DATA.", rich_help_panel=_DATA),
    ] = "test",
    layout: Annotated[
        str,
        typer.Option(
            "--layout",
            help="How DATA lies on disk; see docs/datasets.md.",
            rich_help_panel=_DATA,
        ),
    ] = "auto",
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, help="Images of each set, at random.", rich_help_panel=_DATA
        ),
    ] = None,
    pixel_size: PixelSizeOption = None,
    shift_pixel_size: Annotated[
        float | None,
        typer.Option(
            "--shift-pixel-size",
            metavar="UM",
            help="The same, of the other laboratories' images.",
            show_default="estimated for each set",
            rich_help_panel=_DATA,
        ),
    ] = None,
    trials: TrialsOption = None,
    coverage: CoverageOption = None,
    by_class: ByClassOption = None,
    alone: AloneOption = False,
    error_rate: ErrorRateOption = None,
    seed: SeedOption = 0,
    batch_size: BatchOption = None,
    device: DeviceOption = "auto",
    allow_download: DownloadOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure a model on labelled images and write a report.

    REPORT gets report.html (one page that needs no network), metrics.json, cells.csv and
    montage.png.
    """
    with reporting("evaluate", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.cli.shared import classify_settings, make_settings
        from cytodiffusion.evaluation.run import evaluate as run
        from cytodiffusion.evaluation.settings import EvaluateSettings
        from cytodiffusion.evaluation.stored import read_report
        from cytodiffusion.image.pixels import check_pixel_size

        for size in (pixel_size, shift_pixel_size):
            if size is not None:
                check_pixel_size(size)
        classify = classify_settings(
            trials=trials,
            seed=seed,
            batch_size=batch_size,
            error_rate=error_rate,
            coverage=coverage,
            by_class=by_class,
            alone=alone,
        )
        values: dict[str, Any] = {
            "model": model,
            "data": data,
            "layout": layout,
            "output": out,
            "shift": _named(shift or []),
            "baselines": tuple(baseline or ()),
            "leave_out": leave_out,
            "leave_out_model": tuple(leave_out_model or ()),
            "leave_out_steps": leave_out_steps,
            "annotations": annotations,
            "taxonomy": taxonomy,
            "low_data": _sizes(low_data),
            "low_data_steps": low_data_steps,
            "published_cells": published_cells,
            "seeds": seeds,
            "split": split,
            "limit": limit,
            "pixel_size_um": pixel_size,
            "shift_pixel_size_um": shift_pixel_size,
            "device": device,
            "allow_download": allow_download,
            "classify": classify,
        }
        settings = make_settings(
            EvaluateSettings, {k: v for k, v in values.items() if v is not None}
        )
        with reporter.progress(f"Evaluating {model}") as progress:
            folder = run(settings, progress)
        report = read_report(folder)
        reporter.result(
            {"report": folder, "page": folder / "report.html", "metrics": report.metrics},
            report.sentence() + f"\nThe report is {folder / 'report.html'}.",
        )


def _named(items: list[str]) -> dict[str, Path]:
    """``NAME=OTHER`` or ``OTHER`` as a dictionary; the name is else that of the folder."""
    named: dict[str, Path] = {}
    for item in items:
        name, equals, path = item.partition("=")
        if not equals or not name or Path(item).exists():
            name, path = Path(item).stem, item
        if not path:
            raise InputError(f"--shift {item!r} names no data; write NAME=FOLDER.")
        if name in named:
            raise InputError(
                f"Two --shift are called {name}: write NAME=FOLDER to tell them apart."
            )
        named[name] = Path(path)
    return named


def _sizes(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{text!r} is not a list of numbers of cells such as 10,20,50.") from None
    return sizes
