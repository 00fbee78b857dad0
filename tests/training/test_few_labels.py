"""Few labels, many crops: guesses of the missing labels, and the training that uses them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import toy_settings, write_discs

from cytodiffusion.errors import InputError
from cytodiffusion.model.denoiser import UNetDenoiser
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.training import few_labels
from cytodiffusion.training.data import CONTEXT, CellSet
from cytodiffusion.training.few_labels import (
    embed,
    features_of,
    few_labels_run,
    guess_labels,
)
from cytodiffusion.training.sets import load_sets
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.train import train

Sets = tuple[list[str], dict[str, CellSet]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs in a table that tells the class of every fourth training image."""
    discs = write_discs(tmp_path_factory.mktemp("data"), {"train": 12, "val": 6})
    rows = ["path,class,split"]
    for path in sorted(discs.rglob("*.png")):
        split, name = path.parts[-3], path.parts[-2]
        known = split == "val" or int(path.stem) % 4 == 0
        rows.append(f"{path},{name if known else ''},{split}")
    table = discs / "cells.csv"
    table.write_text("\n".join(rows) + "\n")
    return table


@pytest.fixture(scope="module")
def sets(data: Path) -> Sets:
    return load_sets(toy_settings(data, data.parent / "m"))


@pytest.fixture(scope="module")
def start() -> UNetDenoiser:
    torch.manual_seed(0)
    return UNetDenoiser(num_classes=3, widths=(8, 16), blocks=(1, 1), head_channels=8).eval()


def clusters(*centres: tuple[float, float], count: int = 15) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(c, 0.1, (count, 2)) for c in centres]).astype(np.float32)


def test_labels_spread_through_clusters() -> None:
    features = clusters((0, 0), (3, 0), (0, 3))
    truth = torch.arange(3).repeat_interleave(15)
    labels = torch.full((45,), -1)
    labels[[0, 15, 30]] = torch.tensor([0, 1, 2])
    assert guess_labels([features], labels, 0.6).tolist() == truth.tolist()


def test_what_is_known_stays() -> None:
    features = clusters((0, 0), (3, 0), (0, 3))
    labels = torch.full((45,), -1)
    labels[[0, 1, 2, 3, 15]] = torch.tensor([0, 0, 0, 1, 1])  # the fourth is an odd one out
    guessed = guess_labels([features], labels, 0.5)
    assert guessed[[0, 1, 2, 3, 15]].tolist() == [0, 0, 0, 1, 1]
    assert (guessed[4:15] == 0).all()
    assert (guessed[15:30] == 1).all()


def test_one_known_class_is_not_spread_over_all() -> None:
    features = clusters((0, 0), (3, 0))
    labels = torch.full((30,), -1)
    labels[0] = 2
    assert torch.equal(guess_labels([features], labels, 0.3), labels)


def test_only_clear_guesses_are_taken() -> None:
    corner = clusters((0, 0))
    mirrored = [corner, [3, 0] + corner * [-1, 1], [0, 3] + corner * [1, -1], 3 - corner]
    between = [[1.5, 0.0]]  # as near to the first cluster as to the second
    features = np.concatenate([*mirrored, between]).astype(np.float32)
    labels = torch.full((61,), -1)
    labels[[0, 15, 30, 45]] = torch.arange(4)
    lax, strict = guess_labels([features], labels, 0.2), guess_labels([features], labels, 0.6)
    assert lax[60] in (0, 1)
    assert strict[60] == -1
    assert torch.equal(strict[:60], torch.arange(4).repeat_interleave(15))


def test_descriptions_vote_together() -> None:
    """What one description cannot tell apart the other does."""
    rng = np.random.default_rng(1)
    truth = torch.arange(3).repeat_interleave(15)
    told = clusters((0, 0), (3, 0), (0, 3))
    blurred = rng.normal(0, 1, (45, 2)).astype(np.float32)
    labels = torch.full((45,), -1)
    labels[[0, 1, 15, 16, 30, 31]] = torch.tensor([0, 0, 1, 1, 2, 2])

    def right(*features: np.ndarray) -> int:
        return int((guess_labels(features, labels, 0.0) == truth).sum())

    assert right(blurred) < 30
    assert right(blurred, told) > right(blurred) + 10
    assert right(told, blurred) == right(blurred, told)


def test_features_depend_on_the_crops_alone(
    sets: Sets, start: UNetDenoiser, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, settings = sets[1]["train"], toy_settings(data, data.parent / "m")
    features = embed(start, cells, settings)
    assert features.shape == (36, 2 * 16)  # two noise levels
    monkeypatch.setattr(few_labels, "BATCH", 5)
    torch.manual_seed(7)
    np.testing.assert_allclose(embed(start, cells, settings), features, rtol=0.02, atol=0.02)
    one = replace(cells, pixels=cells.pixels.flip(0), backgrounds=cells.backgrounds.flip(0))
    turned = embed(start, one, settings)[::-1]
    np.testing.assert_allclose(turned, features, rtol=0.02, atol=0.02)
    assert features.std(axis=0).min() > 0


def test_a_run_has_the_guesses(sets: Sets, data: Path, tmp_path: Path) -> None:
    names, cells = sets
    settings = toy_settings(data, tmp_path / "m", pseudo_labels=0.5)
    truth = torch.arange(3).repeat_interleave(12)
    known = cells["train"].labels
    assert (known == -1).sum() == 27
    assert (known[known >= 0] == truth[known >= 0]).all()
    # crops are in the order of their paths, features those of three clear clusters
    features = clusters((0, 0), (3, 0), (0, 3), count=12)
    run = few_labels_run(settings, names, cells, [features])
    assert run.sets["train"].labels.tolist() == truth.tolist()
    assert cells["train"].labels.equal(known)
    plain = toy_settings(data, tmp_path / "n", pseudo_labels=0.0)
    assert few_labels_run(plain, names, cells).sets["train"].labels.equal(known)


def test_features_of_a_model_that_has_seen_labels_are_used_too(
    sets: Sets, data: Path, disc_model: Path
) -> None:
    cells, settings = sets[1]["train"], toy_settings(data, data.parent / "m")
    described = features_of(cells, settings)
    for numbers in described:
        assert len(numbers) == 36
        np.testing.assert_allclose(numbers.mean(axis=0), 0, atol=1e-3)
        assert numbers.std(axis=0).max() == pytest.approx(1, abs=0.01)
    for numbers, again in zip(described, features_of(cells, settings), strict=True):
        np.testing.assert_array_equal(numbers, again)
    own = settings.model_copy(update={"init": str(disc_model)})
    both = features_of(cells, own)
    assert both[0].shape == (36, described[0].shape[1] + 32)
    assert [x.shape for x in both[1:]] == [x.shape for x in described[1:]]


def quick(data: Path, output: Path, **changes: Any) -> TrainSettings:
    """A training of a few seconds."""
    learning: dict[str, Any] = {
        "pseudo_labels": 0.5,
        "steps": 4,
        "batch_size": 8,
        "checkpoint_every": 1000,
        "validate_every": 1000,
    }
    return toy_settings(data, output, **(learning | changes))


def test_one_command_trains_from_few_labels(data: Path, tmp_path: Path) -> None:
    settings = quick(data, tmp_path / "model")
    folder = train(settings)
    model = load_bundle(folder, device="cpu")
    assert model.class_names == ("blue", "green", "red")
    assert model.training["pseudo_labels"] == 0.5
    assert "Measured on the val split" in model.card
    with pytest.raises(InputError, match="--resume"):
        train(settings)
    seen: list[str] = []
    train(settings.model_copy(update={"resume": True}), lambda _, text: seen.append(text))
    assert not [text for text in seen if text.startswith("step")]  # both parts were done
    again = quick(data, tmp_path / "next", init=str(folder), steps=2, warmup=1)
    assert load_bundle(train(again), device="cpu").class_names == model.class_names


def test_crops_are_cut_for_the_model_to_start_from(
    data: Path, disc_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = load_bundle(disc_model, device="cpu")
    seen: list[int] = []
    asked = quick(
        data,
        tmp_path / "m",
        init=str(disc_model),
        input_size=2 * start.input_size,
    )
    whole = few_labels.few_labels_run

    def watched(settings: TrainSettings, names: list[str], sets: dict, *rest, **more) -> object:
        seen.extend([settings.input_size, sets["train"].pixels.shape[-1]])
        return whole(settings, names, sets, *rest, **more)

    monkeypatch.setattr(few_labels, "few_labels_run", watched)
    train(asked)
    assert seen == [start.input_size, round(start.input_size * CONTEXT)]
