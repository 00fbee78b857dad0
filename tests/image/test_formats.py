"""Folders: what is read, and what is named."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from cytodiffusion.errors import InputError
from cytodiffusion.image.formats import has_heif, list_folder
from cytodiffusion.image.image import open_image

RGB = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)


def save(path: Path, kind: str = "PNG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(RGB).save(path, kind)


def test_every_readable_file_is_listed(tmp_path: Path) -> None:
    names = {
        **{"a.jfif": "JPEG", "b.JPE": "JPEG", "c.JPEG": "JPEG", "d.PNG": "PNG", "e.bmp": "BMP"},
        **{"f.ppm": "PPM", "sub/g.tiff": "TIFF", "h.webp": "WEBP", "i.jp2": "JPEG2000"},
        **{"no_ending": "PNG", "photo.jpg_original": "JPEG", "scan.img": "TIFF"},
    }
    for name, kind in names.items():
        save(tmp_path / name, kind)
    for name in ("notes.txt", "table.csv", "Thumbs.db", "README", ".hidden.png", ".x/y.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    found = list_folder(tmp_path)
    assert {str(p.relative_to(tmp_path)) for p in found.images} == set(names)
    assert list(found.images) == sorted(found.images)
    assert found.notes == ()
    for path in found.images:
        assert open_image(path).shape == (20, 30)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    others = ["slide.czi", "slide.nd2", "camera.CR2", "raw.dng", "masks.npy", "all.zip", "x.mrxs"]
    for name in others:
        raw = name.lower().endswith((".cr2", ".dng"))  # they begin as TIFF does
        (tmp_path / name).write_bytes(b"II*\0 and so on" if raw else b"something else")
    found = list_folder(tmp_path)
    assert [p.name for p in found.images] == ["a.png"]
    assert sorted(p.name for p in found.unreadable) == sorted(others)
    assert "and 2 more cannot be read" in found.notes[0]
    (tmp_path / "empty.czi").touch()
    assert len(list_folder(tmp_path).unreadable) == len(others)


@pytest.mark.skipif(has_heif(), reason="HEIC can be read here")
def test_heic_without_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "IMG_1.HEIC"
    path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    (note,) = list_folder(tmp_path).notes
    assert "IMG_1.HEIC" in note
    assert "pillow-heif" in note
    with pytest.raises(InputError, match="pillow-heif"):
        open_image(path)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "no.png")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "no.txt")
    found = list_folder(tmp_path)
    assert [p.name for p in found.images] == ["a.png", "b.png"]
    assert [p.name for p in found.unreadable] == ["gone.png"]
    assert "gone.png cannot be read" in found.notes[0]
