"""What is kept of the validation cells of a model, by whatever makes promises from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

#: Attributes that are tensors: their name on disk and their type.
STORED = {
    "scores": ("conformal_scores", torch.float32),
    "classes": ("conformal_classes", torch.int64),
    "confidence": ("validation_confidence", torch.float64),
    "correct": ("validation_correct", torch.bool),
}


@dataclass(frozen=True)
class ValidationRecord:
    """How sure a model is of validation cells, and how right.

    Attributes
    ----------
    scores : (M,) float32 tensor
        Sorted ``1 - p(true class)``.
    classes : (M,) int64 tensor
        True classes in the same order; empty in older models.
    confidence : (V,) float64 tensor
        What cells are accepted by, the surest highest; empty in older models.
    correct : (V,) bool tensor
        Whether those cells were classified right.
    temperature : float
        Of the posterior, fitted on the same cells.
    measured : dict of float
        What was asked of the prediction sets and what they gave, see
        `cytodiffusion.classification.conformal.measured_coverage`.
    """

    scores: Tensor = field(default_factory=lambda: torch.zeros(1))
    classes: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    confidence: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    correct: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    temperature: float = 1.0
    measured: dict[str, float] = field(default_factory=dict)

    def to_tensors(self, prefix: str = "") -> dict[str, Tensor]:
        """Return the tensors by their names on disk."""
        return {
            prefix + name: getattr(self, own).to("cpu", kind).contiguous()
            for own, (name, kind) in STORED.items()
        }

    @classmethod
    def from_tensors(
        cls,
        tensors: Mapping[str, Tensor],
        temperature: float,
        measured: Mapping[str, float],
        n_classes: int,
    ) -> ValidationRecord:
        """Undo `to_tensors`; ValueError where entries are missing, unknown or make no sense."""
        own = {name: key for key, (name, _) in STORED.items()}
        if odd := sorted(set(tensors) - set(own)) or sorted({"conformal_scores"} - set(tensors)):
            raise ValueError(f"missing or unknown entries {odd}")
        found = cls(
            **{own[name]: tensor for name, tensor in tensors.items()},
            temperature=float(temperature),
            measured={str(k): float(v) for k, v in measured.items()},
        )
        found.check(n_classes)
        return found

    def check(self, n_classes: int) -> None:
        """ValueError unless the tensors fit each other and ``n_classes``."""
        for own, (name, kind) in STORED.items():
            tensor: Tensor = getattr(self, own)
            if tensor.ndim != 1 or tensor.dtype != kind:
                raise ValueError(f"{name} has entries of another kind")
            if not tensor.isfinite().all():
                raise ValueError(f"{name} has entries that are not numbers")
        if not len(self.scores):
            raise ValueError("there are no conformal scores")
        if len(self.classes) not in (0, len(self.scores)):
            raise ValueError("conformal_classes has not one class a score")
        if len(self.classes) and not 0 <= self.classes.min() <= self.classes.max() < n_classes:
            raise ValueError("conformal_classes has classes that are not there")
        if len(self.confidence) != len(self.correct):
            raise ValueError("confidence and correct must be of the same validation cells")
        if not 0 < self.temperature < math.inf:
            raise ValueError("temperature must be positive")
