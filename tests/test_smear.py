"""The synthetic smear: repeatable, with an exact ground truth."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from scipy import ndimage as ndi

from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.patches import lay
from cytodiffusion.smear import DIFFERENTIAL, Smear, generated, synthetic_smear
from cytodiffusion.smear.generated import Sampling, cut_out, generated_cells
from cytodiffusion.smear.procedural import white_cell
from cytodiffusion.smear.red_cells import platelet

SMALL: dict[str, Any] = {
    "shape": (420, 500),
    "n_white": 3,
    "n_platelets": 4,
    "differential": {"neutrophil": 1, "lymphocyte": 2},
}


@pytest.fixture(scope="module")
def default() -> Smear:
    return synthetic_smear(seed=1)


@pytest.fixture(scope="module")
def small() -> Smear:
    return synthetic_smear(seed=5, **SMALL)


def test_same_seed_same_smear(small: Smear) -> None:
    again = synthetic_smear(seed=5, **SMALL)
    np.testing.assert_array_equal(small.rgb, again.rgb)
    np.testing.assert_array_equal(small.labels, again.labels)
    assert small.cells.equals(again.cells)
    other = synthetic_smear(seed=6, **SMALL)
    assert (other.labels != small.labels).any()


def test_shape_type_and_settings(default: Smear) -> None:
    assert default.rgb.shape == (1024, 1280, 3)
    assert default.rgb.dtype == np.uint8
    assert default.labels.shape == (1024, 1280)
    assert default.labels.dtype == np.int32
    assert default.pixel_size_um == 0.12
    assert json.loads(json.dumps(default.settings))["n_white"] == 12


def test_counts_are_what_was_asked_for(default: Smear, small: Smear) -> None:
    counts = default.cells["class"].value_counts()
    for name, number in DIFFERENTIAL.items():
        assert counts[name] == number
    assert counts["platelet"] == 14
    assert counts["artefact"] == 1
    assert counts["red cell"] == default.settings["n_red"] > 100
    asked = synthetic_smear(seed=2, n_red=7, n_artefacts=0, **SMALL).cells["class"].value_counts()
    assert asked.to_dict() == {"red cell": 7, "platelet": 4, "lymphocyte": 2, "neutrophil": 1}


def test_labels_are_sequential_whole_and_in_the_table(default: Smear) -> None:
    n = len(default.cells)
    ids, sizes = np.unique(default.labels, return_counts=True)
    np.testing.assert_array_equal(ids, np.arange(n + 1))
    assert default.cells["label"].tolist() == list(range(1, n + 1))
    assert sizes.min() * default.pixel_size_um**2 > 1.5
    for label, box in enumerate(ndi.find_objects(default.labels), start=1):
        _, pieces = ndi.label(default.labels[box] == label)
        assert pieces == 1, f"label {label} is in {pieces} pieces"


def test_centroids_are_those_of_the_labels(small: Smear) -> None:
    ids = small.cells["label"].to_numpy()
    expected = np.array(ndi.center_of_mass(small.labels > 0, small.labels, ids))
    np.testing.assert_allclose(small.cells[["y", "x"]].to_numpy(), expected)
    assert (expected >= 0).all()
    assert (expected < small.labels.shape).all()


def test_areas_are_those_of_blood_cells(default: Smear) -> None:
    area = np.bincount(default.labels.ravel())[1:] * default.pixel_size_um**2
    by_class = default.cells.assign(area=area).groupby("class")["area"].median()
    assert 35 < by_class["red cell"] < 50
    assert 2 < by_class["platelet"] < 12
    assert by_class["monocyte"] > by_class["neutrophil"] > by_class["lymphocyte"] > 50


def test_what_is_labelled_is_stained(default: Smear) -> None:
    grey = default.rgb.astype(float).mean(axis=-1)
    inside = ndi.binary_erosion(default.labels > 0, iterations=3)
    outside = ~ndi.binary_dilation(default.labels > 0, iterations=6)
    assert (grey[outside] > 180).mean() > 0.999
    assert np.median(grey[inside]) < np.median(grey[outside]) - 30


def test_white_cells_are_whole(default: Smear) -> None:
    white = default.cells.loc[default.cells["class"].isin(list(DIFFERENTIAL)), "label"]
    rim = [default.labels[0], default.labels[-1], default.labels[:, 0], default.labels[:, -1]]
    assert not np.isin(np.concatenate(rim), white).any()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"shape": (0, 500)}, "128 to 4096"),
        ({"shape": (500,)}, "128 to 4096"),
        ({"shape": (500.0, 500)}, "128 to 4096"),
        ({"shape": (500, 100_000)}, "128 to 4096"),
        ({"pixel_size_um": 0.0}, "."),
        ({"pixel_size_um": float("nan")}, "."),
        ({"n_white": -1}, "'n_white' must be a whole number"),
        ({"n_white": 200}, "no room"),
        ({"n_red": 2.5}, "'n_red' must be a whole number"),
        ({"n_red": 5000}, "no room"),
        ({"n_platelets": True}, "'n_platelets' must be a whole number"),
        ({"seed": -3}, "'seed' must be a whole number"),
        ({"differential": {"unicorn": 1.0}}, "'unicorn' is no white cell"),
        ({"differential": {"red cell": 1.0}}, "'red cell' is no white cell"),
        ({"differential": {"neutrophil": -1.0}}, "share of 'neutrophil'"),
        ({"differential": {"neutrophil": 0.0}}, "more than 0"),
    ],
)
def test_unusable_settings_are_one_sentence(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        synthetic_smear(**{**SMALL, **settings})
    assert "\n" not in str(caught.value)


def test_nothing_but_red_cells_or_nothing_at_all() -> None:
    options: dict[str, Any] = {"n_white": 0, "n_platelets": 0, "n_artefacts": 0}
    only_red = synthetic_smear(shape=(200, 200), n_red=3, **options)
    assert only_red.cells["class"].tolist() == ["red cell"] * 3
    empty = synthetic_smear(shape=(200, 200), n_red=0, **options)
    assert len(empty.cells) == 0
    assert not empty.labels.any()


def test_progress_ends_at_one_and_can_cancel() -> None:
    seen: list[float] = []
    synthetic_smear(seed=0, progress=lambda fraction, _: seen.append(fraction), **SMALL)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0

    def cancel(fraction: float, _: str) -> None:
        if fraction > 0.5:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        synthetic_smear(seed=0, progress=cancel, **SMALL)


# Cells from a model: a stand-in samples drawn cells, so that what is tested is the cutting out.


def _crop(name: str, seed: int) -> np.ndarray:
    """96 x 96 crop of 20 um: a drawn cell in the centre of a PBC-like background."""
    rng = np.random.default_rng(seed)
    patch = platelet(4.8, rng) if name == "platelet" else white_cell(name, 4.8, rng)
    density = np.zeros((96, 96, 3), np.float32)
    lay(density, patch, (48, 48))
    return (np.array([250, 228, 205]) * np.exp(-density)).astype(np.uint8)


def _model(*names: str) -> Any:
    return SimpleNamespace(class_names=names, window_um=20.0, name="stand-in")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Replace sampling by drawing; the second cell of the first try is refused."""
    tries: list[int] = []

    def sample(model: Any, names: list[str], seed: int, *_: Any) -> tuple[Any, Any]:
        tries.append(len(names))
        crops = np.stack([_crop(name, seed + k) for k, name in enumerate(names)])
        sure = np.ones(len(names), np.float32)
        if len(tries) == 1 and len(sure) > 1:
            sure[1] = 0.0
        return crops, sure

    monkeypatch.setattr(generated, "_sample", sample)
    return tries


def test_cells_of_a_model_are_cut_out_and_enlarged(drawn: list[int]) -> None:
    model = _model("neutrophil", "lymphocyte", "platelet", "red cell")
    smear = synthetic_smear(model, seed=3, **SMALL)
    assert drawn[0] == 7
    assert 1 <= drawn[1] < 7, "only what was refused is sampled again"
    assert smear.settings["model"] == "stand-in"
    area = np.bincount(smear.labels.ravel())[1:] * smear.pixel_size_um**2
    by_class = smear.cells.assign(area=area).groupby("class")["area"].median()
    assert 50 < by_class["lymphocyte"] < 85
    assert 80 < by_class["neutrophil"] < 145


def test_the_outline_is_that_of_the_cell() -> None:
    patch = cut_out(_crop("lymphocyte", 1), 20.0, 8.0)
    assert patch is not None
    truth = white_cell("lymphocyte", 8.0, np.random.default_rng(1)).solid
    assert abs(patch.solid.sum() / truth.sum() - 1) < 0.15
    assert patch.density[0].max() < 0.2
    assert patch.density.max() > 1.0


def test_what_cannot_be_cut_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    blank = np.full((96, 96, 3), 230, np.uint8)
    full = cv2.resize(_crop("monocyte", 0)[36:60, 36:60], (96, 96))
    assert cut_out(blank, 20.0, 8.0) is None
    assert cut_out(full, 20.0, 8.0) is None

    def sample(model: Any, names: list[str], seed: int, *_: Any) -> tuple[Any, Any]:
        return np.stack([blank] * len(names)), np.ones(len(names), np.float32)

    monkeypatch.setattr(generated, "_sample", sample)
    with pytest.raises(InputError, match="did not generate a neutrophil"):
        generated_cells(_model("neutrophil"), ["neutrophil"], 8.0, seed=0, sampling=Sampling())
