"""What is kept of the validation cells of a model, by whatever makes promises from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Attributes that are tensors: their name on disk and their type.
STORED = {
    "scores": ("conformal_scores", torch.float32),
    "classes": ("conformal_classes", torch.int64),
    "confidence": ("validation_confidence", torch.float64),
    "correct": ("validation_correct", torch.bool),
    "true": ("validation_true", torch.int64),
    "called": ("validation_called", torch.int64),
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
    true, called : (V,) int64 tensor
        True classes of those cells, and what they were classified as; empty in older models.
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
    true: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    called: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    temperature: float = 1.0
    measured: dict[str, float] = field(default_factory=dict)

    def to_tensors(self, prefix: str = "") -> dict[str, Tensor]:
        """Return the tensors by their names on disk."""
        return {
            prefix + name: getattr(self, own).to("cpu", kind).contiguous()
            for own, (name, kind) in STORED.items()
        }

    def among(self, wanted: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """Return which cells ``(V,)`` are of certain classes, or were taken for one of them.

        Older models kept no classes beside the confidence. Those of right cells are found by their
        scores, wrong cells are then counted as wanted ones, which promises less rather than more;
        None where that cannot be told either.

        Parameters
        ----------
        wanted : (K,) bool array
        """
        correct = self.correct.numpy()
        if len(self.true) and len(self.called):
            return np.asarray(wanted[self.true.numpy()] | wanted[self.called.numpy()])
        scores, classes = self.scores.numpy(), self.classes.numpy()
        if not len(classes) or len(classes) != len(correct):
            return None
        own = (1 - self.confidence.numpy()[correct]).astype(np.float32)
        places = np.minimum(np.searchsorted(scores, own), len(scores) - 1)
        if not np.array_equal(scores[places], own):
            return None
        found = np.ones(len(correct), bool)
        found[correct] = wanted[classes[places]]
        return found

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
        for name in ("true", "called"):
            classes: Tensor = getattr(self, name)
            if len(classes) not in (0, len(self.correct)):
                raise ValueError(f"validation_{name} must be of the same validation cells")
            if len(classes) and not 0 <= classes.min() <= classes.max() < n_classes:
                raise ValueError(f"validation_{name} has classes that are not there")
        if not 0 < self.temperature < math.inf:
            raise ValueError("temperature must be positive")
