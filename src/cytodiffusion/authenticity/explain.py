"""Teaching mode: what in the picture speaks for the class, as a counterfactual heatmap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from cytodiffusion.authenticity.standardise import PAPER, enlarged
from cytodiffusion.cells.crops import centre_crop
from cytodiffusion.errors import InputError
from cytodiffusion.progress import Progress, silent
from cytodiffusion.taxonomy import plain

if TYPE_CHECKING:
    from cytodiffusion.counterfactual.heatmap import Heatmap
    from cytodiffusion.model.bundle import ModelBundle


def explain(
    pixels: NDArray[np.uint8],
    window_um: float,
    class_name: str,
    model: ModelBundle,
    progress: Progress = silent,
) -> Heatmap:
    """Heatmap of a cell: its class against the one the model takes for the next likely.

    Parameters
    ----------
    pixels : (S, S, 3) uint8
        The image of a trial.
    window_um : float
        Side of the window it shows.
    class_name : str
        Class of the cell: of a synthetic one, that it was made as.
    """
    from cytodiffusion.counterfactual.heatmap import iter_heatmaps, map_size

    known = [plain(name) for name in model.untaught.class_names]
    if plain(class_name) not in known:
        raise InputError(f"The model does not know the class {class_name!r}.")
    crop = centre_crop(pixels, window_um / len(pixels), map_size(model), model.window_um)
    (found,) = iter_heatmaps(
        crop[None],
        model,
        None,
        predicted=np.array([known.index(plain(class_name))]),
        background=np.full(3, PAPER, np.float32),
        progress=progress,
    )
    return found


def overlaid(
    pixels: NDArray[np.uint8], window_um: float, heatmap: Heatmap, side: int
) -> NDArray[np.uint8]:
    """Lay what stands out of a heatmap over the cell, ``(side, side, 3)`` uint8.

    Parameters
    ----------
    pixels : (S, S, 3) uint8
        The image of a trial.
    window_um : float
        Side of the window it shows; that of the heatmap may be larger.
    side : int
        Pixels of a side of the picture.
    """
    from cytodiffusion.counterfactual.figures import overlay_rgba

    values = heatmap.thresholded()
    shown = round(len(values) * min(1.0, window_um / heatmap.window_um))
    first = (len(values) - shown) // 2
    part = np.ascontiguousarray(values[first : first + shown, first : first + shown])
    resized = cv2.resize(part, (side, side), interpolation=cv2.INTER_NEAREST)
    large = np.asarray(resized, np.float32)
    colours = overlay_rgba(large, max(float(np.abs(values).max()), 1e-6))
    opacity = colours[..., 3:]
    mixed = enlarged(pixels, side) * (1 - opacity) + 255 * colours[..., :3] * opacity
    return np.asarray(mixed.round(), np.uint8)
