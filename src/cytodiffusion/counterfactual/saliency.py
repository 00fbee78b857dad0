"""Saliency: which pixels the classifier's answer rests on, by integrated gradients.

The score is the logit of one class less the mean of the others, or of any other weights of the
classes. Its gradient is averaged on the straight way from an empty crop to the cell and multiplied
by the difference of the two (integrated gradients, Sundararajan et al., ICML 2017): the map sums to
what the cell adds to the score of an empty crop.

It knows no target, and where the cell is as light as the empty slide it is 0: dark parts stand out
whatever the class. What a class asks for is the business of heatmaps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from cytodiffusion.baselines import Baseline
from cytodiffusion.classification.classifier import normalised_crops
from cytodiffusion.classification.trials import make_trial
from cytodiffusion.counterfactual.canvas import shrunk
from cytodiffusion.counterfactual.residuals import LEAST_NULL, Orientation, make_views
from cytodiffusion.device import Batches
from cytodiffusion.errors import InputError
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.codec import WHITE, PixelCodec, to_network
from cytodiffusion.predict import Classifier
from cytodiffusion.progress import Progress, silent

#: Points on the way from the empty crop to the cell, and turns of the cell.
STEPS, TURNS = 12, 4

#: Gradients that are computed at once.
_TOGETHER = {"cpu": 12, "cuda": 192, "mps": 48}

#: Standard deviation of the Gaussian that smooths a map, as a share of the crop's side.
_SMOOTH = 1 / 48


@dataclass(frozen=True, eq=False)
class Saliency:
    """Which pixels of a cell speak for the class that it is taken for, and which against.

    Attributes
    ----------
    predicted : int
    predicted_name : str
    values : (S, S) float32
        Share of the score: above 0 what speaks for the class. Before smoothing the sum is `score`.
    null_std : (S, S) float32
        Standard error of the mean over the turns of the cell.
    score : float
        Logit of the class less the mean of the others, less the same of an empty crop.
    crop : (S, S, 3) uint8
    window_um : float
        Side of the crop in micrometres.
    """

    predicted: int
    predicted_name: str
    values: NDArray[np.float32]
    null_std: NDArray[np.float32]
    score: float
    crop: NDArray[np.uint8]
    window_um: float

    def thresholded(self, sigmas: float) -> NDArray[np.float32]:
        """Map with 0 where it is within ``sigmas`` standard errors of 0, (S, S)."""
        return np.where(np.abs(self.values) > sigmas * self.null_std, self.values, np.float32(0))


def saliency_map(
    crop: NDArray[np.uint8],
    model: Classifier,
    predicted: int,
    *,
    background: NDArray[np.floating] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Saliency:
    """Map what speaks for the class that a cell is taken for.

    Parameters
    ----------
    crop : (S, S, 3) uint8
        Of the size that a heatmap has; the map has the same.
    model : ModelBundle or Baseline
    predicted : int
        The class.
    background : (3,) array, optional
        Colour of the empty background, 0 to 255; estimated from the crop where missing.
    seed : int
        Of the noise that a diffusion model looks through.
    progress : callable
        May raise ``Cancelled``.
    """
    if isinstance(model, ModelBundle):
        model = model.untaught
    k = len(model.classes)
    if not 0 <= predicted < k or k < 2:
        raise InputError(f"Saliency needs one of at least two classes, not number {predicted}.")
    weights = np.full(k, -1 / (k - 1))
    weights[predicted] = 1.0
    views = integrated_gradients(
        crop, model, weights, background=background, seed=seed, progress=progress
    )
    side = len(crop)
    smooth = ndimage.gaussian_filter(views, (0, *2 * [_SMOOTH * views.shape[1]]), mode="nearest")
    scale = (views.shape[1] / side) ** 2  # pixels that are smaller have a smaller share each
    large = np.stack([cv2.resize(v, (side, side), interpolation=cv2.INTER_LINEAR) for v in smooth])
    variance = (large * scale).var(axis=0, ddof=1) / len(large)
    variance = ndimage.gaussian_filter(variance, 2 * _SMOOTH * side, mode="nearest")
    return Saliency(
        predicted,
        model.class_names[predicted],
        np.asarray(large.mean(axis=0) * scale, np.float32),
        np.asarray(np.sqrt(np.maximum(variance, LEAST_NULL**2)), np.float32),
        float(views.sum(axis=(1, 2)).mean()),
        crop,
        model.window_um,
    )


def integrated_gradients(
    crop: NDArray[np.uint8],
    model: Classifier,
    weights: NDArray[np.floating],
    *,
    background: NDArray[np.floating] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> NDArray[np.float64]:
    """Attribute a weighted sum of the classes' logits to the pixels of a crop.

    Parameters
    ----------
    crop : (S, S, 3) uint8
        Shrunk to what the classifier takes where it is larger.
    weights : (K,) array
        Of the logits; where they sum to 0, what all classes share drops out.

    Returns
    -------
    (V, S, S) array
        Of each turn of the crop, turned back, at the pixels of the classifier; summed over colours.
    """
    if isinstance(model, ModelBundle) and not isinstance(model.codec, PixelCodec):
        raise InputError(
            f"The model {model.name} looks at latents of Stable Diffusion, through which no "
            "saliency is traced back to pixels; leave it out."
        )
    small = shrunk(np.asarray(crop)[None], model.input_size)
    colour = None if background is None else np.asarray(background, np.float32)
    unit = normalised_crops(small, model, colour)
    logits = _baseline_logits(model) if isinstance(model, Baseline) else _bundle_logits(model, seed)
    weight = torch.as_tensor(weights, dtype=torch.float32, device=model.device)
    found = []
    for number, view in enumerate(make_views(TURNS, 0, 1)):
        progress(number / TURNS, "saliency")
        found.append(_of_view(unit, view, model.device, lambda x: logits(x) @ weight))
    progress(1.0, "saliency")
    return np.stack(found)


#: Logits ``(N, K)``, before the temperature, of crops ``(N, 3, S, S)``, 0..1; with gradients.
_Logits = Callable[[Tensor], Tensor]


def _of_view(
    unit: Tensor, view: Orientation, device: torch.device, score: Callable[[Tensor], Tensor]
) -> NDArray[np.float64]:
    """Integrate the gradients of one turn of a crop ``(1, 3, S, S)``; ``(S, S)``."""
    x = view.apply(unit)
    empty = torch.full_like(x, WHITE)
    share = ((torch.arange(STEPS) + 0.5) / STEPS).reshape(-1, 1, 1, 1)
    way = empty + share * (x - empty)

    def gradients(part: slice) -> Tensor:
        points = way[part].to(device).requires_grad_()
        with torch.enable_grad():
            (found,) = torch.autograd.grad(score(points).sum(), points)
        return found.cpu()

    batches = Batches(_TOGETHER.get(device.type, 12), device, "point")
    gradient = torch.cat([found for _, found in batches.run(STEPS, gradients)])
    attributed = ((x - empty) * gradient.mean(dim=0)).sum(dim=1, keepdim=True)
    return np.asarray(view.undo(attributed)[0, 0].double().numpy())


def _baseline_logits(model: Baseline) -> _Logits:
    return lambda unit: model.network(unit)


def _bundle_logits(model: ModelBundle, seed: int) -> _Logits:
    """Mean over the classifier's noise levels, each with its sharpness."""
    levels = model.calibration.levels
    shape = (model.codec.channels, model.codec.grid, model.codec.grid)
    noises = [make_trial(j, levels, shape, seed).epsilon for j in range(len(levels))]
    disc = model.disc()

    def logits(unit: Tensor) -> Tensor:
        x = model.codec.encode(to_network(unit))
        total = torch.zeros(len(unit), len(model.classes), device=unit.device)
        for level, noise in zip(levels, noises, strict=True):
            t = torch.full((len(unit),), level, device=unit.device)
            z = model.schedule.add_noise(x, t, noise.to(unit.device))
            errors, _ = model.denoiser.class_errors(z, t, x, disc)
            sharpness = model.denoiser.log_sharpness(t).exp()[:, None]
            total = total - sharpness * errors / len(levels)
        return total

    return logits
