"""One slide has one scale: what its images measure one by one is held against one another.

The red cells of a single field may mislead (few of them, clumps, a torn edge). Images of one size
in one folder are fields of one microscope, so where no file states the pixel size all of them get
the median of what their red cells say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.field import check_field, middle_part
from cytodiffusion.image.image import Image, open_image
from cytodiffusion.image.pixel_size import ENOUGH_CELLS
from cytodiffusion.segmentation import estimate_scale

#: An image whose scale is this many times that of its neighbours is named.
DIFFERS = 1.3

#: Where fewer of the images than this agree with their median, they have no scale in common.
AGREE = 2 / 3

#: A slide keeps the scale of an earlier run while the median is no further from it.
SAME = 1.05

#: What the pixel size rests on where it is that of the slide.
SOURCE = "slide"


@dataclass(frozen=True)
class OwnScale:
    """What one image says about its pixel size.

    Attributes
    ----------
    pixel_size_um
        Micrometres a pixel.
    source
        ``"file"`` where the file states it, ``"estimated"`` from red cells, or ``"assumed"``.
    n_cells
        Red cells that were measured.
    shape
        Height and width of the image in pixels.
    """

    pixel_size_um: float
    source: str
    n_cells: int
    shape: tuple[int, int]

    @property
    def is_trusted(self) -> bool:
        """Whether enough red cells were measured for others to go by it."""
        return self.source == "estimated" and self.n_cells >= ENOUGH_CELLS


@dataclass(frozen=True)
class SlideScale:
    """The pixel size of an image as its slide has it.

    Attributes
    ----------
    pixel_size_um
        Micrometres a pixel: the median over the slide.
    images
        Of how many images it is the median.
    own
        What the image measures by itself.
    source
        What the pixel size rests on: `SOURCE`, or that of `own` where the slide has no scale.
    note
        A sentence where that differs from its neighbours or is no measurement, else empty.
    """

    pixel_size_um: float
    images: int
    own: OwnScale
    source: str = SOURCE
    note: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """The note as a tuple of sentences, empty or of one."""
        return (self.note,) if self.note else ()

    def record(self) -> dict[str, Any]:
        """Return the numbers by name."""
        own = {"own_um": self.own.pixel_size_um, "own_source": self.own.source}
        return {"images": self.images, **own, "own_cells": self.own.n_cells}


def own_scale(path: Path, method: str = "watershed") -> OwnScale:
    """Open an image file and measure its scale by itself."""
    return measured_scale(check_field(open_image(path)), method)


def measured_scale(image: Image, method: str = "watershed") -> OwnScale:
    """Return the pixel size that an image states, else what its red cells measure.

    ``method`` is one that `cytodiffusion.segmentation.choose_method` returns: the
    scale is measured as that method does.
    """
    if image.pixel_size_um is not None:
        return OwnScale(image.pixel_size_um, "file", 0, image.shape)
    return scale_of_pixels(middle_part(image), image.shape, method)


def scale_of_pixels(
    rgb: NDArray[np.uint8],
    shape: tuple[int, int],
    method: str = "watershed",
) -> OwnScale:
    """Return what the red cells in the pixels measure, which are those of an image or a part."""
    found = estimate_scale(method, rgb)
    return OwnScale(found.pixel_size_um, found.source, found.n_cells, shape)


def slide_of(folder: Path, shape: tuple[int, int]) -> tuple[Path, int, int]:
    """Return what images of one slide have in common: folder and size, upright or lying."""
    return folder, min(shape), max(shape)


def slide_scales(
    own: Sequence[OwnScale], earlier_um: float | None = None
) -> list[SlideScale | None]:
    """Return the scale that each image of a slide gets from all of them.

    Parameters
    ----------
    own
        What each image measures by itself.
    earlier_um
        Scale of the slide in an earlier run, kept while it is nearly the median.

    Returns
    -------
    list
        In the order of the images; None for one whose file states its pixel size, or where there is
        nothing to go by but the image itself.
    """
    judges = [i for i, scale in enumerate(own) if scale.is_trusted]
    if not judges:  # better a few red cells of each than those of one image alone
        judges = [i for i, scale in enumerate(own) if scale.source == "estimated"]
    if not judges:
        return [None] * len(own)
    sizes = {i: own[i].pixel_size_um for i in judges}
    middle = _median(list(sizes.values()))
    if np.mean([_factor(size, middle) <= DIFFERS for size in sizes.values()]) < AGREE:
        return [_alone(scale, sizes) for scale in own]
    if earlier_um is not None and _factor(earlier_um, middle) <= SAME:
        middle = earlier_um
    return [_shared(i, scale, sizes, middle) for i, scale in enumerate(own)]


def scale_beside(own: OwnScale, others_um: Sequence[float]) -> SlideScale | None:
    """Return the scale of images that are open already, for one whose own is another.

    None where its own agrees, or its file states it; who asks may take either.
    """
    if own.source == "file" or not others_um:
        return None
    middle = _median(others_um)
    if own.source == "estimated" and _factor(own.pixel_size_um, middle) <= DIFFERS:
        return None
    seen = "the other open image" if len(others_um) == 1 else f"{len(others_um)} other open images"
    if own.source == "estimated":
        note = (
            f"The red cells of this image measure {own.pixel_size_um:.3g} \u00b5m a pixel, those "
            f"of {seen} {middle:.3g} \u00b5m. Images of one slide have one scale."
        )
    else:
        note = (
            f"Too few red cells to measure the scale: that of {seen} was taken, "
            f"{middle:.3g} \u00b5m a pixel."
        )
    return SlideScale(middle, len(others_um), own, note=note)


def _shared(
    number: int, own: OwnScale, sizes: dict[int, float], middle: float
) -> SlideScale | None:
    """Return the scale of the slide for an image, with a note where its own is another."""
    others = [size for i, size in sizes.items() if i != number]
    if own.source == "file" or not others:
        return None
    found = SlideScale(middle, len(sizes), own)
    # of two, each is held against the other: what lies between them would hide the difference
    neighbours = _median(list(sizes.values())) if len(sizes) > 2 else _median(others)
    taken = f"{middle:.3g} um was taken"
    if own.source != "estimated":
        note = f"Too few red cells to measure the scale: {taken}, which {_others(others)} measure."
    elif _factor(own.pixel_size_um, neighbours) > DIFFERS:
        note = (
            f"Its red cells measure {own.pixel_size_um:.3g} um a pixel, but {_others(others)} of "
            f"the same folder {neighbours:.3g} um: {taken}. State its pixel size if it was taken "
            "at another magnification."
        )
    else:
        return found
    return replace(found, note=note)


def _alone(own: OwnScale, sizes: dict[int, float]) -> SlideScale | None:
    """Return the image's own scale, and say that the slide has none."""
    if own.source == "file":
        return None
    low, high = min(sizes.values()), max(sizes.values())
    note = (
        f"The red cells in the {len(sizes)} images of its folder and size measure from {low:.3g} "
        f"to {high:.3g} um a pixel, too far apart for one scale: its own, "
        f"{own.pixel_size_um:.3g} um, was taken. State the pixel size if you know it."
    )
    return SlideScale(own.pixel_size_um, 1, own, own.source, note)


def _others(sizes: Sequence[float]) -> str:
    return "another image" if len(sizes) == 1 else f"{len(sizes):,} others"


def _median(sizes: Sequence[float]) -> float:
    """Return the median; of two in the middle, what lies between them by factors."""
    return float(np.exp(np.median(np.log(sizes))))


def _factor(one: float, other: float) -> float:
    """Return how many times the larger of two sizes is the smaller."""
    return max(one, other) / min(one, other)
