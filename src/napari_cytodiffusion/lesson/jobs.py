"""Lessons for the window: what is asked for, run and told, without Qt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from cytodiffusion.lessons import LearnerSession, Lesson, LessonSettings
from cytodiffusion.lessons.session import Question, Reveal
from cytodiffusion.lessons.wording import (
    answer_pictures,
    attribute_text,
    hint_lines,
    kind_text,
    place_text,
    posterior_text,
    truth_text,
    verdict,
    version_text,
)
from cytodiffusion.progress import Progress
from napari_cytodiffusion.engine import Engine
from napari_cytodiffusion.shared.table import Table
from napari_cytodiffusion.shared.tiles import PictureTile

#: Colours of right and wrong that are told apart with any eyes (Okabe & Ito 2008).
RIGHT, WRONG = "#009e73", "#d55e00"


@dataclass(frozen=True)
class NewLesson:
    """What *Make lesson* asks for."""

    settings: LessonSettings
    engine: Engine = field(compare=False)


def make_body(request: NewLesson) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that makes a lesson and yields its path."""

    def body(report: Progress) -> Iterator[Any]:
        report(0.0, "Loading the model ...")
        s = request.settings
        model = request.engine.drawing_model(s.model, s.device, s.allow_download)
        yield request.engine.make_lesson(s, report, model)

    return body


def export_body(
    engine: Engine, lesson: Lesson, folder: Path
) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that writes what came of a lesson and yields what to say of it."""

    def body(report: Progress) -> Iterator[Any]:
        report(0.0, "Reading the answers ...")
        yield engine.export_lesson(lesson, folder)

    return body


# -- words and tables -----------------------------------------------------------------------------


def headline(lesson: Lesson) -> str:
    """Say in a line what an opened lesson is."""
    author = f", by {lesson.content.author}" if lesson.content.author else ""
    return f"{lesson.content.title}{author}: {lesson.sentence()}"


def about(lesson: Lesson) -> str:
    """Say in HTML what a learner should read first: introduction, classes, who is to be named."""
    content = lesson.content
    parts = [f"<p>{_text(content.introduction)}</p>"] if content.introduction else []
    rows = "".join(
        f"<p style='margin: 2px 0'>{swatch(one.color)} <b>{number}&nbsp; {escape(one.name)}</b>"
        f"{'. ' + _text(one.hint) if one.hint else ''}</p>"
        for number, one in enumerate(content.classes, 1)
    )
    named = " ".join(text for text in (content.attribution, content.licence) if text)
    parts += [rows, f"<p><small>{_text(named)}</small></p>" if named else ""]
    return "".join(parts)


def swatch(color: str) -> str:
    """Return a square of a colour, in HTML."""
    return f"<span style='color: {color}'>\u25a0</span>"


def place(question: Question, session: LearnerSession) -> str:
    """Say in HTML how far a learner is, and how well."""
    right, n = session.score
    score = f" &nbsp; right at the first answer: {right} of {n}" if n else ""
    again = " &nbsp; <i>again</i>" if question.again else ""
    told = "" if session.mode == "test" else score
    return f"<b>{escape(place_text(session.done, question.of, session.mode))}</b>{again}{told}"


def verdict_html(told: Reveal) -> str:
    """Say in a coloured line whether the answer was right."""
    mark, color = ("\u2713", RIGHT) if told.right else ("\u2717", WRONG)
    return (
        f"<span style='color: {color}'>{mark}</span> <b>{escape(verdict(told))}</b> "
        f"{escape(truth_text(told))}"
    )


def told_html(told: Reveal) -> str:
    """Return all that is told of a cell as HTML."""
    lines = [_hint(line, told) for line in hint_lines(told)]
    if told.version is not None:
        lines.append(f"{escape(told.version.sentence)} {escape(version_text(told.version))}")
    if said := posterior_text(told):
        lines.append(escape(said))
    if told.attributes:
        lines.append(f"Attributes, as the model sees them: {_attributes(told)}.")
    return "".join(f"<p style='margin: 4px 0'>{line}</p>" for line in lines)


def _hint(line: str, told: Reveal) -> str:
    """Begin the hint of a class with its name in bold."""
    for one in (told.truth, told.said):
        if line.startswith(f"{one.name}: "):
            rest = line[len(one.name) + 2 :]
            return f"{swatch(one.color)} <b>{escape(one.name)}</b>: {_text(rest)}"
    return _text(line)


def _attributes(told: Reveal) -> str:
    """Name the attributes; those to look at for these classes stand out."""
    first = {*told.truth.attributes, *told.said.attributes}
    parts = []
    for name in told.attributes:
        text = escape(attribute_text(name, told.cell.attributes[name].value))
        parts.append(f"<b>{text}</b>" if name in first else text)
    return "; ".join(parts)


def _text(text: str) -> str:
    return escape(text).replace("\n", "<br>")


def tiles(told: Reveal, lesson: Lesson) -> list[PictureTile]:
    """Return the pictures of an answer; a click on one shows it alone."""
    return [
        PictureTile(lesson.picture(name), caption[:1].upper() + caption[1:], key=name)
        for name, caption in answer_pictures(told, lesson)
    ]


def wrong_tiles(reveals: list[Reveal], lesson: Lesson) -> list[PictureTile]:
    """Return the cells that were wrong at first; a click on one shows all that is told of it."""
    return [
        PictureTile(
            lesson.picture(one.cell.picture),
            f"{kind_text(one.cell)}\nnot {one.said.name}",
            key=number,
        )
        for number, one in enumerate(reveals)
        if not one.right
    ]


def summary(session: LearnerSession) -> str:
    """Say in HTML what came of a sitting."""
    right, n = session.score
    again = len(session.again())
    later = f" The other {again} came again until they were right." if again > 1 else ""
    later = " The other one came again until it was right." if again == 1 else later
    return f"<b>{right} of {n} right at the first answer</b> ({100 * right / n:.0f} %).{later}"


def confusion_table(session: LearnerSession) -> Table:
    """Rows are what the cells are, columns what was said at first."""
    names = session.lesson.content.class_names
    rows = []
    for name, counts in zip(names, session.confusion.tolist(), strict=True):
        cells = [(str(count) if count else "", count) for count in counts]
        rows.append(((name, name), *cells))
    return Table(("is \\ said", *(str(n) for n in range(1, len(names) + 1))), tuple(rows))
