"""``cytodiffusion teach``: the labels of a study in, a new version of a model out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cytodiffusion.cli.options import (
    DownloadOption,
    Given,
    JsonOption,
    ModelOption,
    QuietOption,
    read_settings,
    takes,
)
from cytodiffusion.cli.reporter import reporting
from cytodiffusion.teaching.settings import TeachSettings

if TYPE_CHECKING:
    from rich.table import Table

    from cytodiffusion.teaching import Taught


@takes(
    TeachSettings,
    *("deep", "held_back", "seed", "steps", "rehearsal", "rehearsed", "device"),
    panel="Teaching",
)
def teach(
    study: Annotated[
        Path, typer.Argument(metavar="STUDY", help="Folder of the study.", readable=False)
    ],
    given: Given,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="MODEL",
            help="Folder for the new version; by default the next one in the study's own folder.",
        ),
    ] = None,
    model: ModelOption = "default",
    allow_download: DownloadOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a new version of a model from the cells of a study that people gave a class.

    Classes that the model does not know are added. Some of the labelled cells are held back, always
    the same ones, and say how right the model was before and is now. The new version is a model
    like any other.
    """
    with reporting("teach", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.cli.shared import load_model
        from cytodiffusion.study import Study
        from cytodiffusion.teaching.teacher import accuracy_sentence, check_teachable
        from cytodiffusion.teaching.teacher import teach as learn
        from cytodiffusion.teaching.versions import next_version

        settings = read_settings(TeachSettings, given)
        with Study(study) as opened:  # before the work, so that what is wrong with it is said
            parent = load_model(reporter, model, settings.device, allow_download)
            bundle = check_teachable(parent)
            following = next_version(opened, deep=settings.deep)
            number, place = following if out is None else (None, out)
            with reporter.progress(f"Teaching {bundle.name}") as progress:
                done = learn(opened, place, bundle, settings, number=number, progress=progress)
        for note in done.notes:
            reporter.warn(note)
        record = {"study": study, "model": done.folder, **done.record, "said": done.notes}
        reporter.say(accuracy_sentence(done.record["before"], done.record["after"]))
        reporter.result(record, _page(done))


def _page(done: Taught) -> Table:
    from rich.table import Table

    page = Table("Class", "Learnt from", "Held back", "Right before", "Now", box=None)
    for number, name in enumerate(done.class_names):
        learnt, tried = (
            counts.get(name, 0) for counts in (done.labelled.learnt, done.labelled.tried)
        )
        if not learnt and not tried:
            continue
        right = [
            str(f.confusion[number, number]) if tried else "" for f in (done.before, done.after)
        ]
        new = " (new)" if name in done.labelled.new_classes else ""
        page.add_row(f"{name}{new}", f"{learnt:,}", f"{tried:,}", *right)
    page.caption = f"The model is in {done.folder}."
    return page
