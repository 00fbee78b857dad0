"""Tiny bundles with random weights, for tests of everything around the network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from cytodiffusion.model.bundle import CellClass, ModelBundle
from cytodiffusion.model.calibration import Calibration
from cytodiffusion.model.codec import PixelCodec
from cytodiffusion.model.denoiser import UNetDenoiser
from cytodiffusion.model.generator import Generator
from cytodiffusion.model.saving import save_bundle
from cytodiffusion.model.schedule import NoiseSchedule
from cytodiffusion.model.slide_correction import SlideCorrection, SlideCorrectionNetwork
from cytodiffusion.model.slide_distance import SlideDistance
from cytodiffusion.model.stable_diffusion import (
    DISC_RADIUS,
    StableDiffusionCodec,
    StableDiffusionDenoiser,
)
from cytodiffusion.model.validation_record import ValidationRecord
from cytodiffusion.traits import Trait, sizes_of

DEFAULT_NAMES = (
    "basophil",
    "eosinophil",
    "erythroblast",
    "immature granulocyte",
    "lymphocyte",
    "monocyte",
    "neutrophil",
    "platelet",
    "red cell",
    "artefact",
)

#: Two attributes, and the finer classes of neutrophils.
TRAITS = (
    Trait(
        "nucleus_shape",
        ("round", "segmented"),
        classes=("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil"),
    ),
    Trait("granularity", ("no", "yes"), classes=("eosinophil", "neutrophil")),
    Trait(
        "neutrophil",
        ("band neutrophil", "segmented neutrophil"),
        "neutrophil",
        ("neutrophil",),
        scores=tuple(i / 20 for i in range(20)),
        colors=("#0e93e8", "#2c597c"),
    ),
)


def tiny_denoiser(
    n_classes: int, channels: int, seed: int = 0, traits: Sequence[Trait] = ()
) -> UNetDenoiser:
    """Smallest denoiser that has all parts; its weights are random."""
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    denoiser: UNetDenoiser = UNetDenoiser(
        num_classes=n_classes,
        in_channels=channels,
        widths=(8, 16),
        blocks=(1, 1),
        head_channels=8,
        level_width=16,
        trait_sizes=sizes_of(traits),
    )
    with torch.no_grad():
        denoiser.head_out.mul_(20)  # classes that differ, so that elimination has work
        for name, weight in denoiser.named_parameters():
            if name.startswith("trait_head") and weight.ndim > 1:
                weight.mul_(20)  # and values of traits
    torch.set_rng_state(state)
    denoiser.eval()
    return denoiser


def tiny_generator(n_classes: int, size: int = 64, seed: int = 0) -> Generator:
    """Smallest generator that has all parts; its weights are random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = Generator(
            num_classes=n_classes,
            size=size,
            base_widths=(8, 16),
            base_blocks=(1, 1),
            detail_widths=(8, 8),
            detail_blocks=(1, 1),
        )
        for name, weight in generator.named_parameters():
            if name.endswith(("conv2.weight", "conv_out.weight")):  # those begin as zeros
                torch.nn.init.normal_(weight, std=0.1)
    return generator.eval()  # type: ignore[no-any-return]


def tiny_slide_correction(n_classes: int, seed: int = 0, embedding: int = 16) -> SlideCorrection:
    """Slide correction that has all parts and changes much; its weights are random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SlideCorrectionNetwork(n_classes, embedding, features=4, hidden=8, members=2)
        torch.nn.init.normal_(network.components)
        for name, weight in network.named_parameters():
            if name.endswith("correct.3.weight"):  # begins as zeros
                torch.nn.init.normal_(weight, std=3.0)
    scores = torch.linspace(0, 0.9, 50)
    return SlideCorrection(
        network.eval(),
        ValidationRecord(
            scores=scores,
            classes=torch.arange(50) % n_classes,
            confidence=1 - scores.double(),
            correct=scores < 0.6,
            temperature=1.5,
        ),
    )


def tiny_slide_distance(n_classes: int) -> SlideDistance:
    """Slide distance by which the cells of random bundles are far from the training."""
    none = (0.0,) * n_classes
    return SlideDistance((-5.0,) * n_classes, 1.0, 0.1, 0.1, none, tail=2.0)


def tiny_calibration(n_classes: int, seed: int) -> Calibration:
    """Calibration with random class means."""
    return Calibration(
        levels=(60, 200),
        validation=ValidationRecord(torch.linspace(0, 0.9, 50)),
        prior_variance=0.5,
        prior_weight=3.0,
        anomaly_threshold=5.0,
        false_alarms=0.02,
        embedding_mean=torch.zeros(16),
        class_means=torch.randn(n_classes, 16, generator=torch.Generator().manual_seed(seed)),
        within_factor=torch.eye(16),
        total_factor=torch.eye(16),
    )


def tiny_bundle(
    folder: str | Path,
    class_names: Sequence[str] = DEFAULT_NAMES,
    seed: int = 0,
    size: int = 32,
    generator: Generator | None = None,
    slide_correction: SlideCorrection | None = None,
    traits: Sequence[Trait] = (),
    slide_distance: SlideDistance | None = None,
) -> Path:
    """Write a random bundle of a few kB."""
    codec = PixelCodec(size, 4)
    k = len(class_names)
    calibration = tiny_calibration(k, seed)
    colors = [
        f"#{40 + 17 * i % 200:02x}{90 + 31 * i % 150:02x}{200 - 13 * i % 180:02x}" for i in range(k)
    ]
    model = ModelBundle(
        name="tiny",
        version="0",
        classes=tuple(CellClass(n, c) for n, c in zip(class_names, colors, strict=True)),
        input_size=size,
        denoiser=tiny_denoiser(k, codec.channels, seed, traits),
        codec=codec,
        schedule=NoiseSchedule(),
        device=torch.device("cpu"),
        calibration=calibration,
        window_um=20.0,
        disc_radius=0.42,
        card="# tiny\n\nRandom weights, for tests.\n",
        generator=generator,
        slide_correction=slide_correction,
        traits=tuple(traits),
        slide_distance=slide_distance,
    )
    return save_bundle(Path(folder), model, torch.float32)


def tiny_stable_diffusion(n_classes: int = 3, seed: int = 0) -> StableDiffusionDenoiser:
    """Stable Diffusion's kind of U-Net, a few channels wide, with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            sample_size=5,
            in_channels=4,
            out_channels=4,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=24,
            attention_head_dim=2,
            norm_num_groups=4,
        )
        with torch.no_grad():
            for name, weight in unet.named_parameters():
                if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")):
                    weight.mul_(8)  # classes that differ, so that elimination has work
        return StableDiffusionDenoiser(unet, n_classes).eval()


def tiny_vae(seed: int = 0) -> AutoencoderKL:
    """Stable Diffusion's kind of VAE with random weights; it halves the side three times."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoencoderKL(
            block_out_channels=(4, 4, 4, 8),
            norm_num_groups=2,
            latent_channels=4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            sample_size=40,
        ).eval()


def tiny_stable_diffusion_bundle(
    folder: str | Path, class_names: Sequence[str] = DEFAULT_NAMES[:3], seed: int = 0
) -> Path:
    """Write a random bundle with Stable Diffusion's kind of network; its input is 40 px."""
    k = len(class_names)
    calibration = tiny_calibration(k, seed)
    denoiser, codec = tiny_stable_diffusion(k, seed), StableDiffusionCodec(tiny_vae(seed), 40)
    model = ModelBundle(
        name="tiny stable diffusion",
        version="0",
        classes=tuple(CellClass(n, f"#{10 + i:02x}8040") for i, n in enumerate(class_names)),
        input_size=codec.size,
        denoiser=denoiser,
        codec=codec,
        schedule=denoiser.schedule,
        device=torch.device("cpu"),
        calibration=calibration,
        window_um=20.0,
        disc_radius=DISC_RADIUS,
        card="# tiny stable diffusion\n\nRandom weights, for tests.\n",
    )
    return save_bundle(Path(folder), model, torch.float32)
