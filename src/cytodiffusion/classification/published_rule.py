"""The published classification rule, as CytoDiffusion's authors run it.

One trial: a noise level, one noise and one view of the crop, shared by all classes; a pass of the
network for every class that is still in the running; the squared error of the predicted noise,
summed over a centred disc and weighted by ``1 / p(t)``; less the smallest over the classes. After
21 trials, and after every fifth more, a paired t-test of each class against the best one; what
trails with p < 2e-3 is out (Deltadahl et al., Nature Machine Intelligence 7:1791, 2025; the
constants are those of Clark & Jaini 2023). At the end errors are averaged over the trials and
divided by their mean over the classes; the least one wins.

It serves as the yardstick of our own trials (`cytodiffusion.classify`), on Stable Diffusion's
network or on ours. A class that is out keeps its mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student
from torch import Tensor
from torch.nn import functional as F

from cytodiffusion.classification.anomaly import zeta
from cytodiffusion.classification.classifier import normalised_crops
from cytodiffusion.classification.settings import PublishedSettings as PublishedSettings
from cytodiffusion.device import half_precision_pays
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.codec import to_network
from cytodiffusion.model.schedule import LEVELS
from cytodiffusion.model.stable_diffusion import (
    StableDiffusionDenoiser,
    StableDiffusionSchedule,
    published_weight,
)
from cytodiffusion.progress import Progress, silent


@dataclass(frozen=True)
class PublishedResult:
    """What the rule says of N cells.

    Attributes
    ----------
    class_names : tuple of str
    errors : (N, K) float64
        Normalised: mean over the trials over its mean over the classes.
    predicted : (N,) int64
        The class with the least error among those never out.
    zeta : (N,) float64
        How far it stands out; see `cytodiffusion.classification.anomaly`.
    trials : (N,) int64
    passes : (N,) int64
        Passes of the network, one for each live class in each trial.
    """

    class_names: tuple[str, ...]
    errors: NDArray[np.float64]
    predicted: NDArray[np.int64]
    zeta: NDArray[np.float64]
    trials: NDArray[np.int64]
    passes: NDArray[np.int64]


def published_levels(trials: int, seed: int) -> NDArray[np.int64]:
    """Noise levels of the trials: evenly spaced over 1..999, in random order."""
    levels = np.linspace(1, LEVELS - 1, trials).astype(np.int64)
    return np.random.default_rng([seed, trials]).permutation(levels)


def still_live(errors: NDArray[np.float64], live: NDArray[np.bool_], p: float) -> NDArray[np.bool_]:
    """Classes that the paired t-test leaves in the running.

    Parameters
    ----------
    errors : (T, K) array
        Of T trials; only columns of live classes are looked at.
    live : (K,) bool array
    p : float
        A class whose errors exceed those of the best with a smaller two-sided p is out.

    Returns
    -------
    (K,) bool array
    """
    candidates = live.nonzero()[0]
    mean = errors.mean(axis=0)
    best = candidates[mean[candidates].argmin()]
    lead = errors[:, candidates] - errors[:, [best]]
    spread = lead.std(axis=0, ddof=1) / math.sqrt(len(errors))
    statistic = np.divide(
        lead.mean(axis=0), spread, out=np.zeros(len(candidates)), where=spread > 0
    )
    constant = (spread == 0) & (lead.mean(axis=0) > 0)  # always behind by the same
    out = constant | (2 * student.sf(statistic, len(errors) - 1) < p)
    kept = live.copy()
    kept[candidates[out & (candidates != best)]] = False
    return kept


class Tally:
    """Errors of one cell's trials, and which classes are still in the running."""

    def __init__(self, n_classes: int, settings: PublishedSettings):
        self.settings = settings
        self.live = np.ones(n_classes, np.bool_)
        self.rows: list[NDArray[np.float64]] = []
        self.passes = 0

    @property
    def decided(self) -> bool:
        """Whether one class is left, or the budget is spent."""
        return self.live.sum() <= 1 or len(self.rows) >= self.settings.trials

    def add(self, errors: NDArray[np.float64]) -> None:
        """Count the weighted errors of the live classes, in their order, in one trial."""
        row = self.mean() if self.rows else np.zeros(len(self.live))
        row[self.live] = errors - errors.min()
        self.rows.append(row)
        self.passes += len(errors)
        number = len(self.rows) - 1
        if number >= self.settings.min_trials and number % self.settings.test_every == 0:
            self.live = still_live(np.stack(self.rows), self.live, self.settings.p)

    def mean(self) -> NDArray[np.float64]:
        """Mean error of each class; one that is out has kept its."""
        return np.asarray(np.mean(self.rows, axis=0))

    def predicted(self) -> int:
        """Class with the least mean error among the live ones."""
        return int(np.where(self.live, self.mean(), np.inf).argmin())


#: Errors ``(M,)`` of (cell, class) pairs: of the cells' crops, trial number, cells, classes.
PairErrors = Callable[[Tensor, int, NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]


def classify_published(
    pixels: NDArray[np.uint8],
    model: ModelBundle,
    settings: PublishedSettings | None = None,
    *,
    background: NDArray[np.floating] | None = None,
    progress: Progress = silent,
) -> PublishedResult:
    """Classify crops by the published rule.

    Parameters
    ----------
    pixels : (N, S, S, 3) uint8 array
        S is the model's input size; the cell in the centre.
    model : ModelBundle
        With Stable Diffusion's network; or with ours, on which the rule is emulated: see
        `NoiseErrors`.
    background : (3,) or (N, 3) array, optional
        Colour of the empty background; estimated where missing.
    progress : callable
        May raise ``Cancelled``.
    """
    settings, model = settings or PublishedSettings(), model.untaught
    unit = normalised_crops(pixels, model, background)
    tallies = [Tally(len(model.classes), settings) for _ in unit]
    ask = NoiseErrors(model, settings)
    for start in range(0, len(unit), settings.cells_at_once):
        part = slice(start, start + settings.cells_at_once)
        progress(start / len(unit), f"classified {start} of {len(unit)} cells")
        run_tallies(unit[part], tallies[part], ask)
    if len(unit):
        progress(1.0, f"classified {len(unit)} of {len(unit)} cells")
    return summary(tallies, model.class_names)


def run_tallies(unit: Tensor, tallies: list[Tally], ask: PairErrors) -> None:
    """Run trials for cells ``(n, 3, S, S)`` until each is decided."""
    number = 0
    while undecided := [i for i, tally in enumerate(tallies) if not tally.decided]:
        pairs = [(i, c) for i in undecided for c in tallies[i].live.nonzero()[0]]
        cells, classes = np.array(pairs, np.int64).T
        errors = ask(unit, number, cells, classes)
        for i in undecided:
            tallies[i].add(errors[cells == i])
        number += 1


def summary(tallies: list[Tally], class_names: tuple[str, ...]) -> PublishedResult:
    """Turn finished tallies into a result."""
    shape = (len(tallies), len(class_names))
    errors = over_mean(np.array([tally.mean() for tally in tallies]).reshape(shape))
    return PublishedResult(
        class_names=class_names,
        errors=errors,
        predicted=np.array([tally.predicted() for tally in tallies], np.int64),
        zeta=zeta(errors),
        trials=np.array([len(tally.rows) for tally in tallies], np.int64),
        passes=np.array([tally.passes for tally in tallies], np.int64),
    )


def over_mean(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean errors ``(N, K)`` over their mean over the classes."""
    mean = errors.mean(axis=1, keepdims=True)
    return np.asarray(np.divide(errors, mean, out=np.zeros_like(errors), where=mean > 0))


class NoiseErrors:
    """Weighted errors of the noise that a model predicts under chosen classes.

    For Stable Diffusion's network as published. Our own predicts the clean crop, so the rule is
    emulated: the error of the clean crop times the signal-to-noise ratio is that of the noise; and
    a level t of Stable Diffusion becomes the level of our schedule with the ratio nearest to its,
    weighted as t. Where there is hardly any noise that ratio is in the thousands and a small error
    of the crop a huge one of the noise, which a network that predicts the noise does not make: a
    few levels would decide. ``snr_limit`` bounds the factor, as the min-SNR weight bounds it in
    the published training.
    """

    def __init__(self, model: ModelBundle, settings: PublishedSettings):
        self.model = model
        self.settings = settings
        self.levels = published_levels(settings.trials, settings.seed)
        self.disc = model.disc()
        self.count = float(self.disc.sum()) * model.codec.channels
        self.half = half_precision_pays(model.device)
        every = torch.arange(LEVELS)
        theirs, ours = StableDiffusionSchedule().snr(every).log(), model.schedule.snr(every).log()
        self.matched = (theirs[:, None] - ours[None]).abs().argmin(dim=1)

    @torch.inference_mode()
    def __call__(
        self, unit: Tensor, number: int, cells: NDArray[np.int64], classes: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return errors ``(M,)`` of pairs of crops and classes in trial ``number``."""
        model = self.model
        used, index = np.unique(cells, return_inverse=True)
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + number)
        view = varied(unit[torch.from_numpy(used)], generator, self.settings)
        clean = model.codec.encode(to_network(view)).to(model.device)
        epsilon = torch.randn(1, *clean.shape[1:], generator=generator).to(model.device)
        level = torch.tensor([int(self.levels[number])])
        at = self.matched[level].expand(len(used)).to(model.device)
        z = model.schedule.add_noise(clean, at, epsilon)
        chosen = torch.from_numpy(index).to(model.device), torch.from_numpy(classes)
        with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=self.half):
            errors = self._pair_errors(z, at, clean, chosen[0], chosen[1].to(model.device))
        weight = float(published_weight(level)) * self.count
        return errors.double().cpu().numpy() * weight

    def _pair_errors(
        self, z: Tensor, t: Tensor, clean: Tensor, cells: Tensor, classes: Tensor
    ) -> Tensor:
        denoiser = self.model.denoiser
        if isinstance(denoiser, StableDiffusionDenoiser):
            return denoiser.pair_errors(z, t, clean, self.disc, cells, classes)[0]
        errors, _ = denoiser.class_errors(z, t, clean, self.disc)
        factor = self.model.schedule.snr(t).clamp(max=self.settings.snr_limit)
        return errors[cells, classes] * factor[cells]


def varied(unit: Tensor, generator: torch.Generator, settings: PublishedSettings) -> Tensor:
    """One view of crops ``(N, 3, S, S)`` in 0..1: colours jittered, turned and mirrored.

    Brightness, contrast and saturation change by factors, hue by an angle about grey; all crops
    are treated alike.
    """
    draws = torch.rand(7, generator=generator)
    factor = 1 + settings.jitter * (2 * draws[:3] - 1)
    if settings.jitter:
        unit = (unit * factor[0]).clamp(0, 1)
        middle = _grey(unit).mean(dim=(2, 3), keepdim=True)
        unit = (middle + factor[1] * (unit - middle)).clamp(0, 1)
        unit = (_grey(unit) + factor[2] * (unit - _grey(unit))).clamp(0, 1)
        angle = math.pi * settings.jitter * float(2 * draws[3] - 1)
        unit = torch.einsum("ij,njhw->nihw", _hue_rotation(angle), unit).clamp(0, 1)
    if draws[4] < 0.5:
        unit = unit.flip(3)
    if settings.rotation == "quarter":
        return torch.rot90(unit, int(4 * draws[5]), (2, 3))
    if draws[6] < 0.5:
        unit = unit.transpose(2, 3)
    return _turned(unit, 2 * math.pi * float(draws[5]))


def _grey(unit: Tensor) -> Tensor:
    weights = torch.tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)
    return (unit * weights).sum(dim=1, keepdim=True)


def _hue_rotation(angle: float) -> Tensor:
    """Matrix ``(3, 3)`` that turns colours about the grey axis."""
    sin, third = math.sin(angle) / math.sqrt(3), (1 - math.cos(angle)) / 3
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return math.cos(angle) * torch.eye(3) + third + sin * cross


def _turned(unit: Tensor, angle: float) -> Tensor:
    """Turn crops about their centre; what comes from outside is black."""
    sin, cos = math.sin(angle), math.cos(angle)
    matrix = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]]).expand(len(unit), -1, -1)
    grid = F.affine_grid(matrix, list(unit.shape), align_corners=False)
    return F.grid_sample(unit, grid, align_corners=False)
