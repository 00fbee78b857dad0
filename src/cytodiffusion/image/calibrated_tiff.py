"""Flat pictures and label images as OME-TIFF that keep their pixel size and what is noted of them.

Other programs read the pixel size; the note is JSON in the description of the image.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import atomic_file
from cytodiffusion.image.pixels import quiet_parser

#: What the description of a file with a note begins with.
_MARK = "cytodiffusion "


@dataclass(frozen=True)
class Calibration:
    """What a file says of itself: micrometres a pixel, and the note it was written with."""

    pixel_size_um: float | None = None
    note: Mapping[str, Any] | None = None


def write_calibrated(
    path: str | Path,
    pixels: NDArray[Any],
    pixel_size_um: float | None = None,
    note: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``(Y, X)`` or ``(Y, X, 3)`` or ``(Y, X, 4)`` pixels as a compressed OME-TIFF."""
    target, array = Path(path), np.asarray(pixels)
    if array.ndim != 2 and (array.ndim != 3 or array.shape[2] not in (3, 4)):
        raise InputError(f"Only flat pictures are written, not an array of shape {array.shape}.")
    with atomic_file(target) as partial:
        write_plane(partial, array, pixel_size_um, note)
    return target


def write_plane(
    path: Path,
    array: NDArray[Any],
    pixel_size_um: float | None,
    note: Mapping[str, Any] | None = None,
    name: str = "",
) -> None:
    """Write one plane to a path as it is."""
    # The identifier follows from the content, so that equal pictures give equal files.
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    identity = uuid.uuid5(uuid.NAMESPACE_OID, digest)
    colours = array.ndim == 3
    metadata: dict[str, Any] = {"axes": "YXS" if colours else "YX", "UUID": identity.urn}
    if name:
        metadata["Name"] = name
    if note is not None:
        metadata["Description"] = _MARK + json.dumps(note, default=str, sort_keys=True)
    options: dict[str, Any] = {"photometric": "rgb" if colours else "minisblack"}
    if pixel_size_um is not None:
        metadata |= {"PhysicalSizeX": pixel_size_um, "PhysicalSizeXUnit": "\u00b5m"}
        metadata |= {"PhysicalSizeY": pixel_size_um, "PhysicalSizeYUnit": "\u00b5m"}
        per_cm = 1e4 / pixel_size_um
        options |= {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
    if array.dtype != bool:
        options |= {"compression": "zlib", "predictor": array.dtype.kind in "iu"}
    tifffile.imwrite(path, array, ome=True, metadata=metadata, **options)


def read_calibration(path: str | Path) -> Calibration:
    """Read what a file written here says of itself; nothing where it is another one."""
    try:
        with quiet_parser(), tifffile.TiffFile(path) as tif:
            about = tifffile.xml2dict(tif.ome_metadata or "<OME/>").get("OME") or {}
        image = about["Image"]
        text = str(image.get("Description", ""))
        if not text.startswith(_MARK):
            return Calibration()
        note = json.loads(text.removeprefix(_MARK))
        size = image["Pixels"].get("PhysicalSizeX")
    except Exception:  # no TIFF, several images, damaged: each has exceptions of its own
        return Calibration()
    return Calibration(None if size is None else float(size), note)
