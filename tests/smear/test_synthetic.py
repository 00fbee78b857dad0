"""The synthetic smear: repeatable, with an exact ground truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage as ndi

from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.model import ModelBundle, load_bundle
from cytodiffusion.model.testing import tiny_bundle
from cytodiffusion.settings import make_settings
from cytodiffusion.smear import (
    DIFFERENTIAL,
    Sampling,
    Smear,
    SmearSettings,
    generated,
    synthetic_smear,
)
from cytodiffusion.smear.generated import cut_out, generated_cells, in_window
from cytodiffusion.smear.procedural import SKETCHES, sketched

SMALL: dict[str, Any] = {
    "height": 420,
    "width": 500,
    "n_white": 3,
    "n_platelets": 4,
    "differential": {"neutrophil": 1, "lymphocyte": 2},
}


@pytest.fixture(scope="module")
def default() -> Smear:
    return synthetic_smear(None, SmearSettings(seed=1))


@pytest.fixture(scope="module")
def small() -> Smear:
    return synthetic_smear(None, SmearSettings(seed=5, **SMALL))


def test_same_seed_same_smear(small: Smear) -> None:
    again = synthetic_smear(None, SmearSettings(seed=5, **SMALL))
    np.testing.assert_array_equal(small.rgb, again.rgb)
    np.testing.assert_array_equal(small.labels, again.labels)
    assert small.cells.equals(again.cells)
    other = synthetic_smear(None, SmearSettings(seed=6, **SMALL))
    assert (other.labels != small.labels).any()


def test_shape_type_and_settings(default: Smear) -> None:
    assert default.rgb.shape == (1024, 1280, 3)
    assert default.rgb.dtype == np.uint8
    assert default.labels.shape == (1024, 1280)
    assert default.labels.dtype == np.int32
    assert default.pixel_size_um == 0.12
    assert json.loads(json.dumps(default.settings))["n_white"] == 12
    assert (default.settings["generated"], default.settings["drawn"]) == (0, 26)
    assert default.warnings == ()


def test_counts_are_what_was_asked_for(default: Smear, small: Smear) -> None:
    counts = default.cells["class"].value_counts()
    for name, number in DIFFERENTIAL.items():
        assert counts[name] == number
    assert counts["platelet"] == 14
    assert counts["artefact"] == 1
    assert counts["red cell"] == default.settings["n_red"] > 100
    smear = synthetic_smear(None, SmearSettings(seed=2, n_red=7, n_artefacts=0, **SMALL))
    asked = smear.cells["class"].value_counts()
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
        ({"height": 0}, "height cannot be 0"),
        ({"width": 500.5}, "width cannot be 500.5"),
        ({"width": 100_000}, "less than or equal to 4096"),
        ({"pixel_size_um": 0.0}, "pixel size cannot be 0.0"),
        ({"pixel_size_um": float("nan")}, "pixel size cannot be nan"),
        ({"n_white": -1}, "n white cannot be -1"),
        ({"n_white": 200}, "no room"),
        ({"n_red": 2.5}, "n red cannot be 2.5"),
        ({"n_red": 5000}, "no room"),
        ({"n_platelets": True}, "n platelets cannot be True"),
        ({"seed": -3}, "seed cannot be -3"),
        ({"overlap": 1.5}, "overlap cannot be 1.5"),
        ({"stain_variation": -0.1}, "stain variation cannot be -0.1"),
        ({"light_variation": 9}, "light variation cannot be 9"),
        ({"drops": 1}, "no setting 'drops'"),
        ({"differential": {"unicorn": 1.0}}, "'unicorn' is no white cell"),
        ({"differential": {"red cell": 1.0}}, "'red cell' is no white cell"),
        ({"differential": {"neutrophil": -1.0}}, "share of neutrophil"),
        ({"differential": {"neutrophil": float("nan")}}, "share of neutrophil"),
        ({"differential": {"neutrophil": 0.0}}, "more than 0"),
    ],
)
def test_unusable_settings_are_one_sentence(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        synthetic_smear(None, make_settings(SmearSettings, {**SMALL, **settings}))
    assert "\n" not in str(caught.value)


def test_nothing_but_red_cells_or_nothing_at_all() -> None:
    nothing = SmearSettings(height=200, width=200, n_white=0, n_platelets=0, n_artefacts=0, n_red=0)
    only_red = synthetic_smear(None, nothing.model_copy(update={"n_red": 3}))
    assert only_red.cells["class"].tolist() == ["red cell"] * 3
    empty = synthetic_smear(None, nothing)
    assert len(empty.cells) == 0
    assert not empty.labels.any()


def test_progress_ends_at_one_and_can_cancel() -> None:
    seen: list[float] = []
    settings = SmearSettings(**SMALL)
    synthetic_smear(None, settings, progress=lambda fraction, _: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0

    def cancel(fraction: float, _: str) -> None:
        if fraction > 0.5:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        synthetic_smear(None, settings, progress=cancel)


# Cells from a model: random weights, and a stand-in that renders every sketch as it is drawn.

QUICK = Sampling(steps=2, tries=1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    return load_bundle(tiny_bundle(tmp_path_factory.mktemp("b") / "tiny"), device="cpu")


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Replace the network: sketches come back a little darker; the second cell is refused once."""
    tries: list[int] = []

    def sample(model: Any, index: Any, *, sketches: np.ndarray, **_: Any) -> np.ndarray:
        tries.append(len(index))
        return (sketches * 0.97).astype(np.uint8)

    def agreed(model: Any, cells: Any, names: Any, px_um: float) -> np.ndarray:
        sure = np.array([cell is not None for cell in cells], np.float32)
        if len(tries) == 1 and len(sure) > 1:
            sure[1] = 0.0
        return sure

    monkeypatch.setattr("cytodiffusion.generation.synthesis.sample_cells", sample)
    monkeypatch.setattr(generated, "_agreed", agreed)
    return tries


def test_only_what_was_refused_is_sampled_again(tiny: ModelBundle, rendered: list[int]) -> None:
    smear = synthetic_smear(tiny, SmearSettings(seed=3, **SMALL))
    assert rendered == [7, 1]
    assert smear.settings["model"] == tiny.name
    assert (smear.settings["generated"], smear.settings["drawn"]) == (7, 0)
    assert smear.warnings == ()
    area = np.bincount(smear.labels.ravel())[1:] * smear.pixel_size_um**2
    by_class = smear.cells.assign(area=area).groupby("class")["area"].median()
    assert 50 < by_class["lymphocyte"] < 95
    assert 90 < by_class["neutrophil"] < 170


def test_any_model_makes_a_smear(tiny: ModelBundle) -> None:
    smear = synthetic_smear(tiny, SmearSettings(seed=3, **SMALL), sampling=QUICK)
    settings = smear.settings
    assert settings["generated"] + settings["drawn"] == 7
    assert settings["drawn"] > 0, "random weights cannot render a cell"
    assert f"rendered {settings['generated']} of 7" in smear.warnings[0]
    assert json.loads(json.dumps(settings))["sampling"]["steps"] == 2
    again = synthetic_smear(tiny, SmearSettings(seed=3, **SMALL), sampling=QUICK)
    np.testing.assert_array_equal(smear.rgb, again.rgb)


def test_classes_without_a_sketch_and_without_a_model_class(tmp_path: Path) -> None:
    model = load_bundle(tiny_bundle(tmp_path / "ab", ("blast", "smudge cell")), device="cpu")
    settings = SmearSettings(height=300, width=300, n_white=2, n_platelets=1, seed=1)
    smear = synthetic_smear(model, settings, sampling=QUICK)
    made = smear.cells["class"].value_counts()
    assert made["blast"] == made["smudge cell"] == made["platelet"] == 1


def test_a_cell_does_not_depend_on_the_others(tiny: ModelBundle, rendered: list[int]) -> None:
    rendered.append(0)  # nothing is refused
    names = ["lymphocyte", "monocyte", "platelet"]
    three = generated_cells(tiny, names, 8.0, seed=4, sampling=QUICK)
    one = generated_cells(tiny, names[:1], 8.0, seed=4, sampling=QUICK)
    np.testing.assert_array_equal(three.patches[0].density, one.patches[0].density)
    assert three.generated.all()


@pytest.mark.parametrize("name", [*SKETCHES, "platelet"])
def test_a_sketch_rendered_as_it_is_comes_back(tiny: ModelBundle, name: str) -> None:
    drawn = sketched(name, 9.6, np.random.default_rng(2))
    sketch = in_window(drawn, tiny, 9.6, tiny.input_size)
    assert sketch.shape == (32, 32, 3)
    patch = cut_out(sketch, sketch, drawn, 20.0, 9.6)
    assert patch is not None
    assert abs(patch.solid.sum() / drawn.solid.sum() - 1) < 0.25
    assert patch.density[0].max() < 0.2
    assert abs(patch.density.max() / drawn.density.max() - 1) < 0.3


def test_sketches_differ() -> None:
    cells = [sketched("neutrophil", 8.0, np.random.default_rng(seed)) for seed in range(12)]
    areas = np.array([cell.solid.sum() for cell in cells]) / 8.0**2
    nuclei = np.array([(cell.density[..., 0] > 0.7).sum() for cell in cells]) / 8.0**2
    assert (areas.std() / areas.mean(), nuclei.std() / nuclei.mean()) > (0.03, 0.08)


def test_what_is_not_the_drawn_cell_is_refused(tiny: ModelBundle) -> None:
    drawn = sketched("monocyte", 8.0, np.random.default_rng(0))
    sketch = in_window(drawn, tiny, 8.0, tiny.input_size)
    noise = np.random.default_rng(0).integers(0, 256, sketch.shape).astype(np.uint8)
    for crop in (np.full_like(sketch, 230), np.zeros_like(sketch), noise, 255 - sketch):
        assert cut_out(crop, sketch, drawn, 20.0, 8.0) is None


def test_the_model_has_to_agree(tiny: ModelBundle) -> None:
    drawn = [sketched(name, 8.0, np.random.default_rng(0)) for name in ("monocyte", "platelet")]
    agreed = generated._agreed(tiny, [drawn[0], None, drawn[1]], ["monocyte"] * 3, 8.0)
    assert agreed.shape == (3,)
    assert agreed[1] == 0
    assert ((agreed >= 0) & (agreed <= 1)).all()
