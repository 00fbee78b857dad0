"""What the training cells of each class look like to the classifier; travels with a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from torch import Tensor

#: Every anomaly score, in the order of `TypicalCells.thresholds`; higher is more unusual.
SCORES = (
    "combined",
    "shape",
    "profile",
    "contrast",
    "zeta",
    "neighbours",
    "mahalanobis",
    "relative_mahalanobis",
    "error_level",
    "energy",
)

#: Those that the combined score is the mean of, in the order of `TypicalCells.centres`.
COMBINED = ("shape", "profile", "contrast")

#: What the tensors of `ClassStatistics` are called in a bundle.
PREFIX = "typical."


@dataclass(frozen=True)
class ClassStatistics:
    """Typical denoising errors and embeddings of each class, and scores of validation cells.

    Attributes
    ----------
    lead_means : (K, K) float32 tensor
        Row k: mean logits of the cells of class k, less the largest of each cell.
    lead_factors : (K, K, K) float32 tensor
        ``x @ factors[k]`` whitens these within class k.
    shape_means, shape_factors : (K, K) and (K, K, K) float32 tensor
        The same for these logits over minus their mean, cell by cell.
    level_means, level_spreads : (L, K) float32 tensor
        Mean and standard deviation of the logarithm of a cell's error under its own class
        (weighted as in its logit), by noise level.
    neighbours : (M, D) float16 tensor
        Whitened embeddings of training cells, of length 1.
    neighbour_classes : (M,) int64 tensor
    centres, scales : (B, P) float32 tensor
        Median and distance from it to the 90 % quantile of each part of the combined score on
        validation cells after 1 to B trials.
    thresholds : (B, S) float32 tensor
        What the stated share of validation cells exceeds, of every score after 1 to B trials.
    """

    lead_means: Tensor
    lead_factors: Tensor
    shape_means: Tensor
    shape_factors: Tensor
    level_means: Tensor
    level_spreads: Tensor
    neighbours: Tensor
    neighbour_classes: Tensor
    centres: Tensor
    scales: Tensor
    thresholds: Tensor

    def row(self, trials: int) -> int:
        """Row of ``centres``, ``scales`` and ``thresholds`` for scores of so many trials."""
        return min(trials, len(self.centres)) - 1

    def threshold(self, name: str, trials: int) -> float:
        """Threshold of the score ``name`` after ``trials`` trials."""
        return float(self.thresholds[self.row(trials), SCORES.index(name)])

    def to_tensors(self) -> dict[str, Tensor]:
        """Tensors by the names they have in a bundle."""
        return {PREFIX + f.name: getattr(self, f.name).contiguous() for f in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> ClassStatistics | None:
        """Undo `to_tensors`; None where there are none, ValueError if some are missing."""
        found = {k.removeprefix(PREFIX): v for k, v in tensors.items() if k.startswith(PREFIX)}
        if not found:
            return None
        odd = set(found) ^ {f.name for f in fields(cls)}
        if odd:
            raise ValueError(f"missing or unknown entries {sorted(PREFIX + k for k in odd)}")
        return cls(**found)

    def check(self, n_classes: int, n_levels: int, embedding: int) -> None:
        """ValueError unless the tensors fit each other and the network."""
        k, budgets, m = n_classes, len(self.thresholds), len(self.neighbours)
        expected = {
            "lead_means": (k, k),
            "lead_factors": (k, k, k),
            "shape_means": (k, k),
            "shape_factors": (k, k, k),
            "level_means": (n_levels, k),
            "level_spreads": (n_levels, k),
            "neighbours": (m, embedding),
            "neighbour_classes": (m,),
            "centres": (budgets, len(COMBINED)),
            "scales": (budgets, len(COMBINED)),
            "thresholds": (budgets, len(SCORES)),
        }
        for name, shape in expected.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"{PREFIX}{name} has shape {found}, not {shape}")
            if not getattr(self, name).isfinite().all():
                raise ValueError(f"{PREFIX}{name} has entries that are not numbers")
        if not budgets or not m:
            raise ValueError(f"{PREFIX}thresholds and {PREFIX}neighbours must not be empty")
        if self.neighbour_classes.min() < 0 or self.neighbour_classes.max() >= k:
            raise ValueError(f"{PREFIX}neighbour_classes name classes that are not there")
        if not ((self.scales > 0).all() and (self.level_spreads > 0).all()):
            raise ValueError(f"{PREFIX}scales and {PREFIX}level_spreads must be positive")
