"""The published rule: its formulas by hand, its bookkeeping, and a run on both networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import ttest_rel

from cytodiffusion.classification.published_rule import (
    NoiseErrors,
    PublishedSettings,
    Tally,
    classify_published,
    over_mean,
    published_levels,
    run_tallies,
    still_live,
    summary,
    varied,
)
from cytodiffusion.errors import InputError
from cytodiffusion.model import ModelBundle, load_bundle
from cytodiffusion.model.testing import tiny_bundle, tiny_stable_diffusion_bundle

FEW = PublishedSettings(trials=24, min_trials=3, test_every=2, p=0.05)


def test_levels_are_even_and_shuffled() -> None:
    levels = published_levels(2000, 0)
    assert (levels.min(), levels.max(), len(levels)) == (1, 999, 2000)
    counts = np.bincount(levels)[1:]
    assert set(counts) <= {1, 2, 3, 4}
    assert not (np.diff(levels) >= 0).all()
    assert (published_levels(2000, 0) == levels).all()
    assert (published_levels(2000, 1) != levels).any()
    assert sorted(published_levels(5, 0)) == [1, 250, 500, 749, 999]


def test_the_test_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    errors = rng.normal([0.0, 0.4, 0.8, 2.0], 1.0, (21, 4))
    live = np.ones(4, bool)
    best = errors.mean(axis=0).argmin()
    for p in (0.5, 0.05, 2e-3, 1e-9):
        kept = still_live(errors, live, p)
        for c in range(4):
            found = c == best or ttest_rel(errors[:, c], errors[:, best]).pvalue >= p
            assert kept[c] == found
    only = still_live(errors, np.array([False, False, True, True]), 0.05)
    assert only.tolist() == [False, False, True, False]  # the best of the live ones


def test_classes_that_never_differ_stay_and_a_constant_gap_ends_it() -> None:
    errors = np.tile([1.0, 1.0, 2.0], (6, 1))
    assert still_live(errors, np.ones(3, bool), 0.5).tolist() == [True, True, False]


def test_the_first_test_comes_after_21_trials_then_every_five() -> None:
    tally = Tally(3, PublishedSettings())
    rng = np.random.default_rng(0)
    lengths = []
    for _ in range(31):
        row = np.array([0.0, 0.3, 5.0])[tally.live] + 0.3 * rng.standard_normal(tally.live.sum())
        tally.add(row)
        lengths.append(int(tally.live.sum()))
        if tally.decided:
            break
    assert lengths[:20] == [3] * 20
    assert lengths[20] < 3
    changes = [i + 1 for i in range(1, len(lengths)) if lengths[i] != lengths[i - 1]]
    assert set(changes) <= {21, 26, 31}
    assert tally.decided
    assert tally.predicted() == 0


def test_the_tally_by_hand() -> None:
    tally = Tally(3, PublishedSettings(trials=4, min_trials=2, test_every=2, p=0.5))
    for row in ([3.0, 4.0, 9.0], [2.0, 2.5, 9.0], [5.0, 5.5, 8.0]):
        tally.add(np.array(row))
    # less the minimum: (0, 1, 6), (0, 0.5, 7), (0, 0.5, 3); after the third both rivals are out
    assert tally.mean() == pytest.approx([0, 2 / 3, 16 / 3])
    assert tally.live.tolist() == [True, False, False]
    assert tally.passes == 9
    found = summary([tally], ("a", "b", "c"))
    assert found.errors[0] == pytest.approx(np.array([0, 2 / 3, 16 / 3]) / 2)
    assert found.predicted.tolist() == [0]
    assert found.zeta[0] == pytest.approx((1 / 3 + 8 / 3) / 2 - 7 / 3)


def test_a_class_that_is_out_keeps_its_mean_and_cannot_win() -> None:
    tally = Tally(3, PublishedSettings(min_trials=3, test_every=1, p=0.01))
    for _ in range(2):
        tally.add(np.array([0.0, 0.2, 1.0]))
        tally.add(np.array([0.2, 0.0, 1.1]))
    assert tally.live.tolist() == [True, True, False]
    before = tally.mean()[2]
    for _ in range(40):
        tally.add(np.array([9.0, 0.0] if len(tally.rows) % 2 else [0.0, 9.0]))
        if tally.decided:
            break
    assert tally.mean()[2] == pytest.approx(before)
    assert tally.mean()[:2].min() > before
    assert tally.predicted() in (0, 1)
    assert tally.passes == 4 * 3 + 40 * 2


def test_the_budget_ends_it() -> None:
    tally = Tally(2, PublishedSettings(trials=3))
    for _ in range(3):
        assert not tally.decided
        tally.add(np.array([1.0, 1.0]))
    assert tally.decided


def test_errors_over_their_mean() -> None:
    assert over_mean(np.array([[0.0, 1, 5], [0, 0, 0]])).tolist() == [[0, 0.5, 2.5], [0, 0, 0]]


def test_only_live_classes_are_asked() -> None:
    asked: list[tuple[int, tuple[tuple[int, int], ...]]] = []

    def ask(unit: torch.Tensor, number: int, cells: np.ndarray, classes: np.ndarray) -> np.ndarray:
        asked.append((number, tuple(zip(cells.tolist(), classes.tolist(), strict=True))))
        noise = np.random.default_rng(number).standard_normal(9)[classes + 3 * cells]
        return np.where(cells == 0, 50.0 * classes, 0.0) + noise

    settings = PublishedSettings(trials=8, min_trials=2, test_every=2)
    tallies = [Tally(3, settings), Tally(3, settings)]
    run_tallies(torch.zeros(2, 3, 4, 4), tallies, ask)
    assert asked[0][1] == ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2))
    assert {pair[0] for pair in asked[-1][1]} == {1}  # the first cell was decided before
    assert [number for number, _ in asked] == list(range(8))
    assert sum(len(pairs) for _, pairs in asked) == sum(t.passes for t in tallies)
    assert tallies[0].predicted() == 0


@pytest.fixture(scope="module", params=["published", "ours"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    folder = tmp_path_factory.mktemp("models") / "m"
    names = ("basophil", "eosinophil", "lymphocyte")
    if request.param == "published":
        tiny_stable_diffusion_bundle(folder, names)
    else:
        tiny_bundle(folder, names)
    return load_bundle(folder, device="cpu")


@pytest.fixture
def crops(model: ModelBundle) -> np.ndarray:
    shape = (3, model.input_size, model.input_size, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_a_run_repeats_whatever_the_batch(model: ModelBundle, crops: np.ndarray) -> None:
    found = classify_published(crops, model, FEW)
    assert found.errors.shape == (3, 3)
    assert found.errors.mean(axis=1) == pytest.approx(np.ones(3))
    assert ((found.trials >= 4) & (found.trials <= 24)).all()
    assert (found.passes <= 3 * found.trials).all()
    assert (found.errors[np.arange(3), found.predicted] <= 1).all()
    together = classify_published(crops, model, FEW.model_copy(update={"cells_at_once": 3}))
    assert together.trials.tolist() == found.trials.tolist()
    assert together.errors == pytest.approx(found.errors, abs=2e-2)
    other = classify_published(crops, model, FEW.model_copy(update={"seed": 1}))
    assert (other.errors != found.errors).any()
    none = classify_published(crops[:0], model, FEW)
    assert none.errors.shape == (0, 3)


def test_crops_of_another_size_are_refused(model: ModelBundle) -> None:
    with pytest.raises(InputError, match="takes crops of shape"):
        classify_published(np.zeros((2, 7, 7, 3), np.uint8), model)


def test_errors_are_weighted_sums_over_the_disc(model: ModelBundle, crops: np.ndarray) -> None:
    """The long way: predict the clean crop of a class, turn it into noise, sum the squares."""
    settings = PublishedSettings(trials=5, jitter=0.0, rotation="quarter")
    ask = NoiseErrors(model, settings)
    ask.half = False
    if hasattr(model.denoiser, "unet"):
        model.denoiser.unet.float()
    unit = torch.rand(1, 3, model.input_size, model.input_size)
    cells, classes = np.zeros(3, np.int64), np.arange(3)
    found = ask(unit, 2, cells, classes)

    generator = torch.Generator().manual_seed(2)
    clean = model.codec.encode(varied(unit, generator, settings) * 2 - 1)
    epsilon = torch.randn(clean.shape, generator=generator)
    level = int(ask.levels[2])
    t = ask.matched[level].reshape(1)
    signal, noise = model.schedule.signal(t), model.schedule.noise(t)
    with torch.no_grad():
        every = model.denoiser(signal * clean + noise * epsilon, t)[0]
    predicted = (signal * clean + noise * epsilon - signal * every) / noise
    x = (1000 - level) / 1000
    p = 0.92706 + 9.83654 * x - 4.68406 * x**2 + 6.01854 * x**3 - 9.33979 * x**4
    sums = ((predicted - epsilon).square() * model.disc()).sum(dim=(1, 2, 3))
    assert found == pytest.approx(sums.numpy() / p, rel=2e-3)


def test_the_limit_bounds_what_our_errors_are_multiplied_by(
    model: ModelBundle, crops: np.ndarray
) -> None:
    unit = torch.from_numpy(crops[:1]).permute(0, 3, 1, 2) / 255
    cells, classes = np.zeros(3, np.int64), np.arange(3)
    plain = NoiseErrors(model, FEW)
    bounded = NoiseErrors(model, FEW.model_copy(update={"snr_limit": 0.5}))
    smaller = 0
    for number in range(6):
        level = plain.matched[int(plain.levels[number])].reshape(1)
        snr = float(model.schedule.snr(level))
        share = 1.0 if hasattr(model.denoiser, "unet") else min(snr, 0.5) / snr
        found = bounded(unit, number, cells, classes) / plain(unit, number, cells, classes)
        assert found == pytest.approx(share, rel=1e-4)
        smaller += share < 1
    assert smaller or hasattr(model.denoiser, "unet")


def test_levels_of_ours_have_stable_diffusions_signal_to_noise(tmp_path: Path) -> None:
    ours = load_bundle(tiny_bundle(tmp_path / "m"), device="cpu")
    matched = NoiseErrors(ours, FEW).matched
    assert (matched.diff() >= 0).all()
    # SD: alpha-bar of level 500 is 0.2763; cosine: cos^2 reaches it near 0.65 of the way
    assert abs(int(matched[500]) - 645) < 10


def test_views() -> None:
    unit = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    plain = PublishedSettings(jitter=0.0, rotation="quarter")
    for _ in range(8):
        view = varied(unit, generator, plain)
        assert torch.equal(view.flatten(1).sort().values, unit.flatten(1).sort().values)
    for _ in range(4):
        view = varied(unit, generator, PublishedSettings())
        assert view.shape == unit.shape
        assert view.min() >= 0
        assert view.max() <= 1
        assert not torch.equal(view, unit)
    grey = torch.full((1, 3, 8, 8), 0.5)
    turned = varied(grey, torch.Generator().manual_seed(3), PublishedSettings(jitter=0.25))
    middle = turned[0, :, 3, 3]
    assert middle.max() - middle.min() < 1e-5  # grey has no hue to turn
