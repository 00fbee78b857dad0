"""What people said elsewhere: annotations from a table (CSV) or from outlines (GeoJSON)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytodiffusion.classification.correction_table import (
    CorrectionRow,
    label_number,
    name_finder,
    read_corrections,
)
from cytodiffusion.errors import InputError
from cytodiffusion.study.annotations import BETWEEN
from cytodiffusion.study.classes import class_finder, tidy
from cytodiffusion.taxonomy import plain

if TYPE_CHECKING:
    from cytodiffusion.study.study import Study

#: Annotations that could not be placed and are named, at most.
_NAMED = 5
#: Endings of files with outlines; all others are tables.
_OUTLINES = (".geojson", ".json")
#: Entry of the metadata of an exported outline: the class that it had.
AS_EXPORTED = "Class in the study"
#: Entry of the metadata with the name of the image.
IMAGE = "Image"


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
        Cells to which the same observer gives several classes in the file.
    empty : str
        Why the file says nothing of any cell.
    new_classes : list of str
        That the study did not have.
    observers : list of str
    """

    placed: int = 0
    known: int = 0
    lost: list[str] = field(default_factory=list)
    disputed: list[str] = field(default_factory=list)
    empty: str = ""
    new_classes: list[str] = field(default_factory=list)
    observers: list[str] = field(default_factory=list)

    @property
    def sentences(self) -> list[str]:
        """What the user should read, besides how many were placed."""
        said = [self.empty] if self.empty else []
        if self.lost:
            one = len(self.lost) == 1
            which = "annotation is" if one else "annotations are"
            said.append(
                f"{len(self.lost):,} {which} of no cell in the study and {'was' if one else 'were'}"
                f" not placed: {_named(self.lost)}."
            )
        if self.disputed:
            said.append(
                "These cells have several classes by the same observer in the file, so that nobody "
                f"knows which is meant; they were not placed: {_named(self.disputed)}."
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
    if image and name_finder([one.name for one in study.images()])(image) is None:
        raise InputError(f"There is no image {image} in the study {study.name}.")
    if file.suffix.lower() in _OUTLINES:
        rows = list(_outlines(study, file, image))
    else:
        rows = [replace(row, image=row.image or image) for row in read_corrections(file).rows]
    done = Imported()
    if not rows:
        done.empty = _nothing_said(file)
    answers = _answers(_cell_finder(study), rows, file, observer, done)
    given = _undisputed(study, answers, done)
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


#: What one observer says of one cell: how the cell is called, and the classes.
_Said = dict[tuple[str, int], tuple[str, list[str]]]


def _nothing_said(file: Path) -> str:
    if file.suffix.lower() in _OUTLINES:
        return f"No outline in {file.name} has a class that it was not exported with."
    return f"{file.name} gives no cell a class: the column of classes is empty."


def _answers(
    find: Callable[[CorrectionRow], int | None],
    rows: Sequence[CorrectionRow],
    file: Path,
    observer: str,
    done: Imported,
) -> tuple[_Said, dict[str, str]]:
    """Return what each observer says of each cell, and the observers' names by their keys."""
    said: _Said = {}
    names: dict[str, str] = {}
    for row in rows:
        cell = find(row)
        if cell is None:
            done.lost.append(str(row))
            continue
        for who in row.observer.split(BETWEEN) if row.observer else [observer]:
            if not who.strip():
                raise InputError(
                    f"{file.name} does not say who annotated {row}: name the observer."
                )
            name = tidy(who, "An observer")
            key = name.casefold()
            names.setdefault(key, name)
            said.setdefault((key, cell), (str(row), []))[1].append(row.name)
    return said, names


def _undisputed(
    study: Study, answers: tuple[_Said, dict[str, str]], done: Imported
) -> dict[str, dict[int, str]]:
    """Return the class that each observer gives each cell, where it is one class."""
    said, names = answers
    find = class_finder(study.database)

    def meaning(name: str) -> str:
        known = find(name)
        return plain(name) if known is None else plain(known.name)

    given: dict[str, dict[int, str]] = {}
    for (who, cell), (called, classes) in said.items():
        if len({meaning(name) for name in classes}) == 1:
            given.setdefault(names[who], {})[cell] = classes[0]
        elif called not in done.disputed:
            done.disputed.append(called)
    return given


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


# --- which cells ---------------------------------------------------------------------------------


def _cell_finder(study: Study) -> Callable[[CorrectionRow], int | None]:
    """Return what finds the number of the cell that a row means, None where there is none."""
    images = study.images()
    meant = name_finder([image.name for image in images])
    paths = name_finder([image.path for image in images if image.single_cell])
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

    def find(row: CorrectionRow) -> int | None:
        label = label_number(row.cell)
        if label < 0:  # the path of an image of one cell
            name = meant(row.cell) or by_path.get(paths(row.cell) or "")
            return cells.get((name, 1)) if name in single else None
        if row.image:
            name = meant(row.image) or by_path.get(paths(row.image) or "")
        elif len(fields) == 1:
            name = fields[0]
        elif not images:
            raise InputError(f"The study {study.name} has no images yet: add some first.")
        else:
            raise InputError(
                f"It is not said of which image the cell {row.cell} is: with {len(fields):,} "
                "images in the study the column image is needed."
            )
        return cells.get((name or "", label))

    return find


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


# --- outlines ------------------------------------------------------------------------------------


def _outlines(study: Study, file: Path, image: str) -> Iterator[CorrectionRow]:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
        features = content["features"] if isinstance(content, dict) else content
        found = [_feature(one) for one in features]
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or 'no such file'}.") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(f"{file.name} is no GeoJSON with outlines of cells.") from error
    fields = [one.name for one in study.images() if not one.single_cell]
    meant = name_finder(fields)
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
            yield CorrectionRow(f"the outline at {point[0]:.0f}, {point[1]:.0f}", name, of)
        else:
            yield CorrectionRow(str(label), name, of)


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
    if not all(map(math.isfinite, centre)):
        raise ValueError(centre)
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
