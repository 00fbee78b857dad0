"""One cell of an image, or the cell of a single-cell image, cut out to be changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.crops import centre_crop, extract_crops
from cytodiffusion.errors import InputError
from cytodiffusion.framing import find_centre, scale_of
from cytodiffusion.image import check_pixel_size, open_image
from cytodiffusion.inputs import labels_pixel_size, open_labels
from cytodiffusion.stain import estimate_background

from .placement import Placement

#: Sources of a scale that need no warning.
CERTAIN = ("given", "file", "labels")


@dataclass(frozen=True, eq=False)
class ChosenCell:
    """A cell, cut out.

    Attributes
    ----------
    pixels : (S, S, 3) uint8
    background : (3,) float32
        Colour of the empty background, 0 to 255.
    mask : (S, S) bool or None
        Where the cell is, if that is known.
    placement : Placement
        Of the crop in its image.
    pixel_size_um : float
        Of the image.
    scale_source : str
        What the pixel size rests on.
    touches_border : bool
        What lies beyond the image's border is mirrored.
    """

    pixels: NDArray[np.uint8]
    background: NDArray[np.float32]
    mask: NDArray[np.bool_] | None
    placement: Placement
    pixel_size_um: float
    scale_source: str
    touches_border: bool

    def warnings(self) -> list[str]:
        """Sentences that the user should read."""
        said = []
        if self.scale_source not in CERTAIN:
            said.append(
                f"The pixel size is {self.scale_source}: {self.pixel_size_um:.4g} um. Give "
                "--pixel-size if you know it."
            )
        if self.touches_border:
            said.append(
                "The cell touches the border of the image: what lies beyond is mirrored, and the "
                "result says little of the part that is missing."
            )
        return said


def choose_cell(
    source: Path,
    labels: Path | None,
    cell: int | None,
    size: int,
    window_um: float,
    pixel_size_um: float | None = None,
) -> ChosenCell:
    """Cut a cell out of an image.

    Parameters
    ----------
    source : Path
        An image with many cells, or one of a single cell where there are no ``labels``.
    labels : Path, optional
        Label image.
    cell : int, optional
        Label of the cell; may be missing where the label image has one cell only.
    size : int
        Side of the crop in pixels.
    window_um : float
        Side of the window in micrometres.
    pixel_size_um : float, optional
        Of the image, where it is known.

    Raises
    ------
    InputError
        If a file cannot be read, there is no such cell, or it is not clear which is meant.
    """
    if pixel_size_um is not None:
        check_pixel_size(pixel_size_um)
    if not source.exists():
        raise InputError(f"{source} does not exist.")
    if source.is_dir():
        raise InputError(f"{source} is a folder: give one image.")
    if labels is None:
        if cell is not None:
            raise InputError(f"Cell {cell} cannot be found without --labels.")
        return _single(source, size, window_um, pixel_size_um)
    return _labelled(source, labels, cell, size, window_um, pixel_size_um)


def _single(source: Path, size: int, window_um: float, pixel_size_um: float | None) -> ChosenCell:
    image = open_image(source)
    rgb = image.rgb()
    scale = scale_of(rgb, pixel_size_um, image.pixel_size_um)
    centre = find_centre(rgb, scale.pixel_size_um)
    return ChosenCell(
        centre_crop(rgb, scale.pixel_size_um, size, window_um, centre=centre),
        estimate_background(rgb),
        None,
        Placement.of_cell(centre, scale.pixel_size_um, window_um, size),
        scale.pixel_size_um,
        scale.source,
        False,
    )


def _labelled(
    source: Path,
    labels: Path,
    cell: int | None,
    size: int,
    window_um: float,
    pixel_size_um: float | None,
) -> ChosenCell:
    image = open_image(source)
    found = open_labels(labels, image)
    ids = np.unique(found[found > 0])
    if cell is None:
        if len(ids) > 1:
            raise InputError(f"{labels.name} has {len(ids)} cells: say which one with --cell.")
        cell = int(ids[0])
    if cell not in ids:
        raise InputError(
            f"There is no cell {cell} in {labels.name}; its labels are {ids[0]} to {ids[-1]}."
        )
    scale, origin = labels_pixel_size(image, labels, pixel_size_um)
    rgb = image.rgb()
    crops = extract_crops(rgb, found, scale, size, window_um, ids=[cell])
    placement = Placement.of_cell(crops.centroids[0], scale, window_um, size)
    return ChosenCell(
        crops.pixels[0],
        estimate_background(rgb),
        placement.from_image(found == cell, False),
        placement,
        scale,
        origin,
        bool(crops.touches_border[0]),
    )
