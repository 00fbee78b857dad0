"""Images of a study: where their files are, also after they were moved, and their label images.

Images stay where they are; a study knows them by checksum. One that was moved is found again in
the study's folder, or in a folder that the user names.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import sha256
from cytodiffusion.files.writers import to_json
from cytodiffusion.study.database import Database, now

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cytodiffusion.cells.cell_table import CellTable

#: Folder of the label images in that of a study.
LABELS = "labels"

_COLUMNS = (
    "id, name, path, near, sha256, bytes, modified, height, width, pixel_size_um, "
    "pixel_size_source, labels, labels_sha256, record, added"
)


@dataclass(frozen=True)
class StudyImage:
    """An image of a study.

    Attributes
    ----------
    id : int
    name : str
        In tables; unlike that of all others.
    path : str
        Of the file, as it was last seen.
    near : str or None
        The same from the study's folder, where that is possible.
    sha256 : str
    bytes, modified : int
        Of the file: size, and time of the last change in nanoseconds.
    height, width : int
        Pixels.
    pixel_size_um : float
    pixel_size_source : str
        How that is known: ``"given"``, ``"file"``, ``"slide"``, ``"folder"``, ``"estimated"`` or
        ``"assumed"``.
    labels : str or None
        File of the label image; None where the image is one of a single cell.
    labels_sha256 : str or None
    record : dict
        How it was opened and segmented.
    added : str
        When, UTC.
    """

    id: int
    name: str
    path: str
    near: str | None
    sha256: str
    bytes: int
    modified: int
    height: int
    width: int
    pixel_size_um: float
    pixel_size_source: str
    labels: str | None
    labels_sha256: str | None
    record: dict[str, Any] = field(repr=False)
    added: str = ""

    @property
    def single_cell(self) -> bool:
        """Whether it is an image of one cell."""
        return self.labels is None


@dataclass(frozen=True)
class ImageFile:
    """The file of an image, as it is looked for and recognised."""

    path: Path
    sha256: str
    bytes: int
    modified: int

    @classmethod
    def of(cls, path: str | Path) -> ImageFile:
        """Read the checksum of a file; InputError where that is impossible."""
        file = Path(path)
        try:
            str(file).encode("utf-8")
            found = file.stat()
            if not file.is_file():
                raise InputError(f"{file} is a folder, not an image.")
            return cls(file, sha256(file), found.st_size, found.st_mtime_ns)
        except FileNotFoundError:
            raise InputError(f"There is no file {file}.") from None
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error.strerror or error}.") from error
        except UnicodeEncodeError as error:
            readable = str(file).encode("utf-8", "replace").decode()
            raise InputError(
                f"The name {readable} has signs that are no text: rename the file or its folder."
            ) from error


def all_images(database: Database) -> list[StudyImage]:
    """Return the images in the order in which they were added."""
    return [_image(row) for row in database.rows(f"SELECT {_COLUMNS} FROM images ORDER BY id")]


def find_image(database: Database, name: str) -> StudyImage:
    """Return the image of a name; InputError where there is none."""
    found = database.rows(f"SELECT {_COLUMNS} FROM images WHERE name = ?", (name,))
    if not found:
        raise InputError(f"There is no image {name} in the study {database.name}.")
    return _image(found[0])


def image_of_file(database: Database, file: ImageFile) -> StudyImage | None:
    """Return the image that a file is, by its checksum."""
    found = database.rows(f"SELECT {_COLUMNS} FROM images WHERE sha256 = ?", (file.sha256,))
    return _image(found[0]) if found else None


def check_not_changed(database: Database, file: ImageFile) -> None:
    """Raise InputError where the study knows the path with another content."""
    where = str(file.path.resolve())
    known = database.one(
        "SELECT name FROM images WHERE path = ? AND sha256 <> ?", (where, file.sha256)
    )
    if known is not None:
        raise InputError(_changed(str(known), file.path))


def insert_image(
    database: Database,
    folder: Path,
    file: ImageFile,
    name: str,
    shape: tuple[int, int],
    scale: tuple[float, str],
    cells: CellTable,
    record: Mapping[str, Any],
    labels: NDArray[np.integer] | None = None,
) -> StudyImage:
    """Add an image with its cells; the label image is on the disk before the rows are.

    Parameters
    ----------
    shape : (int, int)
        Y, X.
    scale : (float, str)
        Micrometres a pixel, and how that is known.
    cells : CellTable
    labels : (Y, X) integers, optional
        None for an image of one cell, whose label is 1.
    """
    check_not_changed(database, file)
    stored = None
    if labels is not None:
        stored = write_labels(folder, file.sha256, labels, scale[0])
    inserted = False
    try:
        with database.transaction() as connection:
            known = image_of_file(database, file)  # another process may have been faster
            if known is None:
                number = connection.execute(
                    "INSERT INTO images (name, path, near, sha256, bytes, modified, height, width, "
                    "pixel_size_um, pixel_size_source, labels, labels_sha256, record, added) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        *(_free_name(database, name, file.path), *_places(folder, file.path)),
                        *(file.sha256, file.bytes, file.modified, *map(int, shape)),
                        *(float(scale[0]), scale[1], *(stored or (None, None))),
                        *(to_json(record), now()),
                    ),
                ).lastrowid
                insert_cells(database, int(number or 0), cells)
        inserted = known is None
    finally:
        if stored is not None and not inserted:
            (folder / stored[0]).unlink(missing_ok=True)
    found = image_of_file(database, file)
    if found is None:
        raise InputError(f"{name} was not kept in the study {database.name}.")
    return found


def insert_cells(database: Database, image: int, cells: CellTable) -> None:
    """Add cells to an image."""
    rows = zip(
        cells.ids.tolist(),
        cells.centroids.tolist(),
        cells.areas_um2.tolist(),
        cells.bboxes.tolist(),
        cells.touches_border.tolist(),
        strict=True,
    )
    with database.transaction() as connection:
        connection.executemany(
            'INSERT INTO cells (image, label, y, x, area_um2, top, "left", bottom, "right", '
            "touches_border) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (image, label, *centre, None if area != area else area, *box, int(border))
                for label, centre, area, box, border in rows
            ],
        )


def write_labels(
    folder: Path, name: str, labels: NDArray[np.integer], pixel_size_um: float
) -> tuple[str, str]:
    """Write a label image of a new name; return its file in the study and its checksum."""
    from cytodiffusion.image.labels import write_labels_tif

    number = 1
    while (folder / LABELS / f"{name[:16]}-{number}.tif").exists():
        number += 1
    target = folder / LABELS / f"{name[:16]}-{number}.tif"
    write_labels_tif(target, labels, pixel_size_um)
    return f"{LABELS}/{target.name}", sha256(target)


def read_study_labels(folder: Path, image: StudyImage) -> NDArray[np.int32]:
    """Read the label image of an image of a study; InputError for an image of one cell."""
    from cytodiffusion.image.labels import read_labels

    if image.labels is None:
        raise InputError(f"{image.name} is an image of one cell: it has no label image.")
    file = folder / image.labels
    if not file.is_file():
        raise InputError(
            f"The label image {image.labels} of {image.name} is missing in the study: put it back "
            "from a copy. What people said of its cells is kept."
        )
    return read_labels(file)


def image_path(database: Database, folder: Path, image: StudyImage) -> Path:
    """Return where the file of an image is now; InputError where it is not found, or has changed.

    A file that was moved is looked for in the study's folder by its size and checksum.
    """
    present = [p for p in _known_places(folder, image) if p.is_file()]
    for path in present:
        if is_file_of(path, image):
            return path
    found = find_files(folder, [image]).get(image.id)
    if found is not None:
        move_image(database, folder, image, found)
        return found
    if present:
        raise InputError(_changed(image.name, present[0]))
    raise InputError(
        f"The image {image.name} is no longer at {image.path}: put it into the folder of the "
        "study, or name the folder it is in (cytodiffusion study check STUDY --images FOLDER). Its "
        "cells and what people said of them are kept."
    )


def is_file_of(path: Path, image: StudyImage) -> bool:
    """Whether a file is that of an image; its checksum is read only where it may have changed."""
    try:
        found = path.stat()
        if found.st_size != image.bytes:
            return False
        return found.st_mtime_ns == image.modified or sha256(path) == image.sha256
    except OSError:
        return False


def find_files(folder: Path, images: list[StudyImage]) -> dict[int, Path]:
    """Return the files of images that lie somewhere below a folder, by the images' numbers."""
    sizes: dict[int, list[StudyImage]] = {}
    for image in images:
        sizes.setdefault(image.bytes, []).append(image)
    found: dict[int, Path] = {}
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(OSError):
            if not path.is_file() or path.stat().st_size not in sizes:
                continue
            digest = sha256(path)
            for image in sizes[path.stat().st_size]:
                if image.sha256 == digest:
                    found.setdefault(image.id, path)
    return found


def find_moved(database: Database, folder: Path, place: Path) -> list[str]:
    """Look for the files of images that were moved below `place`; return the images' names."""
    missing = [
        image
        for image in all_images(database)
        if not any(is_file_of(path, image) for path in _known_places(folder, image))
    ]
    found = find_files(place, missing)
    for image in missing:
        if image.id in found:
            move_image(database, folder, image, found[image.id])
    return [image.name for image in missing if image.id in found]


def cell_number(database: Database, image: StudyImage, label: int) -> int:
    """Return the number of a cell; InputError where there is none."""
    found = database.one(
        "SELECT id FROM cells WHERE image = ? AND label = ? AND gone IS NULL",
        (image.id, int(label)),
    )
    if found is None:
        gone = database.one(
            "SELECT max(gone) FROM cells WHERE image = ? AND label = ?", (image.id, int(label))
        )
        why = f": its outline was deleted on {gone[:10]}" if gone else ""
        raise InputError(f"There is no cell {label} in {image.name}{why}.")
    return int(found)


def cell_places(database: Database, cells: Iterable[int]) -> dict[int, tuple[str, int]]:
    """Return name of the image and label of cells that are not gone, by their numbers."""
    found: dict[int, tuple[str, int]] = {}
    for cell in cells:
        for name, label in database.rows(
            "SELECT i.name, c.label FROM cells c JOIN images i ON i.id = c.image "
            "WHERE c.id = ? AND c.gone IS NULL",
            (int(cell),),
        ):
            found[int(cell)] = (name, int(label))
    return found


def move_image(database: Database, folder: Path, image: StudyImage, path: Path) -> None:
    """Note that the file of an image is somewhere else now."""
    if not database.writable:
        return
    with database.transaction() as connection:
        connection.execute(
            "UPDATE images SET path = ?, near = ?, modified = ? WHERE id = ?",
            (*_places(folder, path), path.stat().st_mtime_ns, image.id),
        )


def _known_places(folder: Path, image: StudyImage) -> list[Path]:
    near = [] if image.near is None else [(folder / image.near).resolve()]
    return [*near, Path(image.path)]


def _places(folder: Path, path: Path) -> tuple[str, str | None]:
    """Return the absolute path of a file, and the one from the study's folder."""
    whole = path.resolve()
    try:
        return str(whole), Path(os.path.relpath(whole, folder.resolve())).as_posix()
    except ValueError:  # on another drive
        return str(whole), None


def _free_name(database: Database, name: str, path: Path) -> str:
    def taken(wanted: str) -> bool:
        found = database.one("SELECT 1 FROM images WHERE name = ? COLLATE NOCASE", (wanted,))
        return found is not None

    if not taken(name):
        return name
    whole = path.resolve().as_posix()
    number, wanted = 1, whole
    while taken(wanted):
        number += 1
        wanted = f"{whole} ({number})"
    return wanted


def _changed(name: str, path: Path) -> str:
    return (
        f"{path} is no longer the image {name} that was added to the study: its content has "
        "changed. Put the old file back, or give the new one another name and add it. The old "
        "one's cells and labels are kept."
    )


def _image(row: tuple[Any, ...]) -> StudyImage:
    names = [column.strip() for column in _COLUMNS.split(",")]
    values = dict(zip(names, row, strict=True))
    return StudyImage(**{**values, "record": json.loads(values["record"])})
