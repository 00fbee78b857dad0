"""Training of the slide correction: it learns, can be resumed, and promises anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from toys import PIXEL_SIZE_UM, write_discs

from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.testing import tiny_bundle
from cytodiffusion.training.sets import load_sets
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.slide_correction import (
    UNCHANGED_EVERY,
    SimulatedDomains,
    drawn_slides,
    fit_network,
    simulate_domains,
    some_slides,
)
from cytodiffusion.training.train import train

NAMES = ("red", "blue", "green")


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("discs") / "data")


def settings(data: Path, folder: Path, **changes: Any) -> TrainSettings:
    if not (folder / "model").exists():
        tiny_bundle(folder / "model", NAMES)
    options: dict[str, Any] = {
        "data": data,
        "output": folder / "slides",
        "init": str(folder / "model"),
        "kind": "laboratory",
        "pixel_size_um": PIXEL_SIZE_UM,
        "laboratories": 4,
        "steps": 5,
        "checkpoint_every": 1,
        "duplicates": "allow",
        "device": "cpu",
    }
    return TrainSettings(**options | changes)


def biased(laboratories: int = 120, cells: int = 24, seed: int = 0) -> SimulatedDomains:
    """Laboratories with a bias each, which shows in the embeddings of all their cells."""
    chance = torch.Generator().manual_seed(seed)
    labels = torch.arange(cells).remainder(3).expand(laboratories, cells).contiguous()
    bias = 2 * torch.randn(laboratories, 1, 3, generator=chance)
    logits = 2 * torch.eye(3)[labels] + bias
    noise = torch.randn(laboratories, cells, 40, generator=chance)
    embedding = torch.cat([bias.expand(-1, cells, -1), noise[..., 3:]], dim=2) + noise
    return SimulatedDomains(logits, embedding, labels)


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    return float((logits.argmax(dim=-1) == labels).float().mean())


def test_a_bias_that_all_cells_share_is_corrected(discs: Path, tmp_path: Path) -> None:
    """In laboratories that it has not seen, and in slides of any mixture."""
    network = fit_network(biased(), settings(discs, tmp_path, steps=200, laboratories=120))
    new = biased(seed=1)
    before = accuracy(new.logits, new.labels)
    torch.manual_seed(0)
    for weights in (torch.full(new.labels.shape, 1 / 24), some_slides(new.labels, 3)):
        with torch.no_grad():
            after = accuracy(new.logits + network(new.embedding, new.logits, weights), new.labels)
        assert before < 0.85
        assert after > before + 0.1


def test_slides_have_any_mixture_of_classes() -> None:
    labels = torch.arange(30).remainder(3).expand(200, 30)
    torch.manual_seed(0)
    weights = some_slides(labels, 3)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(200))
    assert (weights >= 0).all()
    share = torch.stack([weights[labels == k].reshape(200, -1).sum(dim=1) for k in range(3)], 1)
    most = share.max(dim=1).values
    assert ((most > 0.9) & (most < 0.999)).any()  # one class almost alone
    assert 0.15 < (most > 0.99999).float().mean() < 0.5  # one class only
    assert (share.max(dim=1).values < 0.45).any()  # nearly all alike


def test_all_cells_of_a_domain_meet_the_same_draws(discs: Path, tmp_path: Path) -> None:
    wanted = settings(discs, tmp_path, input_size=32)
    model = load_bundle(tmp_path / "model", device="cpu")
    _, sets = load_sets(wanted, splits=("train", "val"))
    cells = sets["train"]
    same = cells.take([0] * len(cells))
    same.labels = cells.labels
    found = list(simulate_domains(model, same, wanted, range(1, 4)))
    for domain in found:  # one cell, however often, looks one way there
        spread = domain.embedding[0].std(dim=0).max()
        assert spread < 1e-5
    first, second = (domain.embedding[0, 0] for domain in found[:2])
    assert not torch.allclose(first, second)
    again = next(simulate_domains(model, same, wanted, range(2, 3)))
    torch.testing.assert_close(again.embedding[0, 0], second)


def test_every_few_domains_keep_the_stain(discs: Path, tmp_path: Path) -> None:
    """Cells there are turned and moved, and keep their colours."""
    from cytodiffusion.training import slide_correction as module
    from cytodiffusion.training.augmentation.outlines import Outlines

    wanted = settings(discs, tmp_path, input_size=32)
    _, sets = load_sets(wanted, splits=("train", "val"))
    cells = sets["train"]
    outlines = Outlines(cells.pixels, 1.0)
    middles = {
        number: module.imaged(cells, 0, number, wanted, outlines)[12:20, 12:20].mean((0, 1))
        for number in range(3 * UNCHANGED_EVERY)
    }
    home = np.stack([middles[n] for n in middles if n % UNCHANGED_EVERY == 0])
    away = np.stack([middles[n] for n in middles if n % UNCHANGED_EVERY])
    assert np.ptp(home, axis=0).max() < 12 < np.ptp(away, axis=0).max()


def test_promises_come_from_slides_of_many_sizes_and_mixtures() -> None:
    labels = np.repeat(np.arange(4), 60)
    slides = drawn_slides(labels, 0)
    sizes = [len(index) for index in slides]
    assert min(sizes) >= 1
    assert max(sizes) > 100
    shares = np.array([np.bincount(labels[i], minlength=4).max() / len(i) for i in slides])
    assert (shares == 1).any()
    assert (shares < 0.4).any()
    assert all(len(set(index.tolist())) == len(index) for index in slides)
    np.testing.assert_array_equal(np.concatenate(slides), np.concatenate(drawn_slides(labels, 0)))


def test_it_ends_beside_the_model_it_is_for(discs: Path, tmp_path: Path) -> None:
    before = load_bundle(settings(discs, tmp_path).init or "", device="cpu")
    model = load_bundle(train(settings(discs, tmp_path)), device="cpu")
    assert model.slide_correction is not None
    assert model.class_names == before.class_names
    torch.testing.assert_close(
        next(model.denoiser.parameters()), next(before.denoiser.parameters())
    )
    assert "simulated domains" in model.card
    assert model.training["laboratory"]["laboratories"] == 4
    assert model.slide_correction.uncorrected == ()  # no red cells among them
    kept = model.slide_correction.validation
    assert all(0 <= value <= 3 for value in kept.measured.values())
    assert len(kept.scores) == len(kept.correct)


def test_a_stopped_run_ends_as_an_unbroken_one(discs: Path, tmp_path: Path) -> None:
    whole = load_bundle(train(settings(discs, tmp_path / "whole")), device="cpu")

    def stop(share: float, message: str) -> None:
        if message == "simulated domain 3 of 4":
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        train(settings(discs, tmp_path / "stopped"), stop)
    told: list[str] = []
    resumed = settings(discs, tmp_path / "stopped", resume=True)
    again = load_bundle(train(resumed, lambda share, text: told.append(text)), device="cpu")
    assert "simulated domain 1 of 4" not in told
    assert whole.slide_correction is not None
    assert again.slide_correction is not None
    for name, weight in whole.slide_correction.network.state_dict().items():
        torch.testing.assert_close(weight, again.slide_correction.network.state_dict()[name])


def test_more_domains_are_added_to_those_there_are(discs: Path, tmp_path: Path) -> None:
    train(settings(discs, tmp_path))
    told: list[str] = []
    more = settings(discs, tmp_path, laboratories=6, resume=True)
    train(more, lambda share, text: told.append(text))
    assert [t for t in told if t.startswith("simulated domain")] == [
        "simulated domain 5 of 6",
        "simulated domain 6 of 6",
    ]


def test_an_earlier_run_is_not_overwritten(discs: Path, tmp_path: Path) -> None:
    train(settings(discs, tmp_path))
    with pytest.raises(InputError, match="--resume"):
        train(settings(discs, tmp_path))
    with pytest.raises(InputError, match="other settings"):
        train(settings(discs, tmp_path, resume=True, seed=5))
    tiny_bundle(tmp_path / "model", NAMES, seed=1)
    with pytest.raises(InputError, match="another model"):
        train(settings(discs, tmp_path, resume=True))


def test_other_cells_are_not_mixed_with_those_of_an_earlier_run(
    discs: Path, tmp_path: Path
) -> None:
    train(settings(discs, tmp_path))
    others = write_discs(tmp_path / "others", {"train": 5, "val": 5})
    with pytest.raises(InputError, match="other settings, cells"):
        train(settings(others, tmp_path, resume=True, laboratories=6))


def test_a_run_that_made_nothing_is_not_in_the_way(discs: Path, tmp_path: Path) -> None:
    other = write_discs(tmp_path / "two", {"train": 5, "val": 5}, ("red", "blue"))
    with pytest.raises(InputError, match="just the classes"):
        train(settings(other, tmp_path))
    train(settings(discs, tmp_path))


def test_progress_only_rises(discs: Path, tmp_path: Path) -> None:
    seen: list[float] = []
    train(settings(discs, tmp_path), lambda share, text: seen.append(share))
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1)


def test_a_damaged_store_is_named(discs: Path, tmp_path: Path) -> None:
    train(settings(discs, tmp_path))
    store = tmp_path / "slides.run" / "laboratories.safetensors"
    kept = {k: v.clone() for k, v in load_file(store).items()}
    shorter = {**kept, "labels": kept["labels"][:, :-1]}
    odd = {**kept, "logits": torch.full_like(kept["logits"], torch.nan)}
    for content in (None, shorter, odd):
        if content is None:
            store.write_bytes(b"nothing")
        else:
            save_file({k: v.contiguous() for k, v in content.items()}, store)
        with pytest.raises(InputError, match=r"laboratories\.safetensors is damaged"):
            train(settings(discs, tmp_path, resume=True))


def test_it_corrects_a_model_that_knows_the_classes(discs: Path, tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "model", ("red", "blue", "violet"))
    with pytest.raises(InputError, match=r"slide correction needs .* green, violet"):
        train(settings(discs, tmp_path))


def test_a_correction_needs_its_model(discs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="init"):
        settings(discs, tmp_path, init=None)


def test_what_it_promises_holds_for_validation_cells(discs: Path, tmp_path: Path) -> None:
    from cytodiffusion.classification.classifier import classify
    from cytodiffusion.classification.settings import ClassifySettings
    from cytodiffusion.classification.slide_correction import adjust

    wanted = settings(discs, tmp_path)
    model = load_bundle(train(wanted), device="cpu")
    like = wanted.model_copy(update={"input_size": model.input_size})
    _, sets = load_sets(like, splits=("train", "val"))
    val = sets["val"]
    budget = ClassifySettings()
    alone = classify(
        val.windows(model.input_size), model, budget, background=val.backgrounds.numpy()
    )
    result = adjust(alone, model, budget)
    assert result.adjusted
    labels = np.array([model.class_names.index(Path(path).parent.name) for path in val.paths])
    covered = result.prediction_set[np.arange(len(labels)), labels].mean()
    assert covered >= 0.9  # 0.95 of all slides that it was fitted to
