"""``cytodiffusion lesson``: lessons in which people learn the morphology of cells."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cytodiffusion.cli.options import Given, JsonOption, QuietOption, read_settings, takes
from cytodiffusion.cli.reporter import Reporter, reporting
from cytodiffusion.errors import InputError
from cytodiffusion.lessons.settings import LessonSettings, with_ending

if TYPE_CHECKING:
    from cytodiffusion.lessons import LearnerSession, Lesson
    from cytodiffusion.lessons.session import Question, Reveal

app = typer.Typer(
    help="Teach people the morphology of cells: make a lesson, play it here or in napari "
    "(*Lesson*), and see what came of it.",
    no_args_is_help=True,
)

LessonArgument = Annotated[
    Path, typer.Argument(metavar="LESSON", help="File of a lesson.", readable=False)
]
AnswersOption = Annotated[
    Path | None,
    typer.Option(
        "--answers",
        metavar="FILE.sqlite",
        help="File of the answers; beside the lesson by default.",
        readable=False,
    ),
]


class Mode(StrEnum):
    """The truth at once and wrong cells again, or the truth at the end."""

    practise = "practise"
    test = "test"


@app.command()
@takes(
    LessonSettings,
    *("classes", "per_class", "references", "split", "pixel_size_um", "seed"),
    panel="Cells",
    classes="--classes NAME",
    per_class="--per-class N",
    references="--references N",
)
@takes(
    LessonSettings,
    *("title", "author", "introduction", "hints", "standard_hints", "attributes"),
    *("language", "licence", "attribution"),
    into="texts",
    panel="Texts",
    title="--title TEXT",
    author="--author NAME",
    introduction="--introduction TEXT",
    hints="--hints FILE.csv",
    attributes="--attribute NAME",
    language="--language CODE",
    licence="--licence TEXT",
    attribution="--attribution TEXT",
)
@takes(
    LessonSettings,
    *("explain", "versions", "model", "device", "allow_download"),
    into="model",
    panel="Model",
    versions="--versions N",
    model="--model -m MODEL",
)
def new(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="LESSON", help="File of the new lesson.")
    ],
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="SOURCE",
            help="A study, images with a folder per class, a CSV, or a published data set.",
            readable=False,
        ),
    ] = None,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Let the model draw the cells; takes no source.")
    ] = False,
    *,
    given: Given,
    texts: Given,
    model: Given,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a lesson of labelled cells, with all that is told after each answer.

    Classes are given with one --classes each, or with commas between them.
    """
    with reporting("lesson new", as_json=as_json, quiet=quiet) as reporter:
        if (source is None) != synthetic:
            raise InputError(
                "Name the study or the images that the cells come from, or give --synthetic for "
                "cells that the model draws: one of the two."
            )
        from cytodiffusion.lessons import make_lesson, open_lesson

        for names in (given, texts):
            for key in ("classes", "attributes"):
                if key in names:
                    names[key] = _separate(names[key])
        values = {**given, **texts, **model, "source": source, "output": with_ending(out)}
        settings = read_settings(LessonSettings, values)
        with reporter.progress("lesson") as progress:
            made = make_lesson(settings, progress)
        lesson = open_lesson(made)
        content = lesson.content
        for note in content.made["notes"]:
            reporter.warn(note)
        record = {"lesson": made, "id": content.id, "title": content.title}
        record |= {"cells": len(lesson), "classes": content.class_names, "made": content.made}
        size = made.stat().st_size / 1e6
        reporter.result(record, f"{content.title}: {lesson.sentence()}, {size:.1f} MB -> {made}")


def _separate(names: list[str]) -> tuple[str, ...]:
    """Return names that may have commas between them."""
    return tuple(part.strip() for name in names for part in name.split(",") if part.strip())


@app.command()
def run(
    lesson: LessonArgument,
    learner: Annotated[
        str, typer.Option("--learner", "-l", metavar="NAME", help="Who answers, or a code.")
    ] = "learner",
    mode: Annotated[
        Mode,
        typer.Option("--mode", help="Whether the truth is told at once or at the end."),
    ] = Mode.practise,
    answers: AnswersOption = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            "--pictures",
            metavar="FOLDER",
            help="Folder for the picture of the current cell, question.png, to look at in a "
            "viewer; a temporary one by default.",
        ),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Play a lesson in the terminal; every answer is kept, and you can stop at any time with q.

    The cell is drawn with coloured characters; a sharper picture is in the folder of pictures.
    """
    with reporting("lesson run", quiet=quiet) as reporter:
        from tempfile import TemporaryDirectory

        from cytodiffusion.files.atomic import prepare_folder
        from cytodiffusion.lessons import LearnerSession, LessonAnswers, open_lesson

        opened = open_lesson(lesson)
        with (
            TemporaryDirectory(prefix="cytodiffusion-lesson-") as temporary,
            LessonAnswers(opened, answers) as kept,
        ):
            folder = prepare_folder(pictures or Path(temporary))
            session = LearnerSession(kept, learner, mode.value)
            _play(session, opened, folder, reporter)


def _play(session: LearnerSession, lesson: Lesson, folder: Path, reporter: Reporter) -> None:
    """Ask all cells that are left, on standard output."""
    content = lesson.content
    reporter.result({}, f"{content.title}: {lesson.sentence()}")
    if content.introduction:
        reporter.result({}, content.introduction)
    if session.resumed:
        reporter.result({}, f"{session.learner} goes on; {session.done} cells are done.")
    keys = "   ".join(f"{n} {name}" for n, name in enumerate(content.class_names, 1))
    while (question := session.show()) is not None:
        shown = time.monotonic()
        _show(question, session.mode, folder, reporter)
        said = _asked(keys, len(content.classes), reporter)
        if said is None:
            reporter.result({}, "Stopped here; the same name goes on with the next cell.")
            return
        name = content.class_names[said]
        told = session.answer(name, seconds=time.monotonic() - shown)
        if told is not None:
            _tell(told, lesson, folder, reporter)
    right, n = session.score
    reporter.result({}, f"Finished: {right} of {n} right at the first answer.")
    reporter.result({}, _confusion(session))
    if session.mode == "test":
        for one in session.reveals():
            if not one.right:
                reporter.result({}, f"{one.cell.source}: {_verdict(one)}")


def _asked(keys: str, classes: int, reporter: Reporter) -> int | None:
    """Ask for a key until it is one; None to stop, also where there is no more input."""
    while True:
        reporter.result({}, keys)
        try:
            text = input("Which one? (q stops) ").strip().casefold()
        except EOFError:
            return None
        if text in ("q", "quit"):
            return None
        if text.isdecimal() and 1 <= int(text) <= classes:
            return int(text) - 1
        reporter.warn(f"Type a number from 1 to {classes}, or q to stop.")


def _show(question: Question, mode: str, folder: Path, reporter: Reporter) -> None:
    from cytodiffusion.authenticity.standardise import enlarged
    from cytodiffusion.cli.pixels import as_characters
    from cytodiffusion.files.writers import write_png
    from cytodiffusion.lessons.wording import place_text

    path = write_png(folder / "question.png", enlarged(question.pixels, 480))
    reporter.result({}, as_characters(question.pixels))
    again = ", again" if question.again else ""
    again += "; a synthetic cell" if question.synthetic else ""
    reporter.result({}, f"{place_text(question.done, question.of, mode)}{again} ({path})")


def _tell(told: Reveal, lesson: Lesson, folder: Path, reporter: Reporter) -> None:
    """Print all that is told of a cell, and write its pictures side by side."""
    from cytodiffusion.files.synthetic_mark import write_synthetic_png
    from cytodiffusion.files.writers import write_png
    from cytodiffusion.lessons.wording import answer_sheet, told_lines

    reporter.result({}, _verdict(told))
    for line in told_lines(told):
        reporter.result({}, line)
    sheet, captions = answer_sheet(told, lesson)
    if any("synthetic" in caption for caption in captions):
        path = write_synthetic_png(folder / "answer.png", sheet, {"pictures": captions})
    else:
        path = write_png(folder / "answer.png", sheet)
    reporter.result({}, f"From the left: {'; '.join(captions)} ({path})")
    reporter.result({}, "")


def _verdict(told: Reveal) -> str:
    from cytodiffusion.lessons.wording import verdict

    return verdict(told)


def _confusion(session: LearnerSession) -> object:
    from rich.table import Table

    names = session.lesson.content.class_names
    table = Table("Is \\ said", *names, box=None, pad_edge=False)
    for name, counts in zip(names, session.confusion.tolist(), strict=True):
        table.add_row(name, *(str(n) if n else "" for n in counts))
    return table


@app.command()
def export(
    lesson: LessonArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the result.")
    ],
    answers: Annotated[
        list[Path] | None,
        typer.Option(
            "--answers",
            metavar="FILE.sqlite",
            help="Files of answers, such as those of several computers; that beside the lesson "
            "by default. Repeatable.",
            readable=False,
        ),
    ] = None,
    mode: Annotated[
        Mode | None, typer.Option("--mode", help="Only the answers of one mode.")
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write all answers as CSV, and scores, confusion and the difficulty of each cell."""
    with reporting("lesson export", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.files.atomic import check_folder
        from cytodiffusion.lessons import open_lesson, read_results
        from cytodiffusion.lessons.export import save_result

        check_folder(out)
        found = read_results(
            open_lesson(lesson), answers or (), mode=None if mode is None else mode.value
        )
        for note in found.notes:
            reporter.warn(note)
        save_result(out, found)
        record = {"folder": out, "scores": found.scores.to_dict("records")}
        record["confusion"] = found.confusion
        reporter.result(record, f"{found.sentence()}\n-> {out}")
