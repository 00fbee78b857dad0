"""Fingerprints of images: one that any change alters, one that survives a copy being altered.

The first is the beginning of the SHA-256 of the pixels, the second the 256-bit perceptual hash of
the ImageHash library (DCT, low frequencies of a grey 64 x 64 px picture) in all eight
orientations. Copies that were compressed, scaled, brightened or recoloured differ in 0 to 16 of
the 256 bits, those shifted by two of 264 pixels in 24 to 40; different cells of PBC in 52 and
more (39 million pairs, with the best of eight orientations).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from cytodiffusion.errors import CytoDiffusionError, naming
from cytodiffusion.image.image import open_image
from cytodiffusion.progress import Progress, silent

#: Images whose perceptual hashes differ in at most so many of 256 bits count as copies.
NEAR = 40
#: Words of 64 bits that a perceptual hash has.
WORDS = 4
#: Ways in which an image can lie: turned by quarters, and mirrored.
ORIENTATIONS = 8
_SIDE = 16
_GREY = 64
#: Hashes that are compared with each other at once; such a block fits the processor's cache.
_ROWS, _COLUMNS = 16, 4096


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints of ``N`` images.

    Attributes
    ----------
    paths : list of Path
    exact : (N,) uint64 array
        Beginning of the SHA-256 of shape and pixels.
    perceptual : (N, 8, 4) uint64 array
        Perceptual hash of each orientation; the first is the image as it lies.
    unreadable : list of str
        A sentence for each image that could not be read; it is not among ``paths``.
    """

    paths: list[Path]
    exact: NDArray[np.uint64]
    perceptual: NDArray[np.uint64]
    unreadable: list[str]

    def __len__(self) -> int:
        return len(self.paths)

    @classmethod
    def of(
        cls,
        paths: list[Path],
        prints: Sequence[tuple[int, NDArray[np.uint64]]],
        unreadable: Sequence[str] = (),
    ) -> Fingerprints:
        """Put those of single images (`take_fingerprints`) together."""
        return cls(
            paths,
            np.array([exact for exact, _ in prints], np.uint64),
            np.array([hashes for _, hashes in prints], np.uint64).reshape(-1, ORIENTATIONS, WORDS),
            list(unreadable),
        )

    def take(self, index: Sequence[int]) -> Fingerprints:
        """Return those of some of the images."""
        paths = [self.paths[i] for i in index]
        return Fingerprints(paths, self.exact[index], self.perceptual[index], [])

    @classmethod
    def joined(cls, parts: Sequence[Fingerprints]) -> Fingerprints:
        """Put those of several sets of images together, in order."""
        return cls(
            [path for part in parts for path in part.paths],
            np.concatenate([part.exact for part in parts]),
            np.concatenate([part.perceptual for part in parts]),
            [sentence for part in parts for sentence in part.unreadable],
        )


@dataclass(frozen=True)
class Pair:
    """Two images that are the same: indices, differing bits (0 to 256), whether every pixel is."""

    first: int
    second: int
    distance: int
    exact: bool


def exact_hash(pixels: NDArray[np.uint8]) -> int:
    """First 64 bits of the SHA-256 of the shape and the pixels of an image."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(pixels.tobytes())
    return int.from_bytes(digest.digest()[:8], "little")


def perceptual_hashes(pixels: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Perceptual hashes ``(8, 4)`` of ``(Y, X, 3)`` uint8, turned and mirrored in all ways.

    The low frequencies are transformed once: mirroring an image changes the sign of every second
    one, transposing it transposes them.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_GREY, _GREY), interpolation=cv2.INTER_AREA)
    low = dctn(small.astype(float), axes=(0, 1))[:_SIDE, :_SIDE]
    flip = np.where(np.arange(_SIDE) % 2, -1.0, 1.0)
    views = [
        view
        for turned in (low, low.T)
        for rows in (turned, turned * flip[:, None])
        for view in (rows, rows * flip)
    ]
    bits = np.stack([view > np.median(view) for view in views]).reshape(ORIENTATIONS, -1)
    return np.packbits(bits, axis=1).view("<u8").astype(np.uint64)


def take_fingerprints(pixels: NDArray[np.uint8]) -> tuple[int, NDArray[np.uint64]]:
    """`exact_hash` and `perceptual_hashes` of an image."""
    return exact_hash(pixels), perceptual_hashes(pixels)


def fingerprints(paths: Sequence[Path], progress: Progress = silent) -> Fingerprints:
    """Open images and take their fingerprints; those that cannot be read are named."""
    kept, prints, unreadable = [], [], []
    for number, path in enumerate(paths):
        if number % 100 == 0:
            progress(number / len(paths), f"comparing images, {number} of {len(paths)}")
        try:
            prints.append(take_fingerprints(open_image(path).rgb()))
        except CytoDiffusionError as error:
            unreadable.append(naming(path, error))
            continue
        kept.append(path)
    return Fingerprints.of(kept, prints, unreadable)


def find_pairs(prints: Fingerprints, near: int = NEAR, most: int | None = None) -> list[Pair]:
    """All pairs of images that are copies of each other, nearest first."""
    upright = prints.perceptual[:, 0]
    found = near_pairs(upright, prints.perceptual, near, upper=True)
    pairs = [
        Pair(i, j, distance, bool(prints.exact[i] == prints.exact[j]))
        for i, j, distance in islice(found, most)
    ]
    return sorted(pairs, key=lambda p: (not p.exact, p.distance, p.first, p.second))


def near_pairs(
    upright: NDArray[np.uint64],
    oriented: NDArray[np.uint64],
    near: int = NEAR,
    *,
    upper: bool = False,
) -> Iterator[tuple[int, int, int]]:
    """Yield ``(i, j, distance)`` for hashes that differ in at most ``near`` bits.

    Parameters
    ----------
    upright : (N, 4) uint64 array
    oriented : (M, 8, 4) uint64 array
        The nearest of the eight counts.
    upper : bool
        Only pairs with ``j > i``.
    """
    columns = np.ascontiguousarray(oriented.transpose(1, 2, 0))  # views, words, images
    for start in range(0, len(upright), _ROWS):
        rows = upright[start : start + _ROWS]
        best: dict[tuple[int, int], int] = {}
        for begin in range(start if upper else 0, len(oriented), _COLUMNS):
            for view in columns[:, :, begin : begin + _COLUMNS]:
                for i, j, distance in _near(rows, view, near):
                    pair = (start + i, begin + j)
                    if not upper or pair[1] > pair[0]:
                        best[pair] = min(best.get(pair, near), distance)
        for (one, other), distance in sorted(best.items()):
            yield one, other, distance


def _near(
    rows: NDArray[np.uint64], columns: NDArray[np.uint64], near: int
) -> Iterator[tuple[int, int, int]]:
    """Near pairs of ``(R, 4)`` and ``(4, C)``; half of the words rules nearly all of them out."""
    words = rows[:, 0, None] ^ columns[0]
    apart = np.bitwise_count(words)
    np.bitwise_xor(rows[:, 1, None], columns[1], out=words)
    apart += np.bitwise_count(words)
    i, j = np.divmod(np.flatnonzero(apart <= near), columns.shape[1])
    whole = np.bitwise_count(rows[i] ^ columns[:, j].T).sum(1, dtype=np.int64)
    for k in np.flatnonzero(whole <= near):
        yield int(i[k]), int(j[k]), int(whole[k])
