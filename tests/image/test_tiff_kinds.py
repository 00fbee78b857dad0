"""Planes, channels, stacks, brightness and orientation, of files made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
import tifffile
from numpy.typing import NDArray

from cytodiffusion.errors import InputError
from cytodiffusion.image.image import as_rgb8, open_image
from cytodiffusion.image.tiff import oriented


def field(shape: tuple[int, int] = (96, 128), seed: int = 0) -> NDArray[np.uint8]:
    """Pale ground with pink discs and one purple one."""
    rng = np.random.default_rng(seed)
    image = np.full((*shape, 3), (236, 230, 228), np.uint8)
    for k in range(14):
        centre = (int(rng.integers(8, shape[1] - 8)), int(rng.integers(8, shape[0] - 8)))
        cv2.circle(image, centre, 9, (120, 60, 150) if k == 13 else (215, 150, 155), -1)
    return np.clip(image + rng.normal(0, 2, image.shape), 0, 250).astype(np.uint8)


RGB = field()
PLANES = np.moveaxis(RGB, 2, 0)


def ome(path: Path, data: NDArray[Any], axes: str, names: list[str] | None = None) -> Path:
    metadata: dict[str, Any] = {"axes": axes}
    if names:
        metadata["Channel"] = {"Name": names}
    kind = "rgb" if axes.endswith("S") else "minisblack"
    tifffile.imwrite(path, data, ome=True, photometric=kind, metadata=metadata)
    return path


# ---- channels


@pytest.mark.parametrize(
    "names",
    [
        ["Red", "Green", "Blue"],
        ["Blue", "Green", "Red"],
        ["G", "R", "B"],
        ["channel blau", "Kanal rot", "Kanal grün"],
        ["TL Red", "TL Blue", "TL Green"],
        ["Bleu", "Rouge", "Vert"],
    ],
)
def test_names_of_colours_decide(tmp_path: Path, names: list[str]) -> None:
    def number(name: str) -> int:
        words = name.lower().split()[-1]
        return next(k for k, letters in enumerate(("r", "gv", "b")) if words[0] in letters)

    data = np.stack([PLANES[number(name)] for name in names])
    opened = open_image(ome(tmp_path / "a.ome.tif", data, "CYX", names))
    np.testing.assert_array_equal(opened.rgb(), RGB)
    assert opened.notes == ()


@pytest.mark.parametrize("place", [0, 1, 3])
def test_fluorescence_beside_colours_is_left_out(tmp_path: Path, place: int) -> None:
    names, planes = ["Red", "Green", "Blue"], list(PLANES)
    names.insert(place, "Hoechst 33342")
    planes.insert(place, PLANES[0] // 3)
    opened = open_image(ome(tmp_path / "a.ome.tif", np.stack(planes), "CYX", names))
    np.testing.assert_array_equal(opened.rgb(), RGB)
    assert "Hoechst 33342 is left out" in opened.notes[0]


def test_a_transmitted_channel_is_taken_as_grey(tmp_path: Path) -> None:
    path = ome(tmp_path / "a.ome.tif", PLANES[:2], "CYX", ["DAPI", "Brightfield"])
    opened = open_image(path)
    np.testing.assert_array_equal(opened.rgb()[..., 0], PLANES[1])
    assert "DAPI" in opened.notes[0]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["Red", "Green"], "Red, Green"),
        (["Green", "Blue", "DAPI"], "without red"),
        (["DAPI", "FITC", "TRITC"], "fluorescence"),
        (["Texas Red", "FITC", "DAPI"], "fluorescence"),
        (["Channel:0:0", "Channel:0:1"], "two channels"),
    ],
)
def test_channels_that_are_no_stain(tmp_path: Path, names: list[str], words: str) -> None:
    data = np.stack([PLANES[k] for k in range(len(names))])
    with pytest.raises(InputError, match=words):
        open_image(ome(tmp_path / "a.ome.tif", data, "CYX", names))


def test_nameless_planes(tmp_path: Path) -> None:
    opened = open_image(ome(tmp_path / "a.ome.tif", PLANES, "CYX"))
    np.testing.assert_array_equal(opened.rgb(), RGB)
    four = np.concatenate([PLANES, 255 - PLANES[:1]])
    opened = open_image(ome(tmp_path / "b.ome.tif", four, "CYX"))
    np.testing.assert_array_equal(opened.rgb(), RGB)
    assert "first three" in opened.notes[0]
    path = tmp_path / "pages.tif"
    tifffile.imwrite(path, PLANES, photometric="minisblack")
    opened = open_image(path)
    np.testing.assert_array_equal(opened.rgb(), RGB)
    assert "red, green and blue" in opened.notes[0]


def test_imagej_composites(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PLANES, imagej=True, metadata={"axes": "CYX", "mode": "composite"})
    np.testing.assert_array_equal(open_image(path).rgb(), RGB)
    tables = np.zeros((3, 3, 256), np.uint8)
    for k in range(3):
        tables[k, 2 - k] = np.arange(256)  # shown as blue, green, red
    tifffile.imwrite(
        path, PLANES[::-1], imagej=True, metadata={"axes": "CYX", "LUTs": list(tables)}
    )
    np.testing.assert_array_equal(open_image(path).rgb(), RGB)


@pytest.mark.parametrize("value", [0, 90, "ramp"])
@pytest.mark.parametrize("kind", ["unspecified", "unassalpha", "assocalpha"])
def test_a_fourth_sample(tmp_path: Path, kind: str, value: int | str) -> None:
    path = tmp_path / "a.tif"
    alpha = np.full(RGB.shape[:2], 0 if value == "ramp" else value, np.uint8)
    if value == "ramp":
        alpha[:] = np.linspace(1, 255, RGB.shape[1])
    colour = RGB
    if kind == "assocalpha" and value != 0:
        colour = np.rint(RGB * (alpha[..., None] / 255.0)).astype(np.uint8)
    data = np.dstack([colour, alpha])
    tifffile.imwrite(path, data, photometric="rgb", extrasamples=[kind])
    opened = open_image(path)
    expected = RGB.astype(float)
    if kind != "unspecified" and value == "ramp":
        share = alpha[..., None] / 255.0
        expected = RGB * share + 255 * (1 - share)
    np.testing.assert_allclose(opened.rgb(), expected, atol=3)
    if kind == "unspecified":
        assert "ignored" in opened.notes[0]


def test_grey_with_another_sample(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    data = np.dstack([RGB[..., 1], RGB[..., 0]])
    tifffile.imwrite(path, data, photometric="minisblack", extrasamples=["unspecified"])
    opened = open_image(path)
    np.testing.assert_array_equal(opened.rgb()[..., 2], RGB[..., 1])
    assert "ignored" in opened.notes[0]


# ---- stacks


def blurred(times: float) -> NDArray[np.uint8]:
    return RGB if times == 0 else cv2.GaussianBlur(RGB, (0, 0), times)


STACK = np.stack([blurred(s) for s in (4, 2, 0, 1.5, 3)])


def test_the_sharpest_focal_plane_is_taken(tmp_path: Path) -> None:
    opened = open_image(ome(tmp_path / "a.ome.tif", STACK, "ZYXS"))
    np.testing.assert_array_equal(opened.rgb(), RGB)
    assert "5 focal planes" in opened.notes[0]
    assert "number 3" in opened.notes[0]
    planes = np.moveaxis(STACK, 3, 1)
    opened = open_image(ome(tmp_path / "b.ome.tif", planes, "ZCYX", ["Red", "Green", "Blue"]))
    np.testing.assert_array_equal(opened.rgb(), RGB)
    path = tmp_path / "c.tif"
    tifffile.imwrite(path, planes, imagej=True, metadata={"axes": "ZCYX"})
    np.testing.assert_array_equal(open_image(path).rgb(), RGB)
    tifffile.imwrite(path, STACK, photometric="rgb")
    opened = open_image(path)
    np.testing.assert_array_equal(opened.rgb(), RGB)
    assert "5 pages" in opened.notes[0]


def test_the_first_time_point_is_taken(tmp_path: Path) -> None:
    opened = open_image(ome(tmp_path / "a.ome.tif", STACK[[1, 2, 0]], "TYXS"))
    np.testing.assert_array_equal(opened.rgb(), STACK[1])
    assert "3 time points; the first" in opened.notes[0]


def test_axes_of_length_one_say_nothing(tmp_path: Path) -> None:
    for axes in ("ZYXS", "TYXS", "TZYXS"):
        data = RGB.reshape((1,) * (len(axes) - 3) + RGB.shape)
        opened = open_image(ome(tmp_path / "a.ome.tif", data, axes))
        np.testing.assert_array_equal(opened.rgb(), RGB)
        assert opened.notes == ()


def test_a_large_stack_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cytodiffusion.image.tiff._LAZY_PIXELS", 3000)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, STACK, photometric="rgb", tile=(16, 16), metadata={"axes": "ZYXS"})
    opened = open_image(path)
    assert not isinstance(opened.levels[0], np.ndarray)
    np.testing.assert_array_equal(opened.rgb(), STACK[2])
    assert "number 3" in opened.notes[0]


# ---- brightness


def wide(gain: float, dtype: str = "u2") -> NDArray[Any]:
    return np.rint(RGB * float(gain)).astype(dtype)


@pytest.mark.parametrize("suffix", ["tif", "png"])
@pytest.mark.parametrize("gain", [4, 16, 64, 257])
def test_cameras_of_more_bits(tmp_path: Path, suffix: str, gain: int) -> None:
    path = tmp_path / f"a.{suffix}"
    data = wide(gain)
    if suffix == "tif":
        tifffile.imwrite(path, data, photometric="rgb")
    else:
        cv2.imwrite(str(path), data[..., ::-1])
    opened = open_image(path)
    np.testing.assert_allclose(opened.rgb(), RGB, atol=2)
    assert opened.notes == ()


def test_hot_pixels_and_odd_gains(tmp_path: Path) -> None:
    hot = wide(16)
    hot[3, 4] = 65_535
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, hot, photometric="rgb")
    opened = open_image(path)
    assert (np.abs(opened.rgb().astype(int) - RGB) <= 2).mean() > 0.999
    assert "stands alone" in opened.notes[0]
    tifffile.imwrite(path, wide(18.4), photometric="rgb")  # a little more than 12 bits
    opened = open_image(path)
    assert 0.9 < opened.rgb().mean() / RGB.mean() < 1.1
    assert "No usual range" in opened.notes[0]


def test_floats_with_odd_values(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    fine = (RGB / 255.0).astype(np.float32)
    for value, words in ((np.nan, "no numbers"), (np.inf, "no numbers"), (-1e-3, "below zero")):
        odd = fine.copy()
        odd[5, 6] = value
        tifffile.imwrite(path, odd, photometric="rgb")
        opened = open_image(path)
        assert (opened.rgb() == RGB).mean() > 0.999
        assert words in opened.notes[0]
    tifffile.imwrite(path, (fine / 16).astype(np.float32), photometric="rgb")  # 12 bits in 16
    assert 0.9 < open_image(path).rgb().mean() / RGB.mean() < 1.15
    for bad, words in ((fine * 2 - 1, "negative"), (np.where(fine > 0.7, np.nan, fine), "NaN")):
        tifffile.imwrite(path, bad.astype(np.float32), photometric="rgb")
        with pytest.raises(InputError, match=words):
            open_image(path)


def test_bits_that_the_file_states(tmp_path: Path) -> None:
    dark = np.rint(RGB * 3.2).astype(np.uint16)  # would pass for 10 bits
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, dark, photometric="rgb", metadata={"axes": "YXS", "SignificantBits": 12})
    np.testing.assert_allclose(open_image(path).rgb(), dark / 4095 * 255, atol=1)


def test_arrays_keep_their_brightness() -> None:
    np.testing.assert_array_equal(as_rgb8(RGB.astype(np.uint16)), RGB)
    np.testing.assert_array_equal(as_rgb8(RGB.astype(np.float64)), RGB)


# ---- orientation


@pytest.mark.parametrize("turn", range(1, 9))
def test_pictures_are_as_seen(tmp_path: Path, turn: int) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, RGB, photometric="rgb", extratags=[(274, "H", 1, turn, True)], metadata=None
    )
    exif = PIL.Image.Exif()
    exif[274] = turn
    png = tmp_path / "a.png"
    PIL.Image.fromarray(RGB).save(png, exif=exif)
    seen = open_image(png).rgb()
    np.testing.assert_array_equal(open_image(path).rgb(), seen)
    np.testing.assert_array_equal(oriented(RGB, turn), seen)
    assert (seen.shape[0] == RGB.shape[1]) == (turn > 4)
