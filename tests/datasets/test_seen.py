"""A model keeps fingerprints of its training images and knows them again in a test set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.numpy import save_file
from trees import write_image

from cytodiffusion.datasets import Record
from cytodiffusion.datasets.fingerprints import fingerprints
from cytodiffusion.datasets.seen import Overlap, TrainingImages, overlap
from cytodiffusion.errors import BundleError


@dataclass
class Model:
    training_images: TrainingImages | None = None


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return [write_image(tmp_path / f"{n}.png", n) for n in range(6)]


@pytest.fixture
def model(paths: list[Path], tmp_path: Path) -> Model:
    """A model that was trained on the first four and has been saved and loaded since."""
    TrainingImages.of(fingerprints(paths[:4])).save(tmp_path / "x.safetensors")
    return Model(TrainingImages.load(tmp_path / "x.safetensors"))


def test_fingerprints_stay_together_on_disk(model: Model, paths: list[Path]) -> None:
    kept = model.training_images
    assert kept is not None
    assert len(kept) == 4
    assert (np.diff(kept.exact.astype(object)) > 0).all()
    for path in paths[:4]:
        one = fingerprints([path])
        row = kept.exact.tolist().index(int(one.exact[0]))
        np.testing.assert_array_equal(kept.perceptual[row], one.perceptual[0, 0])


def test_images_of_the_training_are_known_again(
    model: Model, paths: list[Path], tmp_path: Path
) -> None:
    image = cv2.imread(str(paths[1]))
    assert image is not None
    turned = tmp_path / "turned.jpg"
    cv2.imwrite(str(turned), image[::-1])
    found = overlap([paths[0], turned, *paths[4:], tmp_path / "lost.png"], model)
    assert (found.exact, found.near) == ([paths[0]], [turned])
    assert len(found) == 2
    assert found.stated() == (
        f"The model was trained on 2 of the test images (1 of them changed a little): {paths[0]}, "
        f"{turned}; its scores are too good."
    )


def test_records_are_as_good_as_paths(model: Model, paths: list[Path]) -> None:
    assert overlap([Record(p, "x", "test") for p in paths], model).exact == paths[:4]


def test_new_images_are_nothing_to_speak_of(model: Model, paths: list[Path]) -> None:
    found = overlap(paths[4:], model)
    assert found.known
    assert not len(found)
    assert found.stated() == ""


def test_a_model_that_does_not_record_them_says_so(paths: list[Path]) -> None:
    found = overlap(paths, Model())
    assert not found.known
    assert not len(found)
    assert "not known" in found.stated()


def test_a_long_list_is_cut() -> None:
    found = Overlap(True, [Path(str(n)) for n in range(9)], [])
    assert "on 9 of the test images (0 of them changed a little): 0, 1, 2 and 6 more;" in (
        found.stated()
    )
    assert found.stated("Rival", "see there").startswith("Rival was trained on 9")
    assert "and 6 more (see there);" in found.stated("Rival", "see there")


@pytest.mark.parametrize(
    "content",
    [
        {"exact": np.zeros(2, np.uint64)},
        {"exact": np.zeros(2, np.int64), "perceptual": np.zeros((2, 4), np.int64)},
        {"exact": np.zeros(3, np.uint64), "perceptual": np.zeros((2, 4), np.uint64)},
        {"exact": np.zeros((1, 2), np.uint64), "perceptual": np.zeros((1, 4), np.uint64)},
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: dict[str, np.ndarray]) -> None:
    save_file(content, tmp_path / "x.safetensors")
    with pytest.raises(BundleError, match="does not hold the fingerprints"):
        TrainingImages.load(tmp_path / "x.safetensors")


def test_what_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"pickle")
    with pytest.raises(BundleError, match="does not hold the fingerprints"):
        TrainingImages.load(tmp_path / "x.safetensors")
