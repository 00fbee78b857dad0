"""``cytodiffusion train``: labelled images in, a model out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from cytodiffusion.cli.options import (
    Given,
    JsonOption,
    QuietOption,
    SetOption,
    SettingsOption,
    list_option,
    read_settings,
    takes,
)
from cytodiffusion.cli.reporter import reporting
from cytodiffusion.errors import InputError
from cytodiffusion.training.settings import TrainSettings

#: Largest amount of any variation: twentyfold as a logarithm, half a turn in radians.
MOST_AUGMENTED = 3.0


@takes(
    TrainSettings,
    *("kind", "init", "name", "layout", "duplicates", "pixel_size_um", "steps"),
    *("batch_size", "learning_rate", "seed", "device", "allow_download"),
    panel="Training",
    init="--init MODEL",
)
def train(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help=TrainSettings.model_fields["data"].description, readable=False
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="MODEL", help="Folder for the model.")
    ],
    given: Given,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that was begun for MODEL.")
    ] = False,
    settings: SettingsOption = None,
    sets: SetOption = None,
    list_settings: list_option(TrainSettings) = False,  # type: ignore[valid-type]
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the settings of this run as JSON and stop.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a model on single-cell images and write it to the folder MODEL.

    A run that was stopped, even by a crash, goes on with --resume and ends as if it had not been
    stopped. How it goes stands in training.csv in the folder MODEL.run. There are many more
    settings than options: --list-settings shows them, and --set NAME=VALUE or a file with
    --settings changes them, such as --set augment.hue=0.1.
    """
    with reporting("train", as_json=as_json, quiet=quiet) as reporter:
        values = {**given, "data": data, "output": out}
        if resume:  # a flag that is not given leaves the file's word alone
            values["resume"] = True
        wanted = read_settings(TrainSettings, values, sets=sets, file=settings)
        _check_amounts(wanted)
        if dry_run:
            record = wanted.model_dump(mode="json")
            reporter.result({"settings": record}, json.dumps(record, indent=2))
            return
        from cytodiffusion.training.train import train as run

        with _no_empty_run(out), reporter.progress(f"Training {out.name}") as progress:
            folder = run(wanted, progress)
        record = {"model": folder, "settings": wanted.model_dump(mode="json")}
        reporter.result(record, f"The model is in {folder}, its log in {_run_folder(out)}.")


def _check_amounts(wanted: TrainSettings) -> None:
    """Raise InputError for a variation that leaves nothing of a cell."""
    for name, amount in wanted.augment.model_dump().items():
        if amount > MOST_AUGMENTED:
            raise InputError(
                f"The setting augment.{name} cannot be {amount:g}: it must be at most "
                f"{MOST_AUGMENTED:g}."
            )


@contextmanager
def _no_empty_run(out: Path) -> Iterator[None]:
    """Leave no empty folder of a run behind where the training fails before its first step."""
    run = _run_folder(out)
    known = run.exists()
    try:
        yield
    except BaseException:
        if not known:
            with suppress(OSError):
                run.rmdir()  # only where it is empty
        raise


def _run_folder(out: Path) -> Path:
    return out.with_name(f"{out.name}.run")
