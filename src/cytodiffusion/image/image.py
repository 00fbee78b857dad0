"""Open images and bring anything image-like to ``(Y, X, 3)`` uint8 with a pixel size."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from cytodiffusion.errors import InputError
from cytodiffusion.image.formats import HEIF_SUFFIXES, has_heif, is_tiff, pillow_formats
from cytodiffusion.image.pixel_size import StatedScale, dpi_scale
from cytodiffusion.image.pixels import (
    MAX_LAZY_PIXELS,
    MAX_LOADED_PIXELS,
    brightness,
    check_loadable,
    colour8,
    on_white,
    says_something,
    to_rgb8,
)


@dataclass(frozen=True, eq=False)
class Image:
    """An opened image.

    Attributes
    ----------
    levels : tuple of (Y, X, 3) uint8
        Full size first; numpy arrays, or dask arrays where the file is read as needed.
    pixel_size_um : float or None
        Of the full size, from the file's metadata; None where that says nothing credible.
    name : str
    path : Path or None
    notes : tuple of str
        What the user should know about how the file was read, one sentence each.
    """

    levels: tuple[Any, ...]
    pixel_size_um: float | None
    name: str
    path: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Y, X of the full size."""
        height, width = self.levels[0].shape[:2]
        return int(height), int(width)

    def rgb(self) -> NDArray[np.uint8]:
        """Return the full size as (Y, X, 3) uint8 in memory; InputError when it is too large."""
        return as_rgb8(self.levels[0])


def open_image(path: str | Path) -> Image:
    """Open an image file.

    PNG, JPEG (CMYK too), BMP, GIF, WebP, PPM, and with tifffile TIFF, OME-TIFF, SVS and its
    relatives. Pyramids and very large TIFF files stay on disk and are read as needed.
    """
    path = Path(path)
    if is_tiff(path):
        from cytodiffusion.image.tiff import open_tiff

        found = open_tiff(path)
        if found is not None:
            levels, scale, notes = found
            return Image(levels, scale.value_um, path.name, path, notes)
    rgb, scale, notes = _open_pillow(path)
    return Image((rgb,), scale.value_um, path.name, path, notes)


def as_rgb8(image: Any) -> NDArray[np.uint8]:
    """Return any image as ``(Y, X, 3)`` uint8 in memory.

    Grey is repeated; transparency is laid on white, the colour of an empty slide; 16-bit and
    other whole numbers are divided by the smallest camera range (8, 10, 12, 14 or 16 bit) that
    holds them, all channels alike so that colours keep; floats are taken as 0 to 1 or, above
    that, like whole numbers. RGB in uint8 is returned as it is, without a copy.
    """
    array = _first_level(image)
    shape = tuple(int(n) for n in getattr(array, "shape", np.shape(array)))
    check_loadable(shape)
    return to_rgb8(np.asarray(array))


def as_source(image: Any) -> Any:
    """Return any image as ``(Y, X, 3)`` uint8 to be read in parts.

    A lazy array that is RGB in uint8 stays as it is; everything else is loaded by :func:`as_rgb8`.
    """
    array = _first_level(image)
    shape, dtype = getattr(array, "shape", ()), getattr(array, "dtype", None)
    if isinstance(array, np.ndarray) or dtype != np.uint8 or tuple(shape[2:]) != (3,):
        return as_rgb8(array)
    check_loadable(shape, limit=MAX_LAZY_PIXELS)
    return array


def _first_level(image: Any) -> Any:
    if isinstance(image, str | Path):
        image = open_image(image)
    if isinstance(image, Image):
        return image.levels[0]
    # napari's own container of levels is a Sequence, too; numpy would take its smallest level
    if isinstance(image, Sequence) and not isinstance(image, bytes):
        if len(image) == 0:
            raise InputError("The image is empty: it has no pixels.")
        if getattr(image[0], "ndim", 0) >= 2:
            return image[0]
    return image


def _open_pillow(path: Path) -> tuple[NDArray[np.uint8], StatedScale, tuple[str, ...]]:
    try:
        with warnings.catch_warnings():
            # Size is checked below; odd metadata does not stop anybody from using the pixels
            warnings.simplefilter("ignore")
            with PIL.Image.open(path, formats=pillow_formats()) as opened:
                check_loadable((opened.height, opened.width), str(path))
                scale, notes = dpi_scale(opened.info.get("dpi")), _frames(opened)
                array = _as_seen(opened, path)
                alpha = None
                if array.ndim == 3 and array.shape[2] in (2, 4):
                    array, alpha = array[..., :-1], array[..., -1]
                array = array.reshape(*array.shape[:2], -1)
                found = brightness(array)
                rgb = colour8(array, found.high)
    except PIL.Image.DecompressionBombError:
        raise InputError(
            f"{path} has more than the {MAX_LOADED_PIXELS / 1e6:.0f} megapixels that "
            "can be worked on at once; use a part of it."
        ) from None
    except PIL.UnidentifiedImageError:
        raise InputError(f"{path} is not an image that can be read here.{_way_out(path)}") from None
    except InputError as error:
        text = str(error)
        raise InputError(text if str(path) in text else f"{path}: {text}") from error
    except Exception as error:  # decoders of damaged files raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is damaged or cut short ({reason}).") from error
    notes += found.notes
    if alpha is None:
        return rgb, scale, notes
    if not says_something(alpha) and not alpha.flat[0]:
        notes += ("The file says that it is transparent everywhere, which was ignored.",)
    return on_white(rgb, alpha), scale, notes


def _way_out(path: Path) -> str:
    if path.suffix.lower() not in HEIF_SUFFIXES or has_heif():
        return ""
    return " HEIC needs the package pillow-heif; or save it as JPEG."


def _frames(opened: PIL.Image.Image) -> tuple[str, ...]:
    frames = getattr(opened, "n_frames", 1)
    if frames < 2 or opened.format in ("MPO", "HEIF"):  # phones add previews and depths
        return ()
    return (f"The file holds {frames} pictures; the first is used.",)


def _as_seen(opened: PIL.Image.Image, path: Path) -> NDArray[Any]:
    """Return the pixels the way up that the file's orientation says: grey, LA, RGB or RGBA."""
    wide = opened.format == "PNG" and _png_is_wide(path)
    turn = opened.getexif().get(0x0112, 1) if wide else 1
    if not wide:
        opened.load()
        return np.asarray(PIL.ImageOps.exif_transpose(_plain_mode(opened)))
    import imagecodecs  # Pillow would drop half of the bits

    from cytodiffusion.image.tiff import oriented

    return np.asarray(oriented(np.asarray(imagecodecs.png_decode(path.read_bytes())), int(turn)))


def _png_is_wide(path: Path) -> bool:
    """Whether a PNG has colours or a transparency of 16 bits."""
    with path.open("rb") as file:
        header = file.read(26)
    return len(header) == 26 and header[24] == 16 and header[25] in (2, 4, 6)


def _plain_mode(opened: PIL.Image.Image) -> PIL.Image.Image:
    """Return grey, RGB or RGBA; palettes, CMYK, YCbCr and Lab are converted."""
    if opened.mode in ("L", "RGB", "RGBA", "F") or opened.mode.startswith("I"):
        return opened
    transparent = "A" in opened.mode or "a" in opened.mode or "transparency" in opened.info
    return opened.convert("RGBA" if transparent else "RGB")
