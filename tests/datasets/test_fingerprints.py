"""Fingerprints: copies are found however they lie and look, other images are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from trees import write_image, write_tree

from cytodiffusion.datasets import find_records
from cytodiffusion.datasets.fingerprints import (
    NEAR,
    Fingerprints,
    exact_hash,
    find_pairs,
    fingerprints,
    near_pairs,
    perceptual_hashes,
    take_fingerprints,
)
from cytodiffusion.errors import Cancelled
from cytodiffusion.image.image import open_image

Pixels = NDArray[np.uint8]


def picture(seed: int, side: int = 120) -> Pixels:
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)


def distance(one: Pixels, other: Pixels) -> int:
    differing = np.bitwise_count(perceptual_hashes(one)[0] ^ perceptual_hashes(other))
    return int(differing.sum(1).min())


def as_jpeg(image: Pixels) -> Pixels:
    _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "turned": lambda x: np.rot90(x),
    "turned back": lambda x: np.rot90(x, 3),
    "upside down": lambda x: x[::-1],
    "mirrored": lambda x: x[:, ::-1],
    "transposed": lambda x: x.transpose(1, 0, 2),
    "compressed": as_jpeg,
    "smaller": lambda x: np.asarray(cv2.resize(x, (70, 70), interpolation=cv2.INTER_AREA), x.dtype),
    "darker": lambda x: (x * 0.8).astype(np.uint8),
    "brighter": lambda x: np.clip(x * 0.8 + 50, 0, 255).astype(np.uint8),
    "cut at one side": lambda x: x[:, 1:],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_is_near_whatever_was_done_to_it(change: str) -> None:
    image = picture(1)
    copy = np.ascontiguousarray(CHANGES[change](image))
    assert exact_hash(copy) != exact_hash(image)
    assert distance(image, copy) <= NEAR < distance(picture(2), copy)


def test_exact_fingerprints_depend_on_every_pixel_and_the_shape() -> None:
    image = picture(1, 8)
    assert exact_hash(image) == exact_hash(image.copy())
    other = image.copy()
    other[3, 3, 1] ^= 1
    assert len({exact_hash(x) for x in (image, other, image.reshape(4, 16, 3))}) == 3


def test_other_images_are_far(tmp_path: Path) -> None:
    write_tree(tmp_path, [f"{n}.png" for n in range(60)])
    prints = fingerprints(sorted(tmp_path.iterdir()))
    assert prints.perceptual.shape == (60, 8, 4)
    assert not find_pairs(prints)


def test_images_that_cannot_be_read_are_named_and_left_out(tmp_path: Path) -> None:
    good = [write_image(tmp_path / f"{n}.png", n) for n in range(2)]
    (tmp_path / "bad.png").write_bytes(b"no image")
    prints = fingerprints([good[0], tmp_path / "bad.png", tmp_path / "lost.png", good[1]])
    assert prints.paths == good
    assert len(prints) == len(prints.exact) == len(prints.perceptual) == 2
    assert len(prints.unreadable) == 2
    assert "bad.png" in prints.unreadable[0]
    assert "lost.png" in prints.unreadable[1]
    assert len(fingerprints([tmp_path / "bad.png"])) == 0


def test_taking_fingerprints_can_be_cancelled(tmp_path: Path) -> None:
    def cancel(share: float, message: str) -> None:
        raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        fingerprints([write_image(tmp_path / "a.png")], cancel)


def prints_of(images: list[Pixels]) -> Fingerprints:
    paths = [Path(str(n)) for n in range(len(images))]
    return Fingerprints.of(paths, [take_fingerprints(image) for image in images])


def test_pairs_are_sorted_and_told_apart() -> None:
    image = picture(1)
    pairs = find_pairs(
        prints_of([image, picture(2), np.ascontiguousarray(image[::-1]), image.copy()])
    )
    assert [(p.first, p.second, p.exact) for p in pairs] == [
        (0, 3, True), (0, 2, False), (2, 3, False),
    ]  # fmt: skip
    assert pairs[0].distance == 0


def test_pairs_are_those_of_all_comparisons() -> None:
    """Blocks and the shortcut over half of the words change nothing."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2**64, (5, 8, 4), dtype=np.uint64)
    oriented = base[rng.integers(0, 5, 40)]
    for word in range(4):
        flips = np.uint64(1) << rng.integers(0, 64, (40, 8, 12), dtype=np.uint64)
        oriented[:, :, word] ^= np.bitwise_xor.reduce(flips, axis=2)
    upright = oriented[:, 0]
    exact = np.bitwise_count(upright[:, None, None] ^ oriented[None]).sum(-1).min(-1)
    near = 60
    expected = {(i, j, exact[i, j]) for i, j in zip(*np.nonzero(exact <= near), strict=True)}
    assert 0 < len(expected) < 1600
    assert set(near_pairs(upright, oriented, near)) == expected
    above = {(i, j, d) for i, j, d in expected if j > i}
    assert set(near_pairs(upright, oriented, near, upper=True)) == above


def test_parts_and_joins() -> None:
    prints = prints_of([picture(n, 24) for n in range(4)])
    both = Fingerprints.joined([prints.take([2, 3]), prints.take([0])])
    assert both.paths == [Path("2"), Path("3"), Path("0")]
    assert both.exact.tolist() == prints.exact[[2, 3, 0]].tolist()
    np.testing.assert_array_equal(both.perceptual, prints.perceptual[[2, 3, 0]])


@pytest.mark.data
def test_real_cells_are_told_apart_and_real_copies_are_found(data_root: Path) -> None:
    paths = [r.path for r in find_records(data_root / "pbc") if r.split == "val"][::4]
    prints = fingerprints(paths)
    assert not find_pairs(prints)
    image = open_image(paths[0]).rgb()
    copy = as_jpeg(np.ascontiguousarray(np.rot90(image)[2:, :]))
    one = take_fingerprints(copy)[1][None]
    found = list(near_pairs(prints.perceptual[:, 0], one))
    assert [i for i, _, _ in found] == [0]
