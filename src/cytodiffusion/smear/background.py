"""The empty slide and its picture: uneven light, stain haze and precipitate, and the camera."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from cytodiffusion.smear.patches import ByteImage, FloatImage, blur, waves

#: Colour of the lamp through an empty, faintly stained slide.
_PAPER = np.array([240.0, 231.0, 223.0])


def uneven_light(
    shape: tuple[int, int], rng: np.random.Generator, amount: float = 1.0
) -> FloatImage:
    """Light of a lamp that is not quite centred, ``(H, W, 3)`` in grey levels."""
    h, w = shape
    yy = (np.arange(h, dtype=np.float32)[:, None] / max(h, w) - h / max(h, w) / 2) * 2
    xx = (np.arange(w, dtype=np.float32)[None, :] / max(h, w) - w / max(h, w) / 2) * 2
    cy, cx = rng.uniform(-0.25, 0.25, 2)
    falloff = amount * rng.uniform(0.05, 0.09) * ((yy - cy) ** 2 + (xx - cx) ** 2)
    wavy = amount * 0.008 * waves(shape, 0.2 * max(shape), rng)
    paper = _PAPER + amount * rng.normal(0, 1.5, 3)
    # The condenser colours the rim of the field a little: red falls off less than blue.
    tint = np.array([0.85, 1.0, 1.15], np.float32)
    return np.asarray(paper * (1.015 - falloff[..., None] * tint + wavy[..., None]), np.float32)


def restained(density: FloatImage, rng: np.random.Generator, amount: float) -> FloatImage:
    """Density ``(H, W, 3)`` as another batch of stain and another camera would give it."""
    strength = np.exp(amount * rng.normal(0, 0.18))
    tint = np.exp(amount * rng.normal(0, 0.10, 3))
    mixing = amount * rng.uniform(0, 0.10, (3, 3))  # filters of a camera overlap
    np.fill_diagonal(mixing, 0)
    mixing += np.diag(1 - mixing.sum(axis=0))
    return np.asarray(density @ (mixing * tint * strength), np.float32)


def haze(shape: tuple[int, int], px_um: float, rng: np.random.Generator) -> FloatImage:
    """Density of the plasma film between the cells: faint, cloudy and finely grained."""
    clouds = 0.006 * waves(shape, 6.0 * px_um, rng) + 0.004 * waves(shape, 1.2 * px_um, rng)
    grains = 0.004 * waves(shape, 0.25 * px_um, rng)
    field = np.clip(0.012 + clouds + grains, 0, None)
    return np.asarray(field[..., None] * np.array([0.9, 1.1, 0.6], np.float32), np.float32)


def photograph(
    light: FloatImage, density: FloatImage, px_um: float, rng: np.random.Generator
) -> ByteImage:
    """Take the picture: transmitted light, optics, slight sharpening, sensor noise."""
    pixels = light * np.exp(-density)
    # Resolution of an oil immersion lens (NA 1.25), then the camera's own sharpening, which
    # leaves the faint bright seam around cells that real photographs have.
    pixels = blur(pixels, max(0.12 * px_um, 0.3))
    pixels = pixels + 0.35 * (pixels - blur(pixels, max(0.30 * px_um, 0.5)))
    shape = (density.shape[0], density.shape[1])
    grey = waves(shape, 0.7, rng)[..., None]
    colour = np.dstack([waves(shape, 1.0, rng) for _ in range(3)])
    shot = np.sqrt(np.clip(pixels, 1, 255) / 255)
    pixels = pixels + shot * (1.0 * grey + 0.7 * colour)
    return np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8)


#: Density of strongly stained nuclei and of precipitate in R, G, B.
AZURE = np.array([1.35, 1.75, 0.70], np.float32)


def precipitate(
    shape: tuple[int, int], px_um: float, rng: np.random.Generator, spread: float = 1.0
) -> FloatImage:
    """Draw irregular clusters of grains, densest in the middle."""
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
