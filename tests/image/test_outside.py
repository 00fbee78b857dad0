"""Files from outside, each with the right value that is known of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cytodiffusion.errors import InputError
from cytodiffusion.field import check_field, open_field, trusted_pixel_size
from cytodiffusion.image.colours import GREY, INVERTED, SWAPPED, colour_doubts
from cytodiffusion.image.formats import list_folder
from cytodiffusion.image.image import open_image
from cytodiffusion.image.labels import open_label_image
from cytodiffusion.image.pixel_size import stated_pixel_size

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def cases() -> Path:
    default = Path(__file__).resolve().parents[3] / "shared" / "cases"
    root = Path(os.environ.get("CYTODIFFUSION_CASES", default))
    if not (root / "base.png").is_file():
        pytest.skip("the files from outside are not on this machine (set CYTODIFFUSION_CASES)")
    return root


@pytest.fixture(scope="module")
def base(cases: Path) -> NDArray[np.uint8]:
    return open_image(cases / "base.png").rgb()


@pytest.fixture(scope="module")
def truth(cases: Path) -> NDArray[np.int32]:
    return open_label_image(cases / "L0_plain_uint16.tif").labels


@pytest.mark.parametrize(
    ("name", "off", "words"),
    [
        ("01_aperio_decimal_comma.svs", 0, ""),
        ("02_ome_cyx_rgb.ome.tif", 0, ""),
        ("02_ome_cyx_4ch.ome.tif", 0, "DAPI is left out"),
        ("02_ome_cyx_bgr_named.ome.tif", 0, ""),
        ("07_alpha_all_zero.png", 0, "transparent everywhere"),
        ("07_alpha_all_zero.tif", 0, "transparent everywhere"),
        ("07_alpha_associated_half.tif", 2, ""),
        ("07_extrasample_unspecified_ramp.tif", 0, "ignored"),
        ("07_extrasample_unspecified_zero.tif", 0, "ignored"),
        ("10_rgb12in16.png", 1, ""),
        ("10_rgb12in16_hotpixel.tif", 1, "stands alone"),
        ("10_rgb12in16_gain.tif", 12, "No usual range"),
        ("10_float01_one_nan.tif", 0, "no numbers"),
        ("10_float01_tiny_negative.tif", 0, "below zero"),
        ("13_tiff_orientation_1.tif", 0, ""),
        ("16_imagej_composite_c3.tif", 0, ""),
        ("18_ventana_xmp.tif", 0, ""),
    ],
)
def test_pixels_as_in_the_plain_picture(
    cases: Path, base: NDArray[np.uint8], name: str, off: int, words: str
) -> None:
    opened = open_image(cases / name)
    difference = np.abs(opened.rgb().astype(int) - base)
    assert np.percentile(difference, 99.9) <= off  # all but a hot or missing pixel
    assert words in " ".join(opened.notes)
    assert bool(words) == bool(opened.notes)


def test_two_colours_are_no_stain(cases: Path) -> None:
    with pytest.raises(InputError, match="Red, Green"):
        open_image(cases / "02_ome_cyx_2ch.ome.tif")


def test_one_plane_of_a_stack(cases: Path) -> None:
    opened = open_image(cases / "08_zstack_rgb.ome.tif")
    assert opened.shape == (128, 128)
    assert "stack of 5 focal planes" in opened.notes[0]


def test_a_turned_picture_is_as_seen(cases: Path, base: NDArray[np.uint8]) -> None:
    assert open_image(cases / "03_exif6_phone.jpg").shape == (256, 180)
    assert open_label_image(cases / "L11_exif6_as_seen.tif").labels.shape == (256, 180)
    turned = open_image(cases / "13_tiff_orientation_6.tif").rgb()
    assert (turned == np.rot90(base, -1)).all() or (turned == base).all()


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("01_aperio_decimal_comma.svs", "Aperio"),
        ("01_aperio_decimal_point.svs", "Aperio"),
        ("02_ome_cyx_rgb.ome.tif", "OME"),
        ("05_imagej_micron.tif", "ImageJ"),
        ("05_imagej_mikrometer.tif", "ImageJ"),
        ("16_imagej_composite_c3.tif", "ImageJ"),
        ("18_ventana_xmp.tif", "Ventana"),
    ],
)
def test_stated_scales(cases: Path, name: str, source: str) -> None:
    stated = stated_pixel_size(cases / name)
    assert stated.value_um == pytest.approx(0.14)
    assert stated.source == source
    assert open_image(cases / name).pixel_size_um == pytest.approx(0.14)
    assert open_field(cases / name).pixel_size_um == pytest.approx(0.14)


@pytest.mark.parametrize("name", ["12_imagej_1micron.tif", "12_ome_physicalsize_1um.ome.tif"])
def test_one_micrometre_by_default_is_not_believed(
    cases: Path, base: NDArray[np.uint8], name: str
) -> None:
    assert stated_pixel_size(cases / name).value_um == 1.0
    field = open_field(cases / name)
    assert field.pixel_size_um is None
    assert "states 1 um" in field.notes[-1]
    trusted = trusted_pixel_size(cases / name, base)
    assert trusted.value_um is None
    assert trusted.note == field.notes[-1]
    assert open_field(cases / name, pixel_size_um=0.14).notes == ()


def test_doubtful_colours(cases: Path, base: NDArray[np.uint8]) -> None:
    assert colour_doubts(open_image(cases / "M8_inverted.jpg").rgb()) == (INVERTED,)
    assert colour_doubts(np.ascontiguousarray(base[..., ::-1])) == (SWAPPED,)
    assert colour_doubts(np.repeat(base[..., 1:2], 3, axis=2)) == (GREY,)
    for path in sorted(cases.glob("[MNE]*.jpg")):
        if "inverted" not in path.name:
            assert colour_doubts(open_image(path).rgb()) == (), path.name
    assert check_field(open_image(cases / "base.png")).notes == ()


def test_no_real_field_is_doubted(data_root: Path) -> None:
    for pattern in ("bccd/images/*", "dense/**/*.png", "bcisc/fields/*.jpg", "chula/images/*"):
        for path in sorted(data_root.glob(pattern))[:12]:
            assert colour_doubts(open_image(path).rgb()) == (), path


def test_a_folder_of_a_phone(cases: Path, tmp_path: Path) -> None:
    for name in ("11_picture.jfif", "11_picture.JPE", "base.png"):
        shutil.copy(cases / name, tmp_path)
    (tmp_path / "IMG_1.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    found = list_folder(tmp_path)
    assert [p.name for p in found.images] == ["11_picture.JPE", "11_picture.jfif", "base.png"]
    assert "IMG_1.heic" in found.notes[0]
    assert all(open_image(path).shape == (256, 256) for path in found.images)


def matched(truth: NDArray[np.int32], found: NDArray[np.int32]) -> int:
    ids = [set(np.unique(x)) - {0} for x in (truth, found)]
    pairs = [(truth == i, found == j) for i in ids[0] for j in ids[1]]
    return sum(int((x & y).sum() > 0.7 * (x | y).sum()) for x, y in pairs)


@pytest.mark.parametrize(
    ("name", "least", "words"),
    [
        ("base_seg.npy", 22, ""),
        ("L1_cellprofiler_float01.tif", 22, "CellProfiler"),
        ("L2_ids_twice_uint8.png", 20, "far apart"),
        ("L6_binary_255.png", 18, "mask"),
    ],
)
def test_labels_of_other_programs(
    cases: Path, truth: NDArray[np.int32], name: str, least: int, words: str
) -> None:
    opened = open_label_image(cases / name)
    assert 20 <= len(np.unique(opened.labels)) - 1 <= 24
    assert matched(truth, opened.labels) >= least
    assert words in " ".join(opened.notes)
    assert bool(words) == bool(opened.notes)


def test_one_and_true_are_masks_too(cases: Path, truth: NDArray[np.int32], tmp_path: Path) -> None:
    for mask in (truth > 0, (truth > 0).astype(np.uint8)):
        np.save(tmp_path / "mask.npy", mask)
        opened = open_label_image(tmp_path / "mask.npy")
        assert matched(truth, opened.labels) >= 18
        assert "mask" in opened.notes[0]
