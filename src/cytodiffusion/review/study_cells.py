"""The cells of all images of a study, as a person looks at them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cytodiffusion.review.cells import NOBODY, Ints, PeopleSaid, ReviewCells
from cytodiffusion.study.classes import StudyClass, class_finder
from cytodiffusion.taxonomy import white_classes

if TYPE_CHECKING:
    from cytodiffusion.classification.result import Classification
    from cytodiffusion.study import Study


def cells_of_study(study: Study) -> ReviewCells:
    """Return the cells of all images of a study, with what the model that counts says of them.

    The arrays are read from what was kept of each classification, which is quicker than the table
    of all cells; only images of which it was not kept are read from the table.
    """
    rows = study.database.rows(
        "SELECT id, image, label, y, x, touches_border FROM cells WHERE gone IS NULL "
        "ORDER BY image, label"
    )
    images, classes = study.images(), study.classes()
    place = {image.id: index for index, image in enumerate(images)}
    n, k = len(rows), len(classes)
    table = np.array(rows, np.float64).reshape(n, 6)
    numbers = table[:, 0].astype(np.int64)
    said: dict[str, Any] = {
        "predicted": np.full(n, NOBODY, np.int64),
        "posterior": np.zeros((n, k)),
        "entropy": np.full(n, np.nan),
        "anomaly_score": np.full(n, np.nan),
        "sure": np.zeros(n, bool),
    }
    order = np.argsort(numbers)
    embeddings: list[tuple[Ints, Any]] = []
    for image in images:
        found = study.classification(image.name)
        if found is None:
            _from_table(study, image.name, said, numbers[order], order)
            continue
        cells, result = found
        at = order[np.searchsorted(numbers[order], cells)]
        _enter(said, at, result, _spelt(study, result.class_names))
        if result.embedding is not None:
            embeddings.append((at, result.embedding))
    names = [one.name for one in classes]
    return ReviewCells(
        numbers=numbers,
        images=tuple(image.name for image in images),
        pixel_sizes_um=tuple(image.pixel_size_um for image in images),
        image=np.array([place[int(number)] for number in table[:, 1]], np.int64),
        labels=table[:, 2].astype(np.int64),
        centres=table[:, 3:5],
        touches_border=table[:, 5].astype(bool),
        class_names=tuple(names),
        colors=tuple(one.color for one in classes),
        white=white_classes(tuple(names), [one.group for one in classes]),
        first=said["predicted"],
        first_confidence=said["posterior"].max(axis=1, initial=0.0),
        embedding=_together(embeddings, n),
        **said,
    )


def said_in_study(study: Study, cells: ReviewCells) -> PeopleSaid:
    """Return what people say of the cells of a study now."""
    said = PeopleSaid(len(cells))
    for row, words in said_of_rows(study, cells).items():
        for observer, number in words.items():
            said.say([row], number, observer)
    return said


def said_of_rows(
    study: Study, cells: ReviewCells, rows: Ints | None = None
) -> dict[int, dict[str, int]]:
    """Return the class that each observer gives cells, by row; without rows, of all cells."""
    known = {name: index for index, name in enumerate(cells.class_names)}
    numbers = None if rows is None else cells.numbers[rows].tolist()
    found: dict[int, dict[str, int]] = {}
    for cell, pairs in study.said(cells=numbers).items():
        row = cells.row_of(cell)
        words = {observer: known[name] for name, observer in pairs if name in known}
        if row is not None and words:
            found[row] = words
    return found


def _spelt(study: Study, names: tuple[str, ...]) -> Ints:
    """Return the number among the study's classes of each class of a model."""
    find: Callable[[str], StudyClass | None] = class_finder(study.database)
    index = {one.id: number for number, one in enumerate(study.classes())}
    found = [find(name) for name in names]
    return np.array([NOBODY if one is None else index[one.id] for one in found], np.int64)


def _enter(said: dict[str, Any], at: Ints, result: Classification, spelt: Ints) -> None:
    said["predicted"][at] = spelt[result.predicted]
    for column, number in enumerate(spelt.tolist()):
        if number != NOBODY:  # several classes of a model may mean one, where some were merged
            said["posterior"][at, number] += result.posterior[:, column]
    said["entropy"][at], said["anomaly_score"][at] = result.entropy, result.anomaly_score
    said["sure"][at] = (result.accept_above is not None) & ~result.review


def _from_table(study: Study, image: str, said: dict[str, Any], known: Ints, order: Ints) -> None:
    """Enter what the table of cells says, where the arrays were not kept."""
    frame = study.cells(image)
    frame = frame[frame["predicted"] != ""]
    if not len(frame):
        return
    at = order[np.searchsorted(known, frame.index.to_numpy(np.int64))]
    names = tuple(str(c)[2:] for c in frame.columns if str(c).startswith("p_"))
    every = tuple(dict.fromkeys((*names, *frame["predicted"])))
    spelt = dict(zip(every, _spelt(study, every).tolist(), strict=True))
    said["predicted"][at] = [spelt[name] for name in frame["predicted"]]
    for name in names:
        if spelt[name] != NOBODY:
            shares = frame[f"p_{name}"].to_numpy(np.float64)
            said["posterior"][at, spelt[name]] += np.nan_to_num(shares)
    for name in ("entropy", "anomaly_score"):
        if name in frame:
            said[name][at] = frame[name].to_numpy(np.float64)


def _together(parts: list[tuple[Ints, Any]], n: int) -> Any:
    """Return embeddings ``(N, D)`` of all images; None where models of several sizes gave them."""
    if len({part.shape[1] for _, part in parts}) != 1:
        return None
    whole = np.full((n, parts[0][1].shape[1]), np.nan, np.float32)
    for at, part in parts:
        whole[at] = part
    return whole
