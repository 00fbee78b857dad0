from __future__ import annotations

import gc
import struct
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cytodiffusion.errors import InputError
from cytodiffusion.image.image import Image, as_rgb8, as_source, open_image
from cytodiffusion.image.pixels import check_pixel_size


def gradient(shape: tuple[int, int] = (48, 64)) -> NDArray[np.uint8]:
    y, x = np.indices(shape)
    return np.stack([y * 5 % 256, x * 4 % 256, (y + x) * 2 % 256], axis=2).astype(np.uint8)


RGB = gradient()


# ---- arrays


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([None, 1, 3, 4]),
    st.sampled_from(["u1", "u2", "i4", "u8", "f4", "f8", "?"]),
    st.booleans(),
)
def test_everything_sensible_becomes_rgb8(
    height: int, width: int, channels: int | None, dtype: str, lazy: bool
) -> None:
    shape = (height, width) if channels is None else (height, width, channels)
    array: Any = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    rgb = as_rgb8(da.from_array(array) if lazy else array)
    assert rgb.shape == (height, width, 3)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous


def test_rgb8_is_not_copied() -> None:
    assert np.shares_memory(as_rgb8(RGB), RGB)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_camera_ranges_keep_colours(bits: int) -> None:
    high = 2**bits - 1
    wide = np.rint(RGB * (high / 255.0)).astype(np.uint16)
    wide[0, 0] = high
    np.testing.assert_allclose(as_rgb8(wide)[1:].astype(int), RGB[1:], atol=1)
    np.testing.assert_allclose(as_rgb8(wide.astype(np.float32))[1:].astype(int), RGB[1:], atol=1)


def test_floats_are_fractions_or_counts() -> None:
    np.testing.assert_array_equal(as_rgb8(RGB / 255.0), RGB)
    np.testing.assert_array_equal(as_rgb8(RGB.astype(np.float64)), RGB)
    np.testing.assert_array_equal(as_rgb8(RGB / 255.0 * 1.02 / 1.02), RGB)


def test_grey_bool_and_channels_first() -> None:
    np.testing.assert_array_equal(as_rgb8(RGB[..., 0])[..., 2], RGB[..., 0])
    assert set(np.unique(as_rgb8(RGB[..., 0] > 99))) == {0, 255}
    np.testing.assert_array_equal(as_rgb8(np.moveaxis(RGB, 2, 0)), RGB)
    np.testing.assert_array_equal(as_rgb8(RGB[None, None]), RGB)
    np.testing.assert_array_equal(as_rgb8(RGB.tolist()), RGB)


def test_transparency_is_laid_on_white() -> None:
    opaque = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
    np.testing.assert_array_equal(as_rgb8(opaque), RGB)
    opaque[:9, :, 3] = 0
    np.testing.assert_array_equal(as_rgb8(opaque)[9:], RGB[9:])
    assert (as_rgb8(opaque)[:9] == 255).all()


@pytest.mark.parametrize("value", [0, 1, 128, 254])
def test_a_transparency_that_is_the_same_everywhere_is_ignored(value: int) -> None:
    alike = np.dstack([RGB, np.full(RGB.shape[:2], value, np.uint8)])
    np.testing.assert_array_equal(as_rgb8(alike), RGB)


def test_a_fourth_plane_is_no_transparency() -> None:
    planes = np.concatenate([np.moveaxis(RGB, 2, 0), RGB[None, ..., 0]])
    np.testing.assert_array_equal(as_rgb8(planes), RGB)


def test_the_first_level_of_a_pyramid_is_taken() -> None:
    np.testing.assert_array_equal(as_rgb8([RGB, RGB[::2, ::2]]), RGB)
    np.testing.assert_array_equal(as_rgb8((da.from_array(RGB), RGB[::2, ::2])), RGB)
    np.testing.assert_array_equal(as_rgb8(Image((RGB,), None, "x")), RGB)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((0, 0, 3), np.uint8), "no pixels"),
        (np.zeros((0, 5), np.uint8), "no pixels"),
        ([], "no pixels"),
        (np.zeros(5, np.uint8), "not an image"),
        (np.float64(3), "not an image"),
        (np.zeros((7, 5, 6, 3), np.uint8), "single plane"),
        (np.zeros((7, 5, 6), np.uint8), "single plane"),
        (np.zeros((5, 6, 2), np.uint8), "two channels"),
        (np.zeros((2, 5, 6), np.uint8), "two channels"),
        (np.full((4, 4), np.nan), "NaN"),
        (np.full((4, 4), np.inf), "infinity"),
        (np.full((4, 4), -1.0), "negative"),
        (np.full((4, 4), -1), "negative"),
        (np.zeros((4, 4), complex), "complex"),
        (np.full((4, 4), "a"), "no image"),
        (da.zeros((200_000, 200_000, 3), np.uint8), "40,000 megapixels"),
        (da.zeros((3, 200_000, 200_000), np.uint8), "40,000 megapixels"),
    ],
)
def test_unusable_arrays_are_refused(array: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        as_rgb8(array)


def test_a_path_is_an_image(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    PIL.Image.fromarray(RGB).save(path)
    for source in (path, str(path)):
        np.testing.assert_array_equal(as_rgb8(source), RGB)
        np.testing.assert_array_equal(as_source(source), RGB)
    with pytest.raises(InputError, match=r"nowhere\.png"):
        as_rgb8("nowhere.png")


def test_one_pixel_is_an_image() -> None:
    assert as_rgb8(np.array([[7]], np.uint8)).tolist() == [[[7, 7, 7]]]


@pytest.mark.parametrize("value", [None, "wide", 0, -0.1, float("nan"), float("inf"), 0.001, 50])
def test_absurd_pixel_sizes(value: Any) -> None:
    with pytest.raises(InputError, match="pixel size"):
        check_pixel_size(value)


def test_pixel_size_may_be_text() -> None:
    assert check_pixel_size("0.1") == 0.1


# ---- files


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "gif", "webp"])
def test_plain_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"field.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    grey = np.repeat(RGB[..., :1], 3, axis=2)  # GIF holds 256 colours
    PIL.Image.fromarray(grey).save(path, **options)
    opened = open_image(path)
    np.testing.assert_array_equal(opened.rgb(), grey)
    assert opened.name == path.name
    assert opened.path == path
    assert opened.shape == grey.shape[:2]
    assert opened.pixel_size_um is None


def test_names_lie(tmp_path: Path) -> None:
    path = tmp_path / "field.png"
    tifffile.imwrite(path, RGB)
    np.testing.assert_array_equal(open_image(path).rgb(), RGB)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "field.jpg"
    smooth = np.full((32, 32, 3), (200, 120, 160), np.uint8)
    PIL.Image.fromarray(smooth).convert(mode).save(path, quality=95)
    expected = smooth.mean(dtype=float) if mode == "L" else smooth
    np.testing.assert_allclose(open_image(path).rgb().astype(float), expected, atol=20)


def test_png_modes(tmp_path: Path) -> None:
    path = tmp_path / "field.png"
    source = PIL.Image.fromarray(RGB)
    for mode in ("1", "P", "LA", "RGBA"):
        source.convert(mode).save(path)
        assert open_image(path).rgb().shape == RGB.shape
    PIL.Image.fromarray(RGB[..., 0].astype(np.uint16) * 257).save(path)
    np.testing.assert_allclose(open_image(path).rgb()[..., 0].astype(int), RGB[..., 0], atol=1)


def test_tiff_kinds(tmp_path: Path) -> None:
    path = tmp_path / "field.tif"
    inverted = 255 - RGB[..., 0]
    for data, options in (
        (RGB, {"compression": "deflate"}),
        (RGB, {"tile": (16, 16), "compression": "lzw"}),
        (np.moveaxis(RGB, 2, 0), {"photometric": "rgb", "planarconfig": "separate"}),
        (RGB.astype(np.uint16) * 257, {"photometric": "rgb"}),
    ):
        tifffile.imwrite(path, data, **options)
        np.testing.assert_array_equal(open_image(path).rgb(), RGB)
    tifffile.imwrite(path, inverted, photometric="miniswhite")
    np.testing.assert_array_equal(open_image(path).rgb()[..., 0], RGB[..., 0])
    PIL.Image.fromarray(RGB).convert("CMYK").save(path)
    np.testing.assert_allclose(open_image(path).rgb().astype(int), RGB, atol=2)
    PIL.Image.fromarray(RGB).quantize(16).save(path)
    assert open_image(path).rgb().shape == RGB.shape


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1)])
def test_single_rows_and_pixels(tmp_path: Path, shape: tuple[int, int]) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    for suffix in ("png", "bmp", "tif"):
        path = tmp_path / f"field.{suffix}"
        PIL.Image.fromarray(rgb).save(path)
        np.testing.assert_array_equal(open_image(path).rgb(), rgb)
    for data in (rgb[..., 0], rgb, rgb[None]):
        kind = "rgb" if data.shape[-1] == 3 else "minisblack"
        tifffile.imwrite(path, data, photometric=kind)
        assert open_image(path).rgb().shape == rgb.shape


def write_ome(path: Path, x: float, unit: str, y: float | None = None) -> None:
    sizes = {"PhysicalSizeX": x, "PhysicalSizeY": x if y is None else y}
    units = {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    tifffile.imwrite(path, RGB, photometric="rgb", metadata={"axes": "YXS", **sizes, **units})


def test_pixel_size_of_ome(tmp_path: Path) -> None:
    path = tmp_path / "field.ome.tif"
    write_ome(path, 0.25, "µm")
    opened = open_image(path)
    assert opened.pixel_size_um == pytest.approx(0.25)
    np.testing.assert_array_equal(opened.rgb(), RGB)
    write_ome(path, 250, "nm")
    assert open_image(path).pixel_size_um == pytest.approx(0.25)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (-1, -1), (1000, 1000), (0.1, 0.2), (1e-9, 1e-9)])
def test_absurd_metadata_is_not_believed(tmp_path: Path, x: float, y: float) -> None:
    path = tmp_path / "field.ome.tif"
    write_ome(path, x, "µm", y)
    opened = open_image(path)
    assert opened.pixel_size_um is None
    assert "not believed" in opened.notes[0]


def test_pixel_size_of_imagej(tmp_path: Path) -> None:
    path = tmp_path / "field.tif"
    tifffile.imwrite(
        path, RGB, imagej=True, resolution=(8.0, 8.0), metadata={"unit": "um", "axes": "YXS"}
    )
    assert open_image(path).pixel_size_um == pytest.approx(0.125)


def test_pixel_size_of_tags(tmp_path: Path) -> None:
    path = tmp_path / "field.tif"
    for unit, per_um in (("CENTIMETER", 1e4), ("INCH", 25_400)):
        tifffile.imwrite(path, RGB, resolution=(4 * per_um, 4 * per_um), resolutionunit=unit)
        assert open_image(path).pixel_size_um == pytest.approx(0.25)
    tifffile.imwrite(path, RGB, resolution=(72, 72), resolutionunit="INCH")
    assert open_image(path).pixel_size_um is None
    assert open_image(path).notes == ()
    png = tmp_path / "field.png"
    PIL.Image.fromarray(RGB).save(png, dpi=(254_000, 254_000))
    assert open_image(png).pixel_size_um == pytest.approx(0.1, rel=1e-3)


def write_slide(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Write a slide as Aperio does: levels as pages, MPP in the description."""
    text = "Aperio Image Library v12.0.0\r\n64x48 |AppMag = 40|MPP = 0.2525|Left = 1"
    with tifffile.TiffWriter(path) as writer:
        for step in (1, 4):
            level = np.ascontiguousarray(rgb[::step, ::step])
            writer.write(level, tile=(16, 16), photometric="rgb", description=text, metadata=None)
            if step == 1:  # the thumbnail comes second
                writer.write(rgb[::8, ::8], photometric="rgb", description=text, metadata=None)


def test_slide(tmp_path: Path) -> None:
    rgb = gradient((160, 240))
    path = tmp_path / "slide.svs"
    write_slide(path, rgb)
    opened = open_image(path)
    assert opened.pixel_size_um == pytest.approx(0.2525)
    assert [level.shape for level in opened.levels] == [(160, 240, 3), (40, 60, 3)]
    assert isinstance(opened.levels[0], da.Array)
    np.testing.assert_array_equal(np.asarray(opened.levels[1]), rgb[::4, ::4])
    np.testing.assert_array_equal(opened.rgb(), rgb)


@pytest.mark.parametrize("kind", ["rgb8", "rgb16", "grey8", "rgba8"])
def test_pyramid_is_lazy(tmp_path: Path, kind: str) -> None:
    rgb = gradient((256, 320))
    data = {
        "rgb8": rgb,
        "rgb16": rgb.astype(np.uint16) * 16,
        "grey8": rgb[..., 0],
        "rgba8": np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]),
    }[kind]
    photometric = "minisblack" if kind == "grey8" else "rgb"
    path = tmp_path / "slide.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(data, subifds=2, tile=(64, 64), photometric=photometric)
        for step in (2, 4):
            level = np.ascontiguousarray(data[::step, ::step])
            writer.write(level, subfiletype=1, tile=(64, 64), photometric=photometric)
    opened = open_image(path)
    assert [level.shape for level in opened.levels] == [(256, 320, 3), (128, 160, 3), (64, 80, 3)]
    assert all(level.dtype == np.uint8 for level in opened.levels)
    expected = np.repeat(rgb[..., :1], 3, axis=2) if kind == "grey8" else rgb
    np.testing.assert_allclose(opened.rgb().astype(int), expected, atol=1)
    part = np.asarray(opened.levels[0][10:20, 100:130])
    np.testing.assert_allclose(part.astype(int), expected[10:20, 100:130], atol=1)
    del opened
    gc.collect()  # an unclosed file would warn here


def test_large_flat_tiff_is_lazy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cytodiffusion.image.tiff._LAZY_PIXELS", 3000)
    path = tmp_path / "field.tif"
    tifffile.imwrite(path, RGB, tile=(16, 16))
    opened = open_image(path)
    assert isinstance(opened.levels[0], da.Array)
    np.testing.assert_array_equal(opened.rgb(), RGB)
    tifffile.imwrite(path, RGB, rowsperstrip=48)  # any part of it would be all of it
    assert isinstance(open_image(path).levels[0], np.ndarray)


def one_sentence(path: Path, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        open_image(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    assert text.endswith(".")


def test_not_an_image(tmp_path: Path) -> None:
    one_sentence(tmp_path / "none.png", "no file")
    one_sentence(tmp_path, "folder")
    text = tmp_path / "notes.txt"
    text.write_text("not an image")
    one_sentence(text, "not an image")
    text.write_bytes(b"")
    one_sentence(text, "empty file")
    text.write_bytes(b"II*\0")
    one_sentence(text, "damaged|no image")
    text.write_bytes(b"II*\0" + bytes(range(200)))
    one_sentence(text, "damaged|no image")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["strips", "tiles", "deflate", "png", "jpg", "bmp"])
def test_truncated_files(tmp_path: Path, kind: str, share: float) -> None:
    path = tmp_path / ("field.tif" if kind in ("strips", "tiles", "deflate") else f"field.{kind}")
    noise = np.random.default_rng(0).integers(0, 255, (80, 80, 3), np.uint8)
    options: dict[str, dict[str, Any]] = {
        "strips": {},
        "tiles": {"tile": (16, 16)},
        "deflate": {"compression": "deflate", "tile": (16, 16)},
    }
    if kind in options:
        tifffile.imwrite(path, noise, **options[kind])
    else:
        PIL.Image.fromarray(noise).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    one_sentence(path, "cut short|damaged|not an image|cut-short|no image")


def test_truncated_pyramid_is_found_at_once(tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    write_slide(path, gradient((160, 240)))
    data = path.read_bytes()
    path.write_bytes(data[:-200])
    one_sentence(path, "cut short|damaged|cut-short")


def test_many_channels(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.zeros((7, 20, 30), np.uint8), imagej=True, metadata={"axes": "CYX"})
    one_sentence(path, "7 channels")


def test_nan_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "field.tif"
    tifffile.imwrite(path, np.full((8, 8), np.nan, np.float32))
    one_sentence(path, "NaN")


def test_huge_files_are_refused_before_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cytodiffusion.image.pixels.MAX_LOADED_PIXELS", 1000)
    path = tmp_path / "field.png"
    PIL.Image.fromarray(RGB).save(path)
    one_sentence(path, "at once")
    monkeypatch.setattr("cytodiffusion.image.tiff.MAX_LOADED_PIXELS", 5000)
    tif = tmp_path / "field.tif"
    tifffile.imwrite(tif, RGB)
    one_sentence(tif, "at once")


def test_a_png_that_claims_to_be_enormous(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    PIL.Image.fromarray(RGB).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 100_000, 100_000)
    crc = __import__("zlib").crc32(bytes(data[12:29]))
    data[29:33] = struct.pack(">I", crc)
    path.write_bytes(bytes(data))
    one_sentence(path, "at once")


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "field.png"
    PIL.Image.fromarray(RGB).save(path)

    def denied(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    one_sentence(path, "Permission denied")


@pytest.mark.data
def test_real_images(data_root: Path) -> None:
    for pattern in ("bccd/images/*", "bcisc/fields/*.*", "segwbc/images/*", "chula/images/*"):
        path = sorted(data_root.glob(pattern))[0]
        assert open_image(path).rgb().ndim == 3
