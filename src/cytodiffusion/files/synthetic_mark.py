"""Marks that say of an image that it is synthetic, and the record of how it was made.

A picture that a program has drawn must never be taken for a patient's: every file carries the
mark in its own metadata, where copying and renaming leave it, beside the record in
``provenance.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import tifffile
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngInfo

from cytodiffusion import __version__
from cytodiffusion.files.atomic import atomic_file
from cytodiffusion.files.writers import to_json

#: Begins the description of every synthetic image.
MARK = "SYNTHETIC IMAGE"

STATEMENT = f"{MARK}: drawn by a computer program, not a photograph of anybody's blood."

#: Name of the entry with the record, in PNG text and below the statement in TIFF.
RECORD = "cytodiffusion"

#: File beside the images.
PROVENANCE = "provenance.json"

_SOFTWARE = f"cytodiffusion {__version__} (synthetic image)"


def png_mark(record: Mapping[str, Any]) -> PngInfo:
    """Return the text of a PNG file that is synthetic."""
    info = PngInfo()
    info.add_text("Synthetic", "true")
    info.add_text("Description", STATEMENT)
    info.add_text("Software", _SOFTWARE)
    info.add_text(RECORD, _ascii(record))
    return info


def write_synthetic_png(
    path: str | Path,
    pixels: NDArray[np.uint8],
    record: Mapping[str, Any],
    pixel_size_um: float | None = None,
) -> Path:
    """Write a picture as PNG whose text says that it is synthetic.

    Parameters
    ----------
    path
        Target; its folder is created.
    pixels : (Y, X, 3) uint8
    record
        What is known of its making; stored as JSON under the key `RECORD`.
    pixel_size_um
        Micrometres a pixel, stored as the resolution.
    """
    target = Path(path)
    options: dict[str, Any] = {}
    if pixel_size_um:
        options["dpi"] = (25_400 / pixel_size_um,) * 2
    with atomic_file(target) as partial:
        PIL.Image.fromarray(pixels).save(partial, format="PNG", pnginfo=png_mark(record), **options)
    return target


def write_synthetic_tiff(
    path: str | Path,
    pixels: NDArray[np.uint8],
    record: Mapping[str, Any],
    pixel_size_um: float | None = None,
) -> Path:
    """Write a picture as OME-TIFF whose description and software tags say that it is synthetic.

    Parameters
    ----------
    path
        Target; its folder is created.
    pixels : (Y, X, 3) uint8
    record
        What is known of its making; stored as JSON in the description.
    pixel_size_um
        Micrometres a pixel.
    """
    target = Path(path)
    metadata: dict[str, Any] = {"axes": "YXS", "Description": f"{STATEMENT}\n{_ascii(record)}"}
    if pixel_size_um:
        for axis in "XY":
            metadata |= {f"PhysicalSize{axis}": pixel_size_um, f"PhysicalSize{axis}Unit": "µm"}
    with atomic_file(target) as partial:
        tifffile.imwrite(
            partial,
            pixels,
            photometric="rgb",
            ome=True,
            compression="zlib",
            predictor=True,
            software=_SOFTWARE,
            metadata=metadata,
        )
    return target


def is_synthetic(path: str | Path) -> bool:
    """Tell whether an image file carries the mark of a synthetic one.

    Only headers are read. False for what is not marked, cannot be read or is no image: a mark
    that somebody has removed cannot be found.
    """
    path = Path(path)
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            with tifffile.TiffFile(path) as file:
                tags = file.pages.first.tags
                texts = [str(tags[name].value) for name in ("ImageDescription", "Software")
                         if name in tags]  # fmt: skip
            return any(MARK in text or text == _SOFTWARE for text in texts)
        if path.suffix.lower() == ".gif":
            with PIL.Image.open(path, formats=("GIF",)) as picture:
                return MARK.encode() in picture.info.get("comment", b"")
        if path.suffix.lower() != ".png":
            return False
        with PIL.Image.open(path, formats=("PNG",)) as picture:
            return str(picture.info.get("Synthetic", "")).casefold() == "true"
    except Exception:  # whatever a damaged file does to a decoder, it says nothing of its origin
        return False


def read_record(path: str | Path) -> dict[str, Any]:
    """Return what a synthetic PNG says of its making; empty where it says nothing."""
    try:
        with PIL.Image.open(path, formats=("PNG",)) as picture:
            found = json.loads(picture.info.get(RECORD, "{}"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _ascii(record: Mapping[str, Any]) -> str:
    """Return JSON that Latin-1 text chunks and ASCII tags can hold."""
    return json.dumps(json.loads(to_json(record)))
