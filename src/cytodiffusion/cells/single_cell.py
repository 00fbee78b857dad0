"""The one reader of single-cell images: scale, background, centre, crop and outline.

Single-cell images come in all framings: cut tightly or widely, with or without red cells beside
the cell, the cell in the middle or not. A classifier wants the cell in the centre, at a known
scale, on a background of known colour. The scale of one image without red cells is a guess from
the size of its cell, and where no empty slide is to be seen its colour cannot be known; images of
one folder come from one microscope, so what most of them say is believed instead.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytodiffusion.cells.crops import centre_crop
from cytodiffusion.errors import CytoDiffusionError, InputError
from cytodiffusion.image.formats import named
from cytodiffusion.image.image import Image, open_image
from cytodiffusion.image.labels import LabelImage, open_label_image
from cytodiffusion.image.pixel_size import stated_pixel_size
from cytodiffusion.image.pixels import Scale, check_pixel_size, known_scale
from cytodiffusion.image.stain import SINGLE_CELL_MAP_SIDE, background_map, estimate_background
from cytodiffusion.progress import Progress, silent
from cytodiffusion.segmentation.foreground import (
    Stains,
    closed,
    foreground,
    opened,
    smooth,
    stain_maps,
)
from cytodiffusion.segmentation.nuclei import purple_level
from cytodiffusion.segmentation.scale import (
    DEFAULT_PIXEL_UM,
    MIN_PIECE,
    NUCLEAR_PURPLE,
    PLAUSIBLE_UM,
    estimate_pixel_size,
)
from cytodiffusion.segmentation.watershed import WatershedSettings, watershed

log = logging.getLogger(__name__)

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

#: A nucleus is looked for in a copy of this pixel size, where the image is finer.
FINE_UM = 0.15

#: Bytes of opened images that are kept from measuring a folder to cutting its cells.
KEPT_BYTES = 1 << 28

#: White cells are looked for without the others, which take longer and are outlined after them.
WHITE_ONLY = WatershedSettings(red_cells=False, platelets=False)


@dataclass(frozen=True, eq=False)
class SingleCell:
    """A single-cell image and what is known of it.

    Attributes
    ----------
    rgb : (Y, X, 3) uint8
    scale : Scale
    background : (3,) float32
        Colour of the empty slide, 0 to 255.
    light : (Y, X, 3) float32
        The same at every place; may be smaller than the image.
    """

    rgb: NDArray[np.uint8]
    scale: Scale
    background: NDArray[np.float32]
    light: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        rgb: NDArray[np.uint8],
        pixel_size_um: float | None = None,
        file_um: float | None = None,
    ) -> SingleCell:
        """Measure an image by itself; ``file_um`` is the pixel size that its file states."""
        opened = _Opened(rgb, file_um, *_light_of(rgb))
        return cls(rgb, opened.scale(pixel_size_um), opened.background, opened.light)

    def crop(self, size: int, window_um: float, *, centred: bool = False) -> NDArray[np.uint8]:
        """Cut the window of ``window_um`` around the cell, ``size`` pixels wide.

        Where the cell is known to be ``centred``, no white cell beside it is taken for it.
        """
        place = self.middle if centred else self.centre
        return centre_crop(self.rgb, self.scale.pixel_size_um, size, window_um, centre=place)

    @property
    def middle(self) -> tuple[float, float]:
        """The middle of the image: y, x in pixels."""
        height, width = self.rgb.shape[:2]
        return (height - 1) / 2, (width - 1) / 2

    @cached_property
    def centre(self) -> tuple[float, float]:
        """Where the cell that the image is about has its centre: y, x in pixels.

        The middle of the image, unless there is no nucleus and no platelet near it: then the
        middle of the nearest white cell that the watershed finds, if any. So an image of a red
        cell, or of nothing, keeps its middle.
        """
        height, width = self.rgb.shape[:2]
        middle = self.middle
        away = _nucleus_distance_um(self.rgb, self.light, self.scale.pixel_size_um)
        if away is not None and away <= NEAR_UM:
            return middle
        white = self._white_cells
        count = int(white.max(initial=0))
        if not count:
            return middle
        centres = np.array(ndimage.center_of_mass(white > 0, white, np.arange(1, count + 1)))
        here = int(white[height // 2, width // 2])
        y, x = centres[here - 1 if here else np.hypot(*(centres - middle).T).argmin()]
        return float(y), float(x)

    @cached_property
    def mask(self) -> NDArray[np.bool_] | None:
        """Which pixels ``(Y, X)`` are the cell's, by the watershed; None where there is no cell."""
        at = (round(self.centre[0]), round(self.centre[1]))
        labels = self._white_cells
        if not labels[at]:
            labels = self._all_cells
        return np.asarray(labels == labels[at]) if labels[at] else None

    @cached_property
    def neighbours(self) -> NDArray[np.bool_]:
        """Which pixels ``(Y, X)`` are those of other cells, by the watershed."""
        others = self._all_cells > 0
        return others if self.mask is None else others & ~self.mask

    @cached_property
    def _all_cells(self) -> NDArray[np.int32]:
        return self._watershed(None)

    @cached_property
    def _white_cells(self) -> NDArray[np.int32]:
        return self._watershed(WHITE_ONLY)

    def _watershed(self, settings: WatershedSettings | None) -> NDArray[np.int32]:
        size = self.scale.pixel_size_um
        return watershed(self.rgb, size, settings, background=self.light).labels


class SingleCells:
    """Single-cell images of one folder: measured together, then read one by one.

    Parameters
    ----------
    pixel_size_um : float, optional
        Of all of them, where it is known; else that of each file, else estimated.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        pixel_size_um: float | None = None,
        progress: Progress = silent,
    ) -> None:
        self._given = None if pixel_size_um is None else check_pixel_size(pixel_size_um)
        self._kept: dict[Path, _Opened] = {}
        self._room = KEPT_BYTES
        self._centres: dict[Path, tuple[float, float]] = {}
        scales: dict[Path, Scale] = {}
        backgrounds = []
        #: What is odd about the files that could be read, a sentence each
        self.notes: dict[Path, tuple[str, ...]] = {}
        for number, path in enumerate(dict.fromkeys(paths)):
            progress(number / len(paths), f"measuring the scale, {number} of {len(paths)}")
            # What cannot be read is told by whoever reads it for good
            with contextlib.suppress(CytoDiffusionError):
                opened = _Opened.of(path)
                scales[path] = opened.scale(self._given)
                backgrounds.append(opened.background)
                self._keep(path, opened)
                if opened.notes:
                    self.notes[path] = opened.notes
        for sentence in self.sentences():
            log.warning(sentence)
        common = common_scale(list(scales.values()))
        colours = common_backgrounds(np.reshape(backgrounds, (-1, 3)))
        self._known = dict(zip(scales, zip(common, colours, strict=True), strict=True))

    def read(self, path: Path) -> SingleCell:
        """Read one of the images; CytoDiffusionError where that fails."""
        opened = self._kept.get(path) or _Opened.of(path)
        if path not in self._known:  # it could not be read before
            self._known[path] = (opened.scale(self._given), opened.background)
        cell = SingleCell(opened.rgb, *self._known[path], opened.light)
        if path in self._centres:
            vars(cell)["centre"] = self._centres[path]
        self._centres[path] = cell.centre
        return cell

    def scales(self) -> list[Scale]:
        """Of the images that could be read, in their order."""
        return [scale for scale, _ in self._known.values()]

    def sentences(self) -> list[str]:
        """Return what is odd about the files, each sentence with the names of those it is of."""
        files: dict[str, list[str]] = {}
        for path, notes in self.notes.items():
            for note in notes:
                files.setdefault(note, []).append(path.name)
        return [f"{named(names)}: {note}" for note, names in files.items()]

    def _keep(self, path: Path, opened: _Opened) -> None:
        size = opened.rgb.nbytes + opened.light.nbytes
        if size <= self._room:
            self._kept[path] = opened
            self._room -= size


@dataclass(frozen=True, eq=False)
class _Opened:
    """An image as its file has it, and the light in it."""

    rgb: NDArray[np.uint8]
    file_um: float | None
    background: NDArray[np.float32]
    light: NDArray[np.float32]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: Path) -> _Opened:
        image = open_image(path)
        rgb = image.rgb()
        background, light = _light_of(rgb)
        return cls(rgb, image.pixel_size_um, background, light, image.notes)

    def scale(self, given_um: float | None) -> Scale:
        return known_scale(given_um, self.file_um) or _measured(self.rgb, self.light)


def estimate_scale(rgb: NDArray[np.uint8]) -> Scale:
    """Scale of one single-cell image: from its red cells, else from the cell in the middle.

    Parameters
    ----------
    rgb : (Y, X, 3) uint8
    """
    return _measured(rgb, _light_of(rgb)[1])


def _measured(rgb: NDArray[np.uint8], light: NDArray[np.float32]) -> Scale:
    stains = stain_maps(rgb, _enlarged(light, rgb))
    found = estimate_pixel_size(rgb, stains)
    if found.source == "estimated":
        return Scale(found.pixel_size_um, "estimated")
    diameter = central_diameter(stains)
    size = WHITE_CELL_UM / diameter if diameter else DEFAULT_PIXEL_UM
    return Scale(float(np.clip(size, *PLAUSIBLE_UM)), "assumed")


def _light_of(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Colour of the empty slide, and a small map of it."""
    background = estimate_background(rgb)
    return background, background_map(rgb, side=SINGLE_CELL_MAP_SIDE, colour=background, small=True)


def _enlarged(light: NDArray[np.float32], rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Bring the map of the empty slide to the size of the image."""
    size = (rgb.shape[1], rgb.shape[0])
    return np.asarray(cv2.resize(light, size, interpolation=cv2.INTER_LINEAR), np.float32)


def central_diameter(stains: Stains) -> float:
    """Diameter in pixels of the circle of the central cell's area; 0 where there is none."""
    mask = opened(foreground(smooth(stains.density, 1.0)), 1.0)
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
    """Give images of one folder one scale, where they agree on one."""
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


def at_start(progress: Progress) -> Progress:
    """Progress of a preparation: its messages, at the start of the bar."""
    return lambda fraction, message: progress(0.0, message)


def _nucleus_distance_um(
    rgb: NDArray[np.uint8], light: NDArray[np.float32], pixel_um: float
) -> float | None:
    """From the image's middle to that of the purple piece next to it; None where there is none."""
    shrink = min(1.0, pixel_um / FINE_UM)
    size = (max(1, round(rgb.shape[1] * shrink)), max(1, round(rgb.shape[0] * shrink)))
    if shrink < 1:
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        pixel_um /= shrink
    stains = stain_maps(rgb, _enlarged(light, rgb))
    mask = foreground(smooth(stains.density, 1.0))
    stain = smooth(stains.purple, 1.0)
    level = purple_level(stain, mask, MIN_PIECE * shrink**2)
    purple = opened(stain > max(NUCLEAR_PURPLE, level), 1.0)
    if not purple.any():
        return None
    pieces, _ = ndimage.label(closed(purple, NEAR_UM / 3 / pixel_um))
    y, x = np.ogrid[: rgb.shape[0], : rgb.shape[1]]
    centre = ((rgb.shape[0] - 1) / 2, (rgb.shape[1] - 1) / 2)
    distance = (y - centre[0]) ** 2 + (x - centre[1]) ** 2
    nearest = np.where(purple, distance, np.inf).argmin()
    cy, cx = ndimage.center_of_mass((pieces == pieces.flat[nearest]) & purple)
    return math.hypot(cy - centre[0], cx - centre[1]) * pixel_um


def labelled_scale(image: Image, labels: Path, given: float | None) -> Scale:
    """Scale of an image whose labels are in the file ``labels``."""
    stored = None
    if given is None and image.pixel_size_um is None:
        with contextlib.suppress(InputError):  # labels need not be readable as a picture
            stored = stated_pixel_size(labels).value_um
    if known := known_scale(given, image.pixel_size_um, stored):
        return known
    from cytodiffusion.segmentation.network_scale import field_scale  # slow to import

    estimate = field_scale(image.rgb())
    return Scale(estimate.pixel_size_um, estimate.source)


def open_labels(path: Path, image: Image) -> LabelImage:
    """Read labels and make sure that they belong to `image`."""
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
