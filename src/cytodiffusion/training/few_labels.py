"""Few labels, many crops: pre-train on all, guess the missing labels, train with both.

The guesses come from the pre-trained trunk: labels spread over the graph of nearest neighbours
of its features (Zhou et al., Learning with local and global consistency, 2004), and only those
that are clear enough are used, as in pseudo-labelling (Lee 2013).
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.semi_supervised import LabelSpreading
from torch import Tensor

from cytodiffusion.device import half_precision_pays
from cytodiffusion.errors import InputError
from cytodiffusion.model.bundle import load_bundle
from cytodiffusion.model.codec import PixelCodec, to_network, to_unit
from cytodiffusion.model.denoiser import UNetDenoiser
from cytodiffusion.model.noise import NoiseSchedule
from cytodiffusion.progress import Progress, silent

from .checkpoint import find_checkpoint
from .data import UNLABELLED, CellSet, generator_for
from .finish import finish_bundle
from .self_supervised import pretrain
from .sets import load_sets
from .settings import TrainSettings
from .trainer import Trainer

#: Noise levels at which features are taken.
LEVELS = (30, 150)
#: Neighbours of a crop in the graph, and how much they count against its own label.
NEIGHBOURS, SPREAD = 12, 0.9
BATCH = 256


def train_few_labels(settings: TrainSettings, progress: Progress = silent) -> Path:
    """Train a bundle on few labelled and many unlabelled crops.

    Parameters
    ----------
    settings : TrainSettings
        With ``pretrain_steps`` or ``pseudo_labels``, or both.
    progress : callable

    Returns
    -------
    Path
        The bundle's folder, ``settings.output``.

    Raises
    ------
    InputError
        If the data or the settings cannot be trained with.
    """
    names, sets = load_sets(settings, progress)
    start = _start(settings, names, sets, progress)
    run = few_labels_run(settings, names, sets, start, progress=progress)
    run.fit()
    return finish_bundle(run.ema_denoiser(), names, sets, run.settings, run.history, progress)


def _start(
    settings: TrainSettings, names: list[str], sets: dict[str, CellSet], progress: Progress
) -> UNetDenoiser:
    """Pre-train, or take the model that the settings name."""
    if settings.pretrain_steps:
        folder = settings.output.with_name(settings.output.name + ".run")
        output = folder / "pretrained"
        if not settings.resume and find_checkpoint(folder / "pretrained.run") is not None:
            raise InputError(
                f"{folder} holds an earlier run; add --resume to go on with it, or remove it."
            )
        return pretrain(settings, names, sets["train"], output, progress)
    if settings.init is None:
        raise InputError(
            "Labels are guessed from the features of a network that is trained already: give "
            "steps of pre-training, or a model to start from."
        )
    denoiser = load_bundle(settings.init, device="cpu").denoiser
    assert isinstance(denoiser, UNetDenoiser)  # like_start has checked it
    return denoiser


def few_labels_run(
    settings: TrainSettings,
    names: list[str],
    sets: dict[str, CellSet],
    start: UNetDenoiser,
    features: NDArray[np.float32] | None = None,
    progress: Progress = silent,
) -> Trainer:
    """Prepare a run that starts from ``start`` and uses its guesses of the missing labels.

    Parameters
    ----------
    settings : TrainSettings
    names : list of str
    sets : dict of CellSet
        The labels that are missing from ``train`` are -1.
    start : UNetDenoiser
        The network whose features the guesses are made from.
    features : (N, D) float32 array, optional
        Of the training crops, where they are known already.
    progress : callable
    """
    train = sets["train"]
    if settings.pseudo_labels and (train.labels == UNLABELLED).any():
        if features is None:
            features = embed(start, train, settings)
        labels = guess_labels(features, train.labels, settings.pseudo_labels)
        train = replace(train, labels=labels)
    state = None  # a model to start from is read by name, so that its classes are found
    if settings.init is None:
        state = {k: v.cpu() for k, v in start.state_dict().items()}
    return Trainer(settings, progress, (names, {**sets, "train": train}), state)


@torch.inference_mode()
def embed(denoiser: UNetDenoiser, cells: CellSet, settings: TrainSettings) -> NDArray[np.float32]:
    """Features ``(N, D)`` of crops as they are: the trunk's, pooled, at two noise levels."""
    device = next(denoiser.parameters()).device
    codec, schedule = PixelCodec(settings.input_size, settings.patch), NoiseSchedule()
    generator = generator_for(settings.seed, 0, "features")
    shape = (1, codec.channels, codec.grid, codec.grid)
    noises = [torch.randn(shape, generator=generator).to(device) for _ in LEVELS]
    pixels = torch.from_numpy(cells.windows(settings.input_size)).permute(0, 3, 1, 2)
    parts = []
    for first in range(0, len(cells), BATCH):
        part = slice(first, first + BATCH)
        unit = to_unit(pixels[part], cells.backgrounds[part])
        clean = codec.encode(to_network(unit)).to(device)
        seen = []
        for level, noise in zip(LEVELS, noises, strict=True):
            t = torch.full((len(clean),), level, device=device)
            with torch.autocast(device.type, torch.bfloat16, half_precision_pays(device)):
                seen.append(denoiser.trunk(schedule.add_noise(clean, t, noise), t).embedding)
        parts.append(torch.cat(seen, dim=1).float().cpu())
    return np.asarray(torch.cat(parts).numpy())


def guess_labels(features: NDArray[np.float32], labels: Tensor, least: float) -> Tensor:
    """Labels ``(N,)`` with the missing ones guessed where the guess is clear.

    Parameters
    ----------
    features : (N, D) array
    labels : (N,) int64 tensor
        -1 where missing.
    least : float
        Share of the votes that the first class must have; guesses below it stay -1.
    """
    scaled = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    unit = scaled / (np.linalg.norm(scaled, axis=1, keepdims=True) + 1e-6)
    near = min(NEIGHBOURS, len(unit) - 1)
    graph = LabelSpreading(kernel="knn", n_neighbors=near, alpha=SPREAD, max_iter=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged to the last digit, or cells nobody reaches
        graph.fit(unit, labels.numpy())
        votes = np.nan_to_num(graph.label_distributions_)
    guessed = torch.from_numpy(graph.classes_[votes.argmax(axis=1)])
    clear = torch.from_numpy(votes.max(axis=1) >= least)
    return torch.where(labels >= 0, labels, guessed.where(clear, UNLABELLED))
