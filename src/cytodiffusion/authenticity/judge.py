"""A simple judge of the cells of a test, which can say why it takes one for synthetic.

A logistic regression on a dozen measures of texture and colour (`measures`), each relative to
real cells of the same class. It is fitted on the cells of the test itself, by cross-validation:
what it says of a cell comes from the others alone. It knows nothing of how cells are made, so
that what it sees is in the picture for anybody to see.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.authenticity.measures import MEASURES, measured, named
from cytodiffusion.authenticity.standardise import decode
from cytodiffusion.authenticity.statistics import share
from cytodiffusion.authenticity.store import AuthenticityTest
from cytodiffusion.progress import Progress, silent
from cytodiffusion.taxonomy import plain

#: Fewer cells of either kind teach a judge nothing.
FEWEST = 10
#: Parts of the cross-validation.
PARTS = 10
#: Inverse strength of the ridge penalty: a few dozen cells must not make the judge sure.
_STIFFNESS = 0.3
#: Real cells that every class borrows from all classes, where it has few of its own.
_BORROWED = 2.0
#: Odds to one from which evidence has a name; below the first the judge cannot tell.
STRENGTHS = ((3.0, "weak"), (10.0, "moderate"), (100.0, "strong"), (math.inf, "very strong"))
#: Reasons that are named at most, and how far a cell must be from the others, in their spreads.
_REASONS, _APART = 2, 0.4

#: Classes whose darkest part is no nucleus.
_WITHOUT_NUCLEUS = {plain(name) for name in ("platelet", "red cell", "artefact")}


@dataclass(frozen=True)
class Reason:
    """What the judge says of one cell.

    Attributes
    ----------
    probability : float
        That the cell is synthetic, by what the other cells have taught.
    synthetic : bool or None
        What it takes the cell for; None where it cannot tell.
    strength : str
        "none", or one of `STRENGTHS`.
    text : str
        Whole sentences that say what was seen.
    """

    probability: float
    synthetic: bool | None
    strength: str
    text: str


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the judge says of all cells of a test.

    Attributes
    ----------
    synthetic : (N,) bool array
        The truth.
    classes : (N,) str array
    probability : (N,) float array
        That a cell is synthetic, each by a judge that was not fitted on it.
    towards : (N, M) float array
        What each of `MEASURES` adds to the log odds of synthetic.
    from_real, from_synthetic : (N, M) float array
        How far a cell is from the mean of the real cells and of the synthetic cells of its class,
        in standard deviations of the real ones.
    apart : (M,) float array
        How far the synthetic cells of the test are from the real ones, in the same unit.
    """

    synthetic: NDArray[np.bool_]
    classes: NDArray[np.str_]
    probability: NDArray[np.float64]
    towards: NDArray[np.float64]
    from_real: NDArray[np.float64]
    from_synthetic: NDArray[np.float64]
    apart: NDArray[np.float64]

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Whether the likelier kind is the right one, for each cell."""
        return np.asarray((self.probability > 0.5) == self.synthetic)

    @cached_property
    def accuracy(self) -> dict[str, Any]:
        """Share of right answers with its exact interval."""
        return share(int(self.right.sum()), len(self.right))

    @property
    def can_tell(self) -> bool:
        """Whether it is better than guessing over all cells."""
        return bool(self.accuracy["interval"][0] > 0.5)

    def reason(self, cell: int) -> Reason:
        """Say what the judge takes a cell for, and why."""
        p = float(self.probability[cell])
        value = self.accuracy["value"]
        if not self.can_tell:
            text = (
                f"The judge does not know: it is right about {value:.0%} of the cells of this "
                "test, which is no better than guessing."
            )
            return Reason(p, None, "none", text)
        odds = max(p, 1 - p) / max(min(p, 1 - p), 1e-12)
        if odds < STRENGTHS[0][0]:
            return Reason(p, None, "none", "The judge cannot tell this one either.")
        says = p > 0.5
        strength = next(name for most, name in STRENGTHS if odds < most)
        wrong = says != bool(self.synthetic[cell])
        kind = "synthetic" if says else "real"
        seen = self._seen(cell, says)
        head = f"The judge takes it for {kind}, wrongly" if wrong else f"The judge says {kind}"
        # more than the cells of the test can bear out is not claimed
        most = len(self.probability) // 2
        how = f"about {odds:.0f}" if odds < most else f"more than {most}"
        text = f"{head}: {seen}. {strength.capitalize()} evidence ({how} to 1)."
        return Reason(p, says, strength, text)

    def _seen(self, cell: int, says: bool) -> str:
        """Name the measures that speak most for what the judge says."""
        towards = self.towards[cell] if says else -self.towards[cell]
        off = self.from_real[cell] if says else self.from_synthetic[cell]
        # a measure counts as a reason where it differs as the two kinds differ
        agrees = np.sign(off) == (np.sign(self.apart) if says else -np.sign(self.apart))
        bare = plain(str(self.classes[cell])) in _WITHOUT_NUCLEUS
        telling = [
            k
            for k in np.argsort(-towards)
            if towards[k] > 0
            and agrees[k]
            and abs(off[k]) > _APART
            and not (bare and MEASURES[k].of_nucleus)
        ][:_REASONS]
        other = "real" if says else "synthetic"
        if not telling:
            return "no measure stands out, many small differences add up"
        return f"{named(telling, [off[k] > 0 for k in telling])} than in {other} cells of its class"

    def overall(self) -> str:
        """Say in two sentences how good the judge is and what it goes by."""
        found = self.accuracy
        low, high = found["interval"]
        text = (
            f"A judge of {len(MEASURES)} measures of texture and colour is right about "
            f"{found['right']} of {found['n']} cells ({found['value']:.3f}, 95 % interval "
            f"{low:.3f} to {high:.3f}), each of which it had not been fitted on."
        )
        if not self.can_tell:
            return f"{text} That is no better than guessing."
        most = [k for k in np.argsort(-abs(self.apart))[:3] if abs(self.apart[k]) > _APART]
        if not most:
            return f"{text} No single measure differs much; it goes by many small differences."
        said = named(most, [self.apart[k] > 0 for k in most])
        return f"{text} Of a synthetic cell it says above all: {said} than in real cells."

    def record(self) -> dict[str, Any]:
        """Return the figures for ``result.json``."""
        return {
            "accuracy": self.accuracy,
            "classes": {
                str(name): share(int(self.right[own].sum()), int(own.sum()))
                for name in np.unique(self.classes)
                for own in [self.classes == name]
            },
            "measures": {
                measure.key: round(float(value), 3)
                for measure, value in zip(MEASURES, self.apart, strict=True)
            },
            "sentence": self.overall(),
        }


def judge_test(path: Path, progress: Progress = silent) -> Judgement | None:
    """Let a judge look at all cells of a test; None where they are too few to learn from."""
    with AuthenticityTest(path, writable=False) as test:
        rows = test.rows("SELECT image, synthetic, class FROM cells ORDER BY id")
        window_um, seed = float(test.record["window_um"]), test.seed
    synthetic = np.array([bool(row[1]) for row in rows])
    if min(synthetic.sum(), (~synthetic).sum()) < FEWEST:
        return None
    values = []
    for number, (image, _, _) in enumerate(rows):
        progress(0.9 * number / len(rows), "the judge looks at the cells")
        values.append(measured(decode(bytes(image)), window_um))
    found = judge(np.array(values), synthetic, [str(row[2]) for row in rows], seed)
    progress(1.0, "the judge has looked at the cells")
    return found


def judge(
    values: NDArray[np.float64],
    synthetic: NDArray[np.bool_],
    classes: Sequence[str],
    seed: int = 0,
) -> Judgement:
    """Judge every cell by what the others teach.

    Parameters
    ----------
    values : (N, M) float array
        `MEASURES` of each cell; NaN where one could not be measured.
    synthetic : (N,) bool array
    classes : sequence of N str
    seed : int
        Of the parts of the cross-validation.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    names = np.array(list(classes), dtype=str)
    n, m = values.shape
    smaller = int(min(synthetic.sum(), (~synthetic).sum()))
    probability = np.empty(n)
    towards, from_real, from_synthetic = (np.empty((n, m)) for _ in range(3))
    parts = StratifiedKFold(min(PARTS, smaller), shuffle=True, random_state=seed)
    for fitted, kept in parts.split(values, synthetic):
        scale = _Scale(values[fitted], synthetic[fitted], names[fitted])
        x, new = scale.off(values[fitted], names[fitted]), scale.off(values[kept], names[kept])
        model = LogisticRegression(C=_STIFFNESS, max_iter=1000).fit(x, synthetic[fitted])
        probability[kept] = model.predict_proba(new)[:, 1]
        # from the middle between both kinds: what is typical of neither speaks for neither
        middle = (x[synthetic[fitted]].mean(axis=0) + x[~synthetic[fitted]].mean(axis=0)) / 2
        towards[kept] = model.coef_[0] * (new - middle)
        from_real[kept] = new
        from_synthetic[kept] = scale.off(values[kept], names[kept], made=True)
    whole = _Scale(values, synthetic, names).off(values, names)
    apart = whole[synthetic].mean(axis=0) - whole[~synthetic].mean(axis=0)
    return Judgement(synthetic, names, probability, towards, from_real, from_synthetic, apart)


class _Scale:
    """Means of both kinds of cells for each class, and the spread of real cells."""

    def __init__(
        self,
        values: NDArray[np.float64],
        synthetic: NDArray[np.bool_],
        classes: NDArray[np.str_],
    ) -> None:
        self._means = {
            made: _class_means(values[synthetic == made], classes[synthetic == made])
            for made in (False, True)
        }
        rest = values[~synthetic] - self._of(classes[~synthetic], made=False)
        spread = np.nanstd(np.where(np.isnan(rest), 0.0, rest), axis=0)
        self._spread = np.where(spread > 0, spread, 1.0)

    def off(
        self, values: NDArray[np.float64], classes: NDArray[np.str_], made: bool = False
    ) -> NDArray[np.float64]:
        """How far cells are from the mean of a kind; 0 where nothing was measured."""
        found = (values - self._of(classes, made)) / self._spread
        return np.asarray(np.clip(np.nan_to_num(found, nan=0.0), -8, 8))

    def _of(self, classes: NDArray[np.str_], made: bool) -> NDArray[np.float64]:
        means, overall = self._means[made]
        return np.array([means.get(str(name), overall) for name in classes])


def _class_means(
    values: NDArray[np.float64], classes: NDArray[np.str_]
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    """Mean of each class, drawn towards that of all where it has few cells; and that of all."""
    there = ~np.isnan(values)
    filled = np.where(there, values, 0.0)
    overall = filled.sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    means = {}
    for name in np.unique(classes):
        own = classes == name
        total = filled[own].sum(axis=0) + _BORROWED * overall
        means[str(name)] = total / (there[own].sum(axis=0) + _BORROWED)
    return means, overall
