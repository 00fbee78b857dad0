"""What is measured on validation data and travels with a bundle."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytodiffusion.model.class_statistics import PREFIX, ClassStatistics, former_thresholds


@dataclass(frozen=True)
class Calibration:
    """Numbers that turn denoising errors into probabilities, sets and alarms.

    Attributes
    ----------
    levels : tuple of int
        Noise levels of the trials, most telling first; trials go round them.
    temperature : float
        Of the posterior, fitted on validation cells at the default budget.
    prior_variance, prior_weight : float
        Variance of a trial's logit difference as found on validation cells, and its weight
        in trials; together they moderate the t-test when few trials are in.
    conformal_scores : (M,) float32 tensor
        Sorted ``1 - p(true class)`` of validation cells.
    conformal_classes : (M,) int64 tensor
        Their true classes, in the same order; empty in bundles that were calibrated without.
    validation_confidence : (V,) float64 tensor
    validation_correct : (V,) bool tensor
        Confidence of validation cells and whether they were right; empty as above.
    typical : ClassStatistics or None
        What the anomaly scores beyond the Mahalanobis distances compare cells with.
    measured : dict of float
        What was asked of the prediction sets and what they gave on validation cells, see
        `cytodiffusion.classification.conformal.measured_coverage`.
    anomaly_threshold : float
        Scores above it are anomalous.
    false_alarms : float
        Share of validation cells above the threshold.
    embedding_mean : (D,) float32 tensor
    class_means : (K, D) float32 tensor
    within_factor, total_factor : (D, D) float32 tensor
        ``x @ factor`` whitens within classes, and over all cells.
    early_thresholds : tuple of float
        Anomaly thresholds for embeddings of 1, 2, ... trials, fewer than the default takes:
        they scatter more, so their scores are higher.
    """

    levels: tuple[int, ...]
    temperature: float
    prior_variance: float
    prior_weight: float
    conformal_scores: Tensor
    anomaly_threshold: float
    false_alarms: float
    embedding_mean: Tensor
    class_means: Tensor
    within_factor: Tensor
    total_factor: Tensor
    early_thresholds: tuple[float, ...] = ()
    conformal_classes: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    validation_confidence: Tensor = field(
        default_factory=lambda: torch.zeros(0, dtype=torch.float64)
    )
    validation_correct: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    typical: ClassStatistics | None = None
    measured: dict[str, float] = field(default_factory=dict)

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Split into a JSON part and a tensor part."""
        content = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "typical"}
        tensors = {k: v.contiguous() for k, v in content.items() if isinstance(v, Tensor)}
        numbers = {k: v for k, v in content.items() if k not in tensors}
        lists = {"levels": list(self.levels), "early_thresholds": list(self.early_thresholds)}
        if self.typical is not None:
            tensors |= self.typical.to_tensors()
        return {**numbers, **lists}, tensors

    @classmethod
    def from_parts(cls, numbers: dict[str, Any], tensors: dict[str, Tensor]) -> Calibration:
        """Undo `to_parts`; TypeError or ValueError if something is missing or unknown."""
        plain = {k: v for k, v in tensors.items() if not k.startswith(PREFIX)}
        content: dict[str, Any] = {**numbers, **plain}
        odd = set(content) - {f.name for f in fields(cls)} | REQUIRED - set(content)
        if odd:
            raise ValueError(f"missing or unknown entries {sorted(odd)}")
        content["levels"] = tuple(int(t) for t in content["levels"])
        content["early_thresholds"] = tuple(float(t) for t in content.get("early_thresholds", ()))
        if former := former_thresholds(tensors):
            content |= {"early_thresholds": former[:-1], "anomaly_threshold": former[-1]}
        content["measured"] = {k: float(v) for k, v in content.get("measured", {}).items()}
        return cls(**content, typical=ClassStatistics.from_tensors(tensors))

    def check(self, n_classes: int, embedding: int) -> None:
        """ValueError unless the tensors fit the network and the numbers make sense."""
        expected = {
            "conformal_scores": (self.conformal_scores.numel(),),
            "embedding_mean": (embedding,),
            "class_means": (n_classes, embedding),
            "within_factor": (embedding, embedding),
            "total_factor": (embedding, embedding),
            "conformal_classes": (self.conformal_classes.numel(),),
            "validation_confidence": (self.validation_confidence.numel(),),
            "validation_correct": (self.validation_confidence.numel(),),
        }
        for name, shape in expected.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"{name} has shape {found}, not {shape}")
            if not getattr(self, name).isfinite().all():
                raise ValueError(f"{name} has entries that are not numbers")
        if len(self.conformal_scores) == 0:
            raise ValueError("there are no conformal scores")
        if len(self.conformal_classes) not in (0, len(self.conformal_scores)):
            raise ValueError("conformal_classes has not one class a score")
        if len(self.conformal_classes) and not (
            self.conformal_classes.min() >= 0 and self.conformal_classes.max() < n_classes
        ):
            raise ValueError("conformal_classes has classes that are not there")
        if not self.levels or not all(0 <= t < 1000 for t in self.levels):
            raise ValueError("noise levels must lie between 0 and 999")
        for name in ("temperature", "prior_variance", "prior_weight"):
            if not 0 < float(getattr(self, name)) < math.inf:
                raise ValueError(f"{name.replace('_', ' ')} must be positive")
        for name in ("anomaly_threshold", "false_alarms"):
            if math.isnan(float(getattr(self, name))):
                raise ValueError(f"{name.replace('_', ' ')} is not a number")
        if self.typical is not None:
            self.typical.check(n_classes, len(self.levels), embedding)

    def threshold(self, trials: int) -> float:
        """Anomaly threshold for embeddings of ``trials`` trials."""
        if trials <= len(self.early_thresholds):
            return self.early_thresholds[trials - 1]
        return self.anomaly_threshold

    def anomaly_score(self, embedding: NDArray[np.floating] | Tensor) -> NDArray[np.float64]:
        """Relative Mahalanobis distance ``(N,)`` of embeddings ``(N, D)``.

        The distance to the nearest class less the distance to all cells taken as one, so that
        what is common to a whole laboratory (stain, focus) matters less (Ren et al. 2021).
        """
        x = torch.as_tensor(embedding).double().cpu()
        within = self.within_factor.double()
        centres = self.class_means.double() @ within
        nearest = torch.cdist(x @ within, centres).square().min(dim=1).values
        overall = ((x - self.embedding_mean.double()) @ self.total_factor.double()).square().sum(1)
        return np.asarray((nearest - overall).numpy())


#: Entries that no calibration can do without.
REQUIRED = {
    "levels",
    "temperature",
    "prior_variance",
    "prior_weight",
    "conformal_scores",
    "anomaly_threshold",
    "false_alarms",
    "embedding_mean",
    "class_means",
    "within_factor",
    "total_factor",
}
