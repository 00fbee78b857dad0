"""White cells drawn without a model: what a textbook sketch shows, no more."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.special import expit

from cytodiffusion.patches import FloatImage, Mask, Patch, blur, grown, waves
from cytodiffusion.smear.red_cells import polar, wobble


@dataclass(frozen=True)
class Sketch:
    """How a class of white cell is drawn.

    Attributes
    ----------
    radius_um
        Mean radius of the cell.
    nucleus
        ``"round"``, ``"oval"``, ``"kidney"``, ``"bilobed"`` or ``"segmented"``.
    share
        Radius of the nucleus (or size of its lobes) in parts of the cell's radius.
    chromatin, cytoplasm, grain
        Densities in R, G, B.
    grains
        Granules a square micrometre of cytoplasm.
    grain_um
        Radius of a granule.
    grains_over_nucleus
        Whether granules hide the nucleus.
    """

    radius_um: float
    nucleus: str
    share: float
    chromatin: tuple[float, float, float]
    cytoplasm: tuple[float, float, float]
    grain: tuple[float, float, float] = (0.0, 0.0, 0.0)
    grains: float = 0.0
    grain_um: float = 0.2
    grains_over_nucleus: bool = False


SKETCHES: dict[str, Sketch] = {
    "neutrophil": Sketch(
        6.2, "segmented", 0.27, (1.3, 1.7, 0.7), (0.10, 0.17, 0.10), (0.22, 0.34, 0.14), 3.0, 0.13
    ),
    "eosinophil": Sketch(
        6.5, "bilobed", 0.40, (1.2, 1.6, 0.7), (0.15, 0.28, 0.20), (0.30, 0.95, 0.75), 4.5, 0.30
    ),
    "basophil": Sketch(
        5.8, "bilobed", 0.50, (1.0, 1.4, 0.6), (0.25, 0.38, 0.14), (1.1, 1.5, 0.5), 2.6, 0.32, True
    ),
    "lymphocyte": Sketch(4.6, "round", 0.86, (1.35, 1.75, 0.8), (0.48, 0.42, 0.12)),
    "monocyte": Sketch(
        7.6, "kidney", 0.68, (0.95, 1.25, 0.5), (0.42, 0.43, 0.15), (0.3, 0.4, 0.1), 0.8, 0.12
    ),
    "immature granulocyte": Sketch(
        7.4, "oval", 0.68, (0.95, 1.4, 0.5), (0.33, 0.42, 0.14), (0.45, 0.95, 0.3), 2.0, 0.17
    ),
    "erythroblast": Sketch(4.5, "round", 0.56, (1.7, 2.0, 1.1), (0.42, 0.44, 0.22)),
}
_UNKNOWN = Sketch(5.5, "round", 0.7, (1.2, 1.6, 0.7), (0.35, 0.40, 0.15))


def white_cell(name: str, px_um: float, rng: np.random.Generator) -> Patch:
    """Draw a white cell.

    Parameters
    ----------
    name
        Class; names without a sketch get a plain mononuclear cell.
    px_um
        Pixels a micrometre.
    rng
        The only source of chance.
    """
    sketch = SKETCHES.get(name, _UNKNOWN)
    radius = sketch.radius_um * rng.uniform(0.92, 1.08)
    side = int(2 * 1.25 * radius * px_um) | 1
    distance, angle = polar(side, px_um)
    rho = distance / (radius * wobble(angle, rng, 0.035))
    body = expit((1 - rho) * radius / 0.12)
    nucleus = np.clip(_nucleus(sketch, radius, side, px_um, rng), 0, 1) * body
    chromatin = 1 + 0.16 * waves((side, side), 0.28 * px_um, rng)
    chromatin = chromatin + 0.10 * waves((side, side), 0.8 * px_um, rng)
    soft = 1 + 0.08 * waves((side, side), 0.5 * px_um, rng)
    inside = nucleus[..., None]
    density = (body * soft)[..., None] * np.array(sketch.cytoplasm) * (1 - inside)
    density = density + inside * chromatin[..., None] * np.array(sketch.chromatin)
    if sketch.grains:
        room = rho < 0.95
        if not sketch.grains_over_nucleus:
            room &= nucleus < 0.5
        spots = _grains(room, sketch, px_um, rng)[..., None]
        density = density * (1 - 0.5 * spots) + spots * np.array(sketch.grain)
    return Patch(density.astype(np.float32), rho < 1)


def _nucleus(
    sketch: Sketch, radius: float, side: int, px_um: float, rng: np.random.Generator
) -> FloatImage:
    """Draw the nucleus, 0 to 1."""
    middle, size = side / 2, sketch.share * radius * px_um
    canvas = np.zeros((side, side), np.float32)
    start = rng.uniform(0, 2 * np.pi)
    if sketch.nucleus in ("segmented", "bilobed"):
        n = 2 if sketch.nucleus == "bilobed" else int(rng.integers(3, 5))
        reach = (0.42 if n == 2 else 0.48) * radius * px_um
        turns = start + (np.pi if n == 2 else 1.5) * np.arange(n) * rng.uniform(0.85, 1.0)
        lobes = [(middle + reach * np.cos(a), middle + reach * np.sin(a)) for a in turns]
        for k, lobe in enumerate(lobes):
            axes = (size * rng.uniform(0.9, 1.1), size * rng.uniform(0.75, 0.95))
            _ellipse(canvas, lobe, axes, float(np.degrees(turns[k])) + 90)
            if k:
                _bridge(canvas, lobes[k - 1], lobe, 0.8 * px_um)
    else:
        off = 0.0 if sketch.nucleus == "round" else 0.14 * radius * px_um
        place = (middle + off * np.cos(start), middle + off * np.sin(start))
        squeeze = {"round": 0.95, "oval": 0.82, "kidney": 0.85}[sketch.nucleus]
        _ellipse(canvas, place, (size, size * squeeze), float(np.degrees(start)) + 90)
        if sketch.nucleus == "kidney":
            reach = 0.45 * radius * px_um
            notch = (middle - reach * np.cos(start), middle - reach * np.sin(start))
            _ellipse(canvas, notch, (0.42 * size, 0.62 * size), float(np.degrees(start)), 0.0)
    rough = blur(canvas, 0.45 * px_um) + 0.06 * waves(canvas.shape, 0.6 * px_um, rng)
    return np.asarray(expit((rough - 0.5) * 14), np.float32)


def _ellipse(
    canvas: FloatImage,
    centre: tuple[float, float],
    axes: tuple[float, float],
    degrees: float,
    value: float = 1.0,
) -> None:
    at = (round(centre[0] * 16), round(centre[1] * 16))
    half = (round(axes[0] * 16), round(axes[1] * 16))
    cv2.ellipse(canvas, at, half, degrees, 0, 360, value, -1, cv2.LINE_8, 4)


def _bridge(
    canvas: FloatImage, one: tuple[float, float], other: tuple[float, float], width: float
) -> None:
    ends = [(round(p[0]), round(p[1])) for p in (one, other)]
    cv2.line(canvas, ends[0], ends[1], 1.0, max(round(width), 1))


def _grains(room: Mask, sketch: Sketch, px_um: float, rng: np.random.Generator) -> FloatImage:
    """Scatter granules over the cytoplasm, 0 to 1."""
    spots = np.zeros(room.shape, np.float32)
    places = np.argwhere(room)
    n = int(sketch.grains * len(places) / px_um**2)
    for y, x in places[rng.integers(len(places), size=n)] if len(places) else ():
        size = max(round(16 * sketch.grain_um * px_um * rng.uniform(0.7, 1.3)), 8)
        cv2.circle(spots, (16 * int(x), 16 * int(y)), size, rng.uniform(0.5, 1), -1, cv2.LINE_8, 4)
    keep = blur(grown(room, 1), 0.8)
    return np.asarray(blur(spots, 0.07 * px_um) * keep, np.float32)
