"""A head from taught cells, in seconds: the network stays as it is.

The head is that of the corrections of a slide (`cytodiffusion.classification.corrections`), fitted
by the same maximum a posteriori, with two differences: it holds for all slides, and it must not
forget what the network knows. So it is also shown cells of the original classes (rehearsal). No
image of those is needed: a bundle has the directions of the embeddings of 128 training cells of
each class, and how their logits are distributed (`cytodiffusion.model.class_statistics`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.classification.corrections import (
    HEAD,
    NEW,
    NEW_HEAD,
    OFFSET,
    alike,
    anchors,
    away_from_mean,
    component_axes,
    most_probable,
    places,
)
from cytodiffusion.classification.scores import softmax
from cytodiffusion.classification.taught import LEAST
from cytodiffusion.errors import InputError
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.taught_head import TaughtCells, TaughtHead
from cytodiffusion.model.validation_record import ValidationRecord
from cytodiffusion.training.calibrate import validation_record
from cytodiffusion.training.class_statistics import SHRINKAGE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Principal components of the embedding that the head sees.
COMPONENTS = 96

#: Weight of all rehearsal cells of a class together, in taught cells: where all taught classes are
#: the network's own, and where some are new, which cells of the others could be taken for.
REHEARSAL, REHEARSAL_BESIDE_NEW = 20.0, 50.0

#: Parts in which taught cells are held out to see what the head promises, and cells without which
#: that would say too little.
FOLDS, ENOUGH = 5, 30


def rehearsal_cells(model: ModelBundle, seed: int) -> TaughtCells:
    """Return cells as the training cells of the network's classes were.

    The embedding of a cell lies along the direction that is kept of it, as far from the mean as
    cells of its class are on average; its logits are drawn from the normal distribution that is
    kept of those of its class.

    Raises
    ------
    InputError
        If the model keeps nothing of its training cells.
    """
    network = model.untaught
    calibration, statistics = network.calibration, network.calibration.class_statistics
    if statistics is None:
        raise InputError(
            f"The model {model.name} keeps nothing of the cells it was trained on, so that it "
            "would forget them: teach a model that was trained with this version."
        )
    rng = np.random.default_rng(seed)
    classes = statistics.neighbour_classes.numpy()
    factor = calibration.within_factor.double().numpy()
    back = np.linalg.inv(factor)
    shrunk = back.T @ back
    scale = np.trace(shrunk) / len(shrunk)
    within = (shrunk - SHRINKAGE * scale * np.eye(len(shrunk))) / (1 - SHRINKAGE)
    mean = calibration.embedding_mean.double().numpy()
    centres = (calibration.class_means.double().numpy() - mean) @ factor
    far = np.sqrt(np.square(centres).sum(axis=1) + np.trace(factor.T @ within @ factor))
    unit = statistics.neighbours.double().numpy()
    embedding = mean + (far[classes, None] * unit) @ back
    draws = rng.normal(size=(len(classes), len(centres)))
    whitened = np.linalg.inv(statistics.lead_factors.double().numpy())
    leads = statistics.lead_means.double().numpy()[classes]
    leads = leads + np.einsum("nk,nkj->nj", draws, whitened[classes])
    base = np.log(np.maximum(softmax(leads / calibration.temperature), 1e-300))
    return TaughtCells(
        keys=np.arange(len(classes)),
        classes=classes.astype(np.int64),
        base=np.maximum(base, LEAST).astype(np.float32),
        embedding=embedding.astype(np.float32),
        unusual=np.zeros(len(classes), np.float32),
    )


def fit_head(
    cells: TaughtCells,
    model: ModelBundle,
    n_classes: int,
    *,
    others: TaughtCells | None = None,
    rehearsal: float | None = None,
    seed: int = 0,
) -> TaughtHead:
    """Find the head that taught cells, and what the model knew before, make most probable.

    Parameters
    ----------
    cells : TaughtCells
        At least one.
    model : ModelBundle
        Whose network said what is kept of them.
    n_classes : int
        J, those of the network and new ones.
    others : TaughtCells, optional
        Cells of the same slides that nobody gave a class: they are held to what the network says
        of them as far as nobody contradicted it. Their ``classes`` do not matter.
    rehearsal : float, optional
        Weight of the rehearsal cells of a class, in taught cells.
    seed : int
        For the rehearsal.

    Returns
    -------
    TaughtHead
        Without a validation record; see `with_record`.
    """
    network = model.untaught
    known = len(network.classes)
    if rehearsal is None:
        rehearsal = REHEARSAL if n_classes == known else REHEARSAL_BESIDE_NEW
    axes = component_axes(network, COMPONENTS)
    unknown = float(np.log(NEW))
    old = rehearsal_cells(network, seed)
    some = cells if others is None else cells + others
    rows = np.arange(len(cells))
    each = np.bincount(old.classes, minlength=n_classes)
    counts = np.bincount(cells.classes, minlength=n_classes).astype(np.float64)
    before = softmax(_padded(some.base, n_classes, unknown))
    held, holds = anchors(before, rows, cells.classes, np.ones(len(cells)), counts)
    if others is None:
        held, holds = held[:0], holds[:0]
    whole = cells + old + some[held]
    base = _padded(whole.base, n_classes, unknown)
    looks = away_from_mean(whole.embedding, network) @ axes
    given = np.concatenate([np.full((len(whole), 1), OFFSET), HEAD * looks], axis=1)
    weights = np.concatenate([np.ones(len(cells)), rehearsal / each[old.classes]])
    labels = np.concatenate([cells.classes, old.classes])
    wider = np.where(np.arange(n_classes) < known, 1.0, NEW_HEAD)
    scale, found = most_probable(base, given, wider, labels, weights, before[held], holds)
    return TaughtHead(
        scale=scale,
        offsets=(OFFSET * found[0]).astype(np.float32),
        weights=(HEAD * axes @ found[1:]).astype(np.float32),
        unknown=unknown,
        carried=_carried(cells, network),
        cells=cells,
        validation=ValidationRecord(),
        origin={key: str(network.record()[key]) for key in ("name", "version", "sha256")},
    )


def with_record(
    head: TaughtHead,
    model: ModelBundle,
    *,
    others: TaughtCells | None = None,
    coverage: float = 0.95,
    rehearsal: float | None = None,
    seed: int = 0,
) -> TaughtHead:
    """Return a head with what it promises: its taught cells, each held out from what was learnt."""
    cells, n_classes = head.cells, len(head.offsets)
    if len(cells) < ENOUGH:
        return head
    parts = np.random.default_rng(seed).permutation(np.arange(len(cells)) % FOLDS)
    logits = np.zeros((len(cells), n_classes))
    for part in np.unique(parts):
        here = parts == part
        fitted = head
        if (~here).any():
            fitted = fit_head(
                cells[~here], model, n_classes, others=others, rehearsal=rehearsal, seed=seed
            )
        logits[here] = logits_of(fitted, cells[here], model)
    record = validation_record(logits, cells.classes, coverage)
    return replace(head, validation=record)


def logits_of(head: TaughtHead, cells: TaughtCells, model: ModelBundle) -> Floats:
    """Return what a head says of cells, ``(M, J)``."""
    away = away_from_mean(cells.embedding, model)
    return head.logits(cells.base.astype(np.float64), away)


def _padded(base: NDArray[np.floating], n_classes: int, unknown: float) -> Floats:
    new = np.full((len(base), n_classes - base.shape[1]), unknown)
    return np.concatenate([base.astype(np.float64), new], axis=1)


def _carried(cells: TaughtCells, model: ModelBundle) -> NDArray[np.float32]:
    """Return by how much anomaly scores fall for being like each taught cell (a Gaussian process).

    What a person gave a class is no stranger, nor is what looks like it.
    """
    place = places(cells.embedding, model)
    own = alike(place, place) + np.eye(len(cells))
    return np.asarray(np.linalg.solve(own, cells.unusual.astype(np.float64)), np.float32)
