"""Saliency: it adds up, lies on what decides, and is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from toys import COLORS, PIXEL_SIZE_UM, disc

from cytodiffusion.baselines.baseline import Baseline
from cytodiffusion.baselines.network import build_network
from cytodiffusion.cells.single_cell import centre_crop
from cytodiffusion.classification.classifier import normalised_crops
from cytodiffusion.counterfactual import saliency as module
from cytodiffusion.counterfactual.saliency import integrated_gradients, saliency_map
from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.model import ModelBundle, load_bundle
from cytodiffusion.model.bundle import CellClass
from cytodiffusion.model.codec import WHITE
from cytodiffusion.model.testing import tiny_stable_diffusion_bundle
from cytodiffusion.model.validation_record import ValidationRecord

GREY = np.full(3, 235, np.float32)


@pytest.fixture(scope="module")
def discs(disc_model: Path) -> ModelBundle:
    return load_bundle(disc_model, device="cpu")


@pytest.fixture(scope="module")
def crop(discs: ModelBundle) -> np.ndarray:
    image = disc(COLORS["blue"], np.random.default_rng(0))
    return centre_crop(image, PIXEL_SIZE_UM, discs.input_size, discs.window_um)


def baseline(names: tuple[str, ...] = ("a", "b", "c")) -> Baseline:
    torch.manual_seed(0)
    network = build_network("resnet18", len(names), 32).eval()
    classes = tuple(CellClass(name, "#332288") for name in names)
    return Baseline(
        name="baseline",
        version="1",
        classes=classes,
        input_size=32,
        window_um=20.0,
        device=torch.device("cpu"),
        kind="resnet18",
        network=network,
        validation=ValidationRecord(torch.linspace(0, 0.9, 50)),
        anomaly_threshold=1.0,
        false_alarms=0.0,
    )


def test_shares_add_up_to_the_score(
    discs: ModelBundle, crop: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STEPS", 64)
    weights = np.array([1.0, -0.5, -0.5])
    model = baseline()
    for one in (model, discs):
        views = integrated_gradients(crop, one, weights, background=GREY)
        logits = module._baseline_logits(one) if one is model else module._bundle_logits(one, 0)
        unit = normalised_crops(crop[None], one, GREY)
        with torch.no_grad():
            both = logits(torch.cat([unit, torch.full_like(unit, WHITE)]))
        expected = float((both[0] - both[1]) @ torch.tensor(weights).float())
        assert views[0].sum() == pytest.approx(expected, rel=0.05, abs=0.02)


def test_it_lies_on_the_cell_and_speaks_for_its_class(discs: ModelBundle, crop: np.ndarray) -> None:
    blue = discs.class_names.index("blue")
    found = saliency_map(crop, discs, blue, background=GREY)
    assert found.score > 0
    assert found.values.sum() == pytest.approx(found.score, rel=0.1)
    axis = np.arange(32) - 15.5
    inside = axis[:, None] ** 2 + axis**2 < 11**2
    assert (found.values[inside] ** 2).sum() > 0.9 * (found.values**2).sum()
    assert (found.thresholded(0) == found.values).all()
    assert not found.thresholded(1e9).any()


def test_a_larger_crop_gets_a_map_of_its_size_and_the_same_sum(
    discs: ModelBundle, crop: np.ndarray
) -> None:
    large = np.repeat(np.repeat(crop, 2, axis=0), 2, axis=1)
    small_map, large_map = (saliency_map(c, discs, 0, background=GREY) for c in (crop, large))
    assert large_map.values.shape == (64, 64)
    assert large_map.values.sum() == pytest.approx(small_map.values.sum(), rel=0.02)


def test_the_seed_alone_decides_and_it_can_be_cancelled(
    discs: ModelBundle, crop: np.ndarray
) -> None:
    first, again, other = (
        saliency_map(crop, discs, 0, background=GREY, seed=seed).values for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()

    def stop(share: float, message: str) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        saliency_map(crop, discs, 0, progress=stop)


def test_stable_diffusion_has_none_and_says_so(tmp_path: Path) -> None:
    stable = load_bundle(tiny_stable_diffusion_bundle(tmp_path / "m"), device="cpu")
    empty = np.full((stable.input_size, stable.input_size, 3), 200, np.uint8)
    with pytest.raises(InputError, match="leave it out"):
        saliency_map(empty, stable, 0, background=GREY)


def test_a_class_that_is_none_is_refused(discs: ModelBundle, crop: np.ndarray) -> None:
    with pytest.raises(InputError, match="number 7"):
        saliency_map(crop, discs, 7)
    with pytest.raises(InputError, match="at least two"):
        saliency_map(crop, baseline(("only",)), 0)
