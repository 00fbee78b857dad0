"""A table of what people answered: one row an image and annotator."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from cytodiffusion.datasets import Record
from cytodiffusion.datasets.names import spelling
from cytodiffusion.datasets.tables import COLUMNS as OF_IMAGES
from cytodiffusion.datasets.tables import read_csv
from cytodiffusion.errors import InputError
from cytodiffusion.taxonomy import Taxonomy, plain

#: What columns may be called, the most telling name first.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "image": ("cell", "cell id", *OF_IMAGES["path"]),
    "annotator": ("annotator", "annotator id", "expert", "expert id", "rater", "reader",
                  "observer", "doctor", "haematologist", "hematologist", "pathologist",
                  "person", "user", "who"),
    "label": ("label", "class", "answer", "response", "annotation", "cell type", "celltype",
              "class name", "cell class", "choice", "category"),
    "confidence": ("confidence", "annotator confidence", "expert confidence", "certainty",
                   "sureness"),
}  # fmt: skip

#: What stands where nothing is said.
_NOTHING = {"", "nan", "na", "n/a", "null", "none", "<na>"}

#: Names that a sentence gives.
_NAMED = 3


@dataclass(frozen=True)
class Answer:
    """What one person said of one image.

    Attributes
    ----------
    path : Path
    annotator : str
    label : str
        In the spelling of the model's classes where it means one of them.
    confidence : float or None
        From 0 to 1; scales of other lengths are divided by the largest value in the table.
    """

    path: Path
    annotator: str
    label: str
    confidence: float | None = None


@dataclass(frozen=True)
class Annotations:
    """The answers about the images of a data set.

    Attributes
    ----------
    answers : tuple of Answer
    notes : tuple of str
        Sentences about rows that were left out, and about names.
    """

    answers: tuple[Answer, ...]
    notes: tuple[str, ...] = ()

    @property
    def annotators(self) -> list[str]:
        """Their names, sorted."""
        return sorted({a.annotator for a in self.answers})


def read_annotations(
    path: Path,
    records: Sequence[Record],
    class_names: Sequence[str],
    taxonomies: Sequence[Taxonomy] = (),
    table: pd.DataFrame | None = None,
) -> Annotations:
    """Read a CSV with columns for the image (or cell), the annotator and the label.

    A ``table`` of texts that was read from ``path`` already is taken in its place.

    Columns may be called in several ways (see `COLUMNS`); a column of confidences is used where
    there is one. Images are named by any end of their path, with or without suffix. A row without
    image, annotator or answer is left out; of several answers of one annotator about one image
    the last counts.
    """
    if table is None:
        if not path.is_file():
            raise InputError(f"There is no table of annotations at {path}, and no study.")
        table = read_csv(path)
    found = _find_columns([str(c) for c in table.columns], path)
    rows = {what: table[name].str.strip() for what, name in found.items()}
    images = _Images(records)
    spelt = spelling(class_names, taxonomies)
    confidence: list[float | None] = [None] * len(table)
    if "confidence" in rows:
        confidence = _confidences(rows["confidence"], path)
    answers: dict[tuple[Path, str], Answer] = {}
    left_out = _LeftOut(path)
    for number in range(len(table)):
        said = {what: rows[what].iloc[number] for what in ("image", "annotator", "label")}
        lacking = [what for what, text in said.items() if text.casefold() in _NOTHING]
        if lacking:
            left_out.lacking[lacking[0]] += 1
            continue
        image = images.find(said["image"], f"{path}, row {number + 2}")
        if image is None:
            left_out.unknown.append(said["image"])
            continue
        who, label = said["annotator"], spelt(said["label"])
        left_out.repeated += (image, who) in answers
        answers[image, who] = Answer(image, who, label, confidence[number])
    if not answers:
        why = f", such as {left_out.unknown[0]!r}" if left_out.unknown else "; it has no answers"
        raise InputError(f"{path} names none of the images that are evaluated{why}.")
    odd = _odd_answers(list(answers.values()), class_names, path)
    return Annotations(tuple(answers.values()), (*left_out.stated(), *odd))


@dataclass
class _LeftOut:
    """Rows that count for nothing, and why."""

    path: Path
    unknown: list[str] = field(default_factory=list)
    lacking: Counter[str] = field(default_factory=Counter)
    repeated: int = 0

    def stated(self) -> list[str]:
        """Say it in sentences."""
        notes = []
        if self.unknown:
            notes.append(
                f"{self.path.name}: {_rows(len(self.unknown), 'names', 'name')} images that are "
                f"not evaluated here, such as {self.unknown[0]!r}."
            )
        if self.lacking:
            names = {"label": "answer"}
            parts = ", ".join(
                f"{n} without {names.get(what, what)}" for what, n in sorted(self.lacking.items())
            )
            total = _rows(self.lacking.total(), "was", "were")
            notes.append(f"{self.path.name}: {total} left out: {parts}.")
        if self.repeated:
            notes.append(
                f"{self.path.name}: {_rows(self.repeated, 'was', 'were')} left out because the "
                "same annotator answers again about the same image further down: the last answer "
                "counts."
            )
        return notes


def _rows(count: int, one: str, more: str) -> str:
    return f"1 row {one}" if count == 1 else f"{count} rows {more}"


def _find_columns(names: Sequence[str], path: Path) -> dict[str, str]:
    by_plain = {plain(name): name for name in reversed(names)}
    found: dict[str, str] = {}
    for what, options in COLUMNS.items():
        name = next(
            (by_plain[o] for o in options if o in by_plain and by_plain[o] not in found.values()),
            None,
        )
        if name is not None:
            found[what] = name
        elif what != "confidence":
            raise InputError(
                f"{path} needs columns of the image, the annotator and the label; none of its "
                f"columns ({', '.join(names)}) is that of the {what}."
            )
    return found


def _confidences(column: pd.Series, path: Path) -> list[float | None]:
    """Confidences from 0 to 1; None where a cell is empty."""
    values: list[float] = []
    for number, text in enumerate(column, start=2):
        if text.casefold() in _NOTHING:
            values.append(math.nan)
            continue
        try:
            value = float(text.removesuffix("%"))
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            raise InputError(
                f"{path}, row {number}: the confidence {text!r} is not a number from 0 on; leave "
                "it empty where it is unknown."
            )
        values.append(value)
    top = max(1.0, float(np.nanmax(values))) if np.isfinite(values).any() else 1.0
    return [None if math.isnan(v) else v / top for v in values]


class _Images:
    """Images by any end of their path."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._by_name: dict[str, set[Path]] = defaultdict(set)
        for record in records:
            self._by_name[record.path.name.casefold()].add(record.path)
            self._by_name[record.path.stem.casefold()].add(record.path)

    def find(self, name: str, where: str) -> Path | None:
        """Return the image that ``name`` means; None where there is none."""
        if Path(name).is_absolute():  # by whatever links it goes
            name = str(Path(name).parent.resolve() / Path(name).name)
        wanted = PurePosixPath(name.replace("\\", "/").casefold())
        found = [p for p in self._by_name.get(wanted.name, ()) if _ends_with(p, wanted)]
        if len(found) > 1:
            raise InputError(
                f"{where}: {name!r} can be {len(found)} images, such as {min(found)} and "
                f"{max(found)}; give more of the path."
            )
        return found[0] if found else None


def _ends_with(path: Path, wanted: PurePosixPath) -> bool:
    """Whether the folders of ``path``, as it is named or as it lies on disk, end so."""
    asked = [part for part in wanted.parent.parts if part not in (".", "..")]
    folders = {path.parent.absolute(), path.parent.resolve()}
    return not asked or any(_parts(folder)[-len(asked) :] == asked for folder in folders)


def _parts(folder: Path) -> list[str]:
    return [part.casefold() for part in PurePosixPath(folder.as_posix()).parts]


def _odd_answers(answers: Sequence[Answer], class_names: Sequence[str], path: Path) -> list[str]:
    """Say which answers are no class of the model; InputError where none is."""
    odd = Counter(a.label for a in answers if a.label not in class_names)
    if sum(odd.values()) == len(answers):
        raise InputError(
            f"None of the labels of {path} ({', '.join(sorted(odd)[:_NAMED])}) is a class of the "
            f"model ({', '.join(class_names)})."
        )
    if not odd:
        return []
    said = ", ".join(f"{label} ({n})" for label, n in odd.most_common(_NAMED))
    return [f"{path.name}: answers that are no class of the model count as wrong: {said}."]
