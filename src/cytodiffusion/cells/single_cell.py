"""Where the cell is in a single-cell image, how large a pixel is, and what empty slide looks like.

Single-cell images come in all framings: cut tightly or widely, with or without red cells beside
the cell, the cell in the middle or not. A classifier wants the cell in the centre, at a known
scale, on a background of known colour. The scale of one image without red cells is a guess from
the size of its cell, and where no empty slide is to be seen its colour cannot be known; images of
one folder come from one microscope, so what most of them say is believed instead.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytodiffusion.errors import CytoDiffusionError, InputError
from cytodiffusion.image.image import Image, open_image
from cytodiffusion.image.labels import LabelImage, open_label_image
from cytodiffusion.image.pixel_size import stated_pixel_size
from cytodiffusion.image.pixels import check_pixel_size
from cytodiffusion.image.stain import estimate_background
from cytodiffusion.progress import Progress, silent
from cytodiffusion.segmentation.foreground import closed, foreground, opened, smooth, stain_maps
from cytodiffusion.segmentation.nuclei import purple_level
from cytodiffusion.segmentation.result import KIND_NAMES
from cytodiffusion.segmentation.scale import (
    DEFAULT_PIXEL_UM,
    MIN_PIECE,
    NUCLEAR_PURPLE,
    PLAUSIBLE_UM,
    estimate_pixel_size,
)

#: Diameter of the circle of a white cell's area: geometric mean of the medians of the five
#: mature classes of PBC's training images (10.4 to 14.5 um).
WHITE_CELL_UM = 13.2

#: Standard errors, in log, of one image's scale: from red cells, and from the white cell alone.
SPREAD = {"estimated": 0.10, "assumed": 0.20}

#: Share of the images of a folder whose scale, in log, must be so near to the common one; else
#: the folder is of several microscopes.
AGREEING, TOLERANCE = 0.6, 0.3

#: Fewer images than this are no folder to speak of.
FEW = 4

#: The median of this share of a folder's images, the brightest, is the colour of its background,
#: where half of all images agree with it to this much, in log.
BRIGHTEST, ALIKE, MOST = 0.4, 0.06, 0.5

#: An image that is darker in every colour by that, and in one by this much, shows no background.
DARKER = 0.15

#: The cell is in the centre when its nucleus is no further from it than this.
NEAR_UM = 2.0


@dataclass(frozen=True)
class Scale:
    """Micrometres a pixel of one image, and what that rests on.

    Attributes
    ----------
    pixel_size_um : float
    source : str
        ``"given"``, ``"file"``, ``"estimated"`` from its red cells, ``"assumed"`` from the size of
        its cell, or ``"folder"``: the common scale of the images beside it.
    """

    pixel_size_um: float
    source: str


@dataclass(frozen=True, eq=False)
class Framing:
    """What is known of a single-cell image before it is cut.

    Attributes
    ----------
    scale : Scale
    background : (3,) float32 array
        Colour of the empty slide, 0 to 255.
    """

    scale: Scale
    background: NDArray[np.float32]


def estimate_scale(rgb: NDArray[np.uint8]) -> Scale:
    """Scale of one single-cell image: from its red cells, else from the cell in the middle.

    Parameters
    ----------
    rgb : (Y, X, 3) uint8
    """
    found = estimate_pixel_size(rgb)
    if found.source == "estimated":
        return Scale(found.pixel_size_um, "estimated")
    diameter = central_diameter(rgb)
    size = WHITE_CELL_UM / diameter if diameter else DEFAULT_PIXEL_UM
    return Scale(float(np.clip(size, *PLAUSIBLE_UM)), "assumed")


def central_diameter(rgb: NDArray[np.uint8]) -> float:
    """Diameter in pixels of the circle of the central cell's area; 0 where there is none."""
    mask = opened(foreground(smooth(stain_maps(rgb).density, 1.0)), 1.0)
    pieces, count = ndimage.label(mask)
    if count == 0:
        return 0.0
    areas = np.bincount(pieces.ravel(), minlength=count + 1)
    areas[0] = 0
    middle = pieces[tuple(slice(n // 3, n - n // 3) for n in mask.shape)]
    inside = np.bincount(middle.ravel(), minlength=count + 1)
    inside[0] = 0
    chosen = inside.argmax() if inside.any() else areas.argmax()
    return 2 * math.sqrt(areas[chosen] / math.pi)


def common_scale(scales: Sequence[Scale]) -> list[Scale]:
    """Give images of one folder one scale, where they agree on one.

    Parameters
    ----------
    scales : sequence of Scale
        One an image.

    Returns
    -------
    list of Scale
        The weighted median of the estimates for all of them; the scales as they were where they
        are few, differ too much to be of one microscope, or are given.
    """
    guessed = [s for s in scales if s.source in SPREAD]
    if len(guessed) < FEW:
        return list(scales)
    logs = np.log([s.pixel_size_um for s in guessed])
    weights = np.array([SPREAD[s.source] ** -2 for s in guessed])
    middle = _weighted_median(logs, weights)
    agreeing = weights[np.abs(logs - middle) <= TOLERANCE].sum() / weights.sum()
    if agreeing < AGREEING:
        return list(scales)
    common = Scale(float(np.exp(middle)), "folder")
    return [common if s.source in SPREAD else s for s in scales]


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values)
    rank = np.cumsum(weights[order])
    return float(values[order][int(np.searchsorted(rank, 0.5 * rank[-1]))])


def common_backgrounds(backgrounds: NDArray[np.floating]) -> NDArray[np.float32]:
    """Give images of one folder that show no empty slide the background of those that do.

    An image that shows none is taken for darker than it is: what is estimated is the colour of
    its brightest part, a cell. Where lamp or white balance change from image to image, a darker
    background may be a true one, and nothing is changed.

    Parameters
    ----------
    backgrounds : (N, 3) array
        Estimates, one an image (`cytodiffusion.image.stain.estimate_background`).

    Returns
    -------
    (N, 3) float32 array
        The estimates as they were where the images are few, or most do not agree.
    """
    found = np.asarray(backgrounds, np.float32)
    if len(found) < FEW:
        return found
    brightness = found.sum(axis=1)
    brightest = found[brightness >= np.quantile(brightness, 1 - BRIGHTEST)]
    common = np.median(brightest, axis=0)
    difference = np.log(np.maximum(found, 1) / np.maximum(common, 1))
    if (np.abs(difference).max(axis=1) <= ALIKE).mean() < MOST:
        return found
    dark = (difference.max(axis=1) < -ALIKE) & (difference.min(axis=1) < -DARKER)
    return np.where(dark[:, None], common[None], found).astype(np.float32)


def framings_of(
    paths: Sequence[Path],
    pixel_size_um: float | None = None,
    progress: Progress = silent,
) -> dict[Path, Framing]:
    """Scale and background of each single-cell image of a folder that can be read.

    Parameters
    ----------
    paths : sequence of Path
    pixel_size_um : float, optional
        Of all of them, where it is known.
    progress : callable

    Returns
    -------
    dict
        Without the images that cannot be read; whoever reads them for good says why.
    """
    scales: dict[Path, Scale] = {}
    backgrounds: list[NDArray[np.float32]] = []
    for number, path in enumerate(paths):
        progress(number / len(paths), f"measuring the scale, {number} of {len(paths)}")
        try:
            image = open_image(path)
            rgb = image.rgb()
            background = estimate_background(rgb)
            scales[path] = scale_of(rgb, pixel_size_um, image.pixel_size_um)
            backgrounds.append(background)
        except CytoDiffusionError:
            continue
    common = common_scale(list(scales.values()))
    colours = common_backgrounds(np.reshape(backgrounds, (-1, 3)))
    return {
        path: Framing(scale, colour)
        for path, scale, colour in zip(scales, common, colours, strict=True)
    }


def scale_of(rgb: NDArray[np.uint8], given_um: float | None, file_um: float | None) -> Scale:
    """Scale of one image ``(Y, X, 3)``: as given, else as its file says, else estimated."""
    if given_um is not None:
        return Scale(given_um, "given")
    return Scale(file_um, "file") if file_um else estimate_scale(rgb)


def at_start(progress: Progress) -> Progress:
    """Progress of a preparation: its messages, at the start of the bar."""
    return lambda fraction, message: progress(0.0, message)


def framing_of(path: Path, framings: Mapping[Path, Framing]) -> Framing:
    """Framing in ``framings``; anything for an image that could not be read then either."""
    nothing = Framing(Scale(DEFAULT_PIXEL_UM, "assumed"), np.full(3, 255, np.float32))
    return framings.get(path, nothing)


def find_centre(rgb: NDArray[np.uint8], pixel_size_um: float) -> tuple[float, float]:
    """Where the cell that a single-cell image is about has its centre.

    The middle of the image, unless there is no nucleus and no platelet near it: then the middle
    of the nearest white cell that the watershed finds, if any. So an image of a red cell, or of
    nothing, keeps its middle.

    Parameters
    ----------
    rgb : (Y, X, 3) uint8
    pixel_size_um : float

    Returns
    -------
    y, x : float
        In pixels.
    """
    from cytodiffusion.segmentation.watershed import watershed

    height, width = rgb.shape[:2]
    middle = ((height - 1) / 2, (width - 1) / 2)
    near = NEAR_UM / pixel_size_um
    offset = _nucleus_offset(rgb, near)
    if offset is not None and math.hypot(*offset) <= near:
        return middle
    found = watershed(rgb, pixel_size_um)
    if found.kinds is None:
        return middle
    white = [k for k, kind in enumerate(found.kinds, 1) if KIND_NAMES[kind] == "white"]
    if not white:
        return middle
    centres = np.array(ndimage.center_of_mass(found.labels > 0, found.labels, white))
    here = found.labels[height // 2, width // 2]
    if here in white:
        y, x = centres[white.index(int(here))]
    else:
        y, x = centres[np.hypot(*(centres - middle).T).argmin()]
    return float(y), float(x)


def _nucleus_offset(rgb: NDArray[np.uint8], near: float) -> tuple[float, float] | None:
    """From the image's middle to that of the purple piece next to it; None where there is none."""
    stains = stain_maps(rgb)
    mask = foreground(smooth(stains.density, 1.0))
    stain = smooth(stains.purple, 1.0)
    purple = opened(stain > max(NUCLEAR_PURPLE, purple_level(stain, mask, MIN_PIECE)), 1.0)
    if not purple.any():
        return None
    pieces, _ = ndimage.label(closed(purple, near / 3))
    y, x = np.ogrid[: rgb.shape[0], : rgb.shape[1]]
    centre = ((rgb.shape[0] - 1) / 2, (rgb.shape[1] - 1) / 2)
    distance = np.hypot(y - centre[0], x - centre[1])
    nearest = np.where(purple, distance, np.inf).argmin()
    piece = (pieces == pieces.flat[nearest]) & purple
    cy, cx = ndimage.center_of_mass(piece)
    return float(cy - centre[0]), float(cx - centre[1])


def labels_pixel_size(image: Image, labels: Path, given: float | None) -> tuple[float, str]:
    """Return the scale for an image whose labels exist, and where it comes from.

    The one given, else the one of the image's file, else the one stored with the labels, else an
    estimate from the red cells.
    """
    if given is not None:
        return check_pixel_size(given), "given"
    if image.pixel_size_um is not None:
        return image.pixel_size_um, "file"
    with contextlib.suppress(InputError):  # labels need not be readable as a picture
        stored = stated_pixel_size(labels).value_um
        if stored is not None:
            return stored, "labels"
    estimate = estimate_pixel_size(image.rgb())
    return estimate.pixel_size_um, estimate.source


def open_labels(path: Path, image: Image) -> LabelImage:
    """Read labels and make sure that they belong to `image`.

    Raises
    ------
    InputError
        When they cannot be read, are empty, or differ from the image in shape.
    """
    found = open_label_image(path)
    labels = found.labels
    height, width = image.shape
    if labels.shape != (height, width):
        raise InputError(
            f"{path.name} has {labels.shape[1]} x {labels.shape[0]} pixels, but the image "
            f"{image.name} has {width} x {height}: the labels belong to another image."
        )
    if not labels.any():
        raise InputError(f"There are no cells in {path.name}: every label is 0.")
    return found
