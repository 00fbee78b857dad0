"""The network: errors of all classes at once, the null class, its folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from cytodiffusion.model import Denoiser, UNetDenoiser
from cytodiffusion.model.denoiser import _Gram, embedding_width
from cytodiffusion.model.network import SavedNetwork, register_to_config
from cytodiffusion.model.schedule import centred_disc
from cytodiffusion.model.testing import tiny_denoiser

K, C, GRID = 5, 12, 8


@pytest.fixture(scope="module")
def denoiser() -> UNetDenoiser:
    network = tiny_denoiser(K, C)
    with torch.no_grad():  # untrained blocks end in zeros: wake all parts
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=seeded(1)))
    return network


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(n: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    z = torch.randn(n, C, GRID, GRID, generator=seeded(2))
    target = torch.randn(n, C, GRID, GRID, generator=seeded(3))
    return z, torch.tensor([0, 60, 500, 999])[:n], target


def test_it_keeps_the_protocol(denoiser: UNetDenoiser) -> None:
    assert isinstance(denoiser, Denoiser)
    assert denoiser.num_classes == K
    assert embedding_width(denoiser) == 16


@pytest.mark.parametrize("disc", [None, 0.42])
@torch.no_grad()
def test_class_errors_are_those_of_the_full_predictions(
    denoiser: UNetDenoiser, disc: float | None
) -> None:
    z, t, target = batch()
    weight = None if disc is None else centred_disc(GRID, disc)
    errors, embedding = denoiser.class_errors(z, t, target, weight)
    square = (denoiser(z, t) - target[:, None]).square()
    share = torch.ones(GRID, GRID) if weight is None else weight
    expected = (square.mean(2) * share).sum((2, 3)) / share.sum()
    torch.testing.assert_close(errors, expected, rtol=1e-4, atol=1e-5)
    assert embedding.shape == (4, 16)
    assert errors.std(dim=1).min() > 1e-4  # the classes do differ


@torch.no_grad()
def test_one_class_is_a_row_of_all_and_the_null_class_is_the_base(denoiser: UNetDenoiser) -> None:
    z, t, _ = batch()
    out = denoiser.trunk(z, t)
    every = denoiser(z, t)
    index = torch.tensor([0, 4, 2, 1])
    one = denoiser.prediction_from(out, index)
    torch.testing.assert_close(one, every[torch.arange(4), index], rtol=1e-4, atol=1e-5)
    null = denoiser.prediction_from(out, torch.full((4,), -1))
    torch.testing.assert_close(null, out.base)
    styled = denoiser.predict_class(z, t, index)
    assert styled.shape == z.shape


@torch.no_grad()
def test_a_batch_is_its_crops_one_by_one(denoiser: UNetDenoiser) -> None:
    z, t, target = batch()
    together, _ = denoiser.class_errors(z, t, target)
    apart = [denoiser.class_errors(z[i : i + 1], t[i : i + 1], target[i : i + 1]) for i in range(4)]
    torch.testing.assert_close(together, torch.cat([e for e, _ in apart]), rtol=1e-4, atol=1e-5)


def test_the_gram_matrix_has_the_gradient_of_its_definition() -> None:
    y = torch.randn(2, 5, 3, dtype=torch.float64, generator=seeded(4), requires_grad=True)
    assert torch.autograd.gradcheck(_Gram.apply, (y,))


def test_its_folder_is_one_of_diffusers(denoiser: UNetDenoiser, tmp_path: Path) -> None:
    denoiser.save_pretrained(tmp_path)
    again = UNetDenoiser.from_pretrained(tmp_path)
    for name, value in denoiser.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0)
    assert dict(again.config)["widths"] in ([8, 16], (8, 16))


def test_its_folder_is_written_as_diffusers_does(tmp_path: Path) -> None:
    from diffusers.configuration_utils import ConfigMixin
    from diffusers.configuration_utils import register_to_config as kept
    from diffusers.models.modeling_utils import ModelMixin

    class Theirs(ModelMixin, ConfigMixin):
        @kept
        def __init__(self, width: int = 3, sizes: tuple[int, ...] = (1, 2)):
            super().__init__()
            self.layer = nn.Linear(width, sum(sizes))

    class Ours(SavedNetwork):
        @register_to_config
        def __init__(self, width: int = 3, sizes: tuple[int, ...] = (1, 2)):
            super().__init__()
            self.layer = nn.Linear(width, sum(sizes))

    Theirs.__name__ = Ours.__name__ = "Network"
    theirs, ours = Theirs(width=4), Ours(4)
    ours.load_state_dict(theirs.state_dict())
    theirs.save_pretrained(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours")
    for name in ("config.json", "diffusion_pytorch_model.safetensors"):
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()
    again = Ours.from_pretrained(tmp_path / "theirs")
    assert again.config == {"width": 4, "sizes": [1, 2]}
    assert not again.training
    with pytest.raises(AttributeError, match="depth"):
        _ = again.config.depth


@torch.no_grad()
def test_sharpness_starts_alike_for_all_levels() -> None:
    fresh = UNetDenoiser(K, C, (8, 16), (1, 1), 8, 16)
    values = fresh.log_sharpness(torch.tensor([0, 500, 999]))
    torch.testing.assert_close(values, torch.full((3,), 5.0))
