"""Changed outlines: which cell is still the same one, so that what was said of it stays with it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.errors import InputError
from cytodiffusion.image.labels import check_labels
from cytodiffusion.study.annotations import human_labels
from cytodiffusion.study.database import Database, now
from cytodiffusion.study.images import StudyImage, insert_cells, read_study_labels, write_labels

if TYPE_CHECKING:
    from cytodiffusion.cells.cell_table import CellTable

#: A cell is the same while the old and the new outline share this part of the smaller one.
_SAME = 0.5


@dataclass(frozen=True)
class OutlineChanges:
    """What became of the cells of an image whose outlines were changed, by their labels.

    Attributes
    ----------
    kept : tuple of int
        New labels of cells with the same pixels.
    changed : tuple of int
        New labels of cells with other pixels; what people said stays, what models said is dropped.
    added : tuple of int
        Labels of new cells.
    gone : tuple of int
        Old labels of cells that are no longer there.
    annotations_gone : int
        How many of those people had given a class.
    """

    kept: tuple[int, ...]
    changed: tuple[int, ...]
    added: tuple[int, ...]
    gone: tuple[int, ...]
    annotations_gone: int

    @property
    def sentence(self) -> str:
        """What the user should know; empty where nothing was lost."""
        if not self.annotations_gone:
            return ""
        n = self.annotations_gone
        which = (
            "1 cell that is gone had a class" if n == 1 else f"{n:,} cells that are gone had one"
        )
        return f"{which} from people: it is kept in the study, but in no table."


def replace_outlines(
    database: Database, folder: Path, image: StudyImage, labels: NDArray[np.integer]
) -> OutlineChanges:
    """Put a label image in the place of another; see `Study.replace_labels`."""
    from cytodiffusion.cells.cell_table import cell_table

    new = check_labels(labels, image.name).astype(np.int32)
    old = read_study_labels(folder, image)
    if new.shape != old.shape:
        raise InputError(
            f"The labels have {new.shape[1]} x {new.shape[0]} pixels, but {image.name} has "
            f"{old.shape[1]} x {old.shape[0]}."
        )
    table = cell_table(new, image.pixel_size_um)
    same, alike = _matched(old, new)
    stored, checksum = write_labels(folder, image.sha256, new, image.pixel_size_um)
    try:
        with database.transaction() as connection:
            if database.one("SELECT labels FROM images WHERE id = ?", (image.id,)) != image.labels:
                raise InputError(
                    f"The outlines of {image.name} were changed by another program: open the image "
                    "again."
                )
            before = dict(
                database.rows(
                    "SELECT label, id FROM cells WHERE image = ? AND gone IS NULL", (image.id,)
                )
            )
            kept = {n: before[o] for n, o in same.items() if o in before}
            changed = {n: before[o] for n, o in alike.items() if o in before}
            connection.execute(
                "UPDATE cells SET gone = ? WHERE image = ? AND gone IS NULL", (now(), image.id)
            )
            _update_cells(connection, table, kept | changed)
            connection.executemany(
                "DELETE FROM predictions WHERE cell = ?", [(cell,) for cell in changed.values()]
            )
            added = np.setdiff1d(table.ids, [*kept, *changed])
            insert_cells(database, image.id, table.select(added))
            connection.execute(
                "UPDATE images SET labels = ?, labels_sha256 = ?, "  # labels have other numbers:
                "record = json_remove(record, '$.segmentation.kinds') WHERE id = ?",
                (stored, checksum, image.id),
            )
    except BaseException:
        (folder / stored).unlink(missing_ok=True)
        raise
    if image.labels is not None:
        with contextlib.suppress(OSError):
            (folder / image.labels).unlink()
    left = {*kept.values(), *changed.values()}
    lost = {cell: label for label, cell in before.items() if cell not in left}
    said = human_labels(database)
    return OutlineChanges(
        kept=tuple(sorted(kept)),
        changed=tuple(sorted(changed)),
        added=tuple(added.tolist()),
        gone=tuple(sorted(lost.values())),
        annotations_gone=sum(cell in said for cell in lost),
    )


def _matched(
    old: NDArray[np.int32], new: NDArray[np.int32]
) -> tuple[dict[int, int], dict[int, int]]:
    """Return the old label of each new one: with the same pixels, and with most of them."""
    flat_old, flat_new = old.ravel(), new.ravel()
    both = (flat_old > 0) & (flat_new > 0)
    pairs, shared = np.unique(
        np.stack([flat_new[both], flat_old[both]], axis=1), axis=0, return_counts=True
    )
    sizes = [dict(zip(*np.unique(flat[flat > 0], return_counts=True), strict=True))
             for flat in (flat_new, flat_old)]  # fmt: skip
    same: dict[int, int] = {}
    alike: dict[int, int] = {}
    taken: set[int] = set()
    for index in np.argsort(-shared, kind="stable"):
        n, o = map(int, pairs[index])
        area, before, common = int(sizes[0][n]), int(sizes[1][o]), int(shared[index])
        if n in same or n in alike or o in taken or common < _SAME * min(area, before):
            continue
        (same if area == before == common else alike)[n] = o
        taken.add(o)
    return same, alike


def _update_cells(connection: Any, table: CellTable, cells: dict[int, int]) -> None:
    part = table.select(list(cells))
    rows = zip(
        cells.items(),
        part.centroids.tolist(),
        part.areas_um2.tolist(),
        part.bboxes.tolist(),
        part.touches_border.tolist(),
        strict=True,
    )
    connection.executemany(
        'UPDATE cells SET label = ?, y = ?, x = ?, area_um2 = ?, top = ?, "left" = ?, bottom = ?, '
        '"right" = ?, touches_border = ?, gone = NULL WHERE id = ?',
        [
            (label, *centre, area, *box, int(border), cell)
            for (label, cell), centre, area, box, border in rows
        ],
    )
