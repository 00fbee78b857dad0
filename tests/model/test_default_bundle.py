"""The bundle that ships with the package."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cytodiffusion.classification.classifier import classify
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.model import ModelBundle, UNetDenoiser, load_bundle
from cytodiffusion.model.loading import default_bundle_path
from cytodiffusion.model.testing import DEFAULT_NAMES


@pytest.fixture(scope="module")
def model() -> ModelBundle:
    if not default_bundle_path().is_dir():
        pytest.skip("the default bundle is not in this checkout")
    return load_bundle(device="cpu")


def test_it_is_small_and_complete(model: ModelBundle) -> None:
    files = list(default_bundle_path().iterdir())
    assert sum(p.stat().st_size for p in files) <= 20_000_000
    assert model.class_names == tuple(sorted(DEFAULT_NAMES))
    assert len({c.color for c in model.classes}) == 10
    assert all(c.group for c in model.classes)
    assert model.window_um == 20.0
    assert model.segmenter is not None
    assert (default_bundle_path() / "segmenter.safetensors").stat().st_size <= 5_000_000
    assert "Smear network" in model.card


def test_diffusers_loads_it(model: ModelBundle) -> None:
    network = UNetDenoiser.from_pretrained(default_bundle_path())
    for name, value in network.state_dict().items():
        assert torch.equal(value.float(), model.denoiser.state_dict()[name]), name


@torch.inference_mode()
def test_its_class_errors_are_those_of_its_predictions(model: ModelBundle) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = (2, model.codec.channels, model.codec.grid, model.codec.grid)
    z, clean = (torch.randn(shape, generator=generator) for _ in range(2))
    t = torch.tensor([30, 300])
    errors, _ = model.denoiser.class_errors(z, t, clean)
    every = (model.denoiser(z, t) - clean[:, None]).square().mean((2, 3, 4))
    torch.testing.assert_close(errors, every, rtol=1e-4, atol=1e-5)


def test_its_results_do_not_depend_on_the_batch_size(model: ModelBundle) -> None:
    """In the precision that this machine uses."""
    rng = np.random.default_rng(0)
    size = model.input_size
    low = rng.integers(90, 240, (5, size // 8, size // 8, 3)).astype(np.uint8)
    pixels = low.repeat(8, 1).repeat(8, 2)
    few = {"trials": 4, "min_trials": 2}
    whole = classify(pixels, model, ClassifySettings(**few))
    apart = classify(pixels, model, ClassifySettings(batch_size=2, **few))
    np.testing.assert_allclose(whole.posterior, apart.posterior, atol=2e-3)
    np.testing.assert_array_equal(whole.predicted, apart.predicted)
