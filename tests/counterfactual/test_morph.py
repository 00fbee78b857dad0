"""Morphs: from the cell itself to its counterfactual, and into files that say what they are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as Picture
from toys import COLORS, PIXEL_SIZE_UM, disc

from cytodiffusion.cells.crops import centre_crop
from cytodiffusion.classification.classifier import classify
from cytodiffusion.counterfactual.cells import CounterfactualSettings
from cytodiffusion.counterfactual.morph import Morph, make_morph, save_morph
from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.files.synthetic_mark import is_synthetic
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.loading import load_bundle

GROUND = np.float32([235, 235, 235])


@pytest.fixture(scope="module")
def discs(disc_model: Path) -> ModelBundle:
    return load_bundle(disc_model, device="cpu")


@pytest.fixture(scope="module")
def blue(discs: ModelBundle) -> NDArray[np.uint8]:
    cell = disc(COLORS["blue"], np.random.default_rng(5))
    return centre_crop(cell, PIXEL_SIZE_UM, discs.input_size, 20.0)


@pytest.fixture(scope="module")
def film(discs: ModelBundle, blue: NDArray[np.uint8]) -> Morph:
    settings = CounterfactualSettings(strength=0.4, guidance=1, steps=5)
    return make_morph(blue, discs, 2, frames=7, background=GROUND, settings=settings)


def test_from_the_cell_to_its_counterfactual(film: Morph, blue: NDArray[np.uint8]) -> None:
    assert film.frames.shape == (7, 32, 32, 3)
    np.testing.assert_array_equal(film.frames[0], blue)
    np.testing.assert_array_equal(film.frames[-1], film.last.pixels[0])
    assert film.last.flipped[0]
    assert film.record()["frames"] == 7
    assert film.record()["synthetic"] is True


def test_it_goes_on_evenly(film: Morph, discs: ModelBundle) -> None:
    away = np.abs(film.frames.astype(float) - film.frames[0]).mean(axis=(1, 2, 3))
    assert (np.diff(away) > 0).all()
    steps = np.abs(np.diff(film.frames.astype(float), axis=0)).mean(axis=(1, 2, 3))
    assert steps.max() < 3 * steps.min()
    posterior = classify(film.frames, discs, background=GROUND).posterior[:, 2]
    assert (np.diff(posterior) > -0.02).all()
    assert posterior[0] < 0.1
    assert posterior[-1] > 0.9


def test_by_noise_it_begins_with_the_cell_too(discs: ModelBundle, blue: NDArray[np.uint8]) -> None:
    settings = CounterfactualSettings(strength=0.5, guidance=1, steps=3, method="noise")
    frames = make_morph(blue, discs, 1, frames=4, background=GROUND, settings=settings).frames
    np.testing.assert_array_equal(frames[0], blue)
    steps = np.abs(np.diff(frames.astype(float), axis=0)).mean(axis=(1, 2, 3))
    assert steps.max() < 4 * steps.min()


def test_bad_morphs(discs: ModelBundle, blue: NDArray[np.uint8], film: Morph) -> None:
    with pytest.raises(InputError, match="2 to 240 frames, not 1"):
        make_morph(blue, discs, 1, frames=1)
    with pytest.raises(InputError, match="taken for already"):
        make_morph(blue, discs, 0, frames=4, background=GROUND)

    def stop(done: float, text: str) -> None:
        if done > 0.6:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        make_morph(blue, discs, 1, frames=4, settings=film.last.settings, progress=stop)


def test_gif(film: Morph, tmp_path: Path) -> None:
    path = save_morph(film.frames, tmp_path / "m.gif", film.record(), frames_per_second=5)
    with Picture.open(path) as picture:
        assert picture.n_frames == 12  # there and back, neither end twice
        width, height = picture.size
        assert width == 384 < height  # the caption stands below
        assert picture.info["duration"] == 200
        assert picture.info["loop"] == 0
        comment = picture.info["comment"].decode()
        first = np.asarray(picture.convert("RGB"))
    assert comment.startswith("SYNTHETIC IMAGE")
    assert is_synthetic(path)
    assert '"target": "red"' in comment
    assert (first[384:] < 100).any()
    small = cv2.resize(first[:384], (32, 32), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(float) - film.frames[0]).mean() < 4


def test_animated_png(film: Morph, tmp_path: Path) -> None:
    path = save_morph(film.frames, tmp_path / "m.png", film.record(), frames_per_second=5)
    with Picture.open(path) as picture:
        assert (picture.format, picture.n_frames, picture.width) == ("PNG", 12, 384)
        assert picture.info["duration"] == 200
        for number in (0, 6):  # the cell, and the end of the way there
            picture.seek(number)
            large = np.asarray(picture.convert("RGB"))
            small = cv2.resize(large[:384], (32, 32), interpolation=cv2.INTER_AREA)
            assert np.abs(small.astype(float) - film.frames[number]).mean() < 2
    assert is_synthetic(path)
    assert b'"target": "red"' in path.read_bytes()


def test_tiff_stack(film: Morph, tmp_path: Path) -> None:
    path = save_morph(film.frames, tmp_path / "m.tif", film.record(), pixel_size_um=0.625)
    with tifffile.TiffFile(path) as file:
        assert file.series[0].axes == "TYXS"
        np.testing.assert_array_equal(file.asarray(), film.frames)
        assert 'PhysicalSizeX="0.625"' in file.ome_metadata
    assert is_synthetic(path)


def test_bad_files(film: Morph, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"should end in \.gif, \.png or \.tif"):
        save_morph(film.frames, tmp_path / "m.avi")
    with pytest.raises(InputError, match="frames of shape"):
        save_morph(film.frames[0], tmp_path / "m.gif")
    with pytest.raises(InputError, match="frames a second"):
        save_morph(film.frames, tmp_path / "m.gif", frames_per_second=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file where a folder is needed"):
        save_morph(film.frames, tmp_path / "file" / "m.gif")
