"""What is known about the classified cells of one label image, looked up by label id."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

#: Ways to walk through the cells in the Inspect widget.
ORDERS = ("uncertainty", "anomaly", "class")

#: Choose the cells for review, or those unlike anything known, among all.
REVIEW, ANOMALY = "review", "anomaly"


@dataclass(frozen=True)
class CellRecord:
    """One classified cell, as the classifier described it.

    Attributes
    ----------
    label : int
        Label id.
    y, x : float
        Centroid in pixels of the image.
    area_um2, touches_border
        As in the table of cells.
    predicted : int
        Index of the class.
    posterior : (K,) float
    prediction_set : (K,) bool
    confidence, entropy, margin : float
        The entropy is in nats.
    anomaly_score, anomaly_threshold : float
    anomaly : bool
    anomaly_scores : dict of float
        Every score by name.
    review : bool
        Whether it is too unsure to be accepted.
    accept_above : float or None
        Confidence that accepted cells are above; None where no error rate was asked for.
    trials : int
    levels : (L,) float
        Noise levels that were tried.
    errors : (L, K) float
        Denoising error of each class at each level; nan where there was no trial.
    """

    label: int
    y: float
    x: float
    area_um2: float
    touches_border: bool
    predicted: int
    posterior: np.ndarray
    prediction_set: np.ndarray
    confidence: float
    entropy: float
    margin: float
    anomaly_score: float
    anomaly_threshold: float
    anomaly: bool
    anomaly_scores: dict[str, float]
    review: bool
    accept_above: float | None
    trials: int
    levels: np.ndarray
    errors: np.ndarray


class Results:
    """Batches of classified cells as they arrive.

    Parameters
    ----------
    class_names : sequence of str
        Names of the classes, in the order of the model.
    colors : sequence of str
        Their colours as ``#rrggbb``.
    """

    def __init__(self, class_names: Any, colors: Any) -> None:
        self.class_names = tuple(class_names)
        self.colors = tuple(colors)
        self.batches: list[Any] = []
        self.counts = np.zeros(len(self.class_names), int)
        self.n_anomalies = 0
        self.n_review = 0
        self.total = 0
        self._where: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, label: int) -> bool:
        return label in self._where

    def add(self, batch: Any) -> None:
        """Take in one `cytodiffusion.pipeline.CellBatch`."""
        # a hundred thousand crops would fill the memory
        batch = batch.without_pixels()
        if batch.revises is None:
            number = len(self.batches)
            self.batches.append(batch)
            ids = batch.crops.ids
            self._where.update({int(label): (number, row) for row, label in enumerate(ids)})
        else:
            self._count(self.batches[batch.revises].result, -1)
            self.batches[batch.revises] = replace(batch, revises=None)
        self._count(batch.result, 1)
        self.total = batch.total

    def _count(self, result: Any, sign: int) -> None:
        self.counts += sign * np.bincount(result.predicted, minlength=len(self.counts))
        self.n_anomalies += sign * int(np.count_nonzero(result.anomaly))
        self.n_review += sign * int(np.count_nonzero(result.review))

    def record(self, label: int) -> CellRecord | None:
        """Everything about one cell, or None when it is not classified."""
        place = self._where.get(int(label))
        if place is None:
            return None
        number, row = place
        crops, result = self.batches[number].crops, self.batches[number].result
        return CellRecord(
            label=int(label),
            y=float(crops.centroids[row, 0]),
            x=float(crops.centroids[row, 1]),
            area_um2=float(crops.areas_um2[row]),
            touches_border=bool(crops.touches_border[row]),
            predicted=int(result.predicted[row]),
            posterior=result.posterior[row],
            prediction_set=result.prediction_set[row],
            confidence=float(result.confidence[row]),
            entropy=float(result.entropy[row]),
            margin=float(result.margin[row]),
            anomaly_score=float(result.anomaly_score[row]),
            anomaly_threshold=float(result.anomaly_threshold),
            anomaly=bool(result.anomaly[row]),
            anomaly_scores={k: float(v[row]) for k, v in result.anomaly_scores.items()},
            review=bool(result.review[row]),
            accept_above=result.accept_above,
            trials=int(result.trials[row]),
            levels=np.asarray(result.levels),
            errors=result.errors_by_level[row],
        )

    def describe(self, label: int) -> str | None:
        """Name a cell, its class and confidence in a few words."""
        place = self._where.get(int(label))
        if place is None:
            return None
        result, row = self.batches[place[0]].result, place[1]
        name = self.class_names[result.predicted[row]]
        unusual = ", unlike anything known" if result.anomaly[row] else ""
        unsure = ", for review" if result.review[row] else ""
        return f"{name} {percent(result.confidence[row])}{unsure}{unusual} (cell {label})"

    def ordered(self, by: str, only: int | str | None = None) -> list[int]:
        """Label ids in the order to look at them.

        Parameters
        ----------
        by : str
            ``"uncertainty"`` (highest entropy first), ``"anomaly"`` (highest score first), or
            ``"class"`` (least confident first within each class).
        only : int, "review", "anomaly" or None
            Only cells of the class of this index, or only those for review or unlike anything
            known.
        """
        if not self.batches:
            return []
        ids = self._column(lambda b: b.crops.ids)
        predicted = self._column(lambda b: b.result.predicted)
        if by == "anomaly":
            keys = [ids, -self._column(lambda b: b.result.anomaly_score)]
        elif by == "class":
            keys = [ids, self._column(lambda b: b.result.confidence), predicted]
        else:
            keys = [ids, -self._column(lambda b: b.result.entropy)]
        order = np.lexsort(keys)
        if only == REVIEW:
            order = order[self._column(lambda b: b.result.review)[order]]
        elif only == ANOMALY:
            order = order[self._column(lambda b: b.result.anomaly)[order]]
        elif only is not None:
            order = order[predicted[order] == only]
        return [int(label) for label in ids[order]]

    def frame(self) -> pd.DataFrame:
        """Table of the cells classified so far, made by the engine."""
        from cytodiffusion.pipeline import cells_frame

        return cells_frame(self.batches)

    def _column(self, get: Any) -> np.ndarray:
        return np.concatenate([np.asarray(get(batch)) for batch in self.batches])


def percent(share: float) -> str:
    """Write a probability as a percentage that never claims certainty it does not have."""
    if share > 0.99:
        return ">99 %" if share < 1 else "100 %"
    return f"{100 * share:.0f} %"
