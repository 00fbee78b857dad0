"""A quick look at a network in training: two trials of each validation cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from cytodiffusion.metrics.scores import balanced_accuracy
from cytodiffusion.model.codec import Codec, to_network, to_unit
from cytodiffusion.model.denoiser import UNetDenoiser
from cytodiffusion.model.schedule import NoiseSchedule, centred_disc
from cytodiffusion.training.data import CellSet, generator_for
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.traits import trait_scores

#: Noise levels of the quick look; the calibrated classifier chooses its own.
QUICK_LEVELS = (60, 200)

BATCH = 64


def quick_look(
    denoiser: UNetDenoiser,
    codec: Codec,
    cells: CellSet,
    settings: TrainSettings,
    accelerator: Accelerator,
) -> dict[str, float]:
    """Balanced accuracy on ``cells``, on those of each laboratory, and F1 of the attributes."""
    predicted, traits = _predictions(denoiser, codec, cells, settings, accelerator)
    found = by_laboratory(predicted, cells)
    if cells.traits is not None:
        scores = trait_scores(cells.told, traits, cells.traits.numpy())
        for name, is_finer in (("attributes", False), ("finer classes", True)):
            told = [t.name for t in cells.told if bool(t.parent) == is_finer]
            if own := [scores[t] for t in told if t in scores]:
                found[name] = float(np.mean(own))
    return found


def by_laboratory(predicted: NDArray[np.int64], cells: CellSet) -> dict[str, float]:
    """Balanced accuracy as ``validation``, and that of each laboratory where there are several."""
    labels = cells.labels.numpy()
    known = labels >= 0
    found = {"validation": balanced_accuracy(labels[known], predicted[known])}
    names: Sequence[str] = cells.laboratories or []
    if len(set(names)) > 1:
        of = np.array(names, object)
        for name in sorted(set(names)):
            own = known & (of == name)
            if own.any():
                found[f"validation {name or 'elsewhere'}"] = balanced_accuracy(
                    labels[own], predicted[own]
                )
    return found


@torch.no_grad()
def _predictions(
    denoiser: UNetDenoiser,
    codec: Codec,
    cells: CellSet,
    settings: TrainSettings,
    accelerator: Accelerator,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Classes ``(N,)`` and logits of the traits ``(N, S)`` from one trial at each of two levels."""
    device = accelerator.device
    schedule = NoiseSchedule()
    disc = centred_disc(codec.grid, settings.disc_radius).to(device)
    pixels = torch.from_numpy(cells.windows(settings.input_size)).permute(0, 3, 1, 2)
    generator = generator_for(settings.seed, 0, "validation")
    epsilon = torch.randn(1, codec.channels, codec.grid, codec.grid, generator=generator)
    predicted, told = [], []
    for start in range(0, len(cells), BATCH):
        part = slice(start, start + BATCH)
        unit = to_unit(pixels[part], cells.backgrounds[part])
        clean = codec.encode(to_network(unit)).to(device)
        score = torch.zeros(len(clean), denoiser.num_classes, device=device)
        sums = torch.zeros(())
        for level in QUICK_LEVELS:
            t = torch.full((len(clean),), level, device=device)
            z = schedule.add_noise(clean, t, epsilon.to(device))
            with accelerator.autocast():
                errors, _, traits = denoiser.class_evidence(z, t, clean, disc)
            score -= errors * denoiser.log_sharpness(t).exp()[:, None]
            sums = sums + traits.float().cpu()
        predicted.append(score.argmax(1).cpu())
        told.append(sums)
    return torch.cat(predicted).numpy(), torch.cat(told).numpy()
