"""Cells as movable pieces of optical density.

Densities add where cells lie over one another (Beer-Lambert), so a piece that falls to 0 at
its rim can be laid anywhere on a slide without a seam.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

FloatImage = npt.NDArray[np.float32]

ByteImage = npt.NDArray[np.uint8]

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Patch:
    """A cell on its own.

    Attributes
    ----------
    density
        ``(h, w, 3)`` float32 optical density (natural logarithm), 0 at the rim.
    solid
        ``(h, w)`` bool, the cell itself.
    """

    density: FloatImage
    solid: Mask

    @property
    def radius(self) -> float:
        """Radius in pixels of the circle of the same area."""
        return float(np.sqrt(self.solid.sum() / np.pi))


def blur(field: npt.NDArray[Any], sigma: float) -> FloatImage:
    """Gaussian blur of every channel of a ``(H, W)`` or ``(H, W, C)`` array."""
    return np.asarray(cv2.GaussianBlur(np.asarray(field, np.float32), (0, 0), sigma), np.float32)


def grown(mask: Mask, radius: int) -> Mask:
    """Dilate a ``(H, W)`` mask by a disc of the given radius in pixels."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), disc) > 0)


def filled(mask: Mask) -> Mask:
    """Fill what is enclosed: background that does not reach the border."""
    _, outside = cv2.connectedComponents((~mask).astype(np.uint8), connectivity=4)
    rim = np.concatenate([outside[0], outside[-1], outside[:, 0], outside[:, -1]])
    return mask | ~np.isin(outside, np.unique(rim[rim > 0]))


def largest_piece(mask: Mask) -> Mask:
    """Keep the largest 4-connected piece of a ``(H, W)`` mask."""
    pieces, count = ndi.label(mask)
    if count < 2:
        return mask
    return np.asarray(pieces == 1 + int(np.bincount(pieces.ravel())[1:].argmax()))


def waves(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> FloatImage:
    """Smooth random ``(H, W)`` field of mean 0 and standard deviation 1; sigma in pixels."""
    # Long waves need no fine grid: drawn small and enlarged they cost nothing.
    step = max(1, int(sigma / 4))
    small = (-(-shape[0] // step) + 2, -(-shape[1] // step) + 2)
    field = blur(rng.normal(0, 1, small), sigma / step)
    if step > 1:
        size = (small[1] * step, small[0] * step)
        field = np.asarray(cv2.resize(field, size, interpolation=cv2.INTER_CUBIC), np.float32)
    field = field[: shape[0], : shape[1]]
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-6), np.float32)


def turn(patch: Patch, rng: np.random.Generator, stretch: float = 0.06) -> Patch:
    """Rotate, mirror and slightly stretch a patch at random."""
    h, w = patch.solid.shape
    side = int(np.ceil(np.hypot(h, w) * (1 + stretch))) + 2
    angle = rng.uniform(0, 2 * np.pi)
    scale = np.diag(1 + rng.uniform(-stretch, stretch, 2))
    if rng.random() < 0.5:
        scale[0, 0] *= -1
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.array([[c, -s], [s, c]]) @ scale
    shift = side / 2 - matrix @ np.array([w / 2, h / 2])
    affine = np.column_stack([matrix, shift]).astype(np.float32)
    density = cv2.warpAffine(patch.density, affine, (side, side), flags=cv2.INTER_CUBIC)
    solid = cv2.warpAffine(patch.solid.astype(np.uint8), affine, (side, side)) > 0
    return Patch(np.asarray(density, np.float32), np.asarray(solid))


def resized(patch: Patch, factor: float) -> Patch:
    """Scale a patch by a factor, densities unchanged."""
    if factor == 1:
        return patch
    h, w = patch.solid.shape
    size = (max(round(w * factor), 1), max(round(h * factor), 1))
    density = cv2.resize(patch.density, size, interpolation=cv2.INTER_AREA)
    solid = cv2.resize(patch.solid.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
    return Patch(np.asarray(density, np.float32), np.asarray(solid))


def window(
    shape: tuple[int, int], size: tuple[int, int], centre: tuple[float, float]
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Where a patch falls on a field."""
    on_field, on_patch = [], []
    for extent, length, middle in zip(shape, size, centre, strict=True):
        start = round(middle - length / 2)
        first, last = max(start, 0), min(start + length, extent)
        if first >= last:
            return None
        on_field.append(slice(first, last))
        on_patch.append(slice(first - start, last - start))
    return (on_field[0], on_field[1]), (on_patch[0], on_patch[1])


def lay(density: FloatImage, patch: Patch, centre: tuple[float, float]) -> None:
    """Lay a patch over a field ``(H, W, 3)``, in place; what falls outside is cut off."""
    where = window((density.shape[0], density.shape[1]), patch.solid.shape, centre)
    if where is not None:
        density[where[0]] += patch.density[where[1]]
