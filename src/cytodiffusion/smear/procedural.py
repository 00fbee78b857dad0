"""White cells drawn by hand, so to speak: what a textbook sketch shows, no more.

They stand for themselves without a model, and tell a model what shape to render with one.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.special import expit

from cytodiffusion.smear.nuclei import nucleus, warped
from cytodiffusion.smear.patches import FloatImage, Mask, Patch, blur, grown, waves
from cytodiffusion.smear.red_cells import platelet, polar, wobble


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
        Radius of the nucleus (or of its lobes) in parts of the cell's radius.
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
        6.4, "segmented", 0.30, (1.2, 1.6, 0.7), (0.13, 0.23, 0.13), (0.26, 0.42, 0.18), 4.0, 0.13
    ),
    "eosinophil": Sketch(
        6.6, "bilobed", 0.38, (1.15, 1.5, 0.7), (0.20, 0.48, 0.36), (0.28, 0.82, 0.62), 7.0, 0.24
    ),
    "basophil": Sketch(
        6.0, "bilobed", 0.50, (1.0, 1.4, 0.6), (0.28, 0.42, 0.16), (1.1, 1.5, 0.5), 4.0, 0.27, True
    ),
    "lymphocyte": Sketch(4.9, "round", 0.84, (1.25, 1.65, 0.75), (0.52, 0.46, 0.14)),
    "monocyte": Sketch(
        7.6, "kidney", 0.44, (0.95, 1.25, 0.5), (0.42, 0.43, 0.15), (0.42, 0.52, 0.16), 1.6, 0.14
    ),
    "immature granulocyte": Sketch(
        7.0, "oval", 0.70, (0.95, 1.4, 0.5), (0.33, 0.42, 0.14), (0.50, 0.95, 0.3), 3.0, 0.17
    ),
    "erythroblast": Sketch(4.7, "round", 0.58, (1.6, 1.9, 1.0), (0.42, 0.44, 0.22)),
}
_UNKNOWN = Sketch(5.5, "round", 0.7, (1.2, 1.6, 0.7), (0.35, 0.40, 0.15))


def sketched(name: str, px_um: float, rng: np.random.Generator) -> Patch:
    """Draw a white cell or a platelet, whichever the name says."""
    return platelet(px_um, rng) if name == "platelet" else white_cell(name, px_um, rng)


def white_cell(name: str, px_um: float, rng: np.random.Generator) -> Patch:
    """Draw a white cell."""
    sketch = SKETCHES.get(name, _UNKNOWN)
    radius = sketch.radius_um * rng.uniform(0.92, 1.08)
    side = int(2 * 1.3 * radius * px_um) | 1
    distance, angle = polar(side, px_um)
    oval = abs(rng.normal(0, 0.04)) * np.cos(2 * (angle - rng.uniform(0, np.pi)))
    rho = distance / (radius * (wobble(angle, rng, 0.05) + oval))
    rho = warped(rho, 0.09, 0.8 * px_um, px_um, rng)
    body = expit((1 - rho) * radius / 0.12)
    core = nucleus(sketch.nucleus, sketch.share, radius, side, px_um, rng) * body
    # Nuclei differ in how clumped their chromatin is, and cells in how much stain they took.
    stain = np.clip(rng.normal(1, 0.07, 2), 0.8, 1.2)
    chromatin = 1 + 0.15 * waves((side, side), 0.22 * px_um, rng)
    chromatin = chromatin + rng.uniform(0.07, 0.15) * waves((side, side), 0.55 * px_um, rng)
    # The rim of a nucleus looks darker than its middle.
    seam = core * (1 - blur(core, 0.5 * px_um))
    soft = 1 + 0.10 * waves((side, side), 0.25 * px_um, rng)
    soft = soft + 0.12 * waves((side, side), 0.9 * px_um, rng)
    inside = core[..., None]
    density = (body * soft)[..., None] * np.array(sketch.cytoplasm) * stain[0] * (1 - inside)
    clumps = np.clip(chromatin + 0.5 * seam, 0.45, None)[..., None]
    density = density + inside * clumps * np.array(sketch.chromatin) * stain[1]
    if sketch.grains:
        room = rho < 0.95
        if not sketch.grains_over_nucleus:
            room &= core < 0.5
        spots = _grains(room, sketch, px_um, rng)[..., None]
        density = density * (1 - 0.5 * spots) + spots * np.array(sketch.grain)
    return Patch(density.astype(np.float32), rho < 1)


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
