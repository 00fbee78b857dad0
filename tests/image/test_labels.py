"""Label images on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import sha256
from cytodiffusion.image.image import open_image
from cytodiffusion.image.labels import check_labels, read_labels, write_labels_tif


def some_labels(largest: int = 3) -> np.ndarray:
    labels = np.zeros((40, 60), dtype=np.int64)
    labels[5:15, 5:15] = 1
    labels[20:35, 30:50] = largest
    return labels


@pytest.mark.parametrize(
    ("largest", "stored"), [(3, np.uint16), (65_535, np.uint16), (65_536, np.int32)]
)
def test_round_trip(tmp_path: Path, largest: int, stored: type) -> None:
    labels = some_labels(largest)
    path = write_labels_tif(tmp_path / "labels.tif", labels, 0.123)
    assert tifffile.imread(path).dtype == stored
    assert tifffile.imread(path).shape == labels.shape
    back = read_labels(path)
    assert back.dtype == np.int32
    np.testing.assert_array_equal(back, labels)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1)])
@pytest.mark.parametrize("name", ["own.tif", "plain.tif", "png.png", "npy.npy", "stack.npy"])
def test_narrow_label_images(tmp_path: Path, shape: tuple[int, int], name: str) -> None:
    labels = np.ones(shape, dtype=np.uint8)
    path = tmp_path / name
    match name:
        case "own.tif":
            write_labels_tif(path, labels, 0.1)
        case "plain.tif":
            tifffile.imwrite(path, labels)
        case "png.png":
            Picture.fromarray(labels).save(path)
        case "npy.npy":
            np.save(path, labels)
        case "stack.npy":
            np.save(path, labels[None, None])
    np.testing.assert_array_equal(read_labels(path), labels)


def test_pixel_size_and_compression_are_stored(tmp_path: Path) -> None:
    path = write_labels_tif(tmp_path / "labels.tif", some_labels(), 0.125)
    with tifffile.TiffFile(path) as tif:
        assert 'PhysicalSizeX="0.125"' in str(tif.ome_metadata)
        assert tif.pages.first.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        per_cm = tif.pages.first.tags["XResolution"].value
        assert per_cm[0] / per_cm[1] == pytest.approx(80_000)
    assert open_image(path).pixel_size_um == pytest.approx(0.125)


def test_equal_labels_give_equal_files(tmp_path: Path) -> None:
    a = write_labels_tif(tmp_path / "a.tif", some_labels(), 0.1)
    b = write_labels_tif(tmp_path / "b.tif", some_labels(), 0.1)
    assert sha256(a) == sha256(b)


def test_other_formats_are_read(tmp_path: Path) -> None:
    labels = some_labels()
    Picture.fromarray(labels.astype(np.uint8)).save(tmp_path / "l.png")
    np.save(tmp_path / "l.npy", labels)
    tifffile.imwrite(tmp_path / "float.tif", labels.astype(np.float32))
    tifffile.imwrite(tmp_path / "axes.tif", labels[None].astype(np.uint16))
    for name in ("l.png", "l.npy", "float.tif", "axes.tif"):
        np.testing.assert_array_equal(read_labels(tmp_path / name), labels)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros((4, 4, 3), np.uint8), "shape"),
        (np.zeros((0, 4), np.uint8), "shape"),
        (np.ones((4, 4), bool), "mask"),
        (np.full((4, 4), 0.5), "fractions"),
        (np.full((4, 4), np.nan), "fractions"),
        (np.full((4, 4), -1), "down to -1"),
        (np.full((4, 4), 2**31), "2147483648"),
        (np.full((4, 4), "a"), "whole numbers"),
    ],
)
def test_what_is_no_label_image(tmp_path: Path, labels: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_labels(labels)
    with pytest.raises(InputError, match=words):
        write_labels_tif(tmp_path / "l.tif", labels)
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_labels(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 9, (90, 120))
    whole = write_labels_tif(tmp_path / "whole.tif", noise, 0.1).read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.tif").write_text("these are no labels")
    (tmp_path / "empty.tif").write_bytes(b"")
    for name in ("cut.tif", "text.tif", "empty.tif"):
        with pytest.raises(InputError, match="damaged"):
            read_labels(tmp_path / name)
    (tmp_path / "l.jpg").write_bytes(b"")
    (tmp_path / "l.csv").write_text("1,2")
    for name, words in (("l.jpg", "JPEG"), ("l.csv", "is not"), ("none.tif", "does not exist")):
        with pytest.raises(InputError, match=words):
            read_labels(tmp_path / name)


def test_the_ending_has_to_be_tif(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"should end in \.tif"):
        write_labels_tif(tmp_path / "labels.png", some_labels())
