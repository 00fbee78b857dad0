"""A quick look at the validation split while training."""

from __future__ import annotations

import torch
from accelerate import Accelerator

from cytodiffusion.model.codec import Codec, to_network, to_unit
from cytodiffusion.model.denoiser import UNetDenoiser
from cytodiffusion.model.noise import NoiseSchedule, centred_disc

from .data import CellSet, generator_for
from .settings import TrainSettings

#: Noise levels of the quick look; the calibrated classifier chooses its own.
QUICK_LEVELS = (60, 200)
BATCH = 64


@torch.no_grad()
def quick_accuracy(
    denoiser: UNetDenoiser,
    codec: Codec,
    cells: CellSet,
    settings: TrainSettings,
    accelerator: Accelerator,
) -> float:
    """Balanced accuracy on ``cells`` from one trial at each of two noise levels."""
    device = accelerator.device
    schedule = NoiseSchedule()
    disc = centred_disc(codec.grid, settings.disc_radius).to(device)
    pixels = torch.from_numpy(cells.windows(settings.input_size)).permute(0, 3, 1, 2)
    generator = generator_for(settings.seed, 0, "validation")
    epsilon = torch.randn(1, codec.channels, codec.grid, codec.grid, generator=generator)
    predicted = []
    for start in range(0, len(cells), BATCH):
        part = slice(start, start + BATCH)
        unit = to_unit(pixels[part], cells.backgrounds[part])
        clean = codec.encode(to_network(unit)).to(device)
        score = torch.zeros(len(clean), denoiser.num_classes, device=device)
        for level in QUICK_LEVELS:
            t = torch.full((len(clean),), level, device=device)
            z = schedule.add_noise(clean, t, epsilon.to(device))
            with accelerator.autocast():
                errors, _ = denoiser.class_errors(z, t, clean, disc)
            score -= errors * denoiser.log_sharpness(t).exp()[:, None]
        predicted.append(score.argmax(1).cpu())
    hits = (torch.cat(predicted) == cells.labels).double()
    known = torch.unique(cells.labels[cells.labels >= 0])
    return float(torch.stack([hits[cells.labels == k].mean() for k in known]).mean())
