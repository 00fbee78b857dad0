"""The result of classification: classes and doubts of cells, as arrays and as a table."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Classification:
    """Classes and doubts of N cells.

    Attributes
    ----------
    class_names : tuple of str
        K names.
    posterior : (N, K) float64
        Rows sum to 1.
    predicted : (N,) int64
        Index of the most probable class.
    confidence, entropy, margin : (N,) float64
        Largest probability; entropy in nats; largest minus second largest.
    prediction_set : (N, K) bool
    anomaly_score : (N,) float64
    anomaly : (N,) bool
    trials : (N,) int64
        Trials used.
    errors_by_level : (N, L, K) float32
        Mean error of each class at each noise level; NaN where there was no trial.
    levels : (L,) int64
    anomaly_threshold : float
    logits : (N, K) float64
        Mean logits, before the temperature.
    """

    class_names: tuple[str, ...]
    posterior: NDArray[np.float64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]
    entropy: NDArray[np.float64]
    margin: NDArray[np.float64]
    prediction_set: NDArray[np.bool_]
    anomaly_score: NDArray[np.float64]
    anomaly: NDArray[np.bool_]
    trials: NDArray[np.int64]
    errors_by_level: NDArray[np.float32]
    levels: NDArray[np.int64]
    anomaly_threshold: float
    logits: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.predicted)

    def __getitem__(self, index: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Classification:
        whole = {"class_names", "levels", "anomaly_threshold"}
        parts = {f.name: getattr(self, f.name)[index] for f in fields(self) if f.name not in whole}
        return replace(self, **parts)

    def to_frame(self) -> pd.DataFrame:
        """One row a cell: the columns of ``cells.csv`` that come from classification."""
        names = np.array(self.class_names, dtype=object)
        frame = pd.DataFrame(
            {
                "predicted": names[self.predicted] if len(self) else np.array([], object),
                "confidence": self.confidence,
                "entropy": self.entropy,
                "margin": self.margin,
                "anomaly_score": self.anomaly_score,
                "anomaly": self.anomaly,
                "prediction_set": ["|".join(names[row]) for row in self.prediction_set],
                "trials": self.trials,
            }
        )
        probabilities = pd.DataFrame(self.posterior, columns=[f"p_{n}" for n in self.class_names])
        return pd.concat([frame, probabilities], axis=1)
