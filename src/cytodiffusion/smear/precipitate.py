"""Stain precipitate: clusters of dark grains that a badly rinsed slide carries."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from cytodiffusion.smear.patches import FloatImage, blur, waves

#: Density of strongly stained nuclei and of precipitate in R, G, B.
AZURE = np.array([1.35, 1.75, 0.70], np.float32)


def precipitate(
    shape: tuple[int, int], px_um: float, rng: np.random.Generator, spread: float = 1.0
) -> FloatImage:
    """Draw irregular clusters of grains, densest in the middle.

    Parameters
    ----------
    shape
        Height and width in pixels.
    px_um
        Pixels a micrometre.
    rng
        The only source of chance.
    spread
        1 for a main cluster with up to five stray ones around it, less for a tighter group.

    Returns
    -------
    FloatImage
        ``(H, W, 3)`` float32 optical density.
    """
    grains = np.zeros(shape, np.float32)
    size = rng.uniform(0.10, 0.30) * px_um
    spots = [rng.normal(0, 0.5 * px_um, 2)]
    for _ in range(int(rng.integers(0, 6))):
        spots.append(spots[0] + rng.normal(0, 4.0 * px_um * spread, 2))
    for k, spot in enumerate(spots):
        n = int(rng.integers(15, 160) * (1.0 if k == 0 else 0.4))
        reach = rng.uniform(0.4, 1.6, 2) * rng.uniform(0.4, 1.6) * px_um * np.sqrt(spread)
        # Heavy tails: a core of touching grains and stragglers around it.
        for offset in np.clip(rng.standard_t(3, (n, 2)), -6, 6) * reach:
            _grain(grains, spot + offset, size * rng.lognormal(0, 0.5), rng)
    grains = blur(grains, px_um * rng.uniform(0.08, 0.22))
    grains = grains * (1 + 0.2 * waves(shape, 0.2 * px_um, rng))
    haze = blur(grains, 0.8 * px_um) * rng.uniform(0.0, 0.25)
    tint = AZURE * rng.uniform([0.8, 0.85, 0.8], [1.15, 1.05, 1.5]) * rng.uniform(0.65, 1.1)
    return np.asarray(np.clip(grains + haze, 0, 1.2)[..., None] * tint, np.float32)


def _grain(
    grains: FloatImage, offset: npt.NDArray[np.float64], radius: float, rng: np.random.Generator
) -> None:
    """Draw one angular grain, in place; offset from the middle in pixels."""
    h, w = grains.shape
    angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
    reach = (radius + 0.5) * rng.uniform(0.6, 1.4, 7)
    corners = np.column_stack([np.cos(angles) * reach, np.sin(angles) * reach])
    corners += np.array([w / 2, h / 2]) + offset[::-1]
    cv2.fillPoly(grains, [np.rint(corners * 16).astype(np.int32)], rng.uniform(0.6, 1.0), shift=4)
