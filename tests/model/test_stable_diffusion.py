"""The published network: its architecture at small widths, its formulas by hand, its folders."""

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
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file

from cytodiffusion.classify import ClassifySettings, classify
from cytodiffusion.errors import BundleError
from cytodiffusion.model import Denoiser, ModelBundle, load_bundle, save_bundle
from cytodiffusion.model.bundle import CHECKSUMS, STABLE_DIFFUSION_FILES, WEIGHTS, file_checksum
from cytodiffusion.model.stable_diffusion import (
    DISC_RADIUS,
    POLYNOMIAL,
    SIZE,
    TOKENS,
    StableDiffusionCodec,
    StableDiffusionDenoiser,
    StableDiffusionSchedule,
    full_size_unet,
    full_size_vae,
    hard_disc,
    mixed_conditions,
    published_weight,
)
from cytodiffusion.model.stable_diffusion_files import uncalibrated
from cytodiffusion.model.testing import (
    tiny_stable_diffusion,
    tiny_stable_diffusion_bundle,
    tiny_vae,
)

NAMES = ("basophil", "eosinophil", "lymphocyte")
K = len(NAMES)


# --- formulas ----------------------------------------------------------------------------------


def test_the_polynomial_by_hand() -> None:
    assert POLYNOMIAL == (0.92706, 9.83654, -4.68406, 6.01854, -9.33979)
    found = published_weight(torch.tensor([0, 500, 1000]))
    # x = 1: the sum of the coefficients; x = 1/2: halved four times; x = 0: the first of them
    expected = [1 / 2.75829, 1 / 4.842895625, 1 / 0.92706]
    assert found.tolist() == pytest.approx(expected, rel=1e-6)
    sharpness = tiny_stable_diffusion().log_sharpness(torch.tensor([500]))
    assert float(sharpness.exp()) == pytest.approx(0.206488)


def test_the_disc_of_radius_20_in_45_latents() -> None:
    disc = hard_disc(SIZE // 8, DISC_RADIUS)
    assert disc.shape == (45, 45)
    assert disc.sum() == 1257  # points of the integer lattice within 20 of the origin (Gauss)
    assert set(disc.unique().tolist()) == {0, 1}
    assert (disc[22, 2], disc[22, 1], disc[22, 42], disc[22, 43], disc[0, 0]) == (1, 0, 1, 0, 0)
    assert torch.equal(disc, disc.T)
    assert torch.equal(disc, disc.flip(0))


def test_the_noise_levels_are_those_of_stable_diffusion() -> None:
    schedule = StableDiffusionSchedule({"beta_start": 0.00085, "num_train_timesteps": 1000})
    beta = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    left = np.cumprod(1 - beta)
    t = torch.tensor([0, 500, 999])
    assert schedule.signal(t).flatten().tolist() == pytest.approx(np.sqrt(left[t]), rel=1e-4)
    assert schedule.snr(t).tolist() == pytest.approx(left[t] / (1 - left[t]), rel=1e-3)
    assert left[999] == pytest.approx(0.00466, abs=1e-5)  # never quite pure noise


# --- the architecture --------------------------------------------------------------------------


def test_full_size_is_stable_diffusion_1_5() -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**full_size_unet())
        vae = AutoencoderKL(**full_size_vae())
    assert sum(p.numel() for p in unet.parameters()) == 859_520_964
    assert sum(p.numel() for p in vae.parameters()) == 83_653_863
    names = dict(unet.named_parameters())
    shape = names["down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"].shape
    assert shape == (320, 768)


def narrow() -> StableDiffusionDenoiser:
    """Every block of Stable Diffusion 1.5, a hundredth as wide."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        small = {"block_out_channels": (4, 8, 8, 8), "norm_num_groups": 4, "attention_head_dim": 2}
        unet = UNet2DConditionModel(**full_size_unet() | small)
    return StableDiffusionDenoiser(unet, 8).eval()


@torch.no_grad()
def test_the_condition_is_a_one_hot_vector_for_77_tokens() -> None:
    denoiser = narrow()
    given: list[torch.Tensor] = []

    def look(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        given.append(kwargs["encoder_hidden_states"])

    denoiser.unet.register_forward_pre_hook(look, with_kwargs=True)
    z = torch.randn(2, 4, 45, 45, generator=torch.Generator().manual_seed(0))
    clean = denoiser.predict_class(z, torch.tensor([100, 900]), torch.tensor([5, -1]))
    assert clean.shape == (2, 4, 45, 45)  # though 45 cannot be halved three times
    assert clean.isfinite().all()
    tokens = torch.cat(given)
    assert tokens.shape == (2, TOKENS, 768) == (2, 77, 768)
    assert tokens[0, :, 5].eq(1).all()
    assert tokens[0].sum() == 77
    assert tokens[1].eq(0).all()  # the null class


def test_crops_of_360_px_become_45_latents() -> None:
    codec = StableDiffusionCodec(tiny_vae(), SIZE)
    assert (codec.grid, codec.channels, codec.size) == (45, 4, 360)
    assert codec.scale == 0.18215
    pixels = torch.rand(1, 3, 360, 360, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = codec.encode(pixels)
    assert latents.shape == (1, 4, 45, 45)
    with torch.no_grad():
        mean = codec.vae.encode(pixels).latent_dist.mean
    torch.testing.assert_close(latents, 0.18215 * mean)  # the mean: no noise of the VAE's own
    assert codec.decode(latents).shape == (1, 3, 360, 360)
    assert codec.to_config() == {"kind": "stable-diffusion", "size": 360}
    assert not any(p.requires_grad for p in codec.vae.parameters())
    for wrong in (0, 100):
        with pytest.raises(ValueError, match="multiple of 8"):
            StableDiffusionCodec(tiny_vae(), wrong)


def test_classes_must_fit_the_condition() -> None:
    unet = tiny_stable_diffusion().unet  # 24 wide
    assert StableDiffusionDenoiser(unet, 24).num_classes == 24
    for wrong in (0, 25):
        with pytest.raises(ValueError, match="width 24"):
            StableDiffusionDenoiser(unet, wrong)


# --- what is asked of a network ----------------------------------------------------------------


@torch.no_grad()
def test_errors_are_those_of_the_noise_in_the_disc() -> None:
    """The long way, with diffusers alone."""
    denoiser, scheduler = (
        tiny_stable_diffusion(K),
        DDPMScheduler(**StableDiffusionSchedule().to_config()),
    )
    assert isinstance(denoiser, Denoiser)
    generator = torch.Generator().manual_seed(0)
    clean, epsilon = torch.randn(2, 4, 4, 5, 5, generator=generator)
    t = torch.tensor([1, 200, 700, 999])
    z = scheduler.add_noise(clean, epsilon, t)
    disc = hard_disc(5, DISC_RADIUS)
    errors, embedding = denoiser.class_errors(z, t, clean, disc)
    plain, _ = denoiser.class_errors(z, t, clean)
    every = denoiser(z, t)
    for c in range(K):
        tokens = torch.eye(24)[c].expand(4, 77, -1)
        noise = denoiser.unet(z, t, encoder_hidden_states=tokens).sample
        square = (noise - epsilon).square()
        inside = (square * disc).sum((1, 2, 3)) / (4 * disc.sum())
        torch.testing.assert_close(errors[:, c], inside, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(plain[:, c], square.mean((1, 2, 3)), rtol=1e-3, atol=1e-4)
        left = scheduler.alphas_cumprod[t].reshape(-1, 1, 1, 1)
        x = (z - (1 - left).sqrt() * noise) / left.sqrt()
        torch.testing.assert_close(every[:, c], x, rtol=1e-3, atol=1e-3)
        one = denoiser.predict_class(z, t, torch.full((4,), c))
        torch.testing.assert_close(one, x, rtol=1e-3, atol=1e-3)
    assert embedding.shape == (4, denoiser.embedding_width)
    assert errors.std(dim=1).min() > 0


@torch.no_grad()
def test_only_the_pairs_that_are_asked_for_are_passed() -> None:
    denoiser = tiny_stable_diffusion(K)
    rows = 0

    def count(module: Any, args: tuple[torch.Tensor, ...], kwargs: Any) -> None:
        nonlocal rows
        rows += len(args[0])

    denoiser.unet.register_forward_pre_hook(count, with_kwargs=True)
    clean, z = torch.randn(2, 4, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([10, 300, 600, 900])
    every, _ = denoiser.class_errors(z, t, clean)
    assert rows == 4 * K
    cells, classes = torch.tensor([3, 0, 0]), torch.tensor([1, 2, 0])
    some, embedding = denoiser.pair_errors(z, t, clean, None, cells, classes)
    assert rows == 4 * K + 3
    torch.testing.assert_close(some, every[cells, classes], rtol=1e-4, atol=1e-5)
    assert embedding.shape == (3, 16)


def test_conditions_are_mixed_as_the_pixels_are() -> None:
    denoiser = tiny_stable_diffusion(K)
    labels = torch.tensor([[0, 2], [1, -1], [-1, -1]])
    mixed = mixed_conditions(denoiser, labels, torch.tensor([0.7, 0.4, 0.5]))
    assert mixed.shape == (3, 24)
    assert mixed[0, :3].tolist() == pytest.approx([0.7, 0, 0.3])
    assert mixed[1, :3].tolist() == pytest.approx([0, 0.4, 0])
    assert mixed[2].eq(0).all()


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
    half = save_bundle(
        tmp_path / "half",
        name=model.name,
        version=model.version,
        classes=model.classes,
        denoiser=model.denoiser,
        codec=model.codec,
        calibration=model.calibration,
        window_um=model.window_um,
        disc_radius=model.disc_radius,
        card=model.card,
    )
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
