"""Label images: written, and read from whatever programs save as such."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.lib import format as npy
from numpy.typing import NDArray
from scipy import ndimage

from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import atomic_file
from cytodiffusion.image.calibrated_tiff import write_plane
from cytodiffusion.image.pixels import check_loadable, quiet_parser

_TIFF = {".tif", ".tiff"}

_PICTURES = {".png", ".bmp", ".gif"}

_LOSSY = {".jpg", ".jpeg", ".jfif", ".jpe"}

#: Numbers that change between more than this share of neighbours are a picture.
_RESTLESS = 0.4

#: Labels are known by a part of so many pixels, where this share of neighbours in cells are alike.
_PART, _SETTLED = 1024, 0.9

#: Pieces of a mask of more than this share of their convex hull are one cell.
_CONVEX = 0.93

#: Of the radius of the widest cell in a mask: how much distances are smoothed, and how deep a
#: waist between two cells is.
_SMOOTH, _WAIST = 0.08, 0.05

#: Pieces of one id belong together within this share of the largest one's diameter, and always
#: within so many pixels.
_NEAR, _LEAST_GAP = 0.5, 3.0

#: Pieces of this share of the largest are its likes; where more ids than this share have such, all
#: of their pieces are cells.
_ALIKE, _MANY = 0.2, 0.2


def write_labels_tif(
    path: str | Path, labels: NDArray[Any], pixel_size_um: float | None = None
) -> Path:
    """Write a label image as a zlib-compressed OME-TIFF."""
    target = Path(path)
    if target.suffix.lower() not in _TIFF:
        raise InputError(f"Labels are written as TIFF: {target.name} should end in .tif.")
    stored = check_labels(labels)
    with atomic_file(target) as partial:
        write_plane(partial, stored, pixel_size_um, name="labels")
    return target


@dataclass(frozen=True, eq=False)
class LabelImage:
    """Labels of another program, understood.

    Attributes
    ----------
    labels : (Y, X) int32
        0 for background.
    notes : tuple of str
        What was made of them, one sentence each; empty where they were plain labels.
    """

    labels: NDArray[np.int32]
    notes: tuple[str, ...] = ()


def read_labels(path: str | Path) -> NDArray[np.int32]:
    """Read a label image of this program or of one like it; others are for `open_label_image`."""
    source = Path(path)
    return check_labels(_plane(_read(source)), source.name).astype(np.int32)


def open_label_image(path: str | Path) -> LabelImage:
    """Read a label image: TIFF, PNG, BMP, GIF, NPY or Cellpose's ``_seg.npy``."""
    source = Path(path)
    return understand_labels(_read(source), source.name)


def _read(source: Path) -> NDArray[Any]:
    if not source.is_file():
        raise InputError(f"The label image {source} does not exist.")
    try:
        return _read_array(source)
    except InputError:
        raise
    except Exception as error:  # each decoder has exceptions of its own
        raise InputError(f"The label image {source} cannot be read: it is damaged.") from error


def understand_labels(labels: Any, name: str = "the label image") -> LabelImage:
    """Make labels of what programs save as such, of a file or of a layer in a window.

    Masks (true and false, 0 and 255, one value for all cells) are divided into cells; an id that
    lies on pieces far apart becomes several; fractions of CellProfiler become ids again.
    """
    notes: list[str] = []
    array = _grey(_plane(np.asarray(labels)), name)
    if array.ndim == 2 and array.size and array.dtype.kind == "f":
        array = _whole_numbers(array, name, notes)
    mask = array.ndim == 2 and array.size > 0 and (array.dtype == bool or _is_mask(array))
    plain = (array != 0).astype(np.uint8) if array.dtype == bool else array
    checked = check_labels(plain, name).astype(np.int32)
    if mask:
        return LabelImage(*_mask_cells(checked, notes))
    checked = _with_background(checked, notes)
    if checked.size > 1000 and _restless(checked):
        raise InputError(
            f"{_subject(name)} looks like a picture rather than labels: its numbers change from "
            "pixel to pixel. Labels have one number for all pixels of a cell."
        )
    return LabelImage(*split_ids(checked, notes))


def looks_like_labels(picture: Any) -> bool:
    """Tell labels, or a mask, from a photograph in grey, by a part of it.

    Labels have one number for the background, on a good part of the image, and the same number
    for the pixels of a cell.
    """
    shape = np.shape(picture)
    if len(shape) != 2 or min(shape) < 2:
        return False
    top, left = (max(0, (size - _PART) // 2) for size in shape)
    part = np.asarray(picture[top : top + _PART, left : left + _PART])
    if part.dtype == bool:
        return bool(part.any())
    if part.dtype.kind not in "iuf":
        return False
    part = np.nan_to_num(part) if part.dtype.kind == "f" else part
    inside = part != 0
    if part.min() < 0 or not 0.001 <= inside.mean() <= 0.9:
        return False
    pairs = inside[:, 1:] & inside[:, :-1]
    alike = (part[:, 1:] == part[:, :-1]) & pairs
    return bool(pairs.any() and alike.sum() >= _SETTLED * pairs.sum())


def check_labels(labels: NDArray[Any], name: str = "the label image") -> NDArray[Any]:
    """Return `labels` as uint16 or int32 (Y, X), or say what is wrong with them."""
    array = np.asarray(labels)
    if array.ndim != 2 or array.size == 0:
        raise InputError(
            f"Labels are one number per pixel, but {name} has the shape {tuple(array.shape)}."
        )
    if array.dtype == bool:
        raise InputError(
            f"{_subject(name)} is a mask (true or false), not labels: "
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


def _subject(name: str) -> str:
    """Return what a sentence begins with: names of files keep their letters."""
    return f"T{name[1:]}" if name.startswith("the ") else name


def _plane(array: NDArray[Any]) -> NDArray[Any]:
    """Drop axes of length 1, the first ones first, as long as more than two are left."""
    for axis in (0, -1):
        while array.ndim > 2 and array.shape[axis] == 1:
            array = array.squeeze(axis)
    return array


def _grey(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Return one channel of a grey picture that was saved in colours."""
    if array.ndim != 3 or array.shape[2] not in (2, 3, 4) or array.size == 0:
        return array
    colours = array[..., :1] if array.shape[2] == 2 else array[..., :3]
    if (colours != colours[..., :1]).any():
        raise InputError(
            f"{_subject(name)} is a picture in colours; labels are one number per "
            "pixel: save them as a 16-bit TIFF or PNG, not as a coloured view."
        )
    return array[..., 0]


def _whole_numbers(array: NDArray[Any], name: str, notes: list[str]) -> NDArray[Any]:
    """Return ids that a program saved as fractions, multiplied again."""
    if np.isnan(array).any() and not np.isnan(array).all():
        array = np.where(np.isnan(array), 0, array)
        notes.append("Pixels that are no number (NaN) were taken for background.")
    values = np.unique(array)
    if not np.isfinite(values).all() or (values == np.round(values)).all() or values[0] < 0:
        return array
    if values[-1] <= 1:
        for top in (255, 65_535):  # CellProfiler divides ids by what 8 or 16 bit can hold
            scaled = values.astype(np.float64) * top
            if np.abs(scaled - np.round(scaled)).max() < 0.02 and scaled[values > 0].min() > 0.5:
                notes.append(
                    f"The labels are fractions of {top:,}, as CellProfiler saves them, and were "
                    "multiplied with it."
                )
                return np.asarray(np.round(array.astype(np.float64) * top))
    raise InputError(
        f"Labels are whole numbers, but {name} has fractions in it: save it as a 16-bit TIFF (in "
        'CellProfiler: ConvertObjectsToImage "uint16", SaveImages "16-bit integer").'
    )


def _with_background(array: NDArray[np.int32], notes: list[str]) -> NDArray[np.int32]:
    """Return labels with 0 for the background where a program has numbered it, too."""
    if array.min() == 0 or array.min() == array.max():
        return array
    edge = np.concatenate([array[0], array[-1], array[:, 0], array[:, -1]])
    ids, counts = np.unique(edge, return_counts=True)
    ground = int(ids[counts.argmax()])
    if int(counts.max()) < 0.5 * edge.size or not 0.25 <= (array == ground).mean() <= 0.99:
        return array
    notes.append(f"No pixel is 0; the number {ground}, all along the edge, is the background.")
    return np.where(array == ground, 0, array)


def _restless(array: NDArray[np.int32]) -> bool:
    """Whether most pixels beside the background differ from the next."""
    left, right = array[:, :-1], array[:, 1:]
    inside = (left > 0) & (right > 0)
    changes = np.count_nonzero(inside & (left != right))
    return int(changes) > _RESTLESS * int(np.count_nonzero(array))


def _is_mask(array: NDArray[Any]) -> bool:
    """Whether there is one value beside the background, or 0 and 255 with soft edges."""
    if array.dtype.kind not in "iuf":
        return False
    found, counts = np.unique(array, return_counts=True)
    kinds = found.size - (found[0] == 0)
    if found[0] < 0 or not kinds:
        return False
    if kinds == 1:
        return bool(found[0] == 0)
    ends = counts[(found == 0) | (found == 255)].sum() if found[-1] == 255 else 0
    return bool(found[0] == 0 and kinds > 2 and counts[-1] > 0.2 * counts[1:].sum()
                and ends > 0.9 * counts.sum())  # fmt: skip


def _mask_cells(
    array: NDArray[np.int32], notes: list[str]
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Divide a mask into cells: its pieces, and where cells touch, their round parts."""
    mask = array > (127 if array.max() == 255 else 0)
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    if mask.mean() > 0.5 and edge.mean() > 0.9 and ndimage.label(~mask)[1] > 1:
        mask = ~mask
        notes.append("The mask is white where there are no cells, and was inverted.")
    pieces, count = ndimage.label(mask)
    if count == 0:
        return pieces.astype(np.int32), tuple(notes)
    cells = _parted(mask, pieces)
    ids = np.unique(cells[cells > 0])
    if count == 1 and len(ids) == 1:  # one cell is a label image as good as any
        return np.where(mask, array.max(), 0).astype(np.int32), tuple(notes)
    notes.append(
        f"The labels are a mask, the same value for all cells: its {count:,} pieces were divided "
        f"into {len(ids):,} cells by their shapes. Labels with a number for every cell are better."
    )
    return _renumbered(cells), tuple(notes)


def _parted(mask: NDArray[np.bool_], pieces: NDArray[Any]) -> NDArray[np.int32]:
    """Part the pieces of a mask that have a waist, by the distances to their edges."""
    from skimage.measure import regionprops
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    whole = np.zeros(int(pieces.max()) + 1, bool)
    for region in regionprops(pieces):
        whole[region.label] = region.area < 20 or region.solidity > _CONVEX
    distance = ndimage.distance_transform_edt(mask)
    radius = float(np.percentile(distance[mask], 99))
    distance = ndimage.gaussian_filter(distance, _SMOOTH * radius)
    seeds, count = ndimage.label(h_maxima(distance, _WAIST * radius))
    parts = watershed(-distance, np.where(mask, seeds, 0), mask=mask)
    parts = np.where(whole[pieces] | (parts == 0), count + pieces, parts)
    return np.where(mask, parts, 0).astype(np.int32)


def split_ids(
    labels: NDArray[np.int32], notes: Sequence[str] = ()
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Give pieces of one id that lie far apart ids of their own, and say so.

    The largest piece keeps the id. Lobes, satellites and what a scratch cuts off stay: they lie
    within half a diameter. Where many ids lie on several pieces, numbers have run out (8 bit) or
    stand for kinds of cells, and every piece of some size is a cell.
    """
    places = ndimage.find_objects(labels)
    several: dict[int, tuple[NDArray[Any], NDArray[np.intp]]] = {}
    used = 0
    for number, place in enumerate(places, start=1):
        if place is None:
            continue
        used += 1
        pieces, count = ndimage.label(labels[place] == number, np.ones((3, 3)))
        if count > 1:
            several[number] = pieces, np.bincount(pieces.ravel())[1:]
    alike = [
        n
        for n, (_, areas) in several.items()
        if int(np.sort(areas)[-2]) > _ALIKE * int(areas.max())
    ]
    many = len(alike) > max(1, _MANY * used) or (
        used <= 3 and any(len(several[n][1]) > 3 for n in alike)
    )
    out, new = labels.copy(), int(labels.max(initial=0))
    parted = 0
    for number, (pieces, areas) in several.items():
        own = _far_pieces(pieces, areas, many)
        parted += bool(own)
        for piece in own:
            new += 1
            out[places[number - 1]][pieces == piece] = new
    if not parted:
        return labels, tuple(notes)
    subject = "One id lies" if parted == 1 else f"{parted:,} ids lie"
    sentence = (
        f"{subject} on several pieces far apart: every piece was made a cell of its own, "
        f"{new - int(labels.max()):,} more than there are ids."
    )
    return out, (*notes, sentence)


def _far_pieces(pieces: NDArray[Any], areas: NDArray[np.intp], many: bool) -> list[int]:
    """Return the pieces of one id that are other cells than its largest."""
    largest = int(areas.argmax()) + 1
    near = _NEAR * 2 * math.sqrt(areas[largest - 1] / math.pi)
    apart = (pieces != largest).astype(np.uint8)
    distance = cv2.distanceTransform(apart, cv2.DIST_L2, 5)
    gaps = ndimage.minimum(distance, pieces, range(1, len(areas) + 1))
    return [
        k
        for k, (gap, area) in enumerate(zip(gaps, areas, strict=True), start=1)
        if k != largest
        and (gap > max(near, _LEAST_GAP) or (many and area > _ALIKE * areas[largest - 1]))
    ]


def _renumbered(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return labels numbered 1, 2, 3 ..."""
    ids, inverse = np.unique(labels, return_inverse=True)
    numbers = np.arange(len(ids)) + (0 if ids[0] == 0 else 1)
    return numbers[inverse].reshape(labels.shape).astype(np.int32)


def _read_array(path: Path) -> NDArray[Any]:
    suffix = path.suffix.lower()
    if suffix in _TIFF:
        return _tiff_array(path)
    if suffix == ".npy":
        with path.open("rb") as file:
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            pickled = read(file)[2].hasobject
        if pickled:
            from cytodiffusion.image.pickled_masks import pickled_masks

            return pickled_masks(path)
        return np.asarray(np.load(path, allow_pickle=False))
    if suffix in _PICTURES:
        from PIL import Image, ImageOps

        with Image.open(path) as picture:
            return np.asarray(ImageOps.exif_transpose(picture))
    if suffix in _LOSSY:
        raise InputError(f"{path.name} is a JPEG, which alters numbers: save the labels as TIFF.")
    raise InputError(f"{path.name} is not a label image: TIFF, PNG or NPY is needed.")


def _tiff_array(path: Path) -> NDArray[Any]:
    from cytodiffusion.image.tiff import oriented

    with quiet_parser(), tifffile.TiffFile(path) as tif:
        check_loadable(tif.series[0].shape, path.name)
        array = np.asarray(tif.asarray())
        tag = tif.pages.first.tags.get("Orientation")
    turn = int(tag.value) if tag is not None else 1
    return np.asarray(oriented(array, turn)) if array.ndim == 2 and turn != 1 else array
