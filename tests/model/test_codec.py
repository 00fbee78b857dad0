"""Pixels to latents and back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cytodiffusion.model.codec import (
    WHITE,
    PixelCodec,
    codec_from_config,
    to_network,
    to_uint8,
    to_unit,
)


@given(st.sampled_from([(8, 1), (8, 2), (12, 4), (32, 8)]), st.integers(1, 3))
def test_nothing_is_lost(shape: tuple[int, int], n: int) -> None:
    codec = PixelCodec(*shape)
    pixels = torch.rand(n, 3, codec.size, codec.size)
    latents = codec.encode(pixels)
    assert latents.shape == (n, codec.channels, codec.grid, codec.grid)
    assert torch.equal(codec.decode(latents), pixels)


def test_its_settings_rebuild_it() -> None:
    codec = codec_from_config(PixelCodec(96, 4).to_config())
    assert (codec.size, codec.patch, codec.grid, codec.channels) == (96, 4, 24, 48)


@pytest.mark.parametrize(
    "config",
    [
        {"kind": "vae", "size": 8, "patch": 2},
        {"kind": "pixel", "size": 9, "patch": 2},
        {"kind": "pixel", "size": 8, "patch": 0},
        {"kind": "pixel", "size": 0, "patch": 4},
        {"kind": "pixel", "size": -8, "patch": 4},
        {},
    ],
)
def test_an_impossible_codec_is_refused(config: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"codec|multiple"):
        codec_from_config(config)


def test_the_background_becomes_white() -> None:
    background = torch.tensor([[200.0, 180.0, 220.0], [250.0, 250.0, 250.0]])
    pixels = background[:, :, None, None].expand(2, 3, 4, 4)
    torch.testing.assert_close(to_unit(pixels, background), torch.full((2, 3, 4, 4), WHITE))
    shared = to_unit(pixels[:1], background[0])
    torch.testing.assert_close(shared, torch.full((1, 3, 4, 4), WHITE))


def test_a_dark_background_does_not_blow_up() -> None:
    unit = to_unit(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8), torch.zeros(3))
    assert unit.max() == 1.0
    assert unit.isfinite().all()


def test_uint8_survives_the_way_through_the_network() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_network(pixels.float() / 255)), pixels)
