"""The generator: both ways between pixels and latents, its files, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cytodiffusion.errors import BundleError
from cytodiffusion.generation.sampler import drawn_size
from cytodiffusion.generation.synthesis import sample_cells
from cytodiffusion.model.bundle_files import CHECKSUMS
from cytodiffusion.model.files import file_checksum
from cytodiffusion.model.generator import load_generator, save_generator
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.testing import tiny_bundle, tiny_generator


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("bundle") / "tiny"
    return tiny_bundle(target, ("a", "b"), generator=tiny_generator(2))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.02, 1.0))
def test_a_cell_is_its_coarse_picture_and_its_detail(seed: int, scale: float) -> None:
    generator = tiny_generator(2)
    generator.detail_scale = scale
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    coarse = generator.shrink(pixels)
    assert coarse.shape == (2, 3, 16, 16)
    torch.testing.assert_close(generator.unfold(generator.fold(coarse)), coarse)
    again = generator.with_detail(coarse, generator.detail_of(pixels, coarse))
    torch.testing.assert_close(again, pixels, atol=1e-4, rtol=0)


def test_class_and_level_change_the_velocity_and_neighbours_do_not() -> None:
    network = tiny_generator(2).base
    z = torch.randn(3, 12, 8, 8, generator=torch.Generator().manual_seed(1))
    t = torch.tensor([100, 100, 100])
    with torch.inference_mode():
        one = network(z, t, torch.tensor([0, 1, -1]))
        swapped = network(z, t, torch.tensor([1, 1, -1]))
        later = network(z, t + 500, torch.tensor([0, 1, -1]))
    assert not torch.allclose(one[0], swapped[0], atol=1e-4)
    torch.testing.assert_close(one[1:], swapped[1:])
    assert not torch.allclose(one, later, atol=1e-4)


def test_a_bundle_draws_with_its_generator(folder: Path) -> None:
    model = load_bundle(folder, device="cpu")
    assert model.generator is not None
    assert drawn_size(model) == 64
    cells = sample_cells(model, [0, 1], steps=4)
    assert cells.shape == (2, 64, 64, 3)
    np.testing.assert_array_equal(cells, sample_cells(model, [0, 1], steps=4))


def test_it_is_saved_as_it_was(folder: Path) -> None:
    model, fresh = load_bundle(folder, device="cpu"), tiny_generator(2)
    assert model.generator is not None
    for name, weight in fresh.state_dict().items():
        saved = model.generator.state_dict()[name]
        unit = weight.abs().max() / 127 if weight.ndim == 4 else 1e-3
        assert (saved - weight).abs().max() <= 0.51 * unit + 1e-3 * weight.abs().max(), name
    assert model.generator.config.base_widths == [8, 16]


def _altered(folder: Path, target: Path, **changes: object) -> Path:
    """Copy of a bundle with another ``generator.json``, its checksum put right."""
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    config = json.loads((target / "generator.json").read_text()) | changes
    (target / "generator.json").write_text(json.dumps(config))
    sums = json.loads((target / CHECKSUMS).read_text())
    sums["generator.json"] = file_checksum(target / "generator.json")
    (target / CHECKSUMS).write_text(json.dumps(sums))
    return target


def test_a_second_saving_loses_nothing(folder: Path, tmp_path: Path) -> None:
    once = load_generator(folder, 2)
    save_generator(tmp_path, once)
    for name, weight in load_generator(tmp_path, 2).state_dict().items():
        torch.testing.assert_close(weight, once.state_dict()[name], atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_classes": 3}, "draws 3"),
        ({"base_widths": [16, 16]}, "do not fit"),
        ({"base_widths": "wide"}, "describes no generator"),
        ({"colour": 1}, "describes no generator"),
    ],
)
def test_files_that_do_not_fit_are_named(
    folder: Path, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(BundleError, match=said):
        load_bundle(_altered(folder, tmp_path / "other", **changes), device="cpu")


def test_altered_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    other = _altered(folder, tmp_path / "other")
    data = bytearray((other / "generator.safetensors").read_bytes())
    data[-1] ^= 1
    (other / "generator.safetensors").write_bytes(bytes(data))
    with pytest.raises(BundleError, match="wrong checksum"):
        load_bundle(other, device="cpu")
