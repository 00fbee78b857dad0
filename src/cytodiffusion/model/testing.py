"""Tiny bundles with random weights, for tests of everything around the network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from .bundle import CellClass
from .calibration import Calibration
from .codec import PixelCodec
from .denoiser import UNetDenoiser
from .saving import save_bundle

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


def tiny_denoiser(n_classes: int, channels: int, seed: int = 0) -> UNetDenoiser:
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
    )
    with torch.no_grad():
        denoiser.head_out.mul_(20)  # classes that differ, so that elimination has work
    torch.set_rng_state(state)
    denoiser.eval()
    return denoiser


def tiny_bundle(
    folder: str | Path,
    class_names: Sequence[str] = DEFAULT_NAMES,
    seed: int = 0,
    size: int = 32,
) -> Path:
    """Write a random bundle of a few kB.

    Parameters
    ----------
    folder : str or Path
    class_names : sequence of str
    seed : int
    size : int
        Side of the model's input in pixels.

    Returns
    -------
    Path
        ``folder``.
    """
    codec = PixelCodec(size, 4)
    k = len(class_names)
    generator = torch.Generator().manual_seed(seed)
    calibration = Calibration(
        levels=(60, 200),
        temperature=1.0,
        prior_variance=0.5,
        prior_weight=3.0,
        conformal_scores=torch.linspace(0, 0.9, 50),
        anomaly_threshold=5.0,
        false_alarms=0.02,
        embedding_mean=torch.zeros(16),
        class_means=torch.randn(k, 16, generator=generator),
        within_factor=torch.eye(16),
        total_factor=torch.eye(16),
    )
    colors = [
        f"#{40 + 17 * i % 200:02x}{90 + 31 * i % 150:02x}{200 - 13 * i % 180:02x}" for i in range(k)
    ]
    return save_bundle(
        Path(folder),
        name="tiny",
        version="0",
        classes=[CellClass(n, c) for n, c in zip(class_names, colors, strict=True)],
        denoiser=tiny_denoiser(k, codec.channels, seed),
        codec=codec,
        calibration=calibration,
        window_um=20.0,
        disc_radius=0.42,
        card="# tiny\n\nRandom weights, for tests.\n",
        dtype=torch.float32,
    )
