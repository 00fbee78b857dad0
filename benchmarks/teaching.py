"""A class taught to a model that does not know it: how much it learns, what it forgets, how long.

    python benchmarks/teaching.py DATA -o results/teaching

For each of PBC's classes the default model is made to forget it (its logits, its statistics), and
is then taught 50 cells of it. DATA is the folder with ``pbc`` and ``manifest.csv``. The trunk of
the network has seen cells of the class, so that this says how well a head does on good features,
and not how good features of a class never seen would be.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from laboratory_cells import evidence_of, read_cells
from torch import Tensor

from cytodiffusion.classification.scores import softmax
from cytodiffusion.classification.taught import LEAST
from cytodiffusion.metrics.scores import balanced_accuracy
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.taught_head import TaughtCells
from cytodiffusion.teaching.head import fit_head, logits_of, with_record

#: Cells of the new class that are taught, cells of each class that are looked at, repetitions.
TAUGHT, OF_EACH, SEEDS = 50, 120, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    model = load_bundle("default", device="cpu")
    cells = read_cells(given.data, "pbc", model.input_size, model.window_um, "test", OF_EACH)
    evidence = evidence_of(model, cells, given.out / "pbc-test.npz")
    names = list(model.class_names)
    truth = np.array([names.index(name) for name in cells.names])
    print("| new class | old classes before | after | loss | new class found | s |")
    print("|---|---:|---:|---:|---:|---:|")
    rows = []
    for new in np.unique(truth):
        tried = [_taught(model, evidence, truth, int(new), seed) for seed in range(SEEDS)]
        before, after, found, seconds = np.mean(tried, axis=0)
        rows.append((before, after, found, seconds))
        _line(names[new], *rows[-1])
    _line("mean", *np.mean(rows, axis=0))


def _line(name: str, before: float, after: float, found: float, seconds: float) -> None:
    loss = 100 * (before - after)
    print(f"| {name} | {before:.3f} | {after:.3f} | {loss:.1f} | {found:.3f} | {seconds:.1f} |")


def _taught(
    model: ModelBundle, evidence: object, truth: np.ndarray, new: int, seed: int
) -> tuple[float, float, float, float]:
    """Balanced accuracy of the old classes before and after, recall of the new one, seconds."""
    others = np.delete(np.arange(len(model.classes)), new)
    ignorant = without_class(model, new)
    place = np.full(len(model.classes), len(others))
    place[others] = np.arange(len(others))
    classes = place[truth]
    logits = evidence.logits[:, others]  # type: ignore[attr-defined]
    base = np.log(np.maximum(softmax(logits / model.calibration.temperature), 1e-300))
    none = np.zeros(len(truth), np.float32)
    cells = TaughtCells(
        keys=np.arange(len(truth)),
        classes=classes,
        base=np.maximum(base, LEAST).astype(np.float32),
        embedding=evidence.embedding,  # type: ignore[attr-defined]
        unusual=none,
    )
    own = np.random.default_rng(seed).permutation(np.flatnonzero(truth == new))
    began = time.perf_counter()
    head = fit_head(cells[own[:TAUGHT]], ignorant, len(others) + 1, seed=seed)
    head = with_record(head, ignorant, seed=seed)
    seconds = time.perf_counter() - began
    said = logits_of(head, cells, ignorant).argmax(axis=1)
    old = truth != new
    return (
        balanced_accuracy(classes[old], base.argmax(axis=1)[old]),
        balanced_accuracy(classes[old], said[old]),
        float((said[own[TAUGHT:]] == len(others)).mean()),
        seconds,
    )


def without_class(model: ModelBundle, gone: int) -> ModelBundle:
    """Return a model that keeps nothing of a class."""
    kept = [k for k in range(len(model.classes)) if k != gone]
    calibration = model.calibration
    statistics = calibration.class_statistics
    assert statistics is not None
    place = torch.tensor([kept.index(k) if k != gone else -1 for k in range(len(model.classes))])
    near = place[statistics.neighbour_classes]
    fewer = replace(
        statistics,
        lead_means=statistics.lead_means[kept][:, kept],
        lead_factors=torch.stack([_part(statistics.lead_factors[k], kept) for k in kept]),
        shape_means=statistics.shape_means[kept][:, kept],
        shape_factors=torch.stack([_part(statistics.shape_factors[k], kept) for k in kept]),
        level_means=statistics.level_means[:, kept],
        level_spreads=statistics.level_spreads[:, kept],
        neighbours=statistics.neighbours[near >= 0],
        neighbour_classes=near[near >= 0],
    )
    return replace(
        model,
        classes=tuple(model.classes[k] for k in kept),
        calibration=replace(
            calibration, class_means=calibration.class_means[kept], class_statistics=fewer
        ),
        slide_correction=None,
        slide_distance=None,
        generator=None,
    )


def _part(factor: Tensor, kept: list[int]) -> Tensor:
    """Return the whitening of some of the dimensions that a factor whitens."""
    back = torch.linalg.inv(factor.double())
    covariance = (back.T @ back)[kept][:, kept]
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors @ values.clamp(min=1e-12).rsqrt().diag() @ vectors.T).float()


if __name__ == "__main__":
    main()
