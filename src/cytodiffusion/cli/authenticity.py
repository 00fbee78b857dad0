"""``cytodiffusion authenticity``: tests of whether synthetic cells can be told from real ones."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cytodiffusion.authenticity.settings import SUFFIX, AuthenticitySettings
from cytodiffusion.cli.options import (
    Given,
    JsonOption,
    QuietOption,
    SeedOption,
    read_settings,
    takes,
)
from cytodiffusion.cli.reporter import reporting

app = typer.Typer(
    help="Can people tell synthetic cells from real ones? Make a test, and see what came of it; "
    "it is taken in napari (*Authenticity test*).",
    no_args_is_help=True,
)

TestArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="TEST...",
        help="Files of tests: copies of one that several people took, or different ones.",
        readable=False,
    ),
]


class Mode(StrEnum):
    """Answers that were given without being told, or in teaching mode."""

    blind = "blind"
    teaching = "teaching"


@app.command()
@takes(
    AuthenticitySettings,
    *("trials", "classes", "split", "ask_class", "seed", "pixel_size_um"),
    panel="Test",
    trials="--number -n N",
    classes="--class NAME",
)
@takes(
    AuthenticitySettings,
    *("synthetic", "steps", "guidance", "reject", "model", "device", "allow_download"),
    into="synthetic",
    panel="Synthetic cells",
    synthetic="--synthetic FOLDER",
    model="--model -m MODEL",
)
def new(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="REAL_DATA",
            help="Real cells: a folder per class, a CSV, a published data set, or *public* for a "
            "small public set (0.7 MB), which is fetched once with --allow-download.",
            readable=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="TEST.sqlite", help="File of the new test.")
    ],
    *,
    given: Given,
    synthetic: Given,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Draw real and synthetic cells, make them alike, and write a test to one file."""
    with reporting("authenticity new", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.authenticity import AuthenticityTest
        from cytodiffusion.authenticity.leaks import leak_note
        from cytodiffusion.authenticity.make import make_test, summary

        files = {"real": data, "output": out if out.suffix else out.with_suffix(SUFFIX)}
        settings = read_settings(AuthenticitySettings, {**given, **synthetic, **files})
        with reporter.progress("authenticity test") as progress:
            made = make_test(settings, progress)
        with AuthenticityTest(made, writable=False) as test:
            for note in test.record["notes"]:
                reporter.warn(note)
            record = {"test": made, "id": test.id, "trials": len(test), "classes": test.classes}
            reporter.say(leak_note(test))
            text = f"{summary(test.record, len(test), test.classes)} -> {made}"
            reporter.result({**record, **test.record}, text)


@app.command()
def status(
    test: Annotated[Path, typer.Argument(metavar="TEST", help="File of a test.", readable=False)],
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say who has taken a test and how far they are; verify the file."""
    with reporting("authenticity status", as_json=as_json, quiet=quiet) as reporter:
        from dataclasses import asdict

        from rich.table import Table

        from cytodiffusion.authenticity import AuthenticityTest

        with AuthenticityTest(test, writable=False) as opened:
            people = opened.sittings()
            record = {"test": test, "id": opened.id, "trials": len(opened)}
            record |= {"classes": opened.classes, "sittings": [asdict(s) for s in people]}
        if not people:
            reporter.result(record, f"{record['trials']} trials; nobody has begun.")
            return
        table = Table("Participant", "Mode", "Answered", "Begun", box=None, pad_edge=False)
        for s in people:
            table.add_row(s.participant, s.mode, f"{s.answered} of {s.of}", s.started[:16])
        reporter.result(record, table)


@app.command()
def result(
    tests: TestArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the result.")
    ],
    mode: Annotated[
        Mode, typer.Option("--mode", help="Which answers; the two are never put together.")
    ] = Mode.blind,
    curves: Annotated[
        bool, typer.Option(help="Fit psychometric functions where there is enough.")
    ] = True,
    judge: Annotated[
        bool,
        typer.Option(
            help="Let a simple judge of texture and colour say what gives each cell away, and how "
            "often it is right beside the participants."
        ),
    ] = True,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write accuracy, d', class agreement and answer times of all participants."""
    with reporting("authenticity result", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.authenticity.export import save_result
        from cytodiffusion.authenticity.result import read_results
        from cytodiffusion.files.atomic import check_folder

        check_folder(out)
        with reporter.progress("result") as progress:
            found = read_results(
                tests, str(mode), curves=curves, judge=judge, seed=seed, progress=progress
            )
        for note in [*found.figures["leaks"], *found.figures["notes"]]:
            reporter.warn(note)
        save_result(out, found)
        reporter.result({"folder": out, **found.figures}, f"{found.sentence()}\n-> {out}")
