"""Psychometric functions: accuracy against how easy cells are, by Bayesian inference.

The framework is that of Kuss, Jaekel & Wichmann (2005), computed by psignifit (Schuett, Harmeling,
Macke & Wichmann 2016). With the sigmoid ``S`` from 0 to 1,

    accuracy(x) = g + (1 - g - l) S(x),

where the guess rate ``g`` is fixed at one over the number of classes and the lapse rate ``l`` is
fitted: errors on cells that are easy. The threshold is where ``S`` is 0.8, so before guesses and
lapses; the width is the distance between its 5 and 95 %.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Value of the sigmoid, unscaled by guesses and lapses, at the threshold.
THRESHOLD_AT = 0.8

#: Level of the credible intervals.
LEVEL = 0.95

#: Fewer cells than this say nothing about a curve.
FEWEST = 30

#: Equal steps of the index that answers are counted in.
BLOCKS = 20

#: Points of a curve, and draws from the posterior for its band.
POINTS, DRAWS = 61, 1000

#: What is missing where psignifit is.
NOT_INSTALLED = (
    "psychometric curves need psignifit, which is under the GPL and therefore not installed with "
    "this package: pip install 'napari-cytodiffusion[psychometric]'"
)


def is_available() -> bool:
    """Whether psignifit is installed."""
    return find_spec("psignifit") is not None


def in_blocks(index: Floats, correct: NDArray[np.bool_]) -> Floats:
    """Count answers in steps of the index.

    Parameters
    ----------
    index : (N,) array
        How easy each cell is, 0 to 1.
    correct : (N,) bool array

    Returns
    -------
    (B, 3) array
        Mean index, right answers and answers of each step that has any; an index of few values
        keeps them.
    """
    values, group = np.unique(index, return_inverse=True)
    if len(values) > BLOCKS:
        steps = np.minimum((index * BLOCKS).astype(int), BLOCKS - 1)
        _, group = np.unique(steps, return_inverse=True)
    n = np.bincount(group)
    return np.stack([np.bincount(group, index) / n, np.bincount(group, correct), n], axis=1)


def fit_curve(
    index: Floats, correct: NDArray[np.bool_], n_classes: int, seed: int = 0
) -> dict[str, Any]:
    """Fit a psychometric function to the answers of one observer.

    Parameters
    ----------
    index : (N,) array
        How easy each cell is, 0 to 1.
    correct : (N,) bool array
    n_classes : int
        Gives the guess rate.
    seed : int
        Of the draws that the band of the curve is made of.
    """
    index, correct = np.asarray(index, np.float64), np.asarray(correct, bool)
    blocks = in_blocks(index, correct)
    found: dict[str, Any] = {
        "n": len(index),
        "accuracy": float(correct.mean()) if len(correct) else None,
        "points": [
            {"index": float(x), "accuracy": float(k / n), "n": int(n)} for x, k, n in blocks
        ],
    }
    if len(index) < FEWEST:
        return {**found, "why": f"{len(index)} cells are too few, {FEWEST} are the least"}
    if len(blocks) < 2:
        return {**found, "why": "all cells are equally easy by the index"}
    fit = _psignifit(blocks, n_classes)
    # the mean: with few errors the joint mode lies outside of the marginal intervals
    estimate, ends = fit.parameter_estimate_mean, fit.confidence_intervals
    figures = {"threshold": "threshold", "width": "width", "lapse": "lambda"}
    figures["overdispersion"] = "eta"
    return {
        **found,
        **{name: float(estimate[key]) for name, key in figures.items()},
        "intervals": {
            name: [float(end) for end in ends[key][f"{LEVEL:g}"]] for name, key in figures.items()
        },
        "curve": _curve(fit, n_classes, seed),
        "cautions": _cautions(blocks, ends["threshold"][f"{LEVEL:g}"]),
    }


def _psignifit(blocks: Floats, n_classes: int) -> Any:
    """Posterior of the parameters; the one place that imports psignifit, which is under the GPL."""
    from psignifit import psignifit

    with warnings.catch_warnings():
        # it repeats that its prior takes the threshold to be in the range, which is so
        warnings.simplefilter("ignore")
        return psignifit(
            blocks,
            experiment_type=f"{n_classes}AFC",
            sigmoid="norm",
            thresh_PC=THRESHOLD_AT,
            stimulus_range=(0.0, 1.0),
            confP=(LEVEL,),
            # nobody reads the overdispersion to many digits; this halves the time
            grid_steps={"eta": 10},
            steps_moving_bounds={"eta": 10},
            verbose=False,
            debug=True,  # keeps the posterior, to draw from
        )


def _curve(fit: Any, n_classes: int, seed: int) -> dict[str, list[float]]:
    """Return the curve of the mean parameters and the band of 95 % of the posterior's curves."""
    x, guess = np.linspace(0, 1, POINTS), 1 / n_classes
    sigmoid = fit.configuration.make_sigmoid()
    drawn = fit.posterior_samples(DRAWS, np.random.default_rng(seed))
    lapse = drawn["lambda"][:, None]
    shares = sigmoid(x[None, :], drawn["threshold"][:, None], drawn["width"][:, None])
    low, high = np.quantile(
        guess + (1 - guess - lapse) * shares, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0
    )
    mean = fit.parameter_estimate_mean
    middle = guess + (1 - guess - mean["lambda"]) * sigmoid(x, mean["threshold"], mean["width"])
    return {
        name: [round(float(v), 4) for v in values]
        for name, values in (("index", x), ("accuracy", middle), ("low", low), ("high", high))
    }


def _cautions(blocks: Floats, threshold: tuple[float, float]) -> list[str]:
    """Sentences about what the answers cannot tell."""
    cautions = []
    if (blocks[:, 1] == blocks[:, 2]).all():
        cautions.append("no errors: the curve says only where the threshold is not")
    elif threshold[0] < blocks[0, 0] or threshold[1] > blocks[-1, 0]:
        cautions.append(
            "the interval of the threshold reaches beyond the difficulties that were seen: there "
            "are too few hard cells, or too few errors, to tell"
        )
    return cautions
