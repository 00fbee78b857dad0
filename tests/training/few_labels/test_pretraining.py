"""Pre-training without labels."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from toys import toy_settings, write_discs

from cytodiffusion.errors import Cancelled
from cytodiffusion.model.denoiser import UNetDenoiser
from cytodiffusion.training.data import CellSet
from cytodiffusion.training.few_labels.pretraining import (
    TEMPERATURE,
    ContrastiveLoss,
    Pretrainer,
    contrastive_loss,
    pretrain,
)
from cytodiffusion.training.sets import load_sets
from cytodiffusion.training.settings import TrainSettings

NAMES = ["blue", "green", "red"]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> CellSet:
    data = write_discs(tmp_path_factory.mktemp("data"), {"train": 8, "val": 1})
    return load_sets(toy_settings(data, data / "m"))[1]["train"]


def settings(folder: Path, **changes: Any) -> TrainSettings:
    usual = {"pretrain_steps": 6, "batch_size": 8, "dropout": 0.2}
    return toy_settings(folder, folder / "m", **(usual | changes))


def weights(denoiser: UNetDenoiser) -> Tensor:
    return torch.cat([p.flatten() for p in denoiser.parameters()])


def test_the_contrast_is_the_cross_entropy_of_finding_the_partner() -> None:
    # first views a and b, then their second views, longer or shorter: only directions count
    views = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, 0.8]])
    signal = torch.tensor([1.0, 0.5, 0.8, 0.9])
    cosine = [[0, 0, 0.6, -0.6], [0, 0, 0.8, 0.8], [0.6, 0.8, 0, 0.28], [-0.6, 0.8, 0.28, 0]]
    partner = [2, 3, 0, 1]
    expected, total = 0.0, 0.0
    for i, row in enumerate(cosine):
        others = sum(math.exp(c / TEMPERATURE) for j, c in enumerate(row) if j != i)
        weight = float(signal[i] * signal[partner[i]])
        expected -= weight * math.log(math.exp(row[partner[i]] / TEMPERATURE) / others)
        total += weight
    loss, found = contrastive_loss(views, signal)
    assert float(loss) == pytest.approx(expected / total, rel=1e-5)
    # a finds its partner and the last view too; the third takes b for its partner, b ties
    assert float(contrastive_loss(torch.eye(4)[[0, 1, 0, 1]], signal)[1]) == 1.0
    assert float(contrastive_loss(torch.eye(4)[[0, 1, 1, 0]], signal)[1]) == 0.0
    assert 0.25 <= float(found) <= 0.75


def test_pairs_drowned_in_noise_do_not_count() -> None:
    torch.manual_seed(0)
    views = torch.randn(6, 5)
    signal = torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    alone = contrastive_loss(views, signal)[0]
    turned = views.clone().requires_grad_()
    unit = torch.nn.functional.normalize(turned, dim=1)
    logits = (unit @ unit.T / TEMPERATURE).masked_fill(torch.eye(6, dtype=torch.bool), -1e4)
    kept = torch.nn.functional.cross_entropy(logits[[0, 2, 3, 5]], torch.tensor([3, 5, 0, 2]))
    assert float(alone) == pytest.approx(float(kept.detach()), rel=1e-5)


def test_the_loss_adds_the_contrast_to_the_denoising() -> None:
    torch.manual_seed(0)
    denoiser = UNetDenoiser(num_classes=3, widths=(8, 16), blocks=(1, 1), head_channels=8)
    loss = ContrastiveLoss(denoiser, 8, contrast=0.3)
    clean, noise = torch.randn(4, 48, 8, 8), torch.randn(4, 48, 8, 8)
    t = torch.tensor([10, 300, 10, 300])
    total, parts = loss(clean, t, noise)
    assert float(total.detach()) == pytest.approx(
        float(parts["denoising"] + 0.3 * parts["contrast"])
    )
    total.backward()
    assert loss.projector[0].weight.grad.abs().sum() > 0
    assert denoiser.conv_in.weight.grad.abs().sum() > 0
    assert denoiser.class_table.grad is None  # classes have no part in it


def test_labels_are_not_looked_at(cells: CellSet, tmp_path: Path) -> None:
    with_labels = pretrain(settings(tmp_path), NAMES, cells, tmp_path / "a")
    blind = replace(cells, labels=torch.full_like(cells.labels, -1))
    without = pretrain(settings(tmp_path), NAMES, blind, tmp_path / "b")
    assert torch.equal(weights(with_labels), weights(without))
    other = pretrain(settings(tmp_path, seed=1), NAMES, cells, tmp_path / "c")
    assert not torch.equal(weights(with_labels), weights(other))


def test_a_batch_is_two_views_of_the_same_crops(cells: CellSet, tmp_path: Path) -> None:
    run = Pretrainer(settings(tmp_path), cells=(NAMES, {"train": cells}))
    assert len(set(run._draw(0).tolist())) == 8
    clean, t, epsilon = run._batch(0)
    assert clean.shape == epsilon.shape == (16, 48, 8, 8)
    assert t.shape == (16,)
    first, second = clean.mean(dim=(2, 3)).chunk(2)
    assert not torch.equal(first, second)
    # colours of the discs tell which crop a view is of
    distance = torch.cdist(first - first.mean(0), second - second.mean(0))
    near = cells.labels[run._draw(0)][distance.argmin(dim=1)] == cells.labels[run._draw(0)]
    assert near.float().mean() > 0.6


def test_it_learns(cells: CellSet, tmp_path: Path) -> None:
    steps = {"pretrain_steps": 40, "validate_every": 10, "learning_rate": 4e-3, "batch_size": 16}
    own = settings(tmp_path, **steps).model_copy(update={"steps": 40})
    run = Pretrainer(own, cells=(NAMES, {"train": cells}))
    run.fit()
    first, last = run.history[0], run.history[-1]
    assert (first["step"], last["step"]) == (10, 40)
    assert last["denoising"] < 0.6 * first["denoising"]


def test_a_stopped_run_goes_on_and_a_finished_one_is_taken(
    cells: CellSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"pretrain_steps": 6, "batch_size": 4, "checkpoint_every": 2}
    whole = pretrain(settings(tmp_path, **small), NAMES, cells, tmp_path / "whole")
    step, seen = Pretrainer._train_step, []

    def stopping(run: Pretrainer, number: int) -> dict[str, float]:
        seen.append(number)
        if len(seen) == 6:
            raise Cancelled("Cancelled.")
        return step(run, number)

    monkeypatch.setattr(Pretrainer, "_train_step", stopping)
    with pytest.raises(Cancelled):
        pretrain(settings(tmp_path, **small), NAMES, cells, tmp_path / "broken")
    again = pretrain(settings(tmp_path, **small), NAMES, cells, tmp_path / "broken")
    assert seen == [0, 1, 2, 3, 4, 5, 4, 5]  # from the last checkpoint
    assert torch.equal(weights(whole), weights(again))
    taken = pretrain(settings(tmp_path, **small), NAMES, cells, tmp_path / "broken")
    assert len(seen) == 8
    assert torch.equal(weights(whole), weights(taken))
