"""White cells and platelets sampled from the model, cut out of their surroundings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from cytodiffusion.errors import InputError
from cytodiffusion.patches import (
    ByteImage,
    FloatImage,
    Mask,
    Patch,
    blur,
    filled,
    grown,
    largest_piece,
)
from cytodiffusion.progress import Progress, silent
from cytodiffusion.segmentation.watershed import watershed
from cytodiffusion.stain import estimate_background

if TYPE_CHECKING:
    from cytodiffusion.model import ModelBundle

#: Plausible areas in um2: from a small platelet to a large monocyte.
_AREAS_UM2 = (2.0, 280.0)
#: Cells are roundish: less of their convex hull than this means that two were outlined as one.
#: Platelets may be ragged.
_LEAST_SOLIDITY, _LEAST_OF_PLATELETS, _PLATELET_UM2 = 0.88, 0.70, 25.0


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
        progress(attempt / sampling.tries, f"Sampling {len(open_)} cells")
        crops, agreed = _sample(model, [names[i] for i in open_], seed + 7919 * attempt, sampling)
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
    model: ModelBundle, names: list[str], seed: int, sampling: Sampling
) -> tuple[ByteImage, FloatImage]:
    """Sample crops, and how sure the model is that each is what was asked for (0 if it is not)."""
    from cytodiffusion.classify import ClassifySettings, classify
    from cytodiffusion.synthesis import sample_cells

    index = np.array([list(model.class_names).index(name) for name in names])
    crops = sample_cells(model, index, seed=seed, steps=sampling.steps, guidance=sampling.guidance)
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
    # Labels may bridge the thin bright gap to a neighbour; nothing is stained there.
    stained = blur(density, 0.08 * px_um).max(axis=-1) > 0.06
    labels = np.where(filled(stained), watershed(pixels, 1 / px_um).labels, 0)
    solid = _central_cell(labels.astype(np.int32), px_um)
    if solid is None:
        return None
    # A soft rim of a quarter of a micrometre; what lies further out belongs to the neighbours.
    rim = np.clip(blur(grown(solid, max(round(0.3 * px_um), 1)), 0.15 * px_um) * 1.6 - 0.3, 0, 1)
    density = np.maximum(density, -0.04) * rim[..., None]
    ys, xs = np.nonzero(rim > 0)
    box = (slice(ys.min(), ys.max() + 1), slice(xs.min(), xs.max() + 1))
    return Patch(density[box].astype(np.float32), solid[box])


def _central_cell(labels: npt.NDArray[np.int32], px_um: float) -> Mask | None:
    """Mask of the cell that fills most of the middle, if it is whole and of plausible form."""
    side = labels.shape[0]
    line = np.arange(side) - (side - 1) / 2
    near = np.hypot(line[:, None], line[None, :]) < 1.5 * px_um
    ids = labels[near & (labels > 0)]
    if ids.size < 0.3 * near.sum():
        return None
    solid = _without_appendages(np.asarray(labels == np.bincount(ids).argmax()))
    area = solid.sum() / px_um**2
    frame = np.concatenate([solid[0], solid[-1], solid[:, 0], solid[:, -1]])
    if not _AREAS_UM2[0] < area < _AREAS_UM2[1] or frame.any():
        return None
    hull = cv2.convexHull(np.argwhere(solid).astype(np.int32))
    compact = solid.sum() / max(float(cv2.contourArea(hull)), 1.0)
    least = _LEAST_SOLIDITY if area > _PLATELET_UM2 else _LEAST_OF_PLATELETS
    return solid if compact > least else None


def _without_appendages(solid: Mask) -> Mask:
    """Drop slivers of neighbours that hang on by a neck thinner than a third of the cell."""
    radius = max(round(0.3 * float(np.sqrt(solid.sum() / np.pi))), 1)
    core = largest_piece(grown(~grown(~solid, radius), radius))
    # The opening rounds off what is truly the outline; give back what lies close to the core.
    return largest_piece(solid & grown(core, max(radius // 6, 1)))
