"""``cytodiffusion evaluate``: a model and labelled images in, a report out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cytodiffusion.cli.options import (
    Given,
    JsonOption,
    QuietOption,
    SetOption,
    SettingsOption,
    classify_settings,
    list_option,
    read_settings,
    takes,
    takes_scoring,
)
from cytodiffusion.cli.reporter import reporting
from cytodiffusion.errors import InputError
from cytodiffusion.evaluation.settings import EvaluateSettings


@takes(
    EvaluateSettings,
    *("baselines", "leave_out", "leave_out_model", "annotations", "low_data"),
    *("layout", "split", "limit", "pixel_size_um", "shift_pixel_size_um"),
    *("device", "allow_download"),
    panel="Evaluation",
    baselines="--baseline FOLDER",
    leave_out="--leave-out CLASS",
    leave_out_model="--leave-out-model FOLDER",
    annotations="--annotations CSV|STUDY",
)
@takes_scoring
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
            rich_help_panel="Evaluation",
        ),
    ] = None,
    *,
    given: Given,
    classification: Given,
    sets: SetOption = None,
    settings: SettingsOption = None,
    list_settings: list_option(EvaluateSettings) = False,  # type: ignore[valid-type]
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure a model on labelled images and write a report.

    REPORT gets report.html (one page that needs no network), metrics.json, cells.csv and
    montage.png.
    """
    with reporting("evaluate", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.evaluation.run import evaluate as run
        from cytodiffusion.evaluation.stored import read_report
        from cytodiffusion.study.agreement import answers_of

        classify = classify_settings(classification).model_dump(exclude_unset=True)
        values = {**given, "model": model, "data": data, "output": out, "classify": classify}
        if shift:
            values["shift"] = _named(shift)
        wanted = read_settings(EvaluateSettings, values, sets=sets, file=settings)
        with reporter.progress(f"Evaluating {model}") as progress:
            folder = run(wanted, progress, answers_of(wanted.annotations))
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
