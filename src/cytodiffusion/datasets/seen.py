"""What a model has seen: fingerprints of its training images, to tell a test set that is none.

A bundle carries them in ``training_images.safetensors``: ``exact`` (N,) sorted and ``perceptual``
(N, 4) in the same order, both uint64; 40 bytes an image, from which no image can be made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from cytodiffusion.datasets.fingerprints import NEAR, WORDS, Fingerprints, fingerprints, near_pairs
from cytodiffusion.datasets.layouts import Record
from cytodiffusion.errors import BundleError
from cytodiffusion.progress import Progress, silent

#: Files that a sentence names.
NAMED = 3
#: Name of the file in a bundle.
TRAINING_IMAGES = "training_images.safetensors"


@dataclass(frozen=True)
class TrainingImages:
    """Fingerprints of the images that a model was trained on.

    Attributes
    ----------
    exact : (N,) uint64 array
        Sorted.
    perceptual : (N, 4) uint64 array
    """

    exact: NDArray[np.uint64]
    perceptual: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.exact)

    @classmethod
    def of(cls, prints: Fingerprints) -> TrainingImages:
        """Keep of fingerprints what a bundle needs."""
        order = np.argsort(prints.exact, kind="stable")
        return cls(prints.exact[order], prints.perceptual[order, 0])

    def save(self, path: Path) -> None:
        """Write them as safetensors."""
        tensors = {"exact": self.exact, "perceptual": np.ascontiguousarray(self.perceptual)}
        save_file(tensors, path, {"exact": "sha256 of RGB pixels, 64 bits", "perceptual": "phash"})

    @classmethod
    def load(cls, path: Path) -> TrainingImages:
        """Read them."""
        try:
            found = load_file(path)
            exact, perceptual = found["exact"], found["perceptual"]
            kinds = exact.dtype == perceptual.dtype == np.uint64
            if not kinds or exact.ndim != 1 or perceptual.shape != (len(exact), WORDS):
                raise ValueError
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise BundleError(f"{path} does not hold the fingerprints of images.") from error
        return cls(exact, perceptual)


class Trained(Protocol):
    """Anything with the fingerprints of its training images, or None where they are not known."""

    @property
    def training_images(self) -> TrainingImages | None:
        """Return the fingerprints."""


@dataclass(frozen=True)
class Overlap:
    """Images that a model was trained on among those it is to be tested on.

    Attributes
    ----------
    known : bool
        False for a model that does not record its training images.
    exact : list of Path
        Every pixel is the same.
    near : list of Path
        Copies that were turned, mirrored, compressed, brightened...
    """

    known: bool
    exact: list[Path]
    near: list[Path]

    def __len__(self) -> int:
        return len(self.exact) + len(self.near)

    def stated(self, who: str = "The model", where: str = "") -> str:
        """Say it in a sentence; empty where there is nothing to say."""
        if not self.known:
            return (
                f"{who} does not record its training images: whether it has seen the test "
                "images is not known."
            )
        if not len(self):
            return ""
        files = [*self.exact, *self.near]
        named = ", ".join(map(str, files[:NAMED]))
        if len(files) > NAMED:
            named += f" and {len(files) - NAMED} more{f' ({where})' if where else ''}"
        return (
            f"{who} was trained on {len(files)} of the test images "
            f"({len(self.near)} of them changed a little): {named}; its scores are too good."
        )


def overlap(
    records: Sequence[Record] | Sequence[Path] | Fingerprints,
    model: Trained,
    progress: Progress = silent,
) -> Overlap:
    """Find the images that a model was trained on."""
    trained = getattr(model, "training_images", None)
    if trained is None:
        return Overlap(False, [], [])
    if isinstance(records, Fingerprints):
        prints = records
    else:
        paths = [r.path if isinstance(r, Record) else Path(r) for r in records]
        prints = fingerprints(paths, progress)
    same = np.isin(prints.exact, trained.exact)
    near = {j for _, j, _ in near_pairs(trained.perceptual, prints.perceptual, NEAR)}
    return Overlap(
        True,
        [path for path, found in zip(prints.paths, same, strict=True) if found],
        [prints.paths[j] for j in sorted(near) if not same[j]],
    )
