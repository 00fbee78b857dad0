"""Label images on disk."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import sha256
from cytodiffusion.image.image import open_image
from cytodiffusion.image.labels import (
    check_labels,
    open_label_image,
    read_labels,
    understand_labels,
    write_labels_tif,
)


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


# ---- what other programs save as labels


def discs(*places: tuple[int, int, int], shape: tuple[int, int] = (160, 220)) -> np.ndarray:
    """Discs at (y, x) with a radius, numbered 1, 2, 3 ..."""
    labels = np.zeros(shape, np.int32)
    for number, (y, x, radius) in enumerate(places, start=1):
        cv2.circle(labels, (x, y), radius, number, -1)
    return labels


APART = discs((30, 30, 14), (30, 90, 14), (30, 150, 14), (100, 40, 20), (110, 120, 14))
TOUCHING = discs((40, 40, 16), (40, 70, 16), (100, 60, 16), (100, 150, 16), (124, 168, 16))


def same_cells(a: np.ndarray, b: np.ndarray, least: float = 0.8) -> bool:
    ids = [set(np.unique(x)) - {0} for x in (a, b)]
    pairs = [(a == i, b == j) for i in ids[0] for j in ids[1]]
    matched = sum((x & y).sum() > least * (x | y).sum() for x, y in pairs)
    return len(ids[0]) == len(ids[1]) == matched


@pytest.mark.parametrize("top", [1, 255, 65_535, True])
@pytest.mark.parametrize("labels", [APART, TOUCHING])
def test_masks_are_divided_into_cells(labels: np.ndarray, top: int) -> None:
    mask = labels > 0 if top is True else np.where(labels > 0, top, 0).astype(np.uint16)
    found = understand_labels(mask)
    assert same_cells(labels, found.labels)
    assert "mask" in found.notes[0]
    assert f"into {labels.max()} cells" in found.notes[0]


def test_a_mask_with_soft_edges_and_one_in_colours(tmp_path: Path) -> None:
    soft = cv2.GaussianBlur(np.where(APART > 0, 255, 0).astype(np.uint8), (0, 0), 0.6)
    Picture.fromarray(soft).save(tmp_path / "soft.png")
    Picture.fromarray(np.repeat(soft[..., None], 3, axis=2)).save(tmp_path / "rgb.png")
    Picture.fromarray(np.dstack([soft, soft, soft, 0 * soft + 255])).save(tmp_path / "rgba.png")
    Picture.fromarray(APART > 0).save(tmp_path / "bits.png")
    for name in ("soft.png", "rgb.png", "rgba.png", "bits.png"):
        assert same_cells(APART, open_label_image(tmp_path / name).labels), name
    coloured = np.dstack([soft, soft // 2, soft // 3])
    Picture.fromarray(coloured).save(tmp_path / "colours.png")
    with pytest.raises(InputError, match=r"colours\.png is a picture in colours"):
        open_label_image(tmp_path / "colours.png")


def test_black_cells_on_white() -> None:
    found = understand_labels(APART == 0)
    assert same_cells(APART, found.labels)
    assert "inverted" in found.notes[0]


def test_one_cell_is_no_mask() -> None:
    one = discs((80, 100, 30)) * 7
    found = understand_labels(one)
    np.testing.assert_array_equal(found.labels, one)
    assert found.notes == ()
    assert understand_labels(np.zeros((5, 5), bool)).labels.max() == 0


def test_ids_that_were_used_twice() -> None:
    twice = np.where(APART > 3, APART - 3, APART)
    found = understand_labels(twice)
    assert same_cells(APART, found.labels, 0.99)
    assert set(np.unique(twice)) <= set(np.unique(found.labels))
    assert "2 ids lie" in found.notes[0]


def test_kinds_for_cells() -> None:
    """A map of classes: many pieces of few numbers, near each other too."""
    many = discs(*((20 + 32 * j, 20 + 32 * i, 14) for i in range(6) for j in range(4)))
    found = understand_labels(np.where(many > 0, 1 + many % 2, 0))
    assert same_cells(many, found.labels, 0.99)


def test_lobes_and_fragments_belong_to_their_cell() -> None:
    lobed = discs((50, 50, 10), (50, 73, 8), (50, 120, 12), (100, 100, 14))
    lobed[lobed == 2] = 1  # a nucleus of two lobes, two pixels apart
    lobed[118, 100] = 4  # a crumb beside a cell
    found = understand_labels(lobed)
    np.testing.assert_array_equal(found.labels, lobed)
    assert found.notes == ()


def test_fractions_of_cellprofiler(tmp_path: Path) -> None:
    for top in (255, 65_535):
        path = tmp_path / "f.tif"
        tifffile.imwrite(path, (APART / top).astype(np.float32))
        found = open_label_image(path)
        np.testing.assert_array_equal(found.labels, APART)
        assert "CellProfiler" in found.notes[0]
    nan = np.where(APART == 0, np.nan, APART)
    np.testing.assert_array_equal(understand_labels(nan).labels, APART)
    with pytest.raises(InputError, match="ConvertObjectsToImage"):
        understand_labels(APART * 0.137)


def test_a_picture_in_the_place_of_labels(tmp_path: Path) -> None:
    photo = np.random.default_rng(0).normal(150, 20, (200, 300)).astype(np.uint8)
    Picture.fromarray(photo).save(tmp_path / "photo.png")
    with pytest.raises(InputError, match=r"photo\.png looks like a picture"):
        open_label_image(tmp_path / "photo.png")
    small = discs(*((8 + 12 * j, 8 + 12 * i, 3) for i in range(17) for j in range(12)))
    np.testing.assert_array_equal(understand_labels(small).labels, small)


def test_a_numbered_background() -> None:
    found = understand_labels(APART + 1)
    assert same_cells(APART, found.labels, 0.99)
    assert "number 1" in found.notes[0]


def test_labels_are_as_the_picture_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "l.tif"
    turn = [(274, "H", 1, 6, True)]
    tifffile.imwrite(path, APART.astype(np.uint16), extratags=turn, metadata=None)
    np.testing.assert_array_equal(open_label_image(path).labels, np.rot90(APART, -1))


def seg_npy(path: Path, masks: Any, protocol: int = 4, **more: Any) -> Path:
    """Write what Cellpose's window does."""
    content = {"outlines": masks, "masks": masks, "chan_choose": [0, 0], "filename": "a.png"}
    whole = np.array(content | {"flows": [masks, [masks]], "diameter": 30.0} | more, dtype=object)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|O", "fortran_order": False, "shape": ()}
        )
        pickle.dump(whole, file, protocol=protocol)
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i4", "<i8", "u1"])
def test_masks_of_cellpose(tmp_path: Path, protocol: int, dtype: str) -> None:
    masks = APART.astype(dtype)
    for array in (masks, np.asfortranarray(masks)):
        path = seg_npy(tmp_path / "a_seg.npy", array, protocol, where=Path("a"))
        found = open_label_image(path)
        np.testing.assert_array_equal(found.labels, APART)
        assert found.notes == ()


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f'{sys.executable} -c "open({str(self.path)!r}, chr(119))"',)


def test_nothing_in_a_pickle_runs(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = seg_npy(tmp_path / "a_seg.npy", APART.astype(np.uint16), extra=Hostile(mark))
    np.testing.assert_array_equal(open_label_image(path).labels, APART)
    for masks in (Hostile(mark), [Hostile(mark)], None, "masks"):
        with pytest.raises(InputError, match=r"damaged|not run here"):
            open_label_image(seg_npy(path, masks))
    assert not mark.exists()
    np.load(seg_npy(path, Hostile(mark)), allow_pickle=True)
    assert mark.exists()  # the trap does work


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04]\x94r\xff\xff\xff\x7f.",  # a memory of two billion entries
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x00.",  # bytes without end
        b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        b"\x80\x04}.",
        b"",
    ],
)
def test_damaged_pickles(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a_seg.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|O", "fortran_order": False, "shape": ()}
        )
        file.write(content)
    with pytest.raises(InputError, match=r"damaged|not run here"):
        open_label_image(path)


def test_objects_passed_off_as_numbers(tmp_path: Path) -> None:
    """An array of pointers in the place of masks is refused, not read."""
    path = seg_npy(tmp_path / "a_seg.npy", np.array([[1, "a"], [None, 2]], dtype=object))
    with pytest.raises(InputError, match="damaged"):
        open_label_image(path)
