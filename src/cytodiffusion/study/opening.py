"""An image of a study with its cells, as a window goes on with it: nothing is classified again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.cells.crops import Crops
from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.image.image import open_image
from cytodiffusion.pipeline import CellBatch
from cytodiffusion.study.annotations import said_of_cells
from cytodiffusion.study.classes import StudyClass
from cytodiffusion.study.images import StudyImage
from cytodiffusion.study.naming import looks, renamed
from cytodiffusion.study.predictions import Run, all_runs

if TYPE_CHECKING:
    from cytodiffusion.study.study import Study


@dataclass(frozen=True, eq=False)
class OpenedImage:
    """All that a study knows of an image.

    Attributes
    ----------
    image : StudyImage
    path : Path
        Where its file is now.
    levels : tuple of (Y, X, 3) uint8
        The pixels, full size first; numpy or dask arrays.
    labels : (Y, X) int32
        The cells. An image of one cell is that cell as a whole.
    numbers : dict of int to int
        Numbers of the cells in the study, by label.
    said : dict
        What people say: pairs of class and observer, by label.
    batch : CellBatch or None
        What the model said of the cells, with the names that the study gives the classes; None
        where nothing was kept.
    classes, coarse_classes : tuple of StudyClass
        Those of the batch, in its order; those of its coarse level, where its classes are finer.
    run : Run or None
        That the batch comes from.
    settings : ClassifySettings
        Of the run.
    """

    image: StudyImage
    path: Path
    levels: tuple[Any, ...]
    labels: NDArray[np.int32]
    numbers: Mapping[int, int]
    said: Mapping[int, tuple[tuple[str, str], ...]]
    batch: CellBatch | None
    classes: tuple[StudyClass, ...]
    coarse_classes: tuple[StudyClass, ...]
    run: Run | None
    settings: ClassifySettings

    @property
    def kinds(self) -> list[int] | None:
        """What the segmentation took each label for, where it said so."""
        found: list[int] | None = self.image.record.get("segmentation", {}).get("kinds")
        return found


def read_image(study: Study, name: str) -> OpenedImage:
    """Read an image of a study with its cells and what models and people say of them.

    InputError where its file is gone or changed, or its label image is missing.
    """
    image = study.image(name)
    path = study.image_path(name)
    levels = open_image(path).levels
    if image.single_cell:
        labels = np.ones((image.height, image.width), np.int32)
    else:
        labels = study.labels(name)
    rows = study.database.rows(
        "SELECT id, label, y, x, area_um2, touches_border FROM cells "
        "WHERE image = ? AND gone IS NULL",
        (image.id,),
    )
    label_of = {int(row[0]): int(row[1]) for row in rows}
    pairs = said_of_cells(study.database, image=image.id)
    found, run = study.classification(name), None
    batch = None
    classes: tuple[StudyClass, ...] = ()
    coarse: tuple[StudyClass, ...] = ()
    if found is not None and len(found[0]):
        numbers, result = found
        run = _run_of(study, image)
        result = renamed(result, study.database)
        batch = _batch(numbers, result, rows, image.pixel_size_um)
        classes = looks(study.database, result.class_names)
        if result.coarse is not None:
            coarse = looks(study.database, result.coarse.class_names)
    return OpenedImage(
        image=image,
        path=path,
        levels=levels,
        labels=labels,
        numbers={label: number for number, label in label_of.items()},
        said={label_of[number]: said for number, said in pairs.items()},
        batch=batch,
        classes=classes,
        coarse_classes=coarse,
        run=run,
        settings=ClassifySettings() if run is None else ClassifySettings(**run.settings),
    )


def _run_of(study: Study, image: StudyImage) -> Run | None:
    """Return the run whose evidence of an image counts."""
    number = study.database.one(
        "SELECT e.run FROM evidence e JOIN runs r ON r.id = e.run WHERE e.image = ? "
        "ORDER BY r.used DESC LIMIT 1",
        (image.id,),
    )
    return next((run for run in all_runs(study.database) if run.id == number), None)


def _batch(
    numbers: NDArray[np.int64], result: Classification, rows: list[tuple[Any, ...]], size: float
) -> CellBatch:
    known = {int(row[0]): row[1:] for row in rows}
    cells = [known[int(number)] for number in numbers]
    areas = [np.nan if area is None else area for _, _, _, area, _ in cells]
    crops = Crops(
        pixels=np.broadcast_to(np.uint8(0), (len(cells), 1, 1, 3)),
        ids=np.array([cell[0] for cell in cells], np.int64),
        centroids=np.array([cell[1:3] for cell in cells], np.float64),
        areas_um2=np.array(areas, np.float64),
        touches_border=np.array([cell[4] for cell in cells], bool),
        pixel_size_um=size,
    )
    return CellBatch(crops, result, len(cells), len(cells))
