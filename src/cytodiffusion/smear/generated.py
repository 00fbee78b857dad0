"""White cells and platelets: drawn as sketches, rendered by the model, cut out again.

The model starts from a drawing rather than from pure noise (SDEdit, Meng et al. 2022): the
drawing says where the cell and its nucleus are, the model gives colour and texture as it has
learned them for the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from cytodiffusion.progress import Progress, silent
from cytodiffusion.smear.outline import central_outline
from cytodiffusion.smear.patches import (
    ByteImage,
    FloatImage,
    Mask,
    Patch,
    blur,
    grown,
    lay,
    resized,
)
from cytodiffusion.smear.procedural import sketched

if TYPE_CHECKING:
    from cytodiffusion.model.bundle import ModelBundle

#: Empty slide in a sketch, and pixels of the sketch to one of the model's.
_PAPER = 235.0
_FINER = 2.0
#: A found outline counts when it overlaps with that of the sketch by more than this (IoU).
_LEAST_OVERLAP = 0.75
#: A cell whose darker and paler parts do not lie where they were drawn is not the drawn cell.
_LEAST_LIKENESS = 0.6
#: Standard deviation in model pixels below which detail is the sketch's: the model does not
#: resolve it, and its blocks of 4 x 4 pixels leave a faint grid there.
_GRID = 1.2
#: No dye of the stain absorbs less blue than this part of the green it absorbs.
_LEAST_BLUE = 0.25


@dataclass(frozen=True)
class Sampling:
    """How cells are sampled.

    Attributes
    ----------
    steps
        Denoising steps.
    guidance
        Weight of classifier-free guidance, 1 for none.
    strength
        How much of the sketch is noised away: near 0 it stays as drawn, with 1 only the model
        decides.
    tries
        How often a cell is drawn anew that the model itself would not take for the class it
        was asked for.
    confidence
        With this confidence of the model no further try is made.
    least
        The least confidence of the best try for its class, which must also be the first
        choice; below it the sketch itself is used.
    """

    steps: int = 12
    guidance: float = 1.5
    strength: float = 0.4
    tries: int = 3
    confidence: float = 0.9
    least: float = 0.4


@dataclass(frozen=True)
class Cells:
    """Cells for a slide.

    Attributes
    ----------
    patches
        N cells in the order they were asked for.
    generated
        ``(N,)`` bool: rendered by the model; the others are sketches.
    confidence
        ``(N,)`` with which the model takes each for what it was asked for, 0 for sketches.
    """

    patches: list[Patch]
    generated: Mask
    confidence: npt.NDArray[np.float32]


def drawn_cells(names: Sequence[str], px_um: float, *, seed: int) -> Cells:
    """Draw one cell for each of the names, without any model."""
    patches = [sketched(name, px_um, _rng(seed, 0, i)) for i, name in enumerate(names)]
    return Cells(patches, np.zeros(len(names), bool), np.zeros(len(names), np.float32))


def generated_cells(
    model: ModelBundle,
    names: Sequence[str],
    px_um: float,
    *,
    seed: int,
    sampling: Sampling,
    progress: Progress = silent,
) -> Cells:
    """Render one cell for each of the given class names."""
    fine = max(px_um, _FINER * model.input_size / model.window_um)
    known = [i for i, name in enumerate(names) if name in model.untaught.class_names]
    best: list[Patch] = [sketched(name, fine, _rng(seed, 0, i)) for i, name in enumerate(names)]
    scores = np.zeros(len(names), np.float32)
    for attempt in range(sampling.tries):
        open_ = [i for i in known if scores[i] < sampling.confidence]
        if not open_:
            break

        def part(fraction: float, message: str, start: int = attempt) -> None:
            progress((start + fraction) / sampling.tries, message)

        wanted = [names[i] for i in open_]
        drawn = [sketched(names[i], fine, _rng(seed, attempt, i)) for i in open_]
        made = _rendered(model, drawn, wanted, fine, seed + 7919 * attempt, sampling, part)
        for i, patch, score in zip(open_, made, _agreed(model, made, wanted, fine), strict=True):
            if patch is not None and score > max(scores[i], sampling.least):
                best[i], scores[i] = patch, score
    progress(1.0, "Cells sampled")
    patches = [resized(patch, px_um / fine) for patch in best]
    return Cells(patches, scores > 0, scores)


def _rng(seed: int, attempt: int, number: int) -> np.random.Generator:
    """Chance of its own for every sketch, so that no cell depends on the others."""
    return np.random.default_rng([seed, 0xCE11, attempt, number])


def _rendered(
    model: ModelBundle,
    drawn: Sequence[Patch],
    names: Sequence[str],
    px_um: float,
    seed: int,
    sampling: Sampling,
    progress: Progress,
) -> list[Patch | None]:
    """Let the model render sketches; None where it made something else of one."""
    from cytodiffusion.generation.sampler import drawn_size
    from cytodiffusion.generation.synthesis import sample_cells

    size = drawn_size(model)
    sketches = np.stack([in_window(patch, model, px_um, size) for patch in drawn])
    crops = sample_cells(
        model,
        [list(model.class_names).index(name) for name in names],
        seed=seed,
        steps=sampling.steps,
        guidance=sampling.guidance,
        sketches=sketches,
        strength=sampling.strength,
        progress=progress,
    )
    return [
        cut_out(crop, sketch, patch, model.window_um, px_um)
        for crop, sketch, patch in zip(crops, sketches, drawn, strict=True)
    ]


def _agreed(
    model: ModelBundle, cells: Sequence[Patch | None], names: Sequence[str], px_um: float
) -> FloatImage:
    """How sure the model is that each cell is what was asked for; 0 where it is not, or None."""
    from cytodiffusion.classification.classifier import classify
    from cytodiffusion.classification.settings import ClassifySettings

    agreed = np.zeros(len(cells), np.float32)
    there = [i for i, cell in enumerate(cells) if cell is not None]
    if there:
        size = model.input_size
        crops = np.stack(
            [in_window(cell, model, px_um, size) for cell in cells if cell is not None]
        )
        result = classify(crops, model, ClassifySettings(), background=np.full(3, _PAPER))
        index = np.array([list(model.class_names).index(names[i]) for i in there])
        agreed[there] = np.where(result.predicted == index, result.confidence, 0.0)
    return agreed


def in_window(patch: Patch, model: ModelBundle, px_um: float, size: int) -> ByteImage:
    """Photograph a cell alone on an empty slide."""
    side = round(model.window_um * px_um)
    density = np.zeros((side, side, 3), np.float32)
    lay(density, patch, (side / 2, side / 2))
    pixels = cv2.resize(_PAPER * np.exp(-density), (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8)


def cut_out(
    crop: ByteImage, sketch: ByteImage, drawn: Patch, window_um: float, px_um: float
) -> Patch | None:
    """Cut the cell out of what the model made of a sketch, at the scale of the drawing."""
    side = round(window_um * px_um)
    fine, solid = _spread(drawn, side)
    outside = _shrunk(grown(solid, round(1.5 * px_um)), len(crop)) < 0.01
    if not outside.any():  # a cell that fills the window
        outside = _shrunk(solid, len(crop)) < 0.01
    paper = np.median(crop[outside], axis=0) if outside.any() else np.full(3, _PAPER)
    made = -np.log((crop.astype(np.float32) + 1) / (paper.astype(np.float32) + 1))
    given = -np.log((sketch.astype(np.float32) + 1) / (_PAPER + 1))
    if _likeness(made, given, ~outside) < _LEAST_LIKENESS:
        return None
    coarse = _enlarged(blur(made, _GRID), side)
    coarse[..., 2] = np.maximum(coarse[..., 2], _LEAST_BLUE * coarse[..., 1])
    density = coarse + fine - _enlarged(blur(given, _GRID), side)
    solid = _outline(density, solid, px_um)
    # A soft rim of a quarter of a micrometre; beyond it is empty slide.
    rim = np.clip(blur(grown(solid, max(round(0.2 * px_um), 1)), 0.15 * px_um) * 1.6 - 0.3, 0, 1)
    density = np.maximum(density, -0.03) * rim[..., None]
    ys, xs = np.nonzero(rim > 0)
    box = (slice(ys.min(), ys.max() + 1), slice(xs.min(), xs.max() + 1))
    return Patch(density[box].astype(np.float32), solid[box])


def _spread(patch: Patch, side: int) -> tuple[FloatImage, Mask]:
    """Density and outline of a patch in the middle of a square."""
    both = np.zeros((side, side, 4), np.float32)
    layers = np.dstack([patch.density, patch.solid.astype(np.float32)])
    lay(both, Patch(layers, patch.solid), (side / 2, side / 2))
    return both[..., :3], both[..., 3] > 0.5


def _shrunk(mask: Mask, size: int) -> FloatImage:
    small = cv2.resize(mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _enlarged(density: FloatImage, side: int) -> FloatImage:
    return np.asarray(cv2.resize(density, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)


def _likeness(made: FloatImage, given: FloatImage, where: Mask) -> float:
    """Correlation of two densities inside a mask, detail left aside."""
    one, other = (blur(d, 2 * _GRID).mean(axis=-1)[where] for d in (made, given))
    if min(one.std(), other.std()) < 1e-3:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _outline(density: FloatImage, drawn: Mask, px_um: float) -> Mask:
    """Outline of the rendered cell; that of the drawing where the search strays from it."""
    found = central_outline(density, px_um)
    if found is None:
        return drawn
    overlap = (found & drawn).sum() / max((found | drawn).sum(), 1)
    return found if overlap > _LEAST_OVERLAP else drawn
