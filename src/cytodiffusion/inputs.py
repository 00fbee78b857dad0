"""What goes into an analysis: files found, opened and checked before the work begins."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.errors import InputError
from cytodiffusion.image import IMAGE_SUFFIXES, Image, check_pixel_size, open_image
from cytodiffusion.labels import read_labels
from cytodiffusion.output import check_folder
from cytodiffusion.progress import Progress, silent
from cytodiffusion.segmentation import Segmentation, segment
from cytodiffusion.segmentation.scale import estimate_pixel_size

#: Pictures that are results, where one of the records lies in the same folder.
RESULTS = ("labels.tif", "overlay.png", "uncertainty.png")
RECORDS = ("run.json", "provenance.json")


@dataclass(frozen=True)
class SegmentOptions:
    """How cells are found; the arguments of `cytodiffusion.segmentation.segment`."""

    method: str = "auto"
    pixel_size_um: float | None = None
    model: str | None = None
    device: str = "auto"
    allow_download: bool = False


def find_cells(image: Image, options: SegmentOptions, progress: Progress = silent) -> Segmentation:
    """Segment `image` at the given scale, else at the one its file states, else as estimated.

    Raises
    ------
    InputError
        When there are no cells, or the scale is absurd.
    """
    segmentation = segment(
        image,
        options.method,
        options.pixel_size_um,
        model=options.model,
        device=options.device,
        allow_download=options.allow_download,
        progress=progress,
    )
    if not segmentation.labels.any():
        raise InputError(f"No cells were found in {image.name}.")
    return segmentation


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
        stored = open_image(labels).pixel_size_um
        if stored is not None:
            return stored, "labels"
    estimate = estimate_pixel_size(image.rgb())
    return estimate.pixel_size_um, estimate.source


def open_labels(path: Path, image: Image) -> NDArray[np.int32]:
    """Read labels and make sure that they belong to `image`.

    Raises
    ------
    InputError
        When they cannot be read, are empty, or differ from the image in shape.
    """
    labels = read_labels(path)
    height, width = image.shape
    if labels.shape != (height, width):
        raise InputError(
            f"{path.name} has {labels.shape[1]} x {labels.shape[0]} pixels, but the image "
            f"{image.name} has {width} x {height}: the labels belong to another image."
        )
    if not labels.any():
        raise InputError(f"There are no cells in {path.name}: every label is 0.")
    return labels


def image_files(folder: Path) -> list[Path]:
    """Return the image files below `folder`, sorted.

    Hidden ones are left out, and pictures that an earlier analysis put there.
    """
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not _is_result(path)
    )


def _is_result(path: Path) -> bool:
    """Whether an analysis or a synthetic smear has written the file, whose record lies beside."""
    return path.name in RESULTS and any((path.parent / name).is_file() for name in RECORDS)


def result_folders(images: Sequence[Path], out: Path) -> list[Path]:
    """Return a folder for the results of each image.

    `out` itself for one image; below it a folder of the image's name for several, numbered
    where names are alike (also where they differ in upper and lower case only).
    """
    if len(images) == 1:
        return [out]
    taken: set[str] = set()
    folders = []
    for image in images:
        stem = _stem(image)
        name, number = stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        folders.append(out / name)
    return folders


def check_output(path: Path, *suffixes: str, inputs: Sequence[Path] = ()) -> None:
    """Make sure, before any work, that `path` may become a result.

    Raises
    ------
    InputError
        When it has another ending than one of `suffixes`, is one of the `inputs`, or cannot be
        written.
    """
    if path.suffix.lower() not in suffixes:
        *others, last = suffixes
        endings = f"{', '.join(others)} or {last}" if others else last
        raise InputError(f"{path} should end in {endings}.")
    if any(path.resolve() == source.resolve() for source in inputs):
        raise InputError(f"{path} is the input: choose another name for the result.")
    check_folder(path.parent)
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the name of a file for the result.")


def _stem(path: Path) -> str:
    name = path.stem
    return name[:-4] if name.lower().endswith(".ome") else name
