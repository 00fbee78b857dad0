"""Pixel sizes that files state, and what contradicts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile

from cytodiffusion.errors import InputError
from cytodiffusion.image.image import open_image
from cytodiffusion.image.pixel_size import (
    StatedScale,
    number,
    scale_doubt,
    stated_pixel_size,
    unit_um,
)

RGB = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)


def both(path: Path) -> StatedScale:
    """What is stated, which `open_image` must say as well."""
    stated = stated_pixel_size(path)
    opened = open_image(path)
    assert opened.pixel_size_um == stated.value_um
    assert opened.notes == stated.notes
    return stated


@pytest.mark.parametrize(
    ("names", "size"),
    [
        ("um µm μm \\u00B5m micron microns Micrometer micrometers micrometre MICROMETRES", 1),
        ("mikrometer Mikrometern mikron micromètre micrómetros micrometri u µ", 1),
        ("nm nanometer nanometres", 1e-3),
        ("mm Millimeter millimetres", 1e3),
        ("cm centimeter Zentimeter", 1e4),
        ("inch inches in", 25_400),
        ("m meter metres", 1e6),
    ],
)
def test_names_of_units(names: str, size: float) -> None:
    for name in names.split():
        assert unit_um(name) == size, name


@pytest.mark.parametrize("name", ["", "pixel", "pixels", "furlong", "µ-something", "None"])
def test_other_names_are_no_units(name: str) -> None:
    assert unit_um(name) is None


@pytest.mark.parametrize("text", ["0.14", "0,14", " 0,140 ", "1.4e-1", "14e-2"])
def test_decimal_points_and_commas(text: str) -> None:
    assert number(text) == pytest.approx(0.14)


@pytest.mark.parametrize("unit", ["um", "micrometers", "mikrometer", "\\u00B5m", "micron"])
def test_imagej(tmp_path: Path, unit: str) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, imagej=True, resolution=(8, 8), metadata={"unit": unit})
    stated = both(path)
    assert stated.value_um == pytest.approx(0.125)
    assert stated.source == "ImageJ"


def test_units_that_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, imagej=True, resolution=(8, 8), metadata={"unit": "pixel"})
    assert both(path) == StatedScale()
    tifffile.imwrite(path, RGB, imagej=True, resolution=(8, 8), metadata={"unit": "furlong"})
    stated = both(path)
    assert stated.value_um is None
    assert "furlong" in stated.note


@pytest.mark.parametrize(
    ("size", "unit"), [(0.14, "µm"), (140, "nm"), (1.4e-4, "mm"), (1.4e-5, "cm")]
)
def test_ome(tmp_path: Path, size: float, unit: str) -> None:
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "YXS", "PhysicalSizeX": size, "PhysicalSizeXUnit": unit}
    metadata |= {"PhysicalSizeY": size, "PhysicalSizeYUnit": unit}
    tifffile.imwrite(path, RGB, photometric="rgb", metadata=metadata)
    stated = both(path)
    assert stated.value_um == pytest.approx(0.14)
    assert stated.source == "OME"


@pytest.mark.parametrize("text", ["0,2520", "0.2520", "0,252000"])
def test_aperio(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.svs"
    words = f"Aperio Image Library v11.2.1\r\n50x40 |AppMag = 40|MPP = {text}|Left = 1,0"
    tifffile.imwrite(path, RGB, photometric="rgb", description=words, metadata=None)
    assert both(path).value_um == pytest.approx(0.252)


@pytest.mark.parametrize("text", ['ScanRes="0.2325"', "ScanRes='0,2325'"])
def test_ventana(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.tif"
    xmp = f'<?xml version="1.0"?><EncodeInfo><iScan Magnification="40" {text}/></EncodeInfo>'
    tag = (700, "B", len(xmp), xmp.encode(), True)
    tifffile.imwrite(path, RGB, photometric="rgb", extratags=[tag], metadata=None)
    stated = both(path)
    assert stated.value_um == pytest.approx(0.2325)
    assert stated.source == "Ventana"


@pytest.mark.parametrize(("unit", "per_um"), [("CENTIMETER", 1e4), ("INCH", 25_400)])
def test_tags(tmp_path: Path, unit: str, per_um: float) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, resolution=(8 * per_um, 8 * per_um), resolutionunit=unit)
    stated = both(path)
    assert stated.value_um == pytest.approx(0.125)
    assert stated.source == "resolution"


def test_pictures(tmp_path: Path) -> None:
    PIL.Image.fromarray(RGB).save(tmp_path / "a.png", dpi=(254_000, 254_000))
    assert both(tmp_path / "a.png").value_um == pytest.approx(0.1, rel=1e-3)
    PIL.Image.fromarray(RGB).save(tmp_path / "a.jpg", dpi=(300, 300))
    assert both(tmp_path / "a.jpg") == StatedScale()


def test_nothing_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, imagej=True, resolution=(8, 8), metadata={"unit": "um"})

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("pixels were read")

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", fail)
    assert stated_pixel_size(path).value_um == pytest.approx(0.125)


def test_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no")
    for path in (tmp_path / "a.png", tmp_path / "none.tif", tmp_path):
        with pytest.raises(InputError):
            stated_pixel_size(path)


@pytest.mark.parametrize(
    ("stated", "measured", "cells", "words"),
    [
        (0.14, 0.136, 20, None),
        (0.14, 0.1, 20, None),
        (1.0, 0.136, 20, "know no scale"),
        (1.0, 0.136, 2, None),
        (1.0, 0.8, 20, None),
        (0.355, 0.14, 20, "centimetres"),
        (0.055, 0.14, 20, "centimetres"),
        (0.5, 0.1, 20, "check the scale"),
        (0.014, 0.14, 20, "check the scale"),
    ],
)
def test_red_cells_contradict(
    stated: float, measured: float, cells: int, words: str | None
) -> None:
    said = scale_doubt(stated, measured, cells)
    assert (said is None) == (words is None)
    assert words is None or words in str(said)
    assert scale_doubt(StatedScale(), measured, cells) is None
