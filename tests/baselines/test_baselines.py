"""Baselines: networks, answers, and folders that are whole, sound and never pickled."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cytodiffusion.baselines import (
    KINDS,
    Baseline,
    build_network,
    classify_baseline,
    is_baseline,
    load_baseline,
    save_baseline,
)
from cytodiffusion.baselines import baseline as module
from cytodiffusion.baselines.baseline import decide_from_logits
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import BundleError, DownloadNeeded, InputError, OutOfMemoryError
from cytodiffusion.files.atomic import sha256
from cytodiffusion.model.bundle import CellClass
from cytodiffusion.model.validation_record import ValidationRecord

SIZE = 32


def make(kind: str = "resnet18") -> Baseline:
    torch.manual_seed(3)
    return Baseline(
        name="rival",
        version="0",
        kind=kind,
        classes=(CellClass("a", "#112233"), CellClass("b", "#445566"), CellClass("c", "#778899")),
        input_size=SIZE,
        window_um=20.0,
        network=build_network(kind, 3, SIZE).eval(),
        validation=ValidationRecord(torch.linspace(0, 0.9, 40), temperature=0.5),
        anomaly_threshold=0.9,
        false_alarms=0.02,
        device=torch.device("cpu"),
        card="# rival\n",
        training={"steps": 3},
    )


@pytest.fixture(scope="module")
def model() -> Baseline:
    return make()


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (9, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_a_baseline_comes_back_from_its_folder(
    kind: str, crops: np.ndarray, tmp_path: Path
) -> None:
    made = make(kind)
    folder = save_baseline(tmp_path / "m", made, dtype=torch.float32)
    assert is_baseline(folder)
    assert {p.name for p in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "card.md",
        "checksums.json",
    }
    back = load_baseline(folder, "cpu")
    assert (back.kind, back.class_names, back.card) == (kind, ("a", "b", "c"), "# rival\n")
    assert back.training == {"steps": 3}
    assert len(back.checksum) == 64
    assert back.record()["kind"] == kind
    np.testing.assert_array_equal(
        classify_baseline(crops, made).posterior, classify_baseline(crops, back).posterior
    )
    save_baseline(folder, made)  # replaces its own kind; half precision by default
    np.testing.assert_allclose(
        classify_baseline(crops, load_baseline(folder, "cpu")).posterior,
        classify_baseline(crops, made).posterior,
        atol=0.05,
    )


def test_doubts_follow_from_the_two_largest_probabilities(
    model: Baseline, crops: np.ndarray
) -> None:
    result = classify_baseline(crops, model, background=np.array([240.0, 240, 240]))
    top = np.sort(result.posterior, axis=1)[:, ::-1]
    np.testing.assert_allclose(result.posterior.sum(axis=1), 1)
    np.testing.assert_allclose(result.confidence, top[:, 0])
    np.testing.assert_allclose(result.margin, top[:, 0] - top[:, 1])
    np.testing.assert_allclose(result.anomaly_score, 1 - result.margin)
    np.testing.assert_array_equal(result.anomaly, result.anomaly_score > 0.9)
    assert result.trials.tolist() == [1] * 9
    assert result.errors_by_level.shape == (9, 0, 3)
    shifted = result.logits / 0.5
    shifted = np.exp(shifted - shifted.max(axis=1, keepdims=True))
    np.testing.assert_allclose(result.posterior, shifted / shifted.sum(axis=1, keepdims=True))
    assert len(result.to_frame()) == 9


def test_promises_are_those_of_a_bundle(crops: np.ndarray, tmp_path: Path) -> None:
    made = replace(
        make(),
        validation=replace(
            make().validation,
            classes=torch.arange(40) % 3,
            confidence=torch.linspace(0, 1, 200, dtype=torch.float64),
            correct=torch.arange(200) >= 80,
        ),
    )
    back = load_baseline(save_baseline(tmp_path / "m", made, dtype=torch.float32), "cpu")
    settings = ClassifySettings(error_rate=0.1, by_class=True)
    result = classify_baseline(crops, back, settings)
    assert result.accept_above == pytest.approx(0.4, abs=0.1)
    same = classify_baseline(crops, made, settings)
    np.testing.assert_array_equal(result.prediction_set, same.prediction_set)
    np.testing.assert_array_equal(result.review, result.margin <= result.accept_above)


def test_cells_are_accepted_by_the_gap_not_by_the_largest_probability(model: Baseline) -> None:
    made = replace(
        model,
        validation=ValidationRecord(
            confidence=torch.linspace(0, 1, 200, dtype=torch.float64),
            correct=torch.arange(200) >= 80,
        ),
    )
    # one of two classes, and the surest of three: the second has less probability, but more gap
    posterior = np.array([[0.55, 0.449, 0.001], [0.5, 0.25, 0.25]])
    result = decide_from_logits(np.log(posterior), made, ClassifySettings(error_rate=0.1))
    assert result.confidence.argmax() == 0
    np.testing.assert_allclose(result.certainty, [0.101, 0.25])
    assert result.accept_above == pytest.approx(0.4, abs=0.1)
    above = replace(result, accept_above=0.2)
    assert above.review.tolist() == [True, False]
    assert above[1:].review.tolist() == [False]


def test_an_older_record_of_the_largest_probability_promises_nothing(
    crops: np.ndarray, tmp_path: Path
) -> None:
    folder = save_baseline(tmp_path / "m", make(), dtype=torch.float32)
    tensors = load_file(folder / "model.safetensors")
    del tensors["validation_gap"]
    tensors["validation_confidence"] = torch.linspace(0, 1, 200, dtype=torch.float64)
    tensors["validation_correct"] = torch.ones(200, dtype=torch.bool)
    save_file(tensors, folder / "model.safetensors")
    resign(folder)
    old = load_baseline(folder, "cpu")
    assert len(classify_baseline(crops, old)) == 9
    with pytest.raises(InputError, match="without a record of its errors"):
        classify_baseline(crops, old, ClassifySettings(error_rate=0.1))


def test_one_without_a_record_says_what_it_cannot_promise(
    model: Baseline, crops: np.ndarray
) -> None:
    with pytest.raises(InputError, match="rival was calibrated without a coverage of every class"):
        classify_baseline(crops, model, ClassifySettings(by_class=True))
    with pytest.raises(InputError, match=r"rival cannot promise an error rate of 0\.1"):
        classify_baseline(crops, model, ClassifySettings(error_rate=0.1))


@pytest.mark.parametrize(
    "change",
    [
        {"classes": torch.zeros(7).long()},
        {"classes": torch.full((40,), 3)},
        {"confidence": torch.zeros(5)},
        {"confidence": torch.full((2,), torch.nan), "correct": torch.ones(2)},
        {"scores": torch.full((4,), torch.nan)},
    ],
)
def test_a_record_that_makes_no_sense_is_refused(
    model: Baseline, change: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    folder = save_baseline(
        tmp_path / "m", replace(model, validation=replace(model.validation, **change))
    )
    with pytest.raises(BundleError, match="record of validation cells"):
        load_baseline(folder, "cpu")


def test_results_do_not_depend_on_the_batch(model: Baseline, crops: np.ndarray) -> None:
    whole = classify_baseline(crops, model)
    parts = classify_baseline(crops, model, ClassifySettings(batch_size=2))
    np.testing.assert_allclose(whole.posterior, parts.posterior, atol=1e-2)  # bfloat16 on AMX
    assert len(classify_baseline(crops[:0], model)) == 0


def test_full_memory_halves_the_batch_and_then_ends_in_a_sentence(
    model: Baseline, crops: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, sizes = module._forward, []

    def tight(unit: torch.Tensor, model: Baseline) -> np.ndarray:
        sizes.append(len(unit))
        if len(unit) > 4:
            raise MemoryError
        return forward(unit, model)

    monkeypatch.setattr(module, "_forward", tight)
    assert len(classify_baseline(crops, model)) == 9
    assert sizes == [9, 4, 4, 1]

    def full(unit: torch.Tensor, model: Baseline) -> np.ndarray:
        raise MemoryError

    monkeypatch.setattr(module, "_forward", full)
    with pytest.raises(OutOfMemoryError, match="use the CPU"):
        classify_baseline(crops, model)


def test_crops_of_another_size_are_refused(model: Baseline) -> None:
    with pytest.raises(InputError, match=r"\(N, 32, 32, 3\)"):
        classify_baseline(np.zeros((1, 16, 16, 3), np.uint8), model)
    with pytest.raises(InputError, match="background"):
        classify_baseline(np.zeros((1, 32, 32, 3), np.uint8), model, background=np.zeros(2))


def test_networks_that_cannot_be_built_are_told() -> None:
    with pytest.raises(InputError, match="resnet18, vit"):
        build_network("vgg", 3, SIZE)
    with pytest.raises(InputError, match="multiple of 8"):
        build_network("vit", 3, 36)


def test_group_norm_keeps_nothing_of_other_images(crops: np.ndarray, tmp_path: Path) -> None:
    torch.manual_seed(4)
    network = build_network("resnet18", 3, SIZE, norm="group")
    assert not any("running" in name for name in network.state_dict())
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
    made = replace(make(), network=network.eval(), norm="group")
    folder = save_baseline(tmp_path / "m", made, dtype=torch.float32)
    back = load_baseline(folder, "cpu")
    assert back.norm == "group"
    np.testing.assert_array_equal(
        classify_baseline(crops, made).posterior, classify_baseline(crops, back).posterior
    )
    with pytest.raises(InputError, match="for batch norm"):
        build_network("resnet18", 3, SIZE, norm="group", pretrained=True)


def test_a_baseline_that_names_no_norm_has_batch_norm(tmp_path: Path) -> None:
    folder = save_baseline(tmp_path / "m", make(), dtype=torch.float32)
    config = json.loads((folder / "config.json").read_text())
    assert config.pop("norm") == "batch"
    (folder / "config.json").write_text(json.dumps(config))
    sums = json.loads((folder / "checksums.json").read_text())
    sums["config.json"] = sha256(folder / "config.json")
    (folder / "checksums.json").write_text(json.dumps(sums))
    back = load_baseline(folder, "cpu")
    assert back.norm == "batch"
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in back.network.modules())


def test_pretrained_weights_are_not_fetched_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DownloadNeeded, match="allow the download"):
        build_network("resnet18", 3, SIZE, pretrained=True)


def test_pretrained_weights_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    torch.manual_seed(5)
    source = timm.create_model("resnet18", pretrained=False)
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    monkeypatch.setattr(
        "huggingface_hub.hf_hub_download", lambda *a, **k: str(tmp_path / "model.safetensors")
    )
    network = build_network("resnet18", 3, SIZE, pretrained=True)
    assert torch.equal(network.body.conv1.weight, source.conv1.weight)
    assert network.body.fc.weight.shape == (3, 512)
    assert network.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])


@pytest.fixture
def folder(model: Baseline, tmp_path: Path) -> Path:
    return save_baseline(tmp_path / "m", model)


def resign(folder: Path) -> None:
    """Make the checksums fit whatever is in the folder."""
    from cytodiffusion.files.atomic import sha256

    sums = {p.name: sha256(p) for p in folder.iterdir() if p.name != "checksums.json"}
    (folder / "checksums.json").write_text(json.dumps(sums))


def test_altered_and_missing_files_are_told(folder: Path) -> None:
    (folder / "card.md").write_text("something else")
    with pytest.raises(BundleError, match=r"card\.md.*checksum"):
        load_baseline(folder, "cpu")
    (folder / "card.md").unlink()
    with pytest.raises(BundleError, match=r"lacks card\.md"):
        load_baseline(folder, "cpu")
    with pytest.raises(BundleError, match="must be a folder"):
        load_baseline(folder / "nowhere", "cpu")


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("temperature", -1, "temperature"),
        ("kind", "vgg", "vgg"),
        ("input_size", "wide", "input_size"),
        ("classes", [], "classes"),
        ("extra", 1, "extra"),
    ],
)
def test_configurations_that_make_no_sense_are_told(
    folder: Path, key: str, value: object, match: str
) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {key: value}))
    resign(folder)
    with pytest.raises(BundleError, match=match):
        load_baseline(folder, "cpu")


def test_weights_that_do_not_fit_are_told(folder: Path, model: Baseline, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["classes"] = config["classes"][:2]
    (folder / "config.json").write_text(json.dumps(config))
    resign(folder)
    with pytest.raises(BundleError, match="do not fit"):
        load_baseline(folder, "cpu")
    (folder / "model.safetensors").write_bytes(b"\x80\x04.")  # a pickle
    resign(folder)
    with pytest.raises(BundleError, match="never loaded"):
        load_baseline(folder, "cpu")


def test_nobodys_own_files_are_overwritten(model: Baseline, tmp_path: Path) -> None:
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "patient.tif").touch()
    with pytest.raises(BundleError, match=r"patient\.tif"):
        save_baseline(tmp_path / "slides", model)


def test_other_folders_are_no_baselines(tmp_path: Path) -> None:
    assert not is_baseline(tmp_path)
    (tmp_path / "config.json").write_text('{"format": "something"}')
    assert not is_baseline(tmp_path)
    (tmp_path / "config.json").write_text("[")
    assert not is_baseline(tmp_path)
