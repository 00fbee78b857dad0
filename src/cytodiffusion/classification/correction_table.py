"""Corrected cells as a table: which cell, its class, and who said so.

Columns ``label`` (of the label image) or ``path`` (of a single-cell image), ``class``, and where
they are needed ``image`` and ``observer``. A ``cells.csv`` is such a table once its column
``human`` is filled in. Commas or semicolons may stand between columns.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path, PurePath

from cytodiffusion.classification.corrections import HumanLabel
from cytodiffusion.datasets.layouts import UNLABELLED_NAMES
from cytodiffusion.datasets.names import spelling
from cytodiffusion.errors import InputError
from cytodiffusion.taxonomy import READY, load_taxonomy

#: Names of the column of classes, the first first.
_CLASS = ("class", "human")

#: Corrections that could not be placed and are named, at most.
_NAMED = 5


@dataclass(frozen=True)
class CorrectionRow:
    """One correction as it was written down.

    Attributes
    ----------
    cell : str
        Label of the cell, or path of its image.
    name : str
        Of the class.
    image : str
        That the label belongs to; empty where there is one image only.
    observer : str
    """

    cell: str
    name: str
    image: str = ""
    observer: str = ""

    def __str__(self) -> str:
        return f"{self.cell} of {self.image}" if self.image else self.cell


@dataclass(frozen=True)
class CorrectionTable:
    """Corrections of the cells of one image or several, or of single-cell images.

    Attributes
    ----------
    rows : tuple of CorrectionRow
        None of them without a class.
    by_path : bool
        Whether the cells are named by the paths of their images.
    source : str
        Name of the file.
    """

    rows: tuple[CorrectionRow, ...]
    by_path: bool = False
    source: str = "the corrections"

    def of_image(self, name: str, names: Sequence[str]) -> CorrectionTable:
        """Return the rows of one of several images; InputError where they do not say of which.

        An image is meant by its name in tables, its path or its file's name, with or without the
        ending, where no other image is meant as well.
        """
        if self.by_path:
            raise InputError(
                f"{self.source} has paths of single-cell images; cells of an image are named by "
                "the column label."
            )
        if len(names) > 1 and any(not row.image for row in self.rows):
            raise InputError(
                f"{self.source} does not say of which image a cell is: with several images it "
                "needs the column image."
            )
        meant = name_finder(names)
        return replace(
            self, rows=tuple(r for r in self.rows if not r.image or meant(r.image) == name)
        )

    def lost(self, names: Sequence[str]) -> list[CorrectionRow]:
        """Return the rows of images that are none of these."""
        meant = name_finder(names)
        return [row for row in self.rows if row.image and meant(row.image) is None]

    def place_labels(
        self, ids: Sequence[int], class_names: Sequence[str]
    ) -> tuple[list[HumanLabel], list[CorrectionRow]]:
        """Find the cells by their labels ``ids``; return what was found and what was not."""
        where = {int(label): row for row, label in enumerate(ids)}
        return self._place(lambda cell: where.get(label_number(cell)), class_names)

    def place_paths(
        self, paths: Sequence[str | Path], class_names: Sequence[str]
    ) -> tuple[list[HumanLabel], list[CorrectionRow]]:
        """Find the cells by the paths of their images."""
        if self.rows and not self.by_path:
            raise InputError(
                f"{self.source} has labels of cells; single-cell images are named by the column "
                "path."
            )
        names = [Path(path).as_posix() for path in paths]
        where = {name: row for row, name in enumerate(names)}
        meant = name_finder(names)

        def find(cell: str) -> int | None:
            found = meant(cell)
            return None if found is None else where[found]

        return self._place(find, class_names)

    def _place(
        self, find: Callable[[str], int | None], class_names: Sequence[str]
    ) -> tuple[list[HumanLabel], list[CorrectionRow]]:
        spelt = spelling(class_names, [load_taxonomy(name) for name in READY])
        placed, lost = [], []
        for row in self.rows:
            place = find(row.cell)
            if place is None:
                lost.append(row)
            else:
                placed.append(HumanLabel(place, spelt(row.name), row.observer))
        return placed, lost


def read_corrections(path: str | Path) -> CorrectionTable:
    """Read a table of corrections; InputError where it is none."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        why = error.strerror or "no such file"
        raise InputError(f"The corrections {file} cannot be read: {why}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"The corrections {file} cannot be read: save them as UTF-8.") from error
    head, lines = _table(text, file)
    named = next((name for name in _CLASS if name in head), None)
    key = next((name for name in ("label", "path") if name in head), None)
    if named is None or key is None:
        raise InputError(
            f"The corrections {file} need a column label or path, and a column class; there are "
            f"{', '.join(head)}."
        )
    used = (key, named, "image", "observer")
    twice = next((name for name in used if head.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"The corrections {file} have two columns {twice}: leave one of them.")
    places = [head.index(name) if name in head else len(head) for name in used]
    rows = [CorrectionRow(*(line[place].strip() for place in places)) for line in lines]
    said = [row for row in rows if row.name and row.name.casefold() not in UNLABELLED_NAMES]
    parts = [replace(row, name=name) for row in said for name in _several(row.name)]
    return CorrectionTable(tuple(parts), key == "path", file.name)


def _table(text: str, file: Path) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns, and the rows, each with an empty cell at its end."""
    first = text.partition("\n")[0]
    between = max(",;\t", key=first.count)
    try:
        lines = [line for line in csv.reader(StringIO(text), delimiter=between) if line]
    except csv.Error as error:
        raise InputError(f"The corrections {file} are no table (CSV).") from error
    if not text.strip():
        raise InputError(f"The corrections {file} are empty.")
    head, rows = [name.strip().casefold() for name in lines[0]], lines[1:]
    width = len(head)
    if any(cell.strip() for row in rows for cell in row[width:]):
        raise InputError(
            f"The corrections {file} have rows that are longer than their first line: give every "
            "column a name, and put names with commas in quotes."
        )
    return head, [[*row[:width], *[""] * (width + 1 - len(row[:width]))] for row in rows]


def from_mapping(classes: Mapping[int | str, str]) -> CorrectionTable:
    """Return corrections by label, or by path of the image, as a table."""
    by_path = any(not isinstance(cell, int) and label_number(str(cell)) < 0 for cell in classes)
    rows = (CorrectionRow(str(cell), str(name).strip()) for cell, name in classes.items())
    return CorrectionTable(tuple(row for row in rows if row.name), by_path)


def lost_sentence(lost: Iterable[CorrectionRow], of: str = "") -> str | None:
    """Return a sentence on corrections that could not be placed; None where there are none."""
    rows = list(lost)
    if not rows:
        return None
    cells = "correction is" if len(rows) == 1 else "corrections are"
    named = ", ".join(str(row) for row in rows[:_NAMED])
    more = f" and {len(rows) - _NAMED:,} more" if len(rows) > _NAMED else ""
    where = f" {of}" if of else ""
    return f"{len(rows):,} {cells} of no cell that is there{where}: {named}{more}."


def _several(name: str) -> list[str]:
    """Return the classes of a cell on which people do not agree, as ``cells.csv`` has them."""
    return [part.strip() for part in name.split("|") if part.strip()]


def label_number(text: str) -> int:
    """Return the label that a text stands for, also as spreadsheets write it; -1 for none."""
    try:
        value = float(text)
    except ValueError:
        return -1
    return int(value) if value.is_integer() else -1


def name_finder(names: Sequence[str]) -> Callable[[str], str | None]:
    """Return what finds the one of ``names`` that a text means: whole, by its end or its stem."""
    exact = {PurePath(name).as_posix(): name for name in names}
    ends: dict[str, set[str]] = {}
    for posix, name in exact.items():
        parts = PurePath(posix).parts
        for start in range(len(parts)):
            end = PurePath(*parts[start:])
            for said in {end.as_posix(), end.with_suffix("").as_posix()}:
                ends.setdefault(said, set()).add(name)

    def find(text: str) -> str | None:
        said = PurePath(text.replace("\\", "/")).as_posix()
        if said in exact:
            return exact[said]
        parts = PurePath(said).parts
        for start in range(len(parts)):  # a path of another computer ends alike
            found = ends.get(PurePath(*parts[start:]).as_posix(), set())
            if found:
                return next(iter(found)) if len(found) == 1 else None
        return None

    return find
