"""Views of a field for the smear network: any angle and size, other stains, lamps and cameras."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from cytodiffusion.training.fields import FlowField

_Floats = NDArray[np.float32]

#: Smallest and largest magnification of a view.
MAGNIFICATION = (0.65, 1.5)


def field_view(
    field: FlowField, side: int, patch: int, rng: np.random.Generator, *, varied: bool = True
) -> tuple[_Floats, _Floats, NDArray[np.int64], _Floats]:
    """Draw a view of a field.

    Returns
    -------
    pixels : (side, side, 3) float32
        0 to 1.
    flows : (2, side / patch, side / patch) float32
    kinds : (side / patch, side / patch) int64
        0 none or unknown, 1 red cell, 2 white cell, 3 platelet.
    cells : (side, side) float32
        1 of a cell, 0 of none, -1 unknown.
    """
    matrix = _placed(field.cells.shape, side, rng, varied)
    small = matrix.copy()
    small[:, 2] /= patch
    size, small_size = (side, side), (side // patch, side // patch)

    def seen(
        plane: NDArray[np.generic], shrunk: bool, how: int, beyond: float | None = None
    ) -> NDArray[np.float32]:
        border = cv2.BORDER_REFLECT if beyond is None else cv2.BORDER_CONSTANT
        warped = cv2.warpAffine(
            np.asarray(plane, np.float32),
            small if shrunk else matrix,
            small_size if shrunk else size,
            flags=how,
            borderMode=border,
            borderValue=0.0 if beyond is None else beyond,
        )
        return np.asarray(warped, np.float32)

    pixels = np.asarray(seen(field.rgb, False, cv2.INTER_LINEAR) / 255, np.float32)
    cells = seen(field.cells, False, cv2.INTER_NEAREST, 255)
    kinds = seen(field.kinds, True, cv2.INTER_NEAREST, 0).astype(np.int64)
    flows = np.stack([seen(flow, True, cv2.INTER_LINEAR, 0) for flow in field.flows])
    turned = matrix[:, :2] / np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    down = turned[1, 1] * flows[0] + turned[1, 0] * flows[1]
    right = turned[0, 1] * flows[0] + turned[0, 0] * flows[1]
    flows = np.stack([down, right]).astype(np.float32)
    length = np.hypot(*flows)
    flows = np.where(length > 0.3, flows / np.maximum(length, 1e-6), flows).astype(np.float32)
    known = np.where(cells > 200, np.float32(-1), np.float32(cells > 0.5))
    if varied:
        pixels, hidden = _photographed_otherwise(pixels, rng)
        known = np.where(hidden, np.float32(0), known)
        covered = hidden[patch // 2 :: patch, patch // 2 :: patch]
        kinds, flows = np.where(covered, 0, kinds), np.where(covered, np.float32(0), flows)
    return np.clip(pixels, 0, 1).astype(np.float32), flows, kinds, known.astype(np.float32)


def _placed(
    shape: tuple[int, ...], side: int, rng: np.random.Generator, varied: bool
) -> NDArray[np.float64]:
    """Matrix ``(2, 3)`` that brings a place of the field into the middle of the view."""
    height, width = shape[:2]
    low, high = MAGNIFICATION
    scale = float(np.exp(rng.uniform(np.log(low), np.log(high)))) if varied else 1.0
    angle = rng.uniform(0, 2 * np.pi) if varied else 0.0
    stretch = np.exp(rng.uniform(-0.08, 0.08)) if varied else 1.0
    mirror = -1.0 if varied and rng.random() < 0.5 else 1.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = scale * turn @ np.diag([mirror * stretch, 1 / stretch])
    # As much of the view as possible lies on the field.
    reach = np.minimum(0.5 * side / scale, 0.5 * np.array([width, height]))
    centre = rng.uniform(reach * 0.9, np.array([width, height]) - reach * 0.9)
    return np.column_stack([linear, np.full(2, side / 2) - linear @ centre])


def _photographed_otherwise(
    pixels: _Floats, rng: np.random.Generator
) -> tuple[_Floats, NDArray[np.bool_]]:
    """Vary stain, lamp and camera; say which pixels something dark or bright now hides."""
    if rng.random() < 0.85:
        density = -np.log(np.clip(pixels, 0.02, 1))
        mixing = np.eye(3) + rng.normal(0, 0.18, (3, 3)) * rng.uniform(0, 1.2)
        if rng.random() < 0.25:  # another dye: a nucleus is known by its form, not its colour
            other, share = rng.dirichlet((1, 1, 1), 3), rng.uniform(0.3, 1)
            mixing = (1 - share) * mixing + share * other
        density = density @ mixing.T * np.exp(rng.uniform(np.log(0.45), np.log(1.9)))
        pixels = np.exp(-np.clip(density, -0.1, 4)).astype(np.float32)
    if rng.random() < 0.05:
        pixels = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    lit = pixels * rng.uniform(0.6, 1.1, 3) * rng.uniform(0.75, 1.1)
    if rng.random() < 0.35:
        lit = np.clip(lit, 0, 2) ** rng.uniform(0.6, 1.7)
    pixels = _lit(np.asarray(lit, np.float32), rng)
    if rng.random() < 0.5:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.4, 2.2)), np.float32)
    elif rng.random() < 0.3:
        soft = cv2.GaussianBlur(pixels, (0, 0), 1.2)
        pixels = np.asarray(pixels + rng.uniform(0.5, 2) * (pixels - soft), np.float32)
    hidden = np.zeros(pixels.shape[:2], bool)
    if rng.random() < 0.3:
        hidden = surround(pixels.shape[0], rng)
        shade = rng.uniform(0, 0.3) if rng.random() < 0.75 else rng.uniform(0.3, 1.0)
        soft = cv2.GaussianBlur(hidden.astype(np.float32), (0, 0), rng.uniform(0.3, 3))[..., None]
        colour = np.clip(shade + rng.normal(0, 0.03, 3), 0, 1)
        pixels = np.asarray(pixels * (1 - soft) + soft * colour, np.float32)
    noisy = pixels + rng.normal(0, rng.uniform(0, 0.04), pixels.shape)
    if rng.random() < 0.35:
        quality = int(rng.integers(25, 90))
        bytes_ = np.clip(noisy * 255, 0, 255).astype(np.uint8)
        _, coded = cv2.imencode(".jpg", bytes_, [cv2.IMWRITE_JPEG_QUALITY, quality])
        noisy = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.float64) / 255
    return np.asarray(noisy, np.float32), hidden


def _lit(pixels: _Floats, rng: np.random.Generator) -> _Floats:
    """Uneven light: a vignette off centre, a gradient, a glare."""
    side = pixels.shape[0]
    line = np.linspace(-1, 1, side, dtype=np.float32)
    y, x = line[:, None], line[None, :]
    if rng.random() < 0.5:
        cy, cx = rng.uniform(-0.8, 0.8, 2)
        fall = rng.uniform(0, 0.35) * ((y - cy) ** 2 + (x - cx) ** 2) / 2
        tint = rng.uniform(0.7, 1.3, 3)
        pixels = pixels * np.clip(1 - fall[..., None] * tint, 0.1, 1)
    if rng.random() < 0.12:
        cy, cx = rng.uniform(-1, 1, 2)
        glare = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / rng.uniform(0.1, 0.8))
        pixels = pixels + rng.uniform(0.1, 0.5) * glare[..., None]
    return np.asarray(pixels, np.float32)


def surround(side: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw what a frame, an eyepiece or a stopped-down corner hides of a view."""
    line = np.arange(side)
    y, x = line[:, None], line[None, :]
    form = rng.choice(["frame", "edges", "circle"])
    if form == "frame":
        width = rng.integers(1, 40, 4)
        inside = (y >= width[0]) & (y < side - width[1]) & (x >= width[2]) & (x < side - width[3])
    elif form == "edges":
        hidden = np.zeros((side, side), bool)
        for turns in rng.choice(4, int(rng.integers(1, 3)), replace=False):
            hidden |= np.rot90(np.broadcast_to(y < rng.integers(1, 60), (side, side)), turns)
        inside = ~hidden
    else:
        radius = rng.uniform(0.4, 1.5) * side
        angle, off = rng.uniform(0, 2 * np.pi), radius - rng.uniform(0.05, 0.45) * side
        cy, cx = side / 2 + off * np.sin(angle), side / 2 + off * np.cos(angle)
        inside = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
    return np.asarray(~inside)
