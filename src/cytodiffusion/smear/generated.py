"""White cells and platelets sampled from the model, cut out of their surroundings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from cytodiffusion.errors import InputError
from cytodiffusion.patches import (
    ByteImage,
    FloatImage,
    Mask,
    Patch,
    blur,
    grown,
)
from cytodiffusion.progress import Progress, silent
from cytodiffusion.smear.outline import central_outline
from cytodiffusion.stain import estimate_background

if TYPE_CHECKING:
    from cytodiffusion.model.bundle import ModelBundle

#: Plausible areas in um2: from a small platelet to a large monocyte.
_AREAS_UM2 = (2.0, 280.0)
#: Cells are roundish: less of their convex hull than this means that two were outlined as one.
_LEAST_SOLIDITY = 0.85
#: At least this part of the outline must border on empty slide.
_LEAST_FREE = 0.6


@dataclass(frozen=True)
class Sampling:
    """How cells are sampled.

    Attributes
    ----------
    steps
        Denoising steps.
    guidance
        Weight of classifier-free guidance, 1 for none.
    tries
        How often a cell is drawn anew that cannot be cut out or that the model itself would
        not take for the class it was asked for.
    confidence
        The least confidence with which the model has to agree.
    """

    steps: int = 50
    guidance: float = 2.0
    tries: int = 4
    confidence: float = 0.9


def generated_cells(
    model: ModelBundle,
    names: Sequence[str],
    px_um: float,
    *,
    seed: int,
    sampling: Sampling,
    progress: Progress = silent,
) -> list[Patch]:
    """Sample one cell for each of the given class names.

    Parameters
    ----------
    model
        Bundle that knows all the classes.
    names
        N class names.
    px_um
        Pixels a micrometre of the field the cells are for.
    seed
        Same seed, same cells.
    sampling
        Steps, guidance and what is rejected.
    progress
        Called with the fraction done.

    Returns
    -------
    list of Patch
        N patches in the order of the names; where every try was rejected, the best of them.

    Raises
    ------
    InputError
        If the model cannot make a cell that can be cut out.
    """
    best: list[Patch | None] = [None] * len(names)
    scores = np.full(len(names), -1.0)
    for attempt in range(sampling.tries):
        open_ = [i for i in range(len(names)) if scores[i] < sampling.confidence]
        if not open_:
            break

        def part(fraction: float, message: str, start: int = attempt) -> None:
            progress((start + fraction) / sampling.tries, message)

        wanted = [names[i] for i in open_]
        part(0.0, f"Sampling {len(open_)} cells")
        crops, agreed = _sample(model, wanted, seed + 7919 * attempt, sampling, part)
        for i, crop, score in zip(open_, crops, agreed, strict=True):
            if score > scores[i] and (patch := cut_out(crop, model.window_um, px_um)) is not None:
                best[i], scores[i] = patch, score
    progress(1.0, "Cells sampled")
    return _complete(model, names, best)


def _complete(
    model: ModelBundle, names: Sequence[str], cells: Sequence[Patch | None]
) -> list[Patch]:
    """Fill gaps with another cell of the same class (it will lie turned differently)."""
    made: dict[str, Patch] = {}
    for name, cell in zip(names, cells, strict=True):
        if cell is not None:
            made.setdefault(name, cell)
    for name in names:
        if name not in made:
            raise InputError(
                f"The model '{model.name}' did not generate a {name} that stands out from its "
                "background; use another model or leave that class out."
            )
    return [cell or made[name] for name, cell in zip(names, cells, strict=True)]


def _sample(
    model: ModelBundle, names: list[str], seed: int, sampling: Sampling, progress: Progress
) -> tuple[ByteImage, FloatImage]:
    """Sample crops, and how sure the model is that each is what was asked for (0 if it is not)."""
    from cytodiffusion.classify import ClassifySettings, classify
    from cytodiffusion.synthesis import sample_cells

    index = np.array([list(model.class_names).index(name) for name in names])
    crops = sample_cells(
        model,
        index,
        seed=seed,
        steps=sampling.steps,
        guidance=sampling.guidance,
        progress=progress,
    )
    result = classify(crops, model, ClassifySettings(seed=seed))
    agreed = np.where(result.predicted == index, result.confidence, 0.0)
    return crops, agreed.astype(np.float32)


def cut_out(crop: ByteImage, window_um: float, px_um: float) -> Patch | None:
    """Cut the central cell out of a crop and enlarge it to the scale of the field.

    Parameters
    ----------
    crop
        ``(S, S, 3)`` uint8, cell in the centre.
    window_um
        Width of the crop in micrometres.
    px_um
        Pixels a micrometre wanted.

    Returns
    -------
    Patch or None
        None where no cell of plausible size lies in the centre.
    """
    side = round(window_um * px_um)
    large = cv2.resize(crop, (side, side), interpolation=cv2.INTER_CUBIC)
    pixels = np.asarray(large, np.uint8)
    background = estimate_background(crop)
    density = -np.log((pixels.astype(np.float32) + 1) / (background + 1))
    solid = central_outline(density.astype(np.float32), px_um)
    if solid is None or not _plausible(solid, density, px_um):
        return None
    # A soft rim of a quarter of a micrometre; what lies further out belongs to the neighbours.
    rim = np.clip(blur(grown(solid, max(round(0.3 * px_um), 1)), 0.15 * px_um) * 1.6 - 0.3, 0, 1)
    density = np.maximum(density, -0.04) * rim[..., None]
    ys, xs = np.nonzero(rim > 0)
    box = (slice(ys.min(), ys.max() + 1), slice(xs.min(), xs.max() + 1))
    return Patch(density[box].astype(np.float32), solid[box])


def _plausible(solid: Mask, density: FloatImage, px_um: float) -> bool:
    """Whether a mask is one whole cell, most of its outline free of neighbours."""
    area = solid.sum() / px_um**2
    frame = np.concatenate([solid[:3], solid[-3:], solid[:, :3].T, solid[:, -3:].T])
    if not _AREAS_UM2[0] < area < _AREAS_UM2[1] or frame.any():
        return False
    hull = cv2.convexHull(np.argwhere(solid).astype(np.int32))
    around = grown(solid, max(round(0.5 * px_um), 2)) & ~grown(solid, max(round(0.2 * px_um), 1))
    free = float((blur(density, 0.1 * px_um).max(axis=-1)[around] < 0.12).mean())
    compact = solid.sum() / max(float(cv2.contourArea(hull)), 1.0)
    return bool(compact > _LEAST_SOLIDITY and free > _LEAST_FREE)
