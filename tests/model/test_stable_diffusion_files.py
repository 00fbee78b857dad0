"""Folders with the published network: bundles, its authors' checkpoints, and what is wrong."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file

from cytodiffusion.classification.classifier import classify
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import BundleError
from cytodiffusion.model import ModelBundle, load_bundle, save_bundle
from cytodiffusion.model.bundle_files import CHECKSUMS, STABLE_DIFFUSION_FILES, WEIGHTS
from cytodiffusion.model.files import file_checksum
from cytodiffusion.model.stable_diffusion import (
    DISC_RADIUS,
    SIZE,
    StableDiffusionCodec,
    StableDiffusionDenoiser,
    StableDiffusionSchedule,
    hard_disc,
)
from cytodiffusion.model.stable_diffusion_files import uncalibrated
from cytodiffusion.model.testing import (
    tiny_stable_diffusion,
    tiny_stable_diffusion_bundle,
    tiny_vae,
)

NAMES = ("basophil", "eosinophil", "lymphocyte")
K = len(NAMES)


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def sentence(source: Path, **options: Any) -> str:
    """The error of loading ``source``: one sentence, one line."""
    with pytest.raises(BundleError) as caught:
        load_bundle(source, device="cpu", **options)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


# --- bundles -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_stable_diffusion_bundle(tmp_path_factory.mktemp("bundles") / "whole", NAMES)


def probe(model: ModelBundle) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    clean, z = torch.randn(2, 1, 4, 5, 5, generator=generator)
    model.denoiser.float()
    with torch.no_grad():
        return model.denoiser.class_errors(z, torch.tensor([300]), clean)[0]


def test_a_bundle_comes_back_as_it_was_saved(whole: Path, tmp_path: Path) -> None:
    model = load_bundle(whole, device="cpu")
    assert isinstance(model.denoiser, StableDiffusionDenoiser)
    assert model.class_names == NAMES
    assert (model.input_size, model.codec.grid, model.disc_radius) == (40, 5, DISC_RADIUS)
    assert torch.equal(model.disc(), hard_disc(5, DISC_RADIUS))
    assert len(model.checksum) == 64
    found = {p.relative_to(whole).as_posix() for p in whole.rglob("*") if p.is_file()}
    assert found == {*STABLE_DIFFUSION_FILES, CHECKSUMS}
    own = load_file(whole / "unet" / WEIGHTS)
    state = {k: v.float() for k, v in model.denoiser.unet.state_dict().items()}
    for name, value in own.items():
        torch.testing.assert_close(
            state[name], value, rtol=1e-2, atol=1e-2
        )  # bfloat16 where it pays
    assert not model.denoiser.training
    # diffusers reads its parts by itself
    unet = UNet2DConditionModel.from_pretrained(whole / "unet")
    assert torch.equal(unet.conv_in.weight, own["conv_in.weight"])
    assert DDPMScheduler.from_pretrained(whole / "scheduler").config.prediction_type == "epsilon"
    before = probe(model)
    half = save_bundle(tmp_path / "half", model)
    assert {v.dtype for v in load_file(half / "unet" / WEIGHTS).values()} == {torch.float16}
    assert {v.dtype for v in load_file(half / "vae" / WEIGHTS).values()} == {torch.float32}
    torch.testing.assert_close(probe(load_bundle(half, device="cpu")), before, rtol=0.05, atol=0.02)


def test_an_altered_bundle_is_told(whole: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(whole, tmp_path / "copy"))
    (copy / "vae" / "config.json").write_text("{}")
    assert "vae/config.json" in sentence(copy)
    (copy / "vae" / "config.json").unlink()
    assert "lacks vae/config.json" in sentence(copy)


def test_a_bundle_with_another_codec_is_told(whole: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(whole, tmp_path / "copy"))
    edit(copy / "classes.json", lambda c: c["codec"].update(kind="pixel"))
    sums = {name: file_checksum(copy / name) for name in STABLE_DIFFUSION_FILES}
    (copy / CHECKSUMS).write_text(json.dumps(sums))
    assert "unknown codec" in sentence(copy)


# --- checkpoints of the published code ----------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a diffusers pipeline saves, text parts left out, and the names of the classes."""
    folder = tmp_path_factory.mktemp("checkpoints") / "published"
    tiny_stable_diffusion(seed=1).unet.save_pretrained(folder / "unet")
    tiny_vae().save_pretrained(folder / "vae")
    DDPMScheduler(**StableDiffusionSchedule().to_config()).save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    (folder / "classes.json").write_text(json.dumps(NAMES))
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def test_a_checkpoint_classifies_at_once(copy: Path) -> None:
    config = json.loads((copy / "vae" / "config.json").read_text())
    assert config["scaling_factor"] == 0.18215
    model = load_bundle(copy, device="cpu")
    assert model.class_names == NAMES
    assert len({c.color for c in model.classes}) == K
    assert (model.input_size, model.codec.grid, model.version) == (360, 45, "uncalibrated")
    assert model.window_um == 36  # 360 px of 0.1 um
    assert "not been calibrated" in model.card
    assert model.checksum == file_checksum(copy / "unet" / WEIGHTS)
    levels = model.calibration.levels
    assert (min(levels), max(levels), len(set(levels))) == (1, 999, 100)
    crops = np.random.default_rng(0).integers(0, 256, (2, 360, 360, 3), dtype=np.uint8)
    found = classify(crops, model, ClassifySettings(trials=2, min_trials=2))
    assert found.posterior.sum(axis=1) == pytest.approx([1, 1])
    assert not found.anomaly.any()  # nothing was measured that an anomaly could be called by


def test_without_calibration_logits_are_the_published_sums() -> None:
    calibration = uncalibrated(K, 16, StableDiffusionCodec(tiny_vae(), SIZE))
    # a mean over the disc and channels, over this temperature, is the sum over them
    assert calibration.temperature == pytest.approx(1 / (1257 * 4))


@pytest.mark.parametrize(
    "content", ['["a", "b", "c"]', '{"b": 1, "c": 2, "a": 0}', '{"a": "0", "c": "2", "b": "1"}']
)
def test_classes_are_named_in_the_order_of_their_vectors(copy: Path, content: str) -> None:
    (copy / "classes.json").write_text(content)
    assert load_bundle(copy, device="cpu").class_names == ("a", "b", "c")


def test_classes_may_be_given(copy: Path) -> None:
    (copy / "classes.json").unlink()
    assert load_bundle(copy, device="cpu", class_names=["x", "y"]).class_names == ("x", "y")
    assert "does not name its classes" in sentence(copy)
    assert "must be there and differ" in sentence(copy, class_names=["x", "x"])


def test_averaged_weights_are_preferred(copy: Path) -> None:
    """A checkpoint on the way: diffusers' EMAModel adds settings of its own."""
    averaged = tiny_stable_diffusion(seed=2).unet
    ema = EMAModel(
        averaged.parameters(), model_cls=UNet2DConditionModel, model_config=averaged.config
    )
    ema.save_pretrained(copy / "unet_ema")
    assert "decay" in json.loads((copy / "unet_ema" / "config.json").read_text())
    found = load_bundle(copy, device="cpu")
    expected = averaged.conv_in.weight
    torch.testing.assert_close(
        found.denoiser.unet.conv_in.weight.float(), expected, rtol=1e-2, atol=1e-2
    )
    shutil.rmtree(copy / "unet")
    assert load_bundle(copy, device="cpu").checksum == found.checksum


def test_half_precision_files_and_old_names_are_read(copy: Path) -> None:
    expected = {k: v.clone() for k, v in tiny_vae().state_dict().items()}
    (copy / "unet" / WEIGHTS).rename(copy / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    new = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    old = {}
    for name, value in expected.items():
        for today, before in new.items():
            if ".attentions." in name and f".{today}." in name:
                name = name.replace(today, before)
                value = value[..., None, None] if value.ndim == 2 else value  # a 1 x 1 convolution
        old[name] = value.contiguous()
    assert any(".proj_attn." in name for name in old)
    save_file(old, copy / "vae" / WEIGHTS)
    found = load_bundle(copy, device="cpu").codec.vae.state_dict()
    assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in expected.items()}
    assert all(torch.equal(found[k], v) for k, v in expected.items())


class _Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "model.ckpt", WEIGHTS])
def test_a_pickle_is_never_opened(copy: Path, tmp_path: Path, name: str) -> None:
    (copy / "unet" / WEIGHTS).unlink()
    (copy / "unet" / name).write_bytes(pickle.dumps(_Bomb(tmp_path / "mark")))
    text = sentence(copy)
    assert "never" in text
    assert name in text
    assert not (tmp_path / "mark").exists()


def _spoil(part: str, change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        weights = load_file(folder / part / WEIGHTS)
        change(weights)
        save_file(weights, folder / part / WEIGHTS)

    return spoil


def _config(path: str, **values: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder / path, lambda c: c.update(values))


SCHEDULER, UNET = "scheduler/scheduler_config.json", "unet/config.json"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: shutil.rmtree(f / "vae"), "has no VAE"),
        (lambda f: (f / "unet" / WEIGHTS).unlink(), "holds no weights"),
        (lambda f: (f / "unet" / WEIGHTS).write_bytes(b"none"), "not a safetensors file"),
        (lambda f: (f / "unet" / "config.json").write_text("{"), "not a JSON file"),
        (lambda f: (f / "unet" / "config.json").unlink(), "not a JSON file"),
        (lambda f: (f / "classes.json").write_text("["), "not a JSON file"),
        (lambda f: (f / "classes.json").write_text("[1]"), "list of class names"),
        (lambda f: (f / "classes.json").write_text('{"a": 0, "b": 2}'), "0, 1, 2"),
        (lambda f: (f / "classes.json").write_text("[]"), "must be there"),
        (
            lambda f: (f / "classes.json").write_text(json.dumps([f"c{i}" for i in range(25)])),
            "width 24",
        ),
        (_config(UNET, _class_name="UNet2DModel"), "UNet2DModel"),
        (_config(UNET, block_out_channels=[8, 16, 32]), "describes no UNet2DConditionModel"),
        (_config(UNET, cross_attention_dim=32), "do not fit"),
        (_config(UNET, in_channels=9), "do not fit"),
        (_config(SCHEDULER, prediction_type="v_prediction"), "predict the noise"),
        (_config(SCHEDULER, num_train_timesteps=500), "1000 noise levels"),
        (_config(SCHEDULER, beta_schedule="steep"), "describes no noise levels"),
        (_spoil("unet", lambda w: w.pop("conv_in.bias")), "conv_in.bias"),
        (_spoil("vae", lambda w: w["quant_conv.bias"].fill_(float("nan"))), "not numbers"),
    ],
)
def test_folders_that_cannot_be_read_are_told(
    copy: Path, spoil: Callable[[Path], None], words: str
) -> None:
    spoil(copy)
    assert words in sentence(copy)
