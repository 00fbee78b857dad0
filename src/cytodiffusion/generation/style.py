"""Drawn cells in the stain of another image: its empty slide, red cells and nuclei.

The generator draws in the stain that it was trained on. What the dyes absorb adds up (Beer and
Lambert), so that one linear map of optical densities takes the red cells and the nuclei of one
stain to those of another, as in the separation of stains (Ruifrok & Johnston 2001). Shapes and
textures stay as they are drawn: focus, sharpness and the camera's grain are not imitated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cytodiffusion.errors import InputError
from cytodiffusion.generation.synthesis import sample_cells
from cytodiffusion.image.stain import estimate_background, optical_density
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.segmentation.foreground import foreground, stain_maps

#: A nucleus takes more than this share of the purple that the most purple pixels have.
_NUCLEAR = 0.6
#: There are nuclei where the most purple pixels (this share of the cells') have so many times the
#: purple of typical ones, and so much at least.
_MOST_PURPLE, _TIMES, _LEAST = 0.002, 2.5, 0.25
#: Fewest pixels of cells that a stain is measured on, as a share of the image.
_CELLS = 0.01
#: Cosine between red cells and nuclei above which their colours are taken to be one.
_ALIKE = 0.998
#: Colours are mapped as this blur (pixels) leaves them; what is finer grows no more than so often.
_BROAD, _MOST_GAIN = 1.5, 2.0
#: Cells that the stain of a model is measured on: of each class, and the steps they are drawn in.
_SAMPLES, _SAMPLE_STEPS = 2, 8


@dataclass(frozen=True)
class StainColours:
    """Colours of an image's slide.

    Attributes
    ----------
    background : (3,) float
        Red, green and blue of the empty slide, 0 to 255.
    red : (3,) float
        Typical natural optical density of what is no nucleus: mostly red cells.
    nuclear : (3,) float or None
        Typical natural optical density of nuclei; None where the image has none.
    """

    background: tuple[float, float, float]
    red: tuple[float, float, float]
    nuclear: tuple[float, float, float] | None


def stain_colours(rgb: NDArray[np.uint8]) -> StainColours:
    """Measure the colours of an image ``(Y, X, 3)`` of a stained smear.

    Raises
    ------
    InputError
        If the image shows no cells.
    """
    stains = stain_maps(rgb)
    cells = foreground(stains.density)
    if cells.mean() < _CELLS:
        raise InputError("The image whose stain is wanted shows no cells.")
    purple = stains.purple[cells]
    most, typical = np.quantile(purple, 1 - _MOST_PURPLE), max(float(np.median(purple)), 0.02)
    dark = stains.absorbed[cells]
    nuclear = purple > _NUCLEAR * most
    stained = most > max(_TIMES * typical, _LEAST)
    others = dark[~nuclear] if stained and not nuclear.all() else dark
    return StainColours(
        _triple(estimate_background(rgb)),
        _triple(np.median(others, axis=0)),
        _triple(np.median(dark[nuclear], axis=0)) if stained else None,
    )


def colours_drawn(model: ModelBundle) -> StainColours:
    """Measure the stain that a model draws in, on a few cells of each class."""
    index = np.repeat(np.arange(len(model.untaught.class_names)), _SAMPLES)
    cells = sample_cells(model, index, steps=_SAMPLE_STEPS)
    return stain_colours(np.concatenate(list(cells), axis=1))


def recoloured(
    pixels: NDArray[np.uint8], drawn: StainColours, wanted: StainColours
) -> NDArray[np.uint8]:
    """Take cells ``(N, S, S, 3)`` from one stain to another."""
    if not len(pixels):
        return pixels
    density = optical_density(pixels, np.asarray(drawn.background, np.float32))
    broad = np.stack([gaussian_filter(cell, (_BROAD, _BROAD, 0)) for cell in density])
    mapped = broad @ _between(drawn, wanted).T.astype(np.float32)
    # the colour noise of single pixels would be stretched with the colours: only its strength is
    gain = np.linalg.norm(mapped, axis=-1) / np.maximum(np.linalg.norm(broad, axis=-1), 0.1)
    mapped = mapped + gain.clip(0, _MOST_GAIN)[..., None] * (density - broad)
    light = (np.asarray(wanted.background) + 4.0) * np.exp(-mapped) - 4.0
    return np.asarray(np.clip(light.round(), 0, 255).astype(np.uint8))


@dataclass(frozen=True)
class Restain:
    """What takes the cells that a model draws to the stain of an image.

    Attributes
    ----------
    drawn, wanted : StainColours
    """

    drawn: StainColours
    wanted: StainColours

    @classmethod
    def like(cls, rgb: NDArray[np.uint8], model: ModelBundle) -> Self:
        """Measure an image ``(Y, X, 3)`` and what ``model`` draws; see `stain_colours`."""
        wanted = stain_colours(rgb)
        return cls(colours_drawn(model), wanted)

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return drawn cells ``(N, S, S, 3)`` in the stain of the image."""
        return recoloured(pixels, self.drawn, self.wanted)


def _between(drawn: StainColours, wanted: StainColours) -> NDArray[np.float64]:
    """Return the map ``(3, 3)`` of optical densities from one stain to the other."""
    if drawn.nuclear is None or wanted.nuclear is None or _alike(drawn) or _alike(wanted):
        return np.diag(np.asarray(wanted.red) / np.maximum(drawn.red, 0.01)).clip(0, 5)
    return np.asarray(_axes(wanted) @ np.linalg.inv(_axes(drawn)))


def _alike(colours: StainColours) -> bool:
    red, nuclear = np.asarray(colours.red), np.asarray(colours.nuclear)
    return bool(red @ nuclear > _ALIKE * np.linalg.norm(red) * np.linalg.norm(nuclear))


def _axes(colours: StainColours) -> NDArray[np.float64]:
    """Columns: red cells, nuclei, and what is neither, as strong as the two are together."""
    red, nuclear = np.asarray(colours.red), np.asarray(colours.nuclear)
    across = np.cross(red, nuclear)
    across *= np.sqrt(np.linalg.norm(red) * np.linalg.norm(nuclear)) / np.linalg.norm(across)
    return np.column_stack([red, nuclear, across])


def _triple(values: NDArray[np.floating]) -> tuple[float, float, float]:
    first, second, third = (round(float(v), 4) for v in values)
    return first, second, third
