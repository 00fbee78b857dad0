"""The result of classification: classes and uncertainty of cells, as arrays and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.traits import Trait

if TYPE_CHECKING:
    import pandas as pd

#: What a classification has once, or takes apart by itself, rather than an entry a cell.
WHOLE = {
    *("class_names", "levels", "anomaly_threshold", "anomaly_scores"),
    *("slide_distance", "sure_before"),
    *("accept_above", "certainty_name", "adjusted", "traits"),
}

#: Where more than this share of at least so many cells is flagged, something is wrong with all.
MANY, ENOUGH = 0.2, 10


@dataclass(frozen=True, eq=False)
class Classification:
    """Classes and uncertainty of N cells.

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
    anomaly_scores : dict of (N,) float64
        Every score by name, ``anomaly_score`` being one of them; see
        `cytodiffusion.classification.anomaly`.
    accept_above : float or None
        Cells whose certainty is not above it are for review; None where no error rate was asked
        for.
    certainty_name : str
        Which of ``confidence`` and ``margin`` is the `certainty`.
    embedding : (N, D) float32 or None
        What the network makes of each cell, mean over the first trials.
    adjusted : bool
        Whether classes and uncertainty were corrected for what all cells have in common
        (`cytodiffusion.classification.slide_correction`); ``logits`` never are.
    slide_distance, sure_before : float or None
        How far the slide is from the training, and the mean confidence before that lowered it
        (`cytodiffusion.classification.slide_distance`); None where it was not measured.
    contradiction : (N,) bool or None
        Cells whose class contradicts what the segmentation saw
        (`cytodiffusion.classification.contradiction`); None where it did not say.
    by_prior : (N,) bool or None
        Cells that the prior over classes gave another class than they would have without it
        (`cytodiffusion.classification.prior`); None where there was none.
    traits : tuple of Trait
        What the model tells beside the class (`cytodiffusion.traits`).
    trait_probabilities : (N, S) float32 or None
        Of the values of all traits, one after the other; those of each trait sum to 1.
    coarse : Classification or None
        The same cells on the coarse level, where the classes are the finer ones
        (`cytodiffusion.classification.levels`).
    human, observer : (N,) object or None
        Classes that people gave, and who they are, ``""`` where nobody did; classes of one cell
        that contradict each other stand beside each other, with ``|`` between. ``predicted`` is
        never written over. None where no cell was corrected
        (`cytodiffusion.classification.corrections`).
    human_class : (N,) int64 or None
        The class of this level that people meant; -1 where nobody said any, or where they disagree.
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
    anomaly_scores: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    accept_above: float | None = None
    certainty_name: Literal["confidence", "margin"] = "confidence"
    embedding: NDArray[np.float32] | None = None
    adjusted: bool = False
    contradiction: NDArray[np.bool_] | None = None
    by_prior: NDArray[np.bool_] | None = None
    traits: tuple[Trait, ...] = ()
    trait_probabilities: NDArray[np.float32] | None = None
    coarse: Classification | None = None
    human: NDArray[np.object_] | None = None
    observer: NDArray[np.object_] | None = None
    human_class: NDArray[np.int64] | None = None
    slide_distance: float | None = None
    sure_before: float | None = None

    @property
    def certainty(self) -> NDArray[np.float64]:
        """What cells ``(N,)`` are put in order and accepted by, the surest highest."""
        return self.margin if self.certainty_name == "margin" else self.confidence

    @property
    def review(self) -> NDArray[np.bool_]:
        """Cells ``(N,)`` too unsure for the error rate asked for, or with a contradicted class.

        Too unsure are also those that have their class from the prior: the rate was measured
        without one, and where another mixture comes than was expected, it is these that are wrong.
        On the fine level they are those of the coarse one, whose errors the rate is about.
        None of those that a person gave a class: somebody has looked.
        """
        if self.coarse is not None:
            return self.coarse.review
        flagged = self.contradicted
        if self.accept_above is not None:
            flagged |= (self.certainty <= self.accept_above) | self.decided_by_prior
        return flagged & (self.by_human < 0)

    @property
    def by_human(self) -> NDArray[np.int64]:
        """Classes ``(N,)`` that people gave; -1 where nobody did, or where they disagree."""
        return np.full(len(self), -1, np.int64) if self.human_class is None else self.human_class

    @property
    def human_names(self) -> NDArray[np.object_]:
        """Classes ``(N,)`` that people gave, as this level calls them; ``""`` where nobody did."""
        assert self.human is not None
        names = np.array(self.class_names, object)
        return np.where(self.by_human >= 0, names[self.by_human], self.human)

    @property
    def final(self) -> NDArray[np.int64]:
        """Classes ``(N,)`` to count: what a person said, else what was predicted."""
        said = self.by_human
        return np.asarray(np.where(said >= 0, said, self.predicted))

    @property
    def contradicted(self) -> NDArray[np.bool_]:
        """Cells ``(N,)`` whose class contradicts what the segmentation saw; none where unsaid."""
        if self.contradiction is None:
            return np.zeros(len(self), bool)
        return self.contradiction.copy()

    @property
    def decided_by_prior(self) -> NDArray[np.bool_]:
        """Cells ``(N,)`` that have their class from the prior; none where there was none."""
        return np.zeros(len(self), bool) if self.by_prior is None else self.by_prior.copy()

    @property
    def no_class_fits(self) -> NDArray[np.bool_]:
        """Cells ``(N,)`` that no class fits well enough: their prediction set is empty."""
        return np.asarray(~np.asarray(self.prediction_set, bool).any(axis=1))

    def __len__(self) -> int:
        return len(self.predicted)

    def __getitem__(self, index: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Classification:
        cellwise = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in WHOLE}
        parts = {name: value[index] for name, value in cellwise.items() if value is not None}
        scores = {name: score[index] for name, score in self.anomaly_scores.items()}
        return replace(self, **parts, anomaly_scores=scores)

    def to_frame(self) -> pd.DataFrame:
        """One row a cell: the columns of ``cells.csv`` that come from classification.

        Classes of one name, such as those that were merged in a study, have one column: the sum.
        """
        import pandas as pd

        from cytodiffusion.classification.levels import told_columns  # it needs this module

        names = np.array(self.class_names, dtype=object)

        frame = pd.DataFrame(
            {
                "predicted": names[self.predicted] if len(self) else np.array([], object),
                "confidence": self.confidence,
                "entropy": self.entropy,
                "margin": self.margin,
                "anomaly_score": self.anomaly_score,
                "anomaly": self.anomaly,
                "prediction_set": [
                    "|".join(dict.fromkeys(names[row])) for row in self.prediction_set
                ],
                "trials": self.trials,
                "review": self.review,
                "contradiction": self.contradicted,
                "by_prior": self.decided_by_prior,
                "no_class_fits": self.no_class_fits,
                **told_columns(self),
            }
        )
        if self.human is not None and self.observer is not None:
            frame["human"], frame["observer"] = self.human_names, self.observer
        probabilities = pd.DataFrame(self.posterior, columns=[f"p_{n}" for n in self.class_names])
        if not probabilities.columns.is_unique:
            probabilities = probabilities.T.groupby(level=0, sort=False).sum().T
        return pd.concat([frame, probabilities], axis=1)


def join(results: Sequence[Classification]) -> Classification:
    """Results of several batches of cells as one."""
    first = results[0]
    if len(results) == 1:
        return first
    nothing = first[:0]
    joined = {
        f.name: _join([getattr(r, f.name) for r in results])
        for f in fields(first)
        if _is_per_cell(getattr(first, f.name), getattr(nothing, f.name))
    }
    return replace(first, **joined)


def _is_per_cell(value: Any, emptied: Any) -> bool:
    """Whether a field shrank with its cells."""
    if isinstance(value, Classification):
        return True
    if isinstance(value, dict):
        return any(_is_per_cell(value[key], emptied[key]) for key in value)
    return isinstance(value, np.ndarray) and value.ndim > 0 and len(emptied) == 0 < len(value)


def _join(values: Sequence[Any]) -> Any:
    if isinstance(values[0], Classification):
        return join(values)
    if isinstance(values[0], dict):
        return {key: _join([v[key] for v in values]) for key in values[0]}
    return np.concatenate(values)


def unpromised(error_rate: float | None, accept_above: float | None) -> str | None:
    """Return a sentence where no cell is too unsure because the model can promise no rate."""
    if error_rate is None or accept_above is not None:
        return None
    return (
        f"No cell is marked as too unsure: the model cannot promise that at most "
        f"{100 * error_rate:.3g} % of the others are wrong."
    )


def many_unlike(flagged: int, cells: int) -> str | None:
    """Return a sentence of warning where many of the cells are anomalous, else None."""
    if cells < ENOUGH or flagged <= MANY * cells:
        return None
    return (
        f"{flagged:,} of {cells:,} cells are unlike those the model was trained on: stain, focus "
        "or scale may be new to it. Check some of them, or train on cells of your own."
    )
