"""``cytodiffusion smear``: a synthetic field whose every cell is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cytodiffusion.cli.options import (
    DeviceOption,
    DownloadOption,
    Given,
    JsonOption,
    ModelOption,
    QuietOption,
    read_settings,
    takes,
)
from cytodiffusion.cli.reporter import reporting
from cytodiffusion.smear.settings import SmearSettings


@takes(
    SmearSettings,
    *("preset", "n_white", "n_red", "n_platelets", "n_artefacts", "differential", "overlap"),
    panel="Cells",
    differential="--differential CLASS=SHARE",
)
@takes(
    SmearSettings,
    *("width", "height", "pixel_size_um", "stain_variation", "light_variation", "seed"),
    into="picture",
    panel="Picture",
)
def smear(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the smear.")
    ],
    given: Given,
    picture: Given,
    png: Annotated[bool, typer.Option("--png", help="Write smear.png too.")] = False,
    exercise: Annotated[
        bool,
        typer.Option(
            "--exercise",
            help="Hide the truth, and write tables to fill in for cytodiffusion score.",
        ),
    ] = False,
    sketches: Annotated[
        bool, typer.Option("--sketches", help="Draw plain cells, without any model; quick.")
    ] = False,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    allow_download: DownloadOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a synthetic blood smear: smear.tif, labels.tif, truth.csv, provenance.json.

    White cells and platelets are rendered by the model, all else is drawn. Every image says in
    its metadata that it is synthetic.
    """
    with reporting("smear", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.cli.generate import drawing_model
        from cytodiffusion.cli.shared import load_model
        from cytodiffusion.files.atomic import check_folder
        from cytodiffusion.smear import synthetic_smear
        from cytodiffusion.smear.exercise import white_cells
        from cytodiffusion.smear.files import save_smear, smear_record

        settings = read_settings(SmearSettings, given | picture)
        check_folder(out)
        bundle = None
        if not sketches:
            bundle = drawing_model(load_model(reporter, model, device, allow_download))
        with reporter.progress("Making a synthetic smear") as progress:
            made = synthetic_smear(bundle, settings, progress=progress)
        for warning in made.warnings:
            reporter.warn(warning)
        about = None if bundle is None else bundle.record()
        files = save_smear(made, out, model=about, png=png, exercise=exercise)
        counts = made.cells["class"].value_counts()
        text = ", ".join(f"{n} {name}" for name, n in counts.items()) or "no cells"
        if exercise:
            white = len(white_cells(made.cells))
            text = f"An exercise with {white} white cells to count; fill in one of the tables"
            reporter.result({"files": files, "white_cells": white}, f"{text} -> {out}")
            return
        reporter.result({"files": files, **smear_record(made, about)}, f"{text} -> {out}")


def score(
    exercise: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="Folder that cytodiffusion smear wrote, best with --exercise.",
            readable=False,
        ),
    ],
    answer: Annotated[
        Path,
        typer.Argument(
            metavar="ANSWER.csv",
            help="Columns class and count, or label and class; cells.csv of a classified smear "
            "will do.",
            readable=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="TABLE.csv", help="Write the table as CSV too."),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Lay the count of a synthetic smear beside its truth, with the range that chance allows."""
    with reporting("score", as_json=as_json, quiet=quiet) as reporter:
        from rich.table import Table

        from cytodiffusion.files.writers import write_cells_csv
        from cytodiffusion.smear.exercise import score_file

        found = score_file(exercise, answer)
        if out is not None:
            write_cells_csv(out, found.table())
        for label, true, said in found.wrong or ():
            reporter.say(f"Cell {label} is a {true}; the answer was {said}.")
        for sentence in found.remarks():
            reporter.say(sentence)
        table = Table("Class", "Truth", "Answer", "Difference", "95 % range", box=None)
        for row in found.rows:
            low, high = row.interval
            table.add_row(
                row.name,
                f"{row.truth} ({row.true_share:.0%})",
                f"{row.answer} ({row.share:.0%})",
                f"{100 * row.difference:+.0f} points",
                f"{low:.0%} to {high:.0%}" + ("" if row.within else "  *"),
            )
        reporter.result(found.record(), table)
