"""Baselines are trained as our own model is, by the same command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import toy_settings, write_discs

from cytodiffusion.baselines import classify_baseline, load_baseline
from cytodiffusion.classification.scores import softmax
from cytodiffusion.errors import Cancelled
from cytodiffusion.metrics.scores import balanced_accuracy
from cytodiffusion.training.augmentation.settings import AugmentSettings
from cytodiffusion.training.baseline import (
    BaselineLoss,
    BaselineTrainer,
    calibrate_baseline,
    norm_of,
)
from cytodiffusion.training.calibrate import plain_views
from cytodiffusion.training.data import CellSet, generator_for
from cytodiffusion.training.sets import load_sets
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.train import train
from cytodiffusion.training.trainer import Trainer

Sets = tuple[list[str], dict[str, CellSet]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("data"), {"train": 10, "val": 8, "test": 6})


@pytest.fixture(scope="module")
def sets(data: Path) -> Sets:
    return load_sets(toy_settings(data, data / "m"))


def settings(data: Path, output: Path, **changes: Any) -> TrainSettings:
    return toy_settings(data, output, **({"kind": "resnet18", "batch_size": 4} | changes))


@pytest.fixture(scope="module")
def learned(data: Path, sets: Sets, tmp_path_factory: pytest.TempPathFactory) -> BaselineTrainer:
    learning: dict[str, Any] = {
        "steps": 40,
        "batch_size": 16,
        "validate_every": 40,
        "ema_decay": 0.8,
    }
    learning["augment"] = AugmentSettings(hue=0.0, dyes=0.0, mixing=0.0, grey_share=0.0)
    target = tmp_path_factory.mktemp("m") / "resnet"
    run = BaselineTrainer(settings(data, target, **learning), cells=sets)
    run.fit()
    return run


def test_it_learns(learned: BaselineTrainer, sets: Sets) -> None:
    views = plain_views(sets[1]["test"], 32)
    result = classify_baseline(views.windows, learned.baseline(), background=views.backgrounds)
    assert balanced_accuracy(views.labels, result.predicted) > 0.9
    assert learned.history[-1]["validation"] > 0.9
    fresh = BaselineTrainer(learned.settings.model_copy(update={"resume": True}), cells=sets)
    fresh.fit()  # from its checkpoint, with nothing left to do
    again = classify_baseline(views.windows, fresh.baseline(), background=views.backgrounds)
    np.testing.assert_array_equal(again.posterior, result.posterior)


def test_what_it_promises_is_measured_on_validation_cells(
    data: Path, sets: Sets, tmp_path: Path
) -> None:
    val, s = sets[1]["val"], settings(data, tmp_path / "m", false_alarms=0.25)
    raw = BaselineTrainer(s, cells=sets).baseline()  # untrained: its doubts are of all sizes
    model = calibrate_baseline(raw, val, s)
    views = plain_views(val, 32)
    result = classify_baseline(views.windows, model, background=views.backgrounds)
    np.testing.assert_allclose(
        result.posterior, softmax(result.logits / model.validation.temperature)
    )
    true = result.posterior[np.arange(len(val)), views.labels]
    np.testing.assert_allclose(model.validation.scores, np.sort(1 - true), atol=1e-6)
    np.testing.assert_allclose(model.validation.confidence, result.margin)
    np.testing.assert_array_equal(model.validation.correct, result.predicted == views.labels)
    assert model.false_alarms == pytest.approx(result.anomaly.mean(), abs=0.03)
    assert 0.15 <= model.false_alarms <= 0.25
    strict = calibrate_baseline(raw, val, s.model_copy(update={"false_alarms": 0.02}))
    assert strict.anomaly_threshold > model.anomaly_threshold


class Stopping(BaselineTrainer):
    """A run that is killed in its sixth step."""

    def _train_step(self, step: int) -> dict[str, float]:
        if step == 5:
            raise Cancelled("Cancelled.")
        return super()._train_step(step)


def test_a_killed_run_ends_as_an_unbroken_one(data: Path, sets: Sets, tmp_path: Path) -> None:
    small = {"kind": "vit", "steps": 6, "checkpoint_every": 2, "validate_every": 6}
    whole = BaselineTrainer(settings(data, tmp_path / "whole", **small), cells=sets)
    whole.fit()
    broken = Stopping(settings(data, tmp_path / "b", **small), cells=sets)
    with pytest.raises(Cancelled):
        broken.fit()
    rest = BaselineTrainer(settings(data, tmp_path / "b", resume=True, **small), cells=sets)
    assert rest.step == 4
    rest.fit()
    for a, b in zip(
        whole.ema_network().state_dict().values(),
        rest.ema_network().state_dict().values(),
        strict=True,
    ):
        assert torch.equal(a, b)


def test_it_sees_the_crops_that_ours_sees(data: Path, sets: Sets, tmp_path: Path) -> None:
    ours = Trainer(toy_settings(data, tmp_path / "a", seed=5), cells=sets)
    rival = BaselineTrainer(settings(data, tmp_path / "b", seed=5, batch_size=16), cells=sets)
    for step in range(3):
        index = ours._draw(step)
        assert torch.equal(index, rival._draw(step))
        views = ours._views(index, generator_for(5, step, "augment"))[0]
        window, labels = rival._batch(step)
        assert torch.equal(window, views)
        assert torch.equal(labels, sets[1]["train"].labels[index])


def test_crops_without_a_label_are_left_out(data: Path, sets: Sets, tmp_path: Path) -> None:
    names, cells = sets
    labels = cells["train"].labels.clone()
    labels[::2] = -1
    few = {**cells, "train": replace(cells["train"], labels=labels)}
    run = BaselineTrainer(settings(data, tmp_path / "m"), cells=(names, few))
    drawn = torch.cat([run._draw(step) for step in range(30)])
    assert set(drawn.tolist()) == set(range(1, 30, 2))


def test_it_can_start_from_given_weights(
    learned: BaselineTrainer, data: Path, sets: Sets, tmp_path: Path
) -> None:
    start = learned.ema_network().state_dict()
    run = BaselineTrainer(settings(data, tmp_path / "m"), cells=sets, start=start)
    for key, value in run.model.network.state_dict().items():
        assert torch.equal(value, start[key]), key


def test_the_loss_is_the_smoothed_cross_entropy() -> None:
    class Fixed(torch.nn.Module):
        def forward(self, unit: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[2.0, 0.0], [0.0, 1.0]])

    loss, parts = BaselineLoss(Fixed(), 0.1)(torch.zeros(2, 3, 8, 8), torch.tensor([0, 0]))
    log = np.log(softmax(np.array([[2.0, 0.0], [0.0, 1.0]])))
    expected = -(0.95 * log[:, 0] + 0.05 * log[:, 1]).mean()
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(parts["accuracy"]) == 0.5


def test_one_command_trains_a_baseline(data: Path, tmp_path: Path) -> None:
    seen: list[str] = []
    small = {"kind": "vit", "steps": 2, "name": "rival", "attribution": "Drawn by the tests, CC0."}
    own = settings(data, tmp_path / "vit", **small)
    folder = train(own, lambda _, text: seen.append(text))
    model = load_baseline(folder, "cpu")
    assert (model.kind, model.class_names) == ("vit", ("blue", "green", "red"))
    assert [text for text in seen if text.startswith("step 2/2, classes")]
    for words in ("# rival", "vision transformer", "from scratch", "2 steps of 4 crops",
                  "Drawn by the tests, CC0.", "| red | 10 | 8 | 6 |",
                  "Measured on the val split, which calibrated it",
                  "Measured on the test split"):  # fmt: skip
        assert words in model.card, words
    config = json.loads((folder / "config.json").read_text())
    assert config["training"]["kind"] == "vit"
    assert "data" not in config["training"]  # a path of this machine


def test_from_scratch_it_has_group_norm(data: Path, sets: Sets, tmp_path: Path) -> None:
    run = BaselineTrainer(settings(data, tmp_path / "m"), cells=sets)
    assert run.baseline().norm == "group"
    assert not any("running" in name for name in run.model.state_dict())
    run = BaselineTrainer(settings(data, tmp_path / "b", norm="batch"), cells=sets)
    assert run.baseline().norm == "batch"
    assert any("running" in name for name in run.model.state_dict())
    assert norm_of(settings(data, tmp_path / "p", pretrained=True)) == "batch"
    assert norm_of(settings(data, tmp_path / "v", kind="vit")) == "batch"


@pytest.mark.parametrize(
    "values", [{"kind": "vit", "norm": "group"}, {"pretrained": True, "norm": "group"}]
)
def test_norms_that_do_not_go_together_are_refused(data: Path, values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="norm"):
        settings(data, data / "m", **values)
