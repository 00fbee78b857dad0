"""Predictions of several classes for one crop, averaged over noises, levels and views.

Every round of trials shifts the crop by another part of a latent's patch before it is encoded and
undoes it afterwards, and turns and flips spread each shift over up to eight: what is due to where
the patches happen to lie averages out (cycle spinning, Coifman & Donoho 1995). Each noise is
used with both signs, which cancels most of its effect (antithetic variates, Hammersley & Morton
1956). One noise serves all views of a round, so that a turned crop gives the turned map.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from cytodiffusion.device import Batches, half_precision_pays
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.codec import to_network
from cytodiffusion.model.denoiser import UNetDenoiser
from cytodiffusion.model.schedule import LEVELS

#: Passes that go through the network at once.
MICRO_BATCH = {"cpu": 16, "cuda": 256, "mps": 64}
#: Share of a patch by which each round shifts the crop (y, x), in quarters. Turned, two rounds
#: (unturned, eight) cancel every pattern that repeats with the patch but a chequerboard of pixels.
SHIFTS = ((0, 1), (1, 2), (1, 0), (2, 1), (0, 3), (3, 2), (3, 0), (2, 3))
#: A null of no scatter (a network that ignores the noise) is taken for this much.
LEAST_NULL = 1e-7


@dataclass(frozen=True)
class Orientation:
    """A turn, a flip and a shift of the crop."""

    quarter_turns: int
    mirrored: bool
    shift: tuple[int, int]

    def apply(self, pixels: Tensor) -> Tensor:
        """Turn, flip, then shift ``pixels (N, C, S, S)``; what comes in is mirrored."""
        turned = torch.rot90(pixels, self.quarter_turns, (2, 3))
        turned = turned.flip(3) if self.mirrored else turned
        dy, dx = self.shift
        if not (dy or dx):
            return turned
        return F.pad(turned, (dx, 0, dy, 0), "reflect")[:, :, : -dy or None, : -dx or None]

    def undo(self, pixels: Tensor) -> Tensor:
        """Turn ``pixels`` back; what the shift had pushed out is continued from the edge."""
        dy, dx = self.shift
        if dy or dx:
            pixels = F.pad(pixels[:, :, dy:, dx:], (0, dx, 0, dy), "replicate")
        turned = pixels.flip(3) if self.mirrored else pixels
        return torch.rot90(turned, -self.quarter_turns, (2, 3))


def make_views(count: int, number: int, patch: int) -> list[Orientation]:
    """Make the views of a round: 1, 2 (flip), 4 (turns) or 8 (both), neighbours unlike."""
    quarters = SHIFTS[number % len(SHIFTS)]
    shift = (quarters[0] * patch // 4, quarters[1] * patch // 4)
    if count == 4:
        return [Orientation(turn, False, shift) for turn in range(4)]
    return [Orientation(i // 2, bool(i % 2), shift) for i in range(count)]


class Averages:
    """Sums over replicates of what each class predicts; the first class is the predicted one.

    A replicate is one round and view, averaged over the noise levels and both signs of the
    noise. Replicates go to two half-sets in turn.
    """

    def __init__(self, classes: int, size: int, blur: float):
        self.blur = blur
        self.count = 0
        self.halves = np.zeros((2, classes, size, size, 3))
        self.mean = np.zeros((size, size))
        self.square = np.zeros((size, size))

    def add(self, predictions: NDArray[np.float32]) -> None:
        """Add a replicate ``(C, S, S, 3)``."""
        smooth = self._smooth(predictions.astype(np.float64), (0, self.blur, self.blur, 0))
        self.halves[self.count % 2] += smooth
        self.count += 1
        own = smooth[0].mean(axis=2)
        step = own - self.mean
        self.mean += step / self.count  # Welford 1962
        self.square += step * (own - self.mean)

    def difference(self, which: int) -> NDArray[np.float32]:
        """Class ``which`` less the first, mean over all replicates, ``(S, S, 3)``."""
        total = self.halves.sum(axis=0) / self.count
        return np.asarray(total[which] - total[0], np.float32)

    def convergence(self, which: int) -> float:
        """Correlation of the difference in the two half-sets; 0 where one of them is flat."""
        first, second = (half[which] - half[0] for half in self._half_means())
        if not (first.std() and second.std()):
            return 0.0
        return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])

    def null(self) -> NDArray[np.float32]:
        """First class in one half-set less in the other, halved, ``(S, S)``."""
        first, second = self._half_means()
        return np.asarray((first[0] - second[0]) / 2, np.float32)

    def null_std(self) -> NDArray[np.float32]:
        """Return the standard error of the first class's mean over the replicates, ``(S, S)``.

        Over all ways to halve the replicates, the mean square of `null` is this squared.
        """
        variance = self.square / (self.count - 1) / self.count
        # Few replicates scatter, and neighbours have about the same variance
        variance = self._smooth(variance, 2 * self.blur + 1)
        return np.asarray(np.sqrt(np.maximum(variance, LEAST_NULL**2)), np.float32)

    def _half_means(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean over the colours of each class in each half-set, ``(C, S, S)``."""
        first, second = self.halves.mean(axis=4)
        return first / ((self.count + 1) // 2), second / (self.count // 2)

    @staticmethod
    def _smooth(
        values: NDArray[np.float64], sigma: float | tuple[float, ...]
    ) -> NDArray[np.float64]:
        return np.asarray(ndimage.gaussian_filter(values, sigma, mode="nearest"))


class Runner:
    """Runs a crop through the network in batches that fit the device."""

    def __init__(self, model: ModelBundle, batch_size: int | None = None):
        self.model = model
        size = batch_size or MICRO_BATCH.get(model.device.type, 16)
        self.batches = Batches(size, model.device, "pass")
        self.half = half_precision_pays(model.device)

    def run(
        self,
        unit: Tensor,
        classes: list[int],
        *,
        noise: tuple[float, ...],
        views: int,
        rounds: int,
        blur: float,
        seed: int,
        report: Callable[[float], None],
    ) -> Averages:
        """Average the predictions of ``classes`` for ``unit (3, S, S)`` in 0..1."""
        codec = self.model.codec
        patch = codec.size // codec.grid
        result = Averages(len(classes), codec.size, blur * patch)
        levels = self._levels(noise)
        for number in range(rounds):
            epsilon = self._noise(len(levels), seed, number)
            chosen = make_views(views, number, patch)

            def share(done: float, first: int = number) -> None:
                report((first + done) / rounds)

            clean = torch.cat([view.apply(unit[None]) for view in chosen])
            x = codec.encode(to_network(clean)).to(self.model.device)
            latents = self._predict(x, levels, epsilon, classes, share)
            for view, one in zip(chosen, latents, strict=True):
                pixels = view.undo(codec.decode(one)).cpu() / 2 + 0.5
                result.add(pixels.permute(0, 2, 3, 1).numpy())
        return result

    def _levels(self, noise: tuple[float, ...]) -> list[int]:
        amplitudes = self.model.schedule.noise(torch.arange(LEVELS)).flatten()
        return [int((amplitudes - wanted).abs().argmin()) for wanted in noise]

    def _noise(self, levels: int, seed: int, number: int) -> Tensor:
        codec = self.model.codec
        generator = torch.Generator().manual_seed((seed * 1_000_003 + number) % (2**63))
        shape = (levels, codec.channels, codec.grid, codec.grid)
        return torch.randn(shape, generator=generator).to(self.model.device)

    def _predict(
        self,
        x: Tensor,
        levels: list[int],
        epsilon: Tensor,
        classes: list[int],
        report: Callable[[float], None],
    ) -> Tensor:
        """Clean latents ``(V, C, ...)`` of views and classes, mean over levels and signs."""
        total = torch.zeros(len(x), len(classes), *x.shape[1:], device=x.device)
        noises = torch.cat([epsilon, -epsilon])
        steps = torch.tensor(levels * 2, device=x.device)
        pairs = [(v, n) for n in range(len(noises)) for v in range(len(x))]

        def predict(part: slice) -> tuple[Tensor, Tensor]:
            view, which = torch.tensor(pairs[part], device=x.device).T
            return view, self._forward(x[view], steps[which], noises[which], classes)

        for part, (view, found) in self.batches.run(len(pairs), predict):
            total.index_add_(0, view, found)
            report(part.stop / len(pairs))
        return total / len(noises)

    @torch.inference_mode()
    def _forward(self, x: Tensor, t: Tensor, epsilon: Tensor, classes: list[int]) -> Tensor:
        z = self.model.schedule.add_noise(x, t, epsilon)
        denoiser = self.model.denoiser
        index = [torch.full((len(z),), k, device=z.device) for k in classes]
        with torch.autocast(z.device.type, dtype=torch.bfloat16, enabled=self.half):
            if isinstance(denoiser, UNetDenoiser):
                out = denoiser.trunk(z, t)
                found = [denoiser.prediction_from(out, k) for k in index]
            else:
                found = [denoiser.predict_class(z, t, k) for k in index]
        return torch.stack(found, dim=1).float().clone()
