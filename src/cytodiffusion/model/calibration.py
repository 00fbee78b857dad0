"""What is measured on validation data and travels with a bundle."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytodiffusion.model.class_statistics import PREFIX, ClassStatistics
from cytodiffusion.model.validation_record import STORED, ValidationRecord

#: Entries that no calibration can do without.
NUMBERS = ("prior_variance", "prior_weight", "anomaly_threshold", "false_alarms")
TENSORS = ("embedding_mean", "class_means", "within_factor", "total_factor")

#: Entries on disk that are the validation record's, beside its temperature.
RECORDED = {name for name, _ in STORED.values()} | {"temperature", "measured"}


@dataclass(frozen=True)
class Calibration:
    """Numbers that turn denoising errors into probabilities, sets and alarms.

    Attributes
    ----------
    levels : tuple of int
        Noise levels of the trials, most informative first; trials go round them.
    validation : ValidationRecord
        Of validation cells at the default budget, with the temperature of the posterior.
    prior_variance, prior_weight : float
        Variance of a trial's logit difference as found on validation cells, and its weight
        in trials; together they moderate the t-test when few trials are in.
    class_statistics : ClassStatistics or None
        What the anomaly scores beyond the Mahalanobis distances compare cells with.
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
    validation: ValidationRecord
    prior_variance: float
    prior_weight: float
    anomaly_threshold: float
    false_alarms: float
    embedding_mean: Tensor
    class_means: Tensor
    within_factor: Tensor
    total_factor: Tensor
    early_thresholds: tuple[float, ...] = ()
    class_statistics: ClassStatistics | None = None

    @property
    def temperature(self) -> float:
        """Of the posterior."""
        return self.validation.temperature

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Split into a JSON part and a tensor part."""
        content = {f.name: getattr(self, f.name) for f in fields(self)}
        tensors = {k: v.contiguous() for k, v in content.items() if isinstance(v, Tensor)}
        numbers = {name: content[name] for name in NUMBERS}
        numbers |= {name: list(content[name]) for name in ("levels", "early_thresholds")}
        numbers |= {"temperature": self.temperature, "measured": self.validation.measured}
        tensors |= self.validation.to_tensors()
        if self.class_statistics is not None:
            tensors |= self.class_statistics.to_tensors()
        return numbers, tensors

    @classmethod
    def from_parts(
        cls, numbers: dict[str, Any], tensors: dict[str, Tensor], n_classes: int
    ) -> Calibration:
        """Undo `to_parts`; TypeError or ValueError if something is missing or unknown."""
        plain = {k: v for k, v in tensors.items() if not k.startswith(PREFIX)}
        content: dict[str, Any] = {**numbers, **plain}
        known = {f.name for f in fields(cls)} - {"validation", "class_statistics"}
        lacking = {*NUMBERS, *TENSORS, "levels", "temperature"} - set(content)
        if odd := set(content) - known - RECORDED | lacking:
            raise ValueError(f"missing or unknown entries {sorted(odd)}")
        temperature, measured = content.pop("temperature"), content.pop("measured", {})
        record = {name: content.pop(name) for name in RECORDED & set(content)}
        content["levels"] = tuple(int(t) for t in content["levels"])
        content["early_thresholds"] = tuple(float(t) for t in content.get("early_thresholds", ()))
        return cls(
            **content,
            validation=ValidationRecord.from_tensors(record, temperature, measured, n_classes),
            class_statistics=ClassStatistics.from_tensors(tensors),
        )

    def check(self, n_classes: int, embedding: int) -> None:
        """ValueError unless the tensors fit the network and the numbers make sense."""
        shapes = ((embedding,), (n_classes, embedding), *[(embedding, embedding)] * 2)
        for name, shape in zip(TENSORS, shapes, strict=True):
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"{name} has shape {found}, not {shape}")
            if not getattr(self, name).isfinite().all():
                raise ValueError(f"{name} has entries that are not numbers")
        self.validation.check(n_classes)
        if not self.levels or not all(0 <= t < 1000 for t in self.levels):
            raise ValueError("noise levels must lie between 0 and 999")
        for name in ("prior_variance", "prior_weight"):
            if not 0 < float(getattr(self, name)) < math.inf:
                raise ValueError(f"{name.replace('_', ' ')} must be positive")
        for name in ("anomaly_threshold", "false_alarms"):
            if math.isnan(float(getattr(self, name))):
                raise ValueError(f"{name.replace('_', ' ')} is not a number")
        if self.class_statistics is not None:
            self.class_statistics.check(n_classes, len(self.levels), embedding)

    def threshold(self, trials: int) -> float:
        """Anomaly threshold for embeddings of ``trials`` trials."""
        if trials <= len(self.early_thresholds):
            return self.early_thresholds[trials - 1]
        return self.anomaly_threshold

    @cached_property
    def principal_axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Principal axes of the embeddings of training cells, the one of most variance first.

        They follow from ``total_factor``, which every bundle has, and do not depend on the cells
        that are looked at: a slide may have too few, or hardly any but red ones.

        Returns
        -------
        axes : (D, D) float64 array
            ``(x - embedding_mean) @ axes`` has columns of variance 1 over training cells.
        spread : (D,) float64 array
            Standard deviation along each axis of embeddings whose every entry has that of 1.
        """
        factor = self.total_factor.double().numpy()
        covariance = np.linalg.pinv(factor @ factor.T, hermitian=True)
        scale = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
        found, axes = np.linalg.eigh(covariance / np.outer(scale, scale))
        spread = np.sqrt(np.maximum(found[::-1], 1e-6))
        return axes[:, ::-1] / scale[:, None] / spread, spread

    def anomaly_score(self, embedding: NDArray[np.floating] | Tensor) -> NDArray[np.float64]:
        """Relative Mahalanobis distance ``(N,)`` of embeddings ``(N, D)``.

        The distance to the nearest class less the distance to all cells taken as one, so that
        what all cells of a slide share (stain, focus) matters less (Ren et al. 2021).
        """
        x = torch.as_tensor(embedding).double().cpu()
        within = self.within_factor.double()
        centres = self.class_means.double() @ within
        nearest = torch.cdist(x @ within, centres).square().min(dim=1).values
        overall = ((x - self.embedding_mean.double()) @ self.total_factor.double()).square().sum(1)
        return np.asarray((nearest - overall).numpy())
