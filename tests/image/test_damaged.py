"""Damaged files: one sentence each, never a traceback."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile

from cytodiffusion.errors import InputError
from cytodiffusion.image.image import open_image
from cytodiffusion.image.labels import open_label_image
from cytodiffusion.image.pixel_size import stated_pixel_size

RNG = np.random.default_rng(14)
RGB = RNG.integers(0, 255, (40, 50, 3), np.uint8)
LABELS = np.kron(np.arange(20).reshape(4, 5), np.ones((10, 10))).astype(np.uint16)


def tiff(data: np.ndarray, **options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, data, **options)
    return out.getvalue()


def picture(kind: str, data: np.ndarray = RGB) -> bytes:
    out = io.BytesIO()
    PIL.Image.fromarray(data).save(out, kind)
    return out.getvalue()


def npy(data: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, data, allow_pickle=True)
    return out.getvalue()


IMAGES = {
    "a.tif": tiff(RGB, photometric="rgb"),
    "b.ome.tif": tiff(RGB, photometric="rgb", ome=True, metadata={"axes": "YXS"}, tile=(16, 16)),
    "c.tif": tiff(RGB, imagej=True, resolution=(8, 8), metadata={"unit": "um"}),
    "d.tif": tiff(np.stack([RGB] * 3), photometric="rgb", compression="deflate"),
    "e.png": picture("PNG"),
    "f.jpg": picture("JPEG"),
    "g.bmp": picture("BMP"),
    "h.webp": picture("WEBP"),
    "i.gif": picture("GIF"),
}

LABEL_FILES = {
    "a.tif": tiff(LABELS),
    "b.ome.tif": tiff(LABELS, ome=True, compression="zlib"),
    "c.png": picture("PNG", LABELS.astype(np.uint8)),
    "d.npy": npy(LABELS),
    "e_seg.npy": npy({"masks": LABELS, "filename": "a.png", "flows": [[], [1.0]]}),
}


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut off, overwritten, holes, doubled parts; mostly near the beginning, where headers are."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        at = int(len(data) * rng.random() ** 3)
        match int(rng.integers(5)):
            case 0:
                data = data[: max(1, at)]
            case 1:
                data[at : at + 4] = rng.bytes(4)
            case 2:
                del data[at : at + int(rng.integers(1, 40))]
            case 3:
                data[at : at + 8] = b"\xff" * 8
            case 4:
                data[at:at] = data[: int(rng.integers(1, 60))]
        if not data:
            data = bytearray(b"\0")
    return bytes(data)


def one_sentence(read: Callable[[Path], Any], path: Path) -> bool:
    """Whether a file is read; where it is not, there is one sentence of ours and no more."""
    try:
        read(path)
    except InputError as error:
        text = str(error)
        assert text.strip(), path
        assert "\n" not in text
        assert text.endswith((".", ".)"))
        return False
    return True


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", sorted(IMAGES))
def test_damaged_images(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(sorted(IMAGES).index(kind))
    whole = tmp_path / kind
    whole.write_bytes(IMAGES[kind])
    assert one_sentence(open_image, whole)
    refused = 0
    for number in range(16):
        path = tmp_path / f"{number}{kind}"
        path.write_bytes(damaged(IMAGES[kind], rng))
        refused += not one_sentence(lambda p: open_image(p).rgb(), path)
        one_sentence(stated_pixel_size, path)
    assert refused


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", sorted(LABEL_FILES))
def test_damaged_labels(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(300 + sorted(LABEL_FILES).index(kind))
    whole = tmp_path / kind
    whole.write_bytes(LABEL_FILES[kind])
    np.testing.assert_array_equal(open_label_image(whole).labels, LABELS)
    refused = 0
    for number in range(14):
        path = tmp_path / f"{number}{kind}"
        path.write_bytes(damaged(LABEL_FILES[kind], rng))
        refused += not one_sentence(open_label_image, path)
    assert refused


def test_the_command_line_says_it_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    from cytodiffusion.cli import main

    path = tmp_path / "a.tif"
    path.write_bytes(IMAGES["b.ome.tif"][:-900])
    caplog.set_level(logging.WARNING)
    with pytest.raises(SystemExit):
        main(["segment", str(path), "-o", str(tmp_path / "l.tif")])
    said = capfd.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert said[0].startswith("Error:")
    assert not [r for r in caplog.records if r.name.startswith("tifffile")]
