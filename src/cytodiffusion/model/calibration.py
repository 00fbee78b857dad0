"""What is measured on validation data and travels with a bundle."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor


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

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Split into a JSON part and a tensor part."""
        content = {f.name: getattr(self, f.name) for f in fields(self)}
        tensors = {k: v.contiguous() for k, v in content.items() if isinstance(v, Tensor)}
        numbers = {k: v for k, v in content.items() if k not in tensors}
        lists = {"levels": list(self.levels), "early_thresholds": list(self.early_thresholds)}
        return {**numbers, **lists}, tensors

    @classmethod
    def from_parts(cls, numbers: dict[str, Any], tensors: dict[str, Tensor]) -> Calibration:
        """Undo `to_parts`; TypeError or ValueError if something is missing or unknown."""
        content: dict[str, Any] = {**numbers, **tensors}
        content.setdefault("early_thresholds", ())
        known = {f.name for f in fields(cls)}
        if set(content) != known:
            raise ValueError(f"missing or unknown entries {sorted(set(content) ^ known)}")
        content["levels"] = tuple(int(t) for t in content["levels"])
        content["early_thresholds"] = tuple(float(t) for t in content["early_thresholds"])
        return cls(**content)

    def check(self, n_classes: int, embedding: int) -> None:
        """ValueError unless the tensors fit the network and the numbers make sense."""
        expected = {
            "conformal_scores": (self.conformal_scores.numel(),),
            "embedding_mean": (embedding,),
            "class_means": (n_classes, embedding),
            "within_factor": (embedding, embedding),
            "total_factor": (embedding, embedding),
        }
        for name, shape in expected.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"{name} has shape {found}, not {shape}")
            if not getattr(self, name).isfinite().all():
                raise ValueError(f"{name} has entries that are not numbers")
        if len(self.conformal_scores) == 0:
            raise ValueError("there are no conformal scores")
        if not self.levels or not all(0 <= t < 1000 for t in self.levels):
            raise ValueError("noise levels must lie between 0 and 999")
        for name in ("temperature", "prior_variance", "prior_weight"):
            if not 0 < float(getattr(self, name)) < math.inf:
                raise ValueError(f"{name.replace('_', ' ')} must be positive")
        for name in ("anomaly_threshold", "false_alarms"):
            if math.isnan(float(getattr(self, name))):
                raise ValueError(f"{name.replace('_', ' ')} is not a number")

    def threshold(self, trials: int) -> float:
        """Anomaly threshold for embeddings of ``trials`` trials."""
        if trials <= len(self.early_thresholds):
            return self.early_thresholds[trials - 1]
        return self.anomaly_threshold

    def anomaly_score(self, embedding: Tensor) -> Tensor:
        """Relative Mahalanobis distance ``(N,)`` of embeddings ``(N, D)``.

        The distance to the nearest class less the distance to all cells taken as one, so that
        what is common to a whole laboratory (stain, focus) matters less (Ren et al. 2021).
        """
        x = embedding.double().cpu()
        within = self.within_factor.double()
        centres = self.class_means.double() @ within
        nearest = torch.cdist(x @ within, centres).square().min(dim=1).values
        overall = ((x - self.embedding_mean.double()) @ self.total_factor.double()).square().sum(1)
        return nearest - overall
