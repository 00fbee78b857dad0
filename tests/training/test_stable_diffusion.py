"""Fine-tuning of a tiny Stable Diffusion: the loss by hand, batches, adapters, resumption."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from pydantic import ValidationError
from safetensors.torch import load_file
from toys import toy_settings, write_discs

from cytodiffusion.errors import BundleError, Cancelled, InputError
from cytodiffusion.model import load_bundle
from cytodiffusion.model.bundle_files import WEIGHTS
from cytodiffusion.model.stable_diffusion import StableDiffusionSchedule
from cytodiffusion.model.testing import (
    tiny_bundle,
    tiny_stable_diffusion,
    tiny_stable_diffusion_bundle,
)
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.stable_diffusion import (
    NoiseLoss,
    StableDiffusionTrainer,
    few_cells,
    train_stable_diffusion,
)
from cytodiffusion.training.train import train

K = 3


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("data"), {"train": 6, "val": 3})


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_stable_diffusion_bundle(tmp_path_factory.mktemp("start") / "sd", "abc")


Make = Callable[..., TrainSettings]


@pytest.fixture
def make(discs: Path, start: Path, tmp_path: Path) -> Make:
    """Settings of a run of seconds."""

    def settings(name: str = "m", data: Path = discs, **changes: Any) -> TrainSettings:
        small = {
            "kind": "stable-diffusion",
            "init": str(start),
            "input_size": 40,
            "steps": 2,
            "batch_size": 6,
            "mixed_precision": "no",
            "learning_rate": 1e-3,
        }
        return toy_settings(data, tmp_path / name, **(small | changes))

    return settings


# --- the loss ----------------------------------------------------------------------------------


def test_the_loss_by_hand() -> None:
    """Squared error of the noise times min(SNR, 5) / SNR, with diffusers' own noise levels."""
    denoiser = tiny_stable_diffusion(K)
    generator = torch.Generator().manual_seed(0)
    clean, epsilon = torch.randn(2, 4, 4, 5, 5, generator=generator)
    t = torch.tensor([1, 80, 300, 900])
    conditions = torch.rand(4, 24, generator=generator)
    scheduler = DDPMScheduler(**StableDiffusionSchedule().to_config())
    left = scheduler.alphas_cumprod[t]
    snr = left / (1 - left)
    assert (snr[:2] > 5).all()
    assert (snr[2:] < 5).all()
    weight = torch.tensor([5 / snr[0], 5 / snr[1], 1, 1])
    with torch.no_grad():
        z = scheduler.add_noise(clean, epsilon, t)
        tokens = conditions[:, None].expand(-1, 77, -1)
        noise = denoiser.unet(z, t, encoder_hidden_states=tokens).sample
        error = (noise - epsilon).square().mean((1, 2, 3))
        loss, parts = NoiseLoss(denoiser, 5.0)(clean, t, epsilon, conditions)
    torch.testing.assert_close(loss, (weight * error).mean(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts["denoising"], error.mean(), rtol=1e-4, atol=1e-5)


# --- batches -----------------------------------------------------------------------------------


def test_noise_has_an_offset_a_channel(make: Make) -> None:
    plain = StableDiffusionTrainer(make("a", noise_offset=0.0))._batch(0)
    offset = StableDiffusionTrainer(make("b", noise_offset=0.5))._batch(0)
    assert torch.equal(plain[0], offset[0])
    assert torch.equal(plain[1], offset[1])
    assert torch.equal(plain[3], offset[3])
    more = offset[2] - plain[2]
    torch.testing.assert_close(more, more[..., :1, :1].expand_as(more))
    assert 0.5 * 0.5 < more[..., 0, 0].std() < 0.5 * 1.6  # 24 draws of a normal times 0.5
    assert more[:, 0, 0, 0].unique().numel() == 6
    assert TrainSettings.model_fields["noise_offset"].default == 0.1


def test_mixup_mixes_pixels_and_conditions_alike(make: Make) -> None:
    runs = [
        StableDiffusionTrainer(make(str(alpha), mixup=alpha, class_dropout=0.0))
        for alpha in (0.0, 0.3)
    ]
    seen: list[torch.Tensor] = []
    for run in runs:
        encode = run.codec.encode

        def keep(x: torch.Tensor, encode: Any = encode) -> torch.Tensor:
            seen.append(x)
            return encode(x)

        run.codec.encode = keep  # type: ignore[method-assign]
    checked = 0
    for step in range(4):
        seen.clear()
        plain, mixed = (run._batch(step)[3] for run in runs)
        assert set(plain.unique().tolist()) == {0, 1}
        torch.testing.assert_close(mixed.sum(1), torch.ones(6))
        assert torch.equal(plain.sum(1), torch.ones(6))
        # one share a batch: any cell mixed with another class tells it
        own = (mixed * plain).sum(1)
        share = own[own < 1 - 1e-6]
        if not len(share):
            continue
        torch.testing.assert_close(share, share[:1].expand_as(share))
        clear, blend = seen
        every = share[0] * clear[:, None] + (1 - share[0]) * clear[None]
        away = (every - blend[:, None]).abs().flatten(2).amax(2)  # (cell, mixed in)
        assert (away.min(1).values < 1e-5).all()
        other = away.argmin(1)
        torch.testing.assert_close(mixed, share[0] * plain + (1 - share[0]) * plain[other])
        checked += 1
    assert checked >= 2


def test_a_share_is_trained_without_a_class(make: Make) -> None:
    run = StableDiffusionTrainer(make(class_dropout=0.5, mixup=0.0))
    without = [int(run._batch(step)[3].sum(1).eq(0).sum()) for step in range(8)]
    assert 12 < sum(without) < 36  # of 48


# --- runs --------------------------------------------------------------------------------------


def weights(folder: Path, part: str) -> dict[str, torch.Tensor]:
    return {k: v.float() for k, v in load_file(folder / part / WEIGHTS).items()}


def changed(folder: Path, start: Path) -> set[str]:
    before = weights(start, "unet")
    after = weights(folder, "unet")
    assert after.keys() == before.keys()
    return {k for k, v in after.items() if (v - before[k]).abs().max() > 2e-3}


def test_fine_tuning_ends_in_a_bundle(make: Make, start: Path) -> None:
    heard: list[str] = []
    settings = make(steps=3, ema_decay=0.5, learning_rate=0.02)
    folder = train(settings, lambda share, text: heard.append(text))
    names = changed(folder, start)
    assert "conv_in.weight" in names
    assert any("resnets" in name for name in names)
    assert any("attn2.to_k" in name for name in names)
    old, new = weights(start, "vae"), weights(folder, "vae")
    assert all(torch.equal(old[k], new[k]) for k in old)
    model = load_bundle(folder, device="cpu")
    assert model.class_names == ("blue", "green", "red")
    assert (model.input_size, model.training["kind"]) == (40, "stable-diffusion")
    assert len(model.calibration.levels) == 4
    assert model.training_images is not None
    assert "all weights of the U-Net" in model.card
    assert any("denoising" in text for text in heard)


def test_adapters_alone_are_trained_and_merged(make: Make, start: Path) -> None:
    pytest.importorskip("peft")
    settings = make(lora=2, steps=3, learning_rate=0.05, ema_decay=0.5)
    run = StableDiffusionTrainer(settings)
    trained = dict(run.model.named_parameters())
    assert trained
    assert all(".lora_" in name for name in trained)
    assert run.model.state_dict().keys() == trained.keys()
    whole = sum(p.numel() for p in run.denoiser.unet.parameters())
    assert sum(p.numel() for p in trained.values()) < 0.3 * whole
    assert len(run.ema.shadow_params) == len(trained)
    run.run.rmdir()
    folder = train(settings)
    names = changed(folder, start)
    assert names
    assert all(".attn" in name and ".to_" in name for name in names)
    assert "adapters of rank 2" in load_bundle(folder, device="cpu").card


def test_merged_adapters_predict_as_they_did_beside_the_weights(make: Make) -> None:
    pytest.importorskip("peft")
    from cytodiffusion.training.stable_diffusion import merge_adapters

    run = StableDiffusionTrainer(make(lora=2, learning_rate=0.05))
    run.fit()
    z = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([100, 600])
    denoiser = run.denoiser.eval()
    with torch.no_grad():
        before = denoiser.class_errors(z, t, z)[0]
        merge_adapters(denoiser)
        after = denoiser.class_errors(z, t, z)[0]
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)
    assert not any("lora" in name for name in denoiser.state_dict())


@pytest.mark.parametrize("lora", [0, 2])
def test_a_killed_run_ends_as_an_unbroken_one(make: Make, lora: int) -> None:
    if lora:
        pytest.importorskip("peft")
    small = {
        "steps": 23,
        "checkpoint_every": 9,
        "validate_every": 23,
        "lora": lora,
        "batch_size": 2,
    }
    whole = StableDiffusionTrainer(make("whole", **small))
    whole.fit()

    def stop(share: float, text: str) -> None:
        if text.startswith("step"):
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        StableDiffusionTrainer(make("broken", **small), stop).fit()  # at the 20th step
    second = StableDiffusionTrainer(make("broken", resume=True, **small))
    assert second.step == 18
    second.fit()
    for a, b in zip(
        [*whole.model.parameters(), *whole.ema.shadow_params],
        [*second.model.parameters(), *second.ema.shadow_params],
        strict=True,
    ):
        assert torch.equal(a, b)
    assert second.history == whole.history


def test_a_run_of_adapters_is_not_resumed_with_all_weights(make: Make) -> None:
    pytest.importorskip("peft")
    StableDiffusionTrainer(make(lora=2, steps=1)).fit()
    with pytest.raises(InputError, match="train into a new folder"):
        StableDiffusionTrainer(make(resume=True))


def test_the_averaged_weights_are_only_lent(make: Make) -> None:
    run = StableDiffusionTrainer(make(ema_decay=0.5))
    run.fit()
    before = [p.detach().clone() for p in run.model.parameters()]
    with run.averaged() as denoiser:
        for p, shadow in zip(run.model.parameters(), run.ema.shadow_params, strict=True):
            assert torch.equal(p, shadow)
        assert not denoiser.training
        assert any(
            not torch.equal(p, b) for p, b in zip(run.model.parameters(), before, strict=True)
        )
    assert all(torch.equal(p, b) for p, b in zip(run.model.parameters(), before, strict=True))


def test_a_part_of_the_cells_calibrates(make: Make) -> None:
    run = StableDiffusionTrainer(make())
    few = few_cells(run.sets["train"], 2, seed=0)
    assert np.bincount(few.labels).tolist() == [2, 2, 2]
    assert len(few.paths) == len(few.backgrounds) == len(few.pixels) == 6
    assert len(few_cells(run.sets["train"], 100, seed=0)) == len(run.sets["train"])


# --- what cannot be trained --------------------------------------------------------------------


def test_missing_peft_is_told_before_images_are_read(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match=r"pip install .*\[lora\]"):
        train_stable_diffusion(make(data=tmp_path / "nothing", lora=4))


def test_a_start_that_is_no_stable_diffusion_is_told(make: Make, tmp_path: Path) -> None:
    ours = tiny_bundle(tmp_path / "ours", "abc")
    with pytest.raises(BundleError, match="must have the folders unet and vae"):
        train_stable_diffusion(make(init=str(ours)))
    with pytest.raises(BundleError, match="no model bundle"):
        train_stable_diffusion(make(init=str(tmp_path / "nowhere")))
    spoilt = tiny_stable_diffusion_bundle(tmp_path / "spoilt", "abc")
    (spoilt / "unet" / WEIGHTS).write_bytes(b"other")
    with pytest.raises(BundleError, match="checksum"):
        train_stable_diffusion(make(init=str(spoilt)))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "stable-diffusion"}, "with init"),
        ({"kind": "stable-diffusion", "init": "x", "input_size": 36}, "multiple of 8"),
        ({"kind": "stable-diffusion", "init": "x", "pretrained": True}, "resnet18 and vit"),
        ({"kind": "stable-diffusion", "init": "x", "pseudo_labels": 0.5}, "without a label"),
        ({"lora": 4}, "stable-diffusion"),
    ],
)
def test_settings_that_do_not_go_together(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        TrainSettings(data=Path("d"), output=Path("m"), **values)


def test_the_recipe_is_the_published_one_for_few_images() -> None:
    wanted = {"data": "d", "output": "m", "kind": "stable-diffusion", "init": "x"}
    s = TrainSettings(**wanted)
    assert (s.input_size, s.steps, s.batch_size, s.learning_rate) == (360, 20_000, 10, 1e-5)
    assert (s.snr_gamma, s.noise_offset) == (5.0, 0.1)
    assert TrainSettings(**wanted, lora=8).learning_rate == 1e-4
    assert TrainSettings(**wanted, lora=8, learning_rate=3e-4).learning_rate == 3e-4
