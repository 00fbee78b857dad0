"""What people said elsewhere: annotations from a table (CSV) or from outlines (GeoJSON)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from cytodiffusion.errors import InputError
from cytodiffusion.study.annotations import BETWEEN
from cytodiffusion.study.classes import class_finder

if TYPE_CHECKING:
    from cytodiffusion.study.study import Study

#: Names of the column of classes, the first first: ``human`` is that of an export.
_CLASS = ("class", "human")
#: Annotations that could not be placed and are named, at most.
_NAMED = 5
#: Entry of the metadata of an exported outline: the class that it had.
AS_EXPORTED = "Class in the study"
#: Entry of the metadata with the name of the image.
IMAGE = "Image"


@dataclass(frozen=True)
class Row:
    """An annotation as it was written down: of which cell, which class, by whom.

    Attributes
    ----------
    cell : str
        Its label, or the path of an image of one cell.
    name : str
        Of the class.
    image : str
        That the label belongs to; empty where there is one image only.
    observer : str
        Empty where it is not said.
    """

    cell: str
    name: str
    image: str = ""
    observer: str = ""

    def __str__(self) -> str:
        return f"{self.cell} of {self.image}" if self.image else self.cell


@dataclass
class Imported:
    """What became of annotations from a file.

    Attributes
    ----------
    placed : int
        Cells that were given a class.
    known : int
        That the same observer had given the same class before.
    lost : list of str
        Cells that are not in the study.
    disputed : list of str
        Cells with several classes in the file, of which nobody knows who said which.
    new_classes : list of str
        That the study did not have.
    observers : list of str
    """

    placed: int = 0
    known: int = 0
    lost: list[str] = field(default_factory=list)
    disputed: list[str] = field(default_factory=list)
    new_classes: list[str] = field(default_factory=list)
    observers: list[str] = field(default_factory=list)

    @property
    def sentences(self) -> list[str]:
        """What the user should read, besides how many were placed."""
        said = []
        if self.lost:
            one = len(self.lost) == 1
            which = "annotation is" if one else "annotations are"
            said.append(
                f"{len(self.lost):,} {which} of no cell in the study and {'was' if one else 'were'}"
                f" not placed: {_named(self.lost)}."
            )
        if self.disputed:
            said.append(
                "These cells have several classes in one row, which says nothing of who said "
                f"which; they were not placed: {_named(self.disputed)}."
            )
        if self.new_classes:
            said.append(f"New in the study: the class {_named(self.new_classes)}.")
        return said


def import_annotations(
    study: Study, path: str | Path, observer: str = "", *, image: str = ""
) -> Imported:
    """Place annotations of a file in a study, as one action of each observer.

    Parameters
    ----------
    study : Study
    path : str or Path
        CSV with the columns ``label`` or ``path``, ``class`` (or ``human``), and where they are
        needed ``image`` and ``observer``; or GeoJSON of QuPath or of this program, where outlines
        that still have the class they were exported with say nothing.
    observer : str
        Who said so, where the file does not say.
    image : str
        Name of the image, where the file does not say.

    Returns
    -------
    Imported

    Raises
    ------
    InputError
        If the file is no such table, or somebody's name is missing.
    """
    file = Path(path)
    if file.suffix.lower() in (".geojson", ".json"):
        rows = list(_outlines(study, file, image))
    else:
        rows = [Row(r.cell, r.name, r.image or image, r.observer) for r in _read_csv(file)]
    find = _cell_finder(study)
    done = Imported()
    given: dict[str, dict[int, str]] = {}
    for row in rows:
        if BETWEEN in row.name:
            done.disputed.append(str(row))
            continue
        cell = find(row)
        if cell is None:
            done.lost.append(str(row))
            continue
        for who in row.observer.split(BETWEEN) if row.observer else [observer]:
            if not who.strip():
                raise InputError(
                    f"{file.name} does not say who annotated {row}: name the observer."
                )
            given.setdefault(" ".join(who.split()), {})[cell] = row.name
    with study.database.transaction():  # all of them, or none
        for name in dict.fromkeys(name for cells in given.values() for name in cells.values()):
            before = len(study.classes())
            added = study.add_class(name)
            if len(study.classes()) > before:
                done.new_classes.append(added.name)
        for who, cells in given.items():
            done.observers.append(who)
            fresh = _unknown(study, who, cells)
            done.known += len(cells) - len(fresh)
            done.placed += len(fresh)
            if fresh:
                study.annotate_many(fresh, who, comment=f"from {file.name}")
    return done


def _unknown(study: Study, observer: str, cells: dict[int, str]) -> dict[int, str | None]:
    """Return what this observer has not said already."""
    find = class_finder(study.database)
    said = {
        int(cell): int(number)
        for cell, number in study.database.rows(
            "SELECT s.cell, coalesce(g.merged, g.id) FROM said s "
            "JOIN observers o ON o.id = s.observer JOIN classes g ON g.id = s.class "
            "WHERE o.key = ?",
            (observer.casefold(),),
        )
    }
    found = {cell: (name, find(name)) for cell, name in cells.items()}
    return {
        cell: name
        for cell, (name, known) in found.items()
        if known is None or said.get(cell) != known.id
    }


# --- tables --------------------------------------------------------------------------------------


def _read_csv(file: Path) -> list[Row]:
    import pandas as pd

    text = _text(file)
    between = max(",;\t", key=text.partition("\n")[0].count)
    try:
        frame = pd.read_csv(StringIO(text), sep=between, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{file} is no table (CSV).") from error
    frame.columns = pd.Index([str(name).strip().casefold() for name in frame.columns])
    named = next((name for name in _CLASS if name in frame), None)
    key = next((name for name in ("label", "path") if name in frame), None)
    if named is None or key is None:
        raise InputError(
            f"{file.name} needs a column label or path, and a column class; it has "
            f"{', '.join(map(str, frame.columns))}."
        )
    empty = pd.Series("", index=frame.index)
    columns = [frame.get(n, empty).str.strip() for n in (key, named, "image", "observer")]
    return [Row(*values) for values in zip(*columns, strict=True) if values[1]]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or 'no such file'}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} cannot be read: save it as UTF-8.") from error


def _cell_finder(study: Study) -> Callable[[Row], int | None]:
    """Return what finds the number of the cell that a row means, None where there is none."""
    images = study.images()
    meant = _name_finder([image.name for image in images])
    paths = _name_finder([image.path for image in images if image.single_cell])
    by_path = {image.path: image.name for image in images}
    fields = [image.name for image in images if not image.single_cell]
    single = {image.name for image in images if image.single_cell}
    cells = {
        (name, int(label)): int(cell)
        for name, label, cell in study.database.rows(
            "SELECT i.name, c.label, c.id FROM cells c JOIN images i ON i.id = c.image "
            "WHERE c.gone IS NULL"
        )
    }

    def find(row: Row) -> int | None:
        label = _number(row.cell)
        if label is None:  # the path of an image of one cell
            name = meant(row.cell) or by_path.get(paths(row.cell) or "")
            return cells.get((name, 1)) if name in single else None
        if row.image:
            name = meant(row.image) or by_path.get(paths(row.image) or "")
        elif len(fields) == 1:
            name = fields[0]
        else:
            raise InputError(
                f"It is not said of which image the cell {row.cell} is: with {len(fields):,} "
                "images in the study the column image is needed."
            )
        return cells.get((name or "", label))

    return find


def _name_finder(names: Sequence[str]) -> Callable[[str], str | None]:
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
        if text in names:
            return text
        said = PurePath(text.replace("\\", "/"))
        if said.as_posix() in exact:
            return exact[said.as_posix()]
        for start in range(len(said.parts)):  # a path of another computer ends alike
            found = ends.get(PurePath(*said.parts[start:]).as_posix(), set())
            if found:
                return next(iter(found)) if len(found) == 1 else None
        return None

    return find


def _number(text: str) -> int | None:
    """Return the label that a text stands for, also as spreadsheets write it."""
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value.is_integer() else None


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


# --- outlines ------------------------------------------------------------------------------------


def _outlines(study: Study, file: Path, image: str) -> Iterator[Row]:
    try:
        content = json.loads(_text(file))
        features = content["features"] if isinstance(content, dict) else content
        found = [_feature(one) for one in features]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(f"{file.name} is no GeoJSON with outlines of cells.") from error
    fields = [one.name for one in study.images() if not one.single_cell]
    meant = _name_finder(fields)
    labels: dict[str, Any] = {}
    for name, before, where, label, point in found:
        if not name or name == before:
            continue  # nobody has changed it
        of = where or image or (fields[0] if len(fields) == 1 else file.stem)
        known = meant(of)
        if label is None and known is not None:  # an outline of another program: what lies there
            if known not in labels:
                labels[known] = study.labels(known)
            label = _label_at(labels[known], point)
        if label is None:
            yield Row(f"the outline at {point[0]:.0f}, {point[1]:.0f}", name, of)
        else:
            yield Row(str(label), name, of)


def _feature(one: Any) -> tuple[str, str, str, int | None, tuple[float, float]]:
    """Return class, class as exported, image, label, and a point of an outline."""
    properties = one["properties"] or {}
    kind = properties.get("classification") or {}
    metadata = properties.get("metadata") or {}
    measured = properties.get("measurements") or {}
    if isinstance(measured, list):  # of older versions of QuPath
        measured = {m["name"]: m["value"] for m in measured}
    label = measured.get("Label")
    rings = one["geometry"]["coordinates"]
    while isinstance(rings[0][0], list):
        rings = rings[0]
    centre = [sum(float(c[axis]) for c in rings) / len(rings) for axis in (0, 1)]
    name = str(kind.get("name") or " ".join(kind.get("names") or [])).strip()
    before = str(metadata.get(AS_EXPORTED, ""))
    number = None if label is None else int(label)
    return name, before, str(metadata.get(IMAGE, "")), number, (centre[0], centre[1])


def _label_at(labels: Any, point: tuple[float, float]) -> int | None:
    """Return the label at a point x, y, counted from the corner of the first pixel."""
    x, y = (int(value) for value in point)
    height, width = labels.shape
    inside = 0 <= y < height and 0 <= x < width
    return int(labels[y, x]) or None if inside else None
