"""Trials of the diffusion classifier, and when to stop them.

A trial is one noise level, one noise and one turn of the crop, shared by all classes and all
cells. Each adds a logit ``-s(t) error_c`` a class; classes that trail the best one
significantly are eliminated by a paired t-test (Clark & Jaini 2023), and a cell is done
when one class is left or the budget is spent. Most cells are done after one trial
(`settled_at_once`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import stdtr
from torch import Tensor

from cytodiffusion.classification.anomaly import anomaly_threshold, combined_score
from cytodiffusion.model.calibration import Calibration


@dataclass(frozen=True)
class Trial:
    """One noise level, noise and turn, the same for every cell."""

    number: int
    level_index: int
    level: int
    quarter_turns: int
    mirrored: bool
    epsilon: Tensor  #: (1, C, H, W)

    def turn(self, pixels: Tensor) -> Tensor:
        """Turn (and mirror) ``pixels (N, 3, S, S)``; pixels stay where the grid is."""
        turned = torch.rot90(pixels, self.quarter_turns, (2, 3))
        return turned.flip(3) if self.mirrored else turned


def make_trial(
    number: int, levels: tuple[int, ...], shape: tuple[int, int, int], seed: int
) -> Trial:
    """Trial ``number`` (0, 1, ...) of a seed; the same whatever comes before or after."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + number) % (2**63))
    index = number % len(levels)
    return Trial(
        number=number,
        level_index=index,
        level=levels[index],
        quarter_turns=(number + number // 8) % 4,
        mirrored=bool((number // 2 + number // 4) % 2),
        epsilon=torch.randn(1, *shape, generator=generator),
    )


#: One trial is judged at so many times the level of the test after several, and at most at this
#: level: the test rests on the variance of validation cells alone, which makes it strict.
FIRST_LOOK, LOOSEST = 10.0, 0.05

#: A cell whose anomaly score is nearer to its threshold than this after one trial gets more. The
#: score changes by 0.3 (one standard deviation) from one trial to three.
NEAR_THRESHOLD = 0.6


def settled_at_once(
    logits: NDArray[np.float64], calibration: Calibration, alpha: float
) -> NDArray[np.bool_]:
    """Cells ``(N,)`` of which one trial settles the class, and whether they are anomalies.

    Parameters
    ----------
    logits : (N, 1, K) array
        Of the first trial.
    calibration : Calibration
    alpha : float
        Level of the test after several trials.
    """
    alone = eliminate(logits, calibration, min(FIRST_LOOK * alpha, LOOSEST)).sum(axis=1) == 1
    if calibration.class_statistics is None:  # no threshold after one trial that can be compared
        return np.zeros(len(logits), np.bool_)
    distance = combined_score(logits, calibration) - anomaly_threshold(calibration, "combined", 1)
    return np.asarray(alone & (np.abs(distance) > NEAR_THRESHOLD))


def eliminate(
    logits: NDArray[np.float64], calibration: Calibration, alpha: float
) -> NDArray[np.bool_]:
    """Classes still in the running after some trials.

    A paired t-test of each class against the best one. The variance of the differences is
    moderated by the variance known from validation cells (Smyth 2004), so that two or three
    trials that happen to agree do not end the matter.

    Parameters
    ----------
    logits : (N, T, K) array
        Of T trials.
    alpha : float
        Classes with a one-sided p below it are out.

    Returns
    -------
    (N, K) bool array
        True for live classes; the best is always live.
    """
    n, trials, _ = logits.shape
    best = logits.mean(axis=1).argmax(axis=1)
    lead = logits[np.arange(n), :, best][:, :, None] - logits
    mean = lead.mean(axis=1)
    spread = lead.var(axis=1) * trials
    prior = calibration.prior_weight
    freedom = prior + trials - 1
    variance = (prior * calibration.prior_variance + spread) / freedom
    statistic = mean / np.sqrt(variance / trials)
    live = stdtr(freedom, -statistic) >= alpha  # survival function of Student's t
    live[np.arange(n), best] = True
    return np.asarray(live)
