"""A morph: from a cell to its counterfactual in small steps, as a stack of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cytodiffusion.counterfactual.canvas import Canvas
from cytodiffusion.counterfactual.captions import even_shares
from cytodiffusion.counterfactual.cells import (
    Counterfactuals,
    CounterfactualSettings,
    counterfactual_cells,
)
from cytodiffusion.counterfactual.editing import Change, edit_cells
from cytodiffusion.counterfactual.files import save_morph
from cytodiffusion.counterfactual.heatmap import check_explains
from cytodiffusion.errors import InputError
from cytodiffusion.predict import Classifier
from cytodiffusion.progress import Progress, part_of, silent

__all__ = ["MAX_FRAMES", "Morph", "make_morph", "save_morph"]

#: More frames than this are a mistake.
MAX_FRAMES = 240


@dataclass(frozen=True, eq=False)
class Morph:
    """A cell on its way to another class. All frames but the first are synthetic pictures.

    Attributes
    ----------
    frames : (F, S, S, 3) uint8
        From the cell itself to its counterfactual.
    share : (F,) float32
        Of the target class in each frame, 0 to 1.
    last : Counterfactuals
        What is known of the last frame.
    """

    frames: NDArray[np.uint8]
    share: NDArray[np.float32]
    last: Counterfactuals

    def record(self) -> dict[str, Any]:
        """Return what is said of it in its files."""
        return self.last.record() | {"frames": len(self.frames)}


def make_morph(
    crop: NDArray[np.uint8],
    model: Classifier,
    target: int,
    *,
    frames: int = 16,
    predicted: int | None = None,
    background: NDArray[np.floating] | None = None,
    mask: NDArray[np.bool_] | None = None,
    neighbours: NDArray[np.bool_] | None = None,
    settings: CounterfactualSettings | None = None,
    progress: Progress = silent,
) -> Morph:
    """Turn a cell step by step into its version of another class.

    All frames come from the same noise; from the first, which is the cell itself, to the last the
    share of the target class grows evenly.

    Parameters
    ----------
    crop : (S, S, 3) uint8
    frames : int
        2 to 240.
    predicted, background, mask, neighbours, settings, progress
        As in `counterfactual_cells`, for one cell.
    """
    if not 2 <= frames <= MAX_FRAMES:
        raise InputError(f"A morph has 2 to {MAX_FRAMES} frames, not {frames}.")
    settings = settings or CounterfactualSettings()
    bundle = check_explains(model)
    crops = np.asarray(crop)[None]
    masks, others = (None if one is None else np.asarray(one)[None] for one in (mask, neighbours))
    last = counterfactual_cells(
        crops,
        bundle,
        [target],
        predicted=None if predicted is None else [predicted],
        background=background,
        masks=masks,
        neighbours=others,
        settings=settings,
        progress=part_of(progress, 0.0, 0.5),
    )
    canvas = Canvas.of(bundle, crops, background, masks, others)
    share = torch.from_numpy(even_shares(frames))
    used = last.used[0]
    change = Change(
        torch.full((frames,), int(last.predicted[0])),
        torch.full((frames,), int(last.target[0])),
        share,
        torch.full((frames,), float(used.guidance)),
        torch.full((frames,), float(last.strength[0])),
    )
    numbers = np.zeros(frames, np.int64)
    unit = canvas.unit.expand(frames, -1, -1, -1)
    report = part_of(progress, 0.5, 1.0)
    edited = edit_cells(unit, numbers, change, bundle, used, report, canvas.room[numbers])
    # What noising alone changes would be there at once
    fading = (1 - share).reshape(-1, 1, 1, 1)
    edited = edited + fading * (canvas.unit - edited[:1])
    pictures = canvas.paint(edited, numbers)
    return Morph(np.concatenate([pictures[:-1], last.pixels]), share.numpy(), last)
