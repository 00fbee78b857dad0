"""What the network says of the cells of a study, for a head to be fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.classification.levels import at_level
from cytodiffusion.classification.prior import settled
from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.classification.taught import network_base
from cytodiffusion.errors import InputError
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.taught_head import TaughtCells
from cytodiffusion.progress import Progress, part_of, silent
from cytodiffusion.teaching.labelled import LabelledCells

if TYPE_CHECKING:
    from cytodiffusion.study import Study

#: Cells without a label that are looked at, at most.
MOST_OTHERS = 4000

#: A usual anomaly score is this many deviations below the threshold, and a score counts as at most
#: this many above the usual; as in the corrections of a slide.
USUAL, MOST_UNUSUAL = 2.0, 4.0


def cells_of(
    study: Study,
    labelled: LabelledCells,
    model: ModelBundle,
    seed: int,
    progress: Progress = silent,
) -> tuple[TaughtCells, TaughtCells]:
    """Return the labelled cells, in their order, and others of the same images.

    What the network said when the cells were classified is used; images of which it never said
    anything are classified first. The predictions that count in the study stay those that counted.

    Raises
    ------
    InputError
        If an image that must be classified is not there any more.
    """
    network = model.untaught
    run = _run_of(study, network)
    wanted = dict.fromkeys(labelled.images)
    missing = [n for n in wanted if run is None or study.classification(n, run) is None]
    if missing:
        run = _classify(study, missing, network, part_of(progress, 0.0, 0.9))
    assert run is not None
    given = next(r.settings for r in study.runs() if r.id == run)
    settings = ClassifySettings.model_validate(given)
    number = {int(cell): row for row, cell in enumerate(labelled.cells)}
    parts: list[tuple[NDArray[np.int64], TaughtCells]] = []
    single: list[tuple[NDArray[np.int64], Classification]] = []
    for image in study.images():
        found = study.classification(image.name, run)
        if found is None:
            continue
        cells, result = found[0], at_level(found[1], "coarse")
        if image.single_cell:
            single.append((cells, result))
        else:
            parts.append((cells, _taught(result, network, settled(settings, field=True))))
    if single:
        from cytodiffusion.classification.result import join

        together = join([result for _, result in single])
        cells = np.concatenate([cells for cells, _ in single])
        parts.append((cells, _taught(together, network, settled(settings, field=False))))
    progress(1.0, "Read what the model says of the cells")
    return _sorted_out(parts, labelled, number, seed)


def _run_of(study: Study, network: ModelBundle) -> int | None:
    """Return the last used run of the network, whose predictions were kept in full."""
    sha = network.record()["sha256"]
    return next((run.id for run in study.runs() if run.sha256 == sha), None)


def _classify(study: Study, names: Sequence[str], network: ModelBundle, progress: Progress) -> int:
    """Classify images of a study by the network; the runs keep their order of use."""
    before = study.runs()
    images = [study.image(name) for name in names]
    settings = ClassifySettings()
    single = [study.image_path(image.name) for image in images if image.single_cell]
    fields = [study.image_path(image.name) for image in images if not image.single_cell]
    share = len(fields) / len(images)
    for index, path in enumerate(fields):
        part = part_of(progress, share * index / len(fields), share * (index + 1) / len(fields))
        study.add_image(path, network, settings, progress=part)
    if single:
        done = study.add_cells(single, network, settings, progress=part_of(progress, share, 1.0))
        if done.failed:
            raise InputError(done.failed[0].error)
    run = _run_of(study, network)
    assert run is not None
    if before and before[0].id != run:
        study.use_run(before[0].id)
    return run


def _taught(
    result: Classification, network: ModelBundle, settings: ClassifySettings
) -> TaughtCells:
    """Return cells of which nobody said anything yet."""
    n = len(result)
    if result.embedding is None:
        raise InputError("A classification in the study has no embeddings: classify again.")
    scores = np.asarray(result.anomaly_score, np.float64)
    deviation = 1.4826 * float(np.median(np.abs(scores - np.median(scores)))) if n else 0.0
    above = scores - (result.anomaly_threshold - USUAL * deviation)
    if not np.isfinite(above).all():
        above = np.zeros(n)
    return TaughtCells(
        keys=np.zeros(n, np.int64),
        classes=np.zeros(n, np.int64),
        base=network_base(result, network, settings).astype(np.float32),
        embedding=np.asarray(result.embedding, np.float32),
        unusual=np.clip(above, 0.0, MOST_UNUSUAL * deviation).astype(np.float32),
    )


def _sorted_out(
    parts: Sequence[tuple[NDArray[np.int64], TaughtCells]],
    labelled: LabelledCells,
    number: dict[int, int],
    seed: int,
) -> tuple[TaughtCells, TaughtCells]:
    """Return the labelled cells with their classes, and some of the others."""
    numbers = np.concatenate([cells for cells, _ in parts])
    cells = parts[0][1]
    for _, part in parts[1:]:
        cells = cells + part
    rows = np.array([number.get(int(cell), -1) for cell in numbers], np.int64)
    there = np.flatnonzero(rows >= 0)
    if len(there) < len(labelled):
        raise InputError(
            "The model has said nothing of some labelled cells, as their outlines changed: "
            "classify them, then teach."
        )
    order = there[np.argsort(rows[there])]
    taught = cells[order]
    taught = TaughtCells(
        labelled.keys, labelled.classes, taught.base, taught.embedding, taught.unusual
    )
    rest = np.random.default_rng(seed).permutation(np.flatnonzero(rows < 0))[:MOST_OTHERS]
    return taught, cells[np.sort(rest)]
