"""What was changed in a cell, laid over the crop as it was photographed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from cytodiffusion.errors import InputError
from cytodiffusion.generation.sampler import drawn_size
from cytodiffusion.image.stain import estimate_background
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.codec import WHITE, to_unit
from cytodiffusion.model.schedule import centred_disc

#: Around a cell's mask this much may change as well (a cell may grow), and the width of the edge
#: over which the change fades, in micrometres.
MARGIN_UM, FADE_UM = 2.0, 1.0

#: Beside a neighbour the change fades over about this width.
SEAM_UM = 0.15


@dataclass(frozen=True, eq=False)
class Canvas:
    """Crops, and where they may change.

    Attributes
    ----------
    pixels : (N, S, S, 3) uint8
    unit : (N, 3, S, S) tensor
        The same, normalised to 0..1.
    background : (N, 3) float32
        Colour of the empty background, 0 to 255.
    room : (N, S, S) float32
        1 where the picture may change, 0 where it stays.
    disc : (S, S) float32
        Where the model looks.
    """

    pixels: NDArray[np.uint8]
    unit: Tensor
    background: NDArray[np.float32]
    room: NDArray[np.float32]
    disc: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        model: ModelBundle,
        pixels: NDArray[np.uint8],
        background: NDArray[np.floating] | None,
        masks: NDArray[np.bool_] | None,
        neighbours: NDArray[np.bool_] | None = None,
    ) -> Canvas:
        """Prepare crops; InputError if they do not fit the model, or the masks do not fit them.

        Of a cell whose mask is known, what lies beyond the model's disc may change too: else a
        large cell would keep its old rim.
        """
        _check(pixels, model)
        colours = background_colours(pixels, background)
        planes = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)
        unit = to_unit(planes, torch.from_numpy(colours))
        disc = centred_disc(pixels.shape[1], model.disc_radius).numpy()
        room = np.broadcast_to(disc, pixels.shape[:3]).astype(np.float32)
        per_um = pixels.shape[1] / model.window_um
        if masks is not None:
            for number, mask in enumerate(_fitting(masks, pixels, "masks")):
                if mask.any():
                    room[number] = _around(mask, per_um)
        if neighbours is not None:
            for number, mask in enumerate(_fitting(neighbours, pixels, "masks of neighbours")):
                room[number] *= _beside(mask, per_um)
        return cls(pixels, unit, colours, room, disc)

    def paint(self, edited: Tensor, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pictures ``(n, S, S, 3)`` of the cells ``index`` from ``edited (n, 3, S, S)``, 0..1.

        Only the difference to the normalised crop is added to the crop.
        """
        change = (edited - self.unit[torch.from_numpy(index)]).permute(0, 2, 3, 1).numpy()
        scale = np.maximum(self.background[index], 40.0)[:, None, None] / WHITE
        painted = self.pixels[index] + change * scale * self.room[index][..., None]
        return np.clip(np.rint(painted), 0, 255).astype(np.uint8)

    def distance(self, made: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Mean absolute difference within the disc of pictures of all cells, ``(N,)``."""
        planes = torch.from_numpy(np.ascontiguousarray(made)).permute(0, 3, 1, 2)
        unit = to_unit(planes, torch.from_numpy(np.ascontiguousarray(self.background)))
        apart = (unit - self.unit).abs().mean(dim=1).double().numpy()
        return np.asarray((apart * self.disc).sum(axis=(1, 2)) / self.disc.sum())


def shrunk(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Crops ``(N, S, S, 3)`` at the size that the classifier takes."""
    if pixels.shape[1] == size or not len(pixels):
        return pixels
    return np.stack(
        [cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA) for crop in pixels]
    )


def _check(pixels: NDArray[np.uint8], model: ModelBundle) -> None:
    sizes = sorted({model.input_size, drawn_size(model)})
    fits = pixels.ndim == 4 and pixels.shape[3] == 3 and pixels.shape[1] == pixels.shape[2]
    if not fits or pixels.shape[1] not in sizes or pixels.dtype != np.uint8:
        side = " or ".join(str(size) for size in sizes)
        raise InputError(
            f"The model {model.name} changes crops of {side} pixels a side, shape (N, S, S, 3) and "
            f"type uint8, not {pixels.shape} and {pixels.dtype}."
        )


def background_colours(
    pixels: NDArray[np.uint8], background: NDArray[np.floating] | None
) -> NDArray[np.float32]:
    """Colour of the background of each crop, ``(N, 3)``."""
    if background is None:
        found = [estimate_background(crop) for crop in pixels]
        return np.asarray(np.reshape(found, (-1, 3)), np.float32)
    given = np.asarray(background, np.float32)
    if given.shape not in ((3,), (len(pixels), 3)) or not np.isfinite(given).all():
        raise InputError(
            f"The background must be one colour (3,) or one a crop ({len(pixels)}, 3), in numbers "
            f"of 0 to 255, not {given.shape}."
        )
    return np.broadcast_to(given, (len(pixels), 3)).copy()


def _fitting(masks: NDArray[np.bool_], pixels: NDArray[np.uint8], what: str) -> NDArray[np.bool_]:
    given = np.asarray(masks).astype(bool)
    if given.shape != pixels.shape[:3]:
        raise InputError(
            f"The {what} must have the shape {pixels.shape[:3]} of the crops, not {given.shape}."
        )
    return given


def _around(mask: NDArray[np.bool_], per_um: float) -> NDArray[np.float32]:
    """1 at a cell and near it, fading to 0."""
    away = ndimage.distance_transform_edt(~mask) / per_um
    return np.asarray(np.clip((MARGIN_UM + FADE_UM - away) / FADE_UM, 0, 1), np.float32)


def _beside(neighbours: NDArray[np.bool_], per_um: float) -> NDArray[np.float32]:
    """0 at the neighbours, 1 beside them, with a narrow seam."""
    free = np.where(neighbours, np.float32(0), np.float32(1))
    return np.asarray(free * ndimage.gaussian_filter(free, SEAM_UM * per_um), np.float32)
