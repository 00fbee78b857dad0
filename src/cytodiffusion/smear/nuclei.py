"""Nuclei of drawn white cells: lobes along a bent line, or one body, roughened."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from scipy.special import expit

from cytodiffusion.smear.patches import FloatImage, blur, waves


def nucleus(
    kind: str,
    share: float,
    radius: float,
    side: int,
    px_um: float,
    rng: np.random.Generator,
) -> FloatImage:
    """Draw a nucleus in the middle of a square."""
    canvas = np.zeros((side, side), np.float32)
    unit, start = radius * px_um, rng.uniform(0, 2 * np.pi)
    if kind in ("segmented", "bilobed"):
        _lobes(canvas, kind, share, unit, px_um, rng)
    elif kind == "kidney":
        bend, sweep = rng.uniform(0.30, 0.40), rng.uniform(1.4, 3.2)
        _arc(canvas, start, sweep, bend, share * rng.uniform(0.9, 1.1), unit, rng)
    else:
        # Off the middle, by as much as there is room.
        room = max(0.9 - share, 0.0) * (0.75 if kind == "round" else 0.9)
        off, size = room * np.sqrt(rng.uniform(0.1, 1.0)), share * rng.uniform(0.92, 1.05)
        squeeze = rng.uniform(0.86, 1.0) if kind == "round" else rng.uniform(0.72, 0.92)
        at = side / 2 + off * unit * np.cos(start), side / 2 + off * unit * np.sin(start)
        _ellipse(canvas, at, (size * unit, size * squeeze * unit), start + np.pi / 2)
        if rng.random() < (0.3 if kind == "round" else 0.55):  # a dent towards the middle
            towards = start + np.pi + rng.uniform(-0.5, 0.5)
            reach = size * unit * rng.uniform(1.0, 1.25)
            dent = at[0] + reach * np.cos(towards), at[1] + reach * np.sin(towards)
            _ellipse(canvas, dent, (0.3 * size * unit, 0.5 * size * unit), towards, 0.0)
    amount = 0.16 if kind == "round" else 0.28
    rough = warped(blur(canvas, 0.3 * px_um), amount, 1.0 * px_um, px_um, rng)
    rough = warped(rough, amount / 3, 0.4 * px_um, px_um, rng)
    return np.asarray(expit((blur(rough, 0.08 * px_um) - 0.5) * 14), np.float32)


def warped(
    field: npt.NDArray[np.floating],
    amount_um: float,
    sigma: float,
    px_um: float,
    rng: np.random.Generator,
) -> FloatImage:
    """Move every pixel of a ``(H, W)`` field a little, neighbours alike."""
    h, w = field.shape
    yy, xx = np.indices((h, w), dtype=np.float32)
    dy, dx = (amount_um * px_um * waves((h, w), sigma, rng) for _ in range(2))
    moved = cv2.remap(
        field.astype(np.float32),
        xx + dx,
        yy + dy,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(moved, np.float32)


def _lobes(
    canvas: FloatImage, kind: str, share: float, unit: float, px_um: float, rng: np.random.Generator
) -> None:
    """Two to five lobes joined by strands, or now and then a band."""
    start = rng.uniform(0, 2 * np.pi)
    two = kind == "bilobed"
    if not two and rng.random() < 0.25:
        _arc(canvas, start, rng.uniform(2.6, 4.2), 0.46, 0.8 * share, unit, rng)
        return
    n = int(rng.choice([2, 2, 3])) if two else int(rng.choice([2, 3, 3, 4, 5]))
    size = share * unit * (1.0 if n < 4 else 0.86) * (1.0 if two or n > 2 else 1.2)
    step = np.pi * rng.uniform(0.75, 1.0) if n == 2 else rng.uniform(1.2, 1.6) if n < 5 else 1.15
    turns = start + np.cumsum(step * rng.uniform(0.85, 1.1, n))
    middle = canvas.shape[0] / 2 + 0.10 * unit * rng.normal(size=2).clip(-1, 1)
    reach = 0.47 * unit * rng.uniform(0.85, 1.12, n)
    lobes = [
        (middle[0] + r * np.cos(a), middle[1] + r * np.sin(a))
        for r, a in zip(reach, turns, strict=True)
    ]
    for k, lobe in enumerate(lobes):
        axes = (size * rng.uniform(0.95, 1.25), size * rng.uniform(0.72, 0.95))
        _ellipse(canvas, lobe, axes, turns[k] + np.pi / 2 + rng.normal(0, 0.35))
        if k:
            ends = [(round(p[0]), round(p[1])) for p in (lobes[k - 1], lobe)]
            width = max(round(rng.uniform(0.7, 1.8) * px_um), 1)
            cv2.line(canvas, ends[0], ends[1], 1.0, width)


def _arc(
    canvas: FloatImage,
    start: float,
    sweep: float,
    bend: float,
    thick: float,
    unit: float,
    rng: np.random.Generator,
) -> None:
    """Draw a thick arc: a kidney, a horseshoe or a band; lengths in parts of `unit`."""
    middle = canvas.shape[0] / 2
    swell = rng.uniform(-0.12, 0.12, 3)
    for along in np.linspace(0, 1, 25):
        angle = start + sweep * (along - 0.5)
        size = thick * (1 + float(np.interp(along, [0, 0.5, 1], swell)))
        x, y = (bend * f(angle) - 0.12 * f(start) for f in (np.cos, np.sin))
        _ellipse(canvas, (middle + x * unit, middle + y * unit), (size * unit, size * unit), 0.0)


def _ellipse(
    canvas: FloatImage,
    centre: tuple[float, float],
    axes: tuple[float, float],
    angle: float,
    value: float = 1.0,
) -> None:
    """Fill an ellipse; pixels and radians."""
    at = (round(centre[0] * 16), round(centre[1] * 16))
    half = (round(axes[0] * 16), round(axes[1] * 16))
    degrees = float(np.degrees(angle))
    cv2.ellipse(canvas, at, half, degrees, 0, 360, value, -1, cv2.LINE_8, 4)
