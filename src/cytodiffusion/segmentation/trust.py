"""When a segmentation is not to be trusted: sentences that say so."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from cytodiffusion.image.stain import background_map, optical_density
from cytodiffusion.image.surround import surround
from cytodiffusion.segmentation.result import Segmentation

#: Area of a red cell in square micrometres.
CELL_UM2 = 44.0

#: One object over this share of a picture is no cell, nor one of so many times a cell.
LARGEST_SHARE, LARGEST_CELLS = 0.2, 10

#: Optical density of what is stained.
STAINED = 0.12

#: Share of what is stained that may be left without an outline, and how many cells that must be.
UNEXPLAINED, UNEXPLAINED_CELLS = 0.35, 6

#: Side of a picture in micrometres from which on it is a field, not the picture of one cell.
FIELD_UM = 45.0

_SIDE = 400


def doubts(rgb: NDArray[np.uint8], found: Segmentation) -> tuple[str, ...]:
    """Sentences on what is odd about the cells of a field; none where all is well.

    Parameters
    ----------
    rgb : (Y, X, 3) uint8
        The field, at any size.
    found : Segmentation
    """
    height, width = found.labels.shape
    size_um = (height * found.pixel_size_um, width * found.pixel_size_um)
    picture_um2 = size_um[0] * size_um[1]
    areas = np.bincount(found.labels.ravel())[1:] * found.pixel_size_um**2
    largest = float(areas.max(initial=0.0))
    said = []
    if largest > LARGEST_SHARE * picture_um2 and largest > 6 * CELL_UM2:
        said.append(
            f"One object covers {largest / picture_um2:.0%} of the picture, so it is hardly a "
            "cell: look at the outlines, the pixel size and the light."
        )
    elif (many := int((areas > LARGEST_CELLS * CELL_UM2).sum())) > 0:
        objects = "One object is" if many == 1 else f"{many} objects are"
        said.append(
            f"{objects} more than {LARGEST_CELLS} times as large as a red cell: look at the "
            "outlines and at the pixel size."
        )
    if min(size_um) < FIELD_UM:
        return tuple(said)
    stained, missed = _stained(rgb, found.labels)
    missed_cells = missed * picture_um2 / CELL_UM2
    if missed > UNEXPLAINED * stained and missed_cells > UNEXPLAINED_CELLS:
        said.append(
            f"{missed / stained:.0%} of what is stained in the picture has no outline, as much as "
            f"{missed_cells:.0f} red cells would cover: cells may be missing."
        )
    elif 0 < len(areas) < 3:
        said.append(
            "Hardly any cell was found in this field: look at the picture and the pixel size."
        )
    return tuple(said)


def _stained(rgb: NDArray[np.uint8], labels: NDArray[np.int32]) -> tuple[float, float]:
    """Shares of the picture that are stained, and that are stained without an outline."""
    scale = min(1.0, _SIDE / max(labels.shape))
    size = (max(1, round(labels.shape[1] * scale)), max(1, round(labels.shape[0] * scale)))
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    cells = (labels > 0).astype(np.float32)
    covered = np.asarray(cv2.resize(cells, size, interpolation=cv2.INTER_AREA)) > 0.05
    density = optical_density(small, background_map(small, side=_SIDE)).mean(axis=2)
    smooth = cv2.GaussianBlur(density, (0, 0), 1.5)
    stained = (smooth > STAINED) & ~surround(small)
    return float(stained.mean()), float((stained & ~covered).mean())
