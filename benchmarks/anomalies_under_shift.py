"""Anomalies in laboratories that a model never saw: ordinary cells flagged, a class not known told.

    python benchmarks/anomalies_under_shift.py --data "$DATA" -o results/shift

The score is held against the training, as it is for single cells, and against the slide. A class is
made unknown by leaving it out of the classes that errors are compared over, of what is typical, and
of what thresholds are set on; the network was trained with it, so that the figures compare scores
and say little of a class that was never seen. Unknown cells are a few among the known ones, or
nearly half. What the model makes of cells is kept in the output folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from fields_of_sets import default_data
from laboratories_out import markdown
from laboratory_cells import LEFT_OUT, evidence_of, read_cells
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from cytodiffusion.classification.anomaly import anomaly_scores
from cytodiffusion.classification.decision import Evidence
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.classification.slide_distance import slide_scores
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.calibration import Calibration
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.slide_distance import SlideDistance
from cytodiffusion.training.class_statistics import measure_statistics, standardise

#: Trials that every cell has.
THREE = ClassifySettings(trials=3, min_trials=3)

#: Classes made unknown in turn, and cells of the class to a known one.
UNKNOWN = ("basophil", "eosinophil", "immature granulocyte", "lymphocyte", "monocyte", "neutrophil")
SHARES = {"few": 0.08, "nearly half": 0.8}

#: Training cells of each class that what is typical is measured on.
MOST = 300

DRAWS, FALSE_ALARMS = 5, 0.02


@dataclass(frozen=True)
class Known:
    """A set of cells: evidence of three trials, and class indices ``(N,)``."""

    evidence: Evidence
    labels: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Evidence:
        """Return some cells, and some classes."""
        e = self.evidence
        return Evidence(
            e.logits[rows][:, columns],
            e.trials[rows],
            e.errors_by_level[rows][:, :, columns],
            e.embedding[rows],
            e.all_logits[rows][:, :, columns],
        )


def read(model: ModelBundle, data: Path, name: str, split: str, kept: Path) -> Known:
    """Classify the cells of a laboratory, or find what was made of them."""
    labels_file = kept / f"{name}-{split}-labels.npy"
    file = kept / f"{name}-{split}-three.npz"
    if not (labels_file.is_file() and file.is_file()):
        cells = read_cells(
            data,
            name,
            model.input_size,
            model.window_um,
            split,
            most=MOST if split == "train" else None,
        )
        evidence_of(model, cells, file, THREE)
        names = list(model.class_names)
        np.save(labels_file, np.array([names.index(n) for n in cells.names]))
    with np.load(file) as stored:
        evidence = Evidence(**{key: stored[key] for key in stored.files})
    return Known(evidence, np.load(labels_file))


def without(
    model: ModelBundle, train: Known, val: Known, unknown: int | None
) -> tuple[NDArray[np.int64], Calibration, SlideDistance]:
    """Return the classes that stay, and what is typical of cells, without a class."""
    assert model.slide_distance is not None
    classes = np.array([k for k in np.unique(train.labels) if k != unknown])
    place = {int(k): i for i, k in enumerate(classes)}
    rows, home = (np.flatnonzero(np.isin(s.labels, classes)) for s in (train, val))
    calibration = replace(model.calibration, class_means=model.calibration.class_means[classes])
    labels = np.array([place[int(k)] for k in train.labels[rows]])
    statistics = measure_statistics(train.take(rows, classes), labels, calibration, 0)
    calibration = replace(calibration, class_statistics=statistics)
    seen = val.take(home, classes)
    budgets = [replace(seen, all_logits=seen.all_logits[:, :n]) for n in (1, 2, 3)]
    finished = standardise(calibration, budgets, FALSE_ALARMS)
    calibration = replace(calibration, class_statistics=finished)
    score, called = scored(seen, calibration)
    typical = [score[called == k].mean() for k in range(len(classes))]
    spread = float(np.sqrt(np.square(score - np.array(typical)[called]).mean()))
    none = (0.0,) * len(classes)
    tail = model.slide_distance.tail
    return classes, calibration, SlideDistance(tuple(typical), spread, 0.0, 0.0, none, tail)


def scored(
    seen: Evidence, calibration: Calibration
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the anomaly score of cells ``(N,)``, and what they are taken for."""
    found = anomaly_scores(seen.all_logits, seen.embedding, calibration)["combined"]
    return found, seen.all_logits.astype(np.float64).mean(axis=1).argmax(axis=1)


def slides(labels: NDArray[np.int64], unknown: int, share: float) -> Iterator[NDArray[np.int64]]:
    """Draw slides in which cells of an unknown class are a share of the known ones."""
    odd, rest = np.flatnonzero(labels == unknown), np.flatnonzero(labels != unknown)
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        ordinary = rng.permutation(rest)[: int(len(odd) / share)]
        few = max(3, int(share * len(ordinary)))
        yield np.concatenate([ordinary, rng.permutation(odd)[:few]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=default_data())
    parser.add_argument("--model", default="default")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/shift"))
    options = parser.parse_args()
    model = load_bundle(options.model, device="cpu")
    train = read(model, options.data, "pbc", "train", options.output)
    sets = {"pbc": read(model, options.data, "pbc", "val", options.output)}
    for name in LEFT_OUT:
        sets[name] = read(model, options.data, name, "all", options.output)
    rows = []
    for unknown in (None, *map(model.class_names.index, UNKNOWN)):
        classes, calibration, kept = without(model, train, sets["pbc"], unknown)
        assert calibration.class_statistics is not None
        threshold = calibration.class_statistics.threshold("combined", 3)
        for name, cells in sets.items():
            shares = SHARES if unknown is not None else {"none": 0.0}
            if unknown is not None and (cells.labels == unknown).sum() < 5:
                continue
            for how, share in shares.items():
                drawn = (
                    [np.arange(len(cells.labels))]
                    if unknown is None
                    else slides(cells.labels, unknown, share)
                )
                for index in drawn:
                    score, called = scored(cells.take(index, classes), calibration)
                    held = slide_scores(score, called, kept, threshold)
                    odd = cells.labels[index] == (-1 if unknown is None else unknown)
                    for against, values in (("training", score), ("slide", held)):
                        row = {"laboratory": name, "unknown cells": how, "held against": against}
                        row["ordinary cells flagged"] = (values[~odd] > threshold).mean()
                        if odd.any():
                            limit = np.quantile(values[~odd], 1 - FALSE_ALARMS)
                            row |= {
                                "AUC": roc_auc_score(odd, values),
                                "sensitivity at 2 %": (values[odd] > limit).mean(),
                                "unknown cells flagged": (values[odd] > threshold).mean(),
                            }
                        rows.append(row)
    table = pd.DataFrame(rows)
    keys = ["laboratory", "unknown cells", "held against"]
    print(markdown(table.groupby(keys, sort=False).mean().reset_index()))


if __name__ == "__main__":
    main()
