"""What is told of a cell after the answer, in words and as one picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from cytodiffusion.lessons.content import ReferenceCell, Version
from cytodiffusion.lessons.lesson_file import Lesson
from cytodiffusion.lessons.session import Reveal

#: At most so many classes of a posterior are told.
_MOST = 3
_SIDE, _GAP = 240, 8


def place_text(done: int, of: int, mode: str) -> str:
    """Say how far a learner is."""
    if mode == "test":
        return f"Cell {min(done + 1, of)} of {of}"
    return f"{done} of {of} known"


def verdict(told: Reveal) -> str:
    """Say whether the answer was right, and what the cell is."""
    name = told.truth.name
    if told.right:
        return f"Right: {name}."
    return f"Not {told.said.name}: it is {name}."


def truth_text(told: Reveal) -> str:
    """Say where the class is known from; a synthetic cell is always called so."""
    known = {"label": "Label of the data", "people": "Reviewed", "synthetic": "Synthetic cell"}
    truth = told.cell.truth
    first = known[truth.kind]
    if told.cell.synthetic and truth.kind != "synthetic":
        first = f"Synthetic cell, {first.lower()}"
    return f"{first}: {truth.text}."


def posterior_text(told: Reveal) -> str:
    """Say what the model takes the cell for; empty where it was not asked."""
    shares = sorted(told.cell.posterior.items(), key=lambda pair: -pair[1])[:_MOST]
    named = [f"{name} {100 * share:.0f} %" for name, share in shares if share >= 0.005]
    return f"The model says {', '.join(named)}." if named else ""


def attribute_text(name: str, value: str) -> str:
    """Name an attribute and its value in words."""
    said = {"nil": "none", "densely": "dense", "loosely": "loose"}.get(value, value)
    return f"{name.replace('_', ' ')}: {said.replace('-', ', ')}"


def attributes_text(told: Reveal) -> str:
    """Name the attributes, those to look at first."""
    found = told.cell.attributes
    return "; ".join(attribute_text(name, found[name].value) for name in told.attributes)


def version_text(version: Version) -> str:
    """Say what the counterfactual picture is."""
    if version.picture is None:
        return f"The model could not turn it into a cell that it takes for {version.target}."
    return f"Synthetic: this cell changed until the model takes it for {version.target}."


def hint_lines(told: Reveal) -> list[str]:
    """Return the hints: of the cell, of its class, and of the class that was said instead."""
    lines = [told.cell.hint] if told.cell.hint else []
    classes = dict.fromkeys((told.truth, told.said))
    return lines + [f"{one.name}: {one.hint}" for one in classes if one.hint]


def told_lines(told: Reveal) -> list[str]:
    """Return all that is told, a sentence or a few a line."""
    lines = [truth_text(told), *hint_lines(told), posterior_text(told)]
    if attributes := attributes_text(told):
        lines.append(f"Attributes: {attributes}.")
    if (version := told.version) is not None:
        lines += [version.sentence, version_text(version)]
    return [line for line in lines if line]


def answer_pictures(told: Reveal, lesson: Lesson) -> list[tuple[str, str]]:
    """Return the names of the pictures that belong to the answer, and what each shows."""
    cell = told.cell
    found = [(cell.picture, f"the cell: {kind_text(cell)}")]
    if (version := told.version) is not None:
        if version.map is not None:
            found.append((version.map, f"what would change for {version.target}"))
        if version.picture is not None:
            found.append((version.picture, f"synthetic: as {version.target}"))
    for number in told.compared.values():
        reference = lesson.content.references[number]
        found.append((reference.picture, f"most similar {kind_text(reference)}"))
    return found


def kind_text(cell: ReferenceCell) -> str:
    """Name the class; that a cell is synthetic comes first, so that it is never cut off."""
    return f"synthetic {cell.class_name}" if cell.synthetic else cell.class_name


def answer_sheet(told: Reveal, lesson: Lesson) -> tuple[NDArray[np.uint8], list[str]]:
    """Put the pictures side by side, ``(Y, X, 3)``, and say what they show from the left."""
    named = answer_pictures(told, lesson)
    size = (_SIDE, _SIDE)
    gap = np.full((_SIDE, _GAP, 3), 255, np.uint8)
    row: list[NDArray[np.uint8]] = []
    for name, _ in named:
        shown = cv2.resize(lesson.picture(name), size, interpolation=cv2.INTER_CUBIC)
        row += [gap, np.asarray(shown, np.uint8)] if row else [np.asarray(shown, np.uint8)]
    return np.hstack(row), [caption for _, caption in named]
