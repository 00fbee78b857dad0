"""Label images on disk."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import atomic_file

_TIFF = {".tif", ".tiff"}

_PICTURES = {".png", ".bmp", ".gif"}


def write_labels_tif(
    path: str | Path, labels: NDArray[Any], pixel_size_um: float | None = None
) -> Path:
    """Write a label image as a zlib-compressed OME-TIFF.

    Parameters
    ----------
    path
        Target; its folder is created, an existing file is replaced at once or not at all.
    labels
        (Y, X) integers, 0 for background. Stored as uint16 where that holds every id,
        otherwise as int32.
    pixel_size_um
        Micrometres per pixel, stored in the OME metadata and the resolution tags.

    Raises
    ------
    InputError
        When `labels` are not a label image, or the file cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() not in _TIFF:
        raise InputError(f"Labels are written as TIFF: {target.name} should end in .tif.")
    stored = check_labels(labels)
    with atomic_file(target) as partial:
        _write_tiff(partial, stored, pixel_size_um)
    return target


def read_labels(path: str | Path) -> NDArray[np.int32]:
    """Read a label image: TIFF, PNG, BMP, GIF or NPY.

    Returns
    -------
    ndarray
        (Y, X) int32, 0 for background.

    Raises
    ------
    InputError
        When the file is missing, unreadable, or does not hold one integer per pixel.
    """
    source = Path(path)
    if not source.is_file():
        raise InputError(f"The label image {source} does not exist.")
    try:
        array = _read_array(source)
    except InputError:
        raise
    except Exception as error:  # each decoder has exceptions of its own
        raise InputError(f"The label image {source} cannot be read: it is damaged.") from error
    return check_labels(_plane(array), source.name).astype(np.int32)


def check_labels(labels: NDArray[Any], name: str = "the label image") -> NDArray[Any]:
    """Return `labels` as uint16 or int32 (Y, X), or say what is wrong with them.

    Raises
    ------
    InputError
        When they are not two-dimensional, not whole numbers, negative, or beyond 2**31 - 1.
    """
    array = np.asarray(labels)
    if array.ndim != 2 or array.size == 0:
        raise InputError(
            f"Labels are one number per pixel, but {name} has the shape {tuple(array.shape)}."
        )
    if array.dtype == bool:
        raise InputError(
            f"{name[:1].upper()}{name[1:]} is a mask (true or false), not labels: "
            "give every cell a number of its own."
        )
    if np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all() or (array != np.round(array)).any():
            raise InputError(f"Labels are whole numbers, but {name} has fractions in it.")
    elif not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"Labels are whole numbers, but {name} has the type {array.dtype}.")
    low, high = array.min(), array.max()
    if low < 0:
        raise InputError(f"Labels start at 0 (background), but {name} goes down to {low}.")
    if high > np.iinfo(np.int32).max:
        raise InputError(f"The largest label of {name}, {high}, is beyond 2,147,483,647.")
    return array.astype(np.uint16 if high <= np.iinfo(np.uint16).max else np.int32)


def _plane(array: NDArray[Any]) -> NDArray[Any]:
    """Drop axes of length 1, the first ones first, as long as more than two are left."""
    for axis in (0, -1):
        while array.ndim > 2 and array.shape[axis] == 1:
            array = array.squeeze(axis)
    return array


def _read_array(path: Path) -> NDArray[Any]:
    suffix = path.suffix.lower()
    if suffix in _TIFF:
        return np.asarray(tifffile.imread(path))
    if suffix == ".npy":
        return np.asarray(np.load(path, allow_pickle=False))
    if suffix in _PICTURES:
        from PIL import Image

        with Image.open(path) as picture:
            return np.asarray(picture)
    if suffix in {".jpg", ".jpeg"}:
        raise InputError(f"{path.name} is a JPEG, which alters numbers: save the labels as TIFF.")
    raise InputError(f"{path.name} is not a label image: TIFF, PNG or NPY is needed.")


def _write_tiff(path: Path, labels: NDArray[Any], pixel_size_um: float | None) -> None:
    # The identifier follows from the content, so that equal labels give equal files.
    identity = uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(labels.tobytes()).hexdigest())
    metadata: dict[str, Any] = {"axes": "YX", "Name": "labels", "UUID": identity.urn}
    resolution: dict[str, Any] = {}
    if pixel_size_um is not None:
        metadata |= {"PhysicalSizeX": pixel_size_um, "PhysicalSizeXUnit": "µm"}
        metadata |= {"PhysicalSizeY": pixel_size_um, "PhysicalSizeYUnit": "µm"}
        per_cm = 1e4 / pixel_size_um
        resolution = {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(
        path, labels, ome=True, compression="zlib", predictor=True, metadata=metadata, **resolution
    )
