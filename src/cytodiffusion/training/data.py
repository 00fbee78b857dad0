"""Training data: a folder per class or a CSV, read into memory as context crops."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytodiffusion.crops import centre_crop
from cytodiffusion.errors import CytoDiffusionError, InputError, naming
from cytodiffusion.image import open_image
from cytodiffusion.progress import Progress, silent
from cytodiffusion.segmentation.scale import estimate_pixel_size
from cytodiffusion.stain import estimate_background

#: Crops are kept this much wider than the window, so that they can turn and shift.
CONTEXT = 4 / 3

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}
SPLITS = ("train", "val", "test")
#: Label of a crop whose class is not known.
UNLABELLED = -1


@dataclass(frozen=True)
class Record:
    """One single-cell image on disk."""

    path: Path
    label: str | None
    split: str


@dataclass
class CellSet:
    """Context crops in memory.

    Attributes
    ----------
    pixels : (N, 3, S, S) uint8 tensor
        Crops ``CONTEXT`` times as wide as the window.
    labels : (N,) int64 tensor
        Class index; -1 for unlabelled crops.
    backgrounds : (N, 3) float32 tensor
        Colour of the empty background, 0 to 255.
    paths : list of str
    """

    pixels: Tensor
    labels: Tensor
    backgrounds: Tensor
    paths: list[str]

    def __len__(self) -> int:
        return len(self.labels)

    def windows(self, size: int) -> NDArray[np.uint8]:
        """Return the central windows as ``(N, size, size, 3)`` uint8."""
        margin = (self.pixels.shape[-1] - size) // 2
        inner = self.pixels[:, :, margin : margin + size, margin : margin + size]
        return np.ascontiguousarray(inner.permute(0, 2, 3, 1).numpy())


def find_records(data: Path) -> list[Record]:
    """List the images of a data set.

    Parameters
    ----------
    data : Path
        A CSV with columns ``path`` (absolute or relative to the CSV) and ``class`` (empty:
        unlabelled), optionally ``split``; or a folder with a folder per class; or a folder
        with ``train``, ``val`` and perhaps ``test`` folders of such folders.

    Raises
    ------
    InputError
        If there is no such file or folder, or nothing to train on in it.
    """
    if data.is_dir():
        records = _records_of_folder(data)
    elif data.is_file() and data.suffix.lower() == ".csv":
        records = _records_of_table(data)
    else:
        raise InputError(f"{data} is neither a folder of class folders nor a CSV file.")
    if not records:
        raise InputError(
            f"{data} holds no images (looked for {', '.join(sorted(IMAGE_SUFFIXES))})."
        )
    return records


def _records_of_folder(folder: Path) -> list[Record]:
    if (folder / "train").is_dir():
        parts = [(folder / split, split) for split in SPLITS if (folder / split).is_dir()]
    else:
        parts = [(folder, "")]
    records = []
    for part, split in parts:
        for class_folder in sorted(part.iterdir()):
            if not class_folder.is_dir() or class_folder.name.startswith("."):
                continue
            paths = [p for p in sorted(class_folder.rglob("*")) if _is_image(p)]
            if not paths and split in ("", "train"):
                raise InputError(f"{class_folder} holds no images; fill it or remove it.")
            records += [Record(p, class_folder.name, split or split_by_name(p.name)) for p in paths]
    return records


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _records_of_table(path: Path) -> list[Record]:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise InputError(f"{path} cannot be read as a CSV table.") from error
    missing = {"path", "class"} - set(table.columns)
    if missing:
        raise InputError(f"{path} needs the columns path and class; {sorted(missing)} is missing.")
    records = []
    for row in table.to_dict("records"):
        image = Path(row["path"])
        image = image if image.is_absolute() else path.parent / image
        split = row.get("split", "") or split_by_name(image.name)
        if split not in SPLITS:
            raise InputError(f"{path}: split {split!r} is not one of {', '.join(SPLITS)}.")
        records.append(Record(image, row["class"] or None, split))
    return records


def split_by_name(name: str, validation_share: float = 0.15) -> str:
    """Assign an image to train or val by a hash of its name, so that it never moves."""
    digest = hashlib.sha256(name.encode()).digest()
    return "val" if digest[0] / 256 < validation_share else "train"


def class_names(records: Sequence[Record]) -> list[str]:
    """Names of the classes in ``records``, sorted; InputError if fewer than two."""
    counts = Counter(r.label for r in records if r.split == "train" and r.label)
    if len(counts) < 2:
        found = ", ".join(counts) or "none"
        raise InputError(f"Training needs at least two classes of images; found: {found}.")
    odd = [name for name in counts if "|" in name or not name.isprintable()]
    if odd:  # prediction sets join names by it
        raise InputError(f"The class name {odd[0]!r} cannot be used: it must not contain |.")
    return sorted(counts)


def load_cells(
    records: Sequence[Record],
    names: Sequence[str],
    *,
    size: int,
    window_um: float,
    pixel_size_um: float | None,
    progress: Progress = silent,
) -> tuple[CellSet, list[str]]:
    """Read images into a `CellSet`.

    Parameters
    ----------
    records : sequence of Record
    names : sequence of str
        Class names; the index in it becomes the label.
    size : int
        Side of the model's input in pixels; crops are kept ``CONTEXT`` times as wide.
    window_um : float
        Side of the window in micrometres.
    pixel_size_um : float or None
        Of the images; estimated for each when None.
    progress : callable

    Returns
    -------
    cells : CellSet
    skipped : list of str
        One sentence for each image that could not be read.

    Raises
    ------
    InputError
        If none of the images could be read.
    """
    index = {name: i for i, name in enumerate(names)}
    side = round(size * CONTEXT)
    pixels = np.empty((len(records), side, side, 3), np.uint8)
    labels: list[int] = []
    backgrounds, paths, skipped = [], [], []
    for number, record in enumerate(records):
        if number % 50 == 0:
            progress(number / len(records), f"reading images, {number} of {len(records)}")
        try:
            rgb = open_image(record.path).rgb()
            scale = pixel_size_um or estimate_pixel_size(rgb).pixel_size_um
            crop = centre_crop(rgb, scale, side, window_um * side / size)
            background = estimate_background(rgb)
        except CytoDiffusionError as error:
            skipped.append(naming(record.path, error))
            continue
        pixels[len(labels)] = crop
        labels.append(index[record.label] if record.label else UNLABELLED)
        backgrounds.append(background)
        paths.append(str(record.path))
    if not labels:
        raise InputError(f"None of the {len(records)} images could be read: {skipped[0]}")
    cells = CellSet(
        torch.from_numpy(pixels[: len(labels)]).permute(0, 3, 1, 2).contiguous(),
        torch.tensor(labels),
        torch.from_numpy(np.stack(backgrounds)),
        paths,
    )
    return cells, skipped


class BalancedSampler:
    """Draws batches by step number, so that a resumed run sees what an unbroken one would.

    Parameters
    ----------
    labels : (N,) int64 tensor
    batch_size : int
    seed : int
    balance : float
        0 draws images alike, 1 draws classes alike.
    """

    def __init__(self, labels: Tensor, batch_size: int, seed: int, balance: float = 0.5):
        _, inverse, counts = torch.unique(labels, return_inverse=True, return_counts=True)
        self.weights = counts.double()[inverse].pow(-balance)
        self.batch_size = batch_size
        self.seed = seed

    def __call__(self, step: int) -> Tensor:
        """Draw the indices ``(batch_size,)`` of the batch of ``step``."""
        generator = generator_for(self.seed, step, "batch")
        few = len(self.weights) < self.batch_size  # a few dozen crops fill a batch only repeatedly
        return torch.multinomial(self.weights, self.batch_size, few, generator=generator)


def generator_for(seed: int, step: int, purpose: str) -> torch.Generator:
    """Random generator that depends on nothing but the seed, the step and the purpose."""
    key = hashlib.sha256(f"{seed}/{step}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(key[:8], "little") >> 1)
