"""Augmentation: repeatable, in range, and plain crops are only moved."""

from __future__ import annotations

import pytest
import torch

from cytodiffusion.model.codec import WHITE
from cytodiffusion.training.augmentation.augment import (
    _focus,
    _rims,
    augment,
)
from cytodiffusion.training.augmentation.settings import AugmentSettings, nothing_but

STILL = AugmentSettings(scale=0, aspect=0, shift=0, plain_share=1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def unit() -> torch.Tensor:
    pixels = torch.full((24, 3, 32, 32), WHITE)
    pixels[:, :, 10:22, 12:20] = torch.tensor([0.6, 0.3, 0.5])[:, None, None]
    return pixels


def test_a_seed_repeats_and_differs(unit: torch.Tensor) -> None:
    one, plain = augment(unit, 24, generator())
    again, plain_again = augment(unit, 24, generator())
    assert torch.equal(one, again)
    assert torch.equal(plain, plain_again)
    assert not torch.equal(one, augment(unit, 24, generator(1))[0])


def test_values_and_shape(unit: torch.Tensor) -> None:
    strong = AugmentSettings(mixing=0.5, density=1, thickness=1, tint=0.3, hue=2, noise=0.5)
    for settings in (None, strong):
        window, plain = augment(unit, 24, generator(), settings)
        assert window.shape == (24, 3, 24, 24)
        assert window.dtype == torch.float32
        assert window.isfinite().all()
        assert window.min() >= 0
        assert window.max() <= 1
        assert plain.dtype == torch.bool
    assert (unit[:, :, 0, 0] == WHITE).all()  # the input is left as it was


def test_plain_crops_keep_their_colours(unit: torch.Tensor) -> None:
    window, plain = augment(unit, 24, generator(), STILL)
    assert plain.all()
    middle = window[:, :, 11:13, 11:13].mean((2, 3))
    torch.testing.assert_close(
        middle, torch.tensor([0.6, 0.3, 0.5]).expand(24, 3), atol=1e-3, rtol=0
    )
    assert augment(unit, 24, generator(), AugmentSettings(plain_share=0))[1].sum() == 0


def test_plain_crops_are_turned_only() -> None:
    """Those at right angles hold the very pixels of the centre, in one of eight poses."""
    noise = torch.rand(160, 3, 32, 32, generator=generator(5))
    window, _ = augment(noise, 24, generator(), STILL)
    poses = [
        torch.rot90(flipped, turns, (2, 3))[:, :, 4:28, 4:28]
        for flipped in (noise, noise.flip(3))
        for turns in range(4)
    ]
    distance = torch.stack([(window - pose).abs().amax((1, 2, 3)) for pose in poses])
    exact = distance.min(0).values < 1e-3
    assert 0.2 < exact.float().mean() < 0.65
    assert len(distance.argmin(0)[exact].unique()) == 8


def test_stain_varies_and_the_background_stays_near_white(unit: torch.Tensor) -> None:
    still = AugmentSettings(scale=0, aspect=0, shift=0, plain_share=0, blur=0, noise=0)
    window, _ = augment(unit, 24, generator(), still)
    cell = window[:, :, 12, 12]
    assert cell.std(0).min() > 0.03
    corner = window[:, :, 0, 0]
    assert (corner - WHITE).abs().mean() < 0.07


def test_a_cut_crop_repeats_what_is_inside_its_borders() -> None:
    """Mirrored at a smaller picture's borders: no new values, and a symmetric pattern."""
    ramp = torch.linspace(0, 1, 32)[None, None, None].expand(40, 3, 32, 32).contiguous()
    settings = AugmentSettings(scale=0, aspect=0, shift=0, plain_share=1, cut_share=1)
    cut, _ = augment(ramp, 24, generator(), settings)
    whole, _ = augment(ramp, 24, generator(), settings.model_copy(update={"cut_share": 0}))
    spread = cut.amax((1, 2, 3)) - cut.amin((1, 2, 3))
    assert (spread < whole.amax((1, 2, 3)) - whole.amin((1, 2, 3)) + 1e-3).all()
    assert spread.mean() < 0.9 * (whole.amax((1, 2, 3)) - whole.amin((1, 2, 3))).mean()


def test_dyes_and_greys() -> None:
    from cytodiffusion.training.augmentation.augment import DYES, _dye_gains, _fading

    gains = _dye_gains(8, 0.4, generator())
    for dye in DYES:  # each dye keeps its colour
        after = gains @ torch.tensor(dye)
        direction = torch.nn.functional.cosine_similarity(after, torch.tensor(dye), dim=1)
        torch.testing.assert_close(direction, torch.ones(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(_dye_gains(2, 0.0, generator()), torch.eye(3).expand(2, 3, 3))
    fading = _fading(64, generator(), AugmentSettings(grey=1.0, grey_share=0.5))
    torch.testing.assert_close(fading.sum(2), torch.ones(64, 3))  # grey stays grey
    changed = (fading - torch.eye(3)).abs().amax((1, 2)) > 1e-6
    assert 0 < changed.sum() < 64


def test_rims_darken_outlines_and_nothing_else(unit: torch.Tensor) -> None:
    window = unit[:, :, 4:28, 4:28].contiguous()
    still = AugmentSettings(rim=0.8, rim_share=1.0)
    rimmed = _rims(window, generator(), still)
    assert (rimmed <= window + 1e-6).all()
    assert (window - rimmed)[:, :, 0, 0].abs().max() < 1e-6  # flat, as the cell's middle is
    assert (window - rimmed)[:, :, 12, 12].abs().max() < 1e-6
    darkest = (window - rimmed).mean(1).flatten(1).argmax(1)
    slope = torch.stack(torch.gradient(window.mean(1), dim=(1, 2))).abs().sum(0).flatten(1)
    near = torch.nn.functional.max_pool2d(slope.reshape(-1, 24, 24), 5, 1, 2).flatten(1)
    at = near.gather(1, darkest[:, None]).squeeze(1)
    assert (at > 0.5 * slope.amax(1)).float().mean() > 0.9
    none = _rims(window, generator(), still.model_copy(update={"rim": 0.0}))
    torch.testing.assert_close(none, window)


@pytest.mark.parametrize("blur", [0.5, 3.0])
def test_blur_keeps_the_mean_and_takes_detail(blur: float) -> None:
    noise = torch.rand(60, 3, 40, 40, generator=generator(3))
    settings = STILL.model_copy(update={"blur": blur * 96 / 40})
    out = _focus(noise, generator(), settings)
    blurred = out.std((1, 2, 3)) < 0.99 * noise.std((1, 2, 3))
    assert 0.1 < blurred.float().mean() < 0.7
    assert (out.mean((1, 2, 3)) - noise.mean((1, 2, 3)))[blurred].abs().max() < 0.01
    assert out.std((1, 2, 3)).min() < (0.25 if blur < 1 else 0.06)


@pytest.mark.parametrize("size", [4, 8])
def test_crops_may_be_smaller_than_the_widest_blur(size: int) -> None:
    crops = torch.rand(24, 3, size + 4, size + 4, generator=generator(2))
    window, _ = augment(crops, size, generator(), AugmentSettings(blur=3.0, plain_share=0))
    assert window.shape == (24, 3, size, size)
    assert window.isfinite().all()


def test_colours_lose_focus_apart() -> None:
    grey = torch.rand(60, 1, 40, 40, generator=generator(3)).expand(60, 3, 40, 40)
    apart = STILL.model_copy(update={"blur": 3.0, "chromatic": 0.5})
    out = _focus(grey, generator(), apart)
    blurred = (out != grey).flatten(1).any(1)
    detail = out[blurred].std((2, 3))
    assert (detail.amax(1) / detail.amin(1)).median() > 1.3
    together = _focus(grey, generator(), apart.model_copy(update={"chromatic": 0.0}))
    torch.testing.assert_close(together[:, 0], together[:, 2])


def test_surroundings_fade_where_masks_are_known(unit: torch.Tensor) -> None:
    """Red cells beside the cell pale; the cell, and plain crops, are left alone."""
    only = {"plain_share": 0.3, "alone_share": 1.0, "surroundings": 0.2}
    quiet = AugmentSettings(**nothing_but(**only))
    unit[:, :, :6] = 0.5  # a neighbour
    asked: list[int] = []

    def masks(rows: torch.Tensor) -> torch.Tensor:
        asked.extend(rows.tolist())
        mask = torch.zeros(len(rows), 1, 32, 32)
        mask[:, :, 10:22, 12:20] = 1
        return mask

    window, plain = augment(unit, 32, generator(), quiet, masks)
    assert asked == (~plain).nonzero().squeeze(1).tolist()
    darkest = window[:, 0].flatten(1).min(1).values
    torch.testing.assert_close(darkest[plain], torch.full((int(plain.sum()),), 0.5))
    assert (darkest[~plain] > 0.55).all()  # the cell's 0.6 is now the darkest red
    assert (augment(unit, 32, generator(), quiet)[0][~plain].flatten(1).min(1).values < 0.31).all()


def test_cells_shrink_where_masks_are_known(unit: torch.Tensor) -> None:
    still = AugmentSettings(**nothing_but(plain_share=0.4, dried_share=1.0, shrunken=0.6))
    asked: list[int] = []

    def masks(rows: torch.Tensor) -> torch.Tensor:
        asked.extend(rows.tolist())
        return (unit[rows, :1] < 0.9).float()

    window, plain = augment(unit, 32, generator(), still, masks)
    assert asked == (~plain).nonzero().squeeze(1).tolist()
    extent = (window.mean(1) < 0.75).flatten(1).sum(1).float()
    assert extent[~plain].median() < 0.8 * extent[plain].median()


def test_outlines_of_plain_crops_are_not_bent() -> None:
    stripes = torch.full((80, 3, 40, 40), WHITE)
    stripes[..., ::4] = 0.3
    bent = AugmentSettings(**nothing_but(plain_share=1, bend=0.2, bend_share=1))
    most = augment(stripes, 32, generator(), bent)[0]
    none = augment(stripes, 32, generator(), AugmentSettings(**nothing_but(plain_share=1)))[0]
    torch.testing.assert_close(most, none)
