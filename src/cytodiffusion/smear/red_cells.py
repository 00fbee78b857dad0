"""Red cells and platelets, drawn from their physics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from cytodiffusion.smear.patches import FloatImage, Patch, blur, waves

#: Density of haemoglobin under eosin in R, G, B through a red cell of full thickness.
_EOSIN = np.array([0.235, 0.375, 0.285], np.float32)
_AZURE = np.array([0.55, 0.80, 0.28], np.float32)


@dataclass(frozen=True)
class RedCellStyle:
    """What the red cells of one field have in common.

    Attributes
    ----------
    density
        ``(3,)`` density at full thickness.
    pallor
        Mean depth of the central pallor, 0 to 1.
    crenated
        Share of cells with a scalloped outline.
    """

    density: FloatImage
    pallor: float
    crenated: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> RedCellStyle:
        """Draw the stain and the drying of one field."""
        density = _EOSIN * rng.uniform(0.9, 1.12) * rng.uniform(0.94, 1.06, 3)
        return cls(density.astype(np.float32), rng.uniform(0.66, 0.84), rng.uniform(0.0, 0.03))


def polar(side: int, px_um: float) -> tuple[FloatImage, FloatImage]:
    """Distance in um and angle from the middle of a ``side x side`` square."""
    line = (np.arange(side, dtype=np.float32) - (side - 1) / 2) / px_um
    yy, xx = line[:, None], line[None, :]
    return np.hypot(yy, xx).astype(np.float32), np.arctan2(yy, xx).astype(np.float32)


def wobble(
    angle: FloatImage, rng: np.random.Generator, amount: float, orders: range = range(2, 7)
) -> FloatImage:
    """Outline around 1 as a function of the angle: harmonics that fall off quickly."""
    outline = np.ones_like(angle)
    for k in orders:
        outline += amount / k**1.3 * rng.normal() * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    return outline


def red_cell(px_um: float, style: RedCellStyle, rng: np.random.Generator) -> Patch:
    """Draw one red cell: a biconcave disc dried flat, pale in the middle."""
    radius = float(np.clip(rng.normal(3.7, 0.20), 3.1, 4.5))
    side = int(2 * 1.45 * radius * px_um) | 1
    distance, angle = polar(side, px_um)
    # Most are nearly round; a few were drawn out by the spreader.
    oval = abs(rng.normal(0, 0.035)) + (rng.uniform(0.05, 0.16) if rng.random() < 0.15 else 0)
    outline = wobble(angle, rng, rng.uniform(0.02, 0.065)) + oval * np.cos(
        2 * (angle - rng.uniform(0, np.pi))
    )
    if rng.random() < style.crenated:
        n = int(rng.integers(9, 15))
        outline += rng.uniform(0.02, 0.05) * np.cos(n * angle)
    rho = distance / (radius * outline)
    edge = expit((1 - rho) * radius / 0.07)
    thickness = edge * _profile(rho, distance, angle, radius, style, rng)
    texture = 1 + 0.02 * waves((side, side), 0.35 * px_um, rng)
    texture = texture + 0.03 * waves((side, side), 1.5 * px_um, rng)
    # Young cells still hold a little RNA and take a greyish tint.
    tint = style.density * rng.normal(1, 0.013, 3) * np.clip(rng.normal(1, 0.07), 0.75, 1.3)
    if rng.random() < 0.03:
        tint = tint + rng.uniform(0.4, 1.0) * np.array([0.07, 0.03, -0.03])
    density = (thickness * texture)[..., None] * tint
    # Refraction: a thread of light just outside the rim.
    rim = np.exp(-0.5 * ((rho - 1) * radius / 0.12 - 1.9) ** 2)
    density = density - 0.035 * rim[..., None]
    return Patch(density.astype(np.float32), rho < 1)


def _profile(
    rho: FloatImage,
    distance: FloatImage,
    angle: FloatImage,
    radius: float,
    style: RedCellStyle,
    rng: np.random.Generator,
) -> FloatImage:
    """Thickness over the cell: flat at the rim, with a soft, often eccentric hollow."""
    depth = float(np.clip(rng.normal(style.pallor, 0.16), 0.0, 0.92))
    if rng.random() < 0.12:  # thick or tilted cells show none
        depth *= 0.25
    width = rng.uniform(0.36, 0.60)
    shift, towards = abs(rng.normal(0, 0.07)) * radius, rng.uniform(0, 2 * np.pi)
    moved = np.sqrt(
        np.maximum(distance**2 + shift**2 - 2 * distance * shift * np.cos(angle - towards), 0)
    )
    form = wobble(angle, rng, 0.09, range(1, 4))
    # Now and then the hollow is a slit rather than a disc.
    long = abs(rng.normal(0, 0.06)) if rng.random() < 0.9 else rng.uniform(0.2, 0.45)
    form = form * (1 + long * np.cos(2 * (angle - rng.uniform(0, np.pi))))
    hollow = moved / (radius * width * form)
    steep = rng.uniform(2.2, 4.5)
    dome = 1 - 0.10 * np.clip(rho, 0, 1) ** 8  # thins out at the very edge
    return np.asarray(dome * (1 - depth * np.exp(-(hollow**steep))), np.float32)


def platelet(px_um: float, rng: np.random.Generator) -> Patch:
    """Draw one platelet: pale lilac, purple grains gathered in the middle."""
    radius = float(np.clip(rng.lognormal(np.log(1.8), 0.14), 1.2, 2.4))
    side = int(2 * 2.2 * radius * px_um) | 1
    distance, angle = polar(side, px_um)
    outline = wobble(angle, rng, 0.16) * (1 + 0.15 * rng.random() * np.cos(2 * angle))
    rho = distance / (radius * np.maximum(outline, 0.5))
    body = expit((1 - rho) * radius / 0.12)
    centre = np.exp(-((rho / rng.uniform(0.7, 1.0)) ** 3))
    grains = np.clip(waves((side, side), 0.17 * px_um, rng) + 0.30, 0, 2.2)
    density = body[..., None] * np.array([0.17, 0.24, 0.08], np.float32)
    purple = _AZURE * rng.uniform(0.9, 1.3) * rng.uniform(0.9, 1.1, 3)
    density = density + (body * centre * (0.25 + 0.80 * grains))[..., None] * purple
    return Patch(blur(density, 0.06 * px_um), rho < 1.05)
