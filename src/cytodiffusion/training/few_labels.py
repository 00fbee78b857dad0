"""Few labels, many crops: guess the missing labels, and train with both.

The guesses come from three descriptions of what cells look like (`describe_cells`,
`describe_patches`, `describe_colours`) and, where there is a trained model to start from, from its
features. Each description votes, and all of them together; two ways to guess are averaged: a
logistic regression, and labels that spread over the graph of nearest neighbours (Zhou et al.,
Learning with local and global consistency, 2004). Only guesses that are clear enough are used, as
in pseudo-labelling (Lee 2013).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.semi_supervised import LabelSpreading
from torch import Tensor

from cytodiffusion.device import half_precision_pays
from cytodiffusion.model.codec import PixelCodec, to_network, to_unit
from cytodiffusion.model.denoiser import UNetDenoiser
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.schedule import NoiseSchedule
from cytodiffusion.progress import Progress, silent
from cytodiffusion.training.data import UNLABELLED, CellSet, generator_for
from cytodiffusion.training.finish import finish_bundle
from cytodiffusion.training.sets import load_sets
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.trainer import Trainer, like_start
from cytodiffusion.training.visual_words import describe_cells, describe_colours, describe_patches

#: Noise levels at which features are taken.
LEVELS = (30, 150)

#: Neighbours of a crop in the graph, and how much they count against its own label.
NEIGHBOURS, SPREAD = 12, 0.9

#: Principal components that labels are guessed from, and the freedom of the regression on them.
COMPONENTS, FREEDOM = 60, 0.3

BATCH = 256


def train_few_labels(settings: TrainSettings, progress: Progress = silent) -> Path:
    """Train a bundle on few labelled and many unlabelled crops."""
    settings = like_start(settings)  # crops are cut for the network of the model to start from
    names, sets = load_sets(settings, progress)
    run = few_labels_run(settings, names, sets, progress=progress)
    run.fit()
    return finish_bundle(run.final_denoiser(), names, sets, run.settings, run.history, progress)


def few_labels_run(
    settings: TrainSettings,
    names: list[str],
    sets: dict[str, CellSet],
    features: Sequence[NDArray[np.float32]] | None = None,
    progress: Progress = silent,
) -> Trainer:
    """Prepare a run whose missing labels are guessed, where the settings ask for it.

    Parameters
    ----------
    sets : dict of CellSet
        The labels that are missing from ``train`` are -1.
    features : sequence of (N, D) float32 array, optional
        Descriptions of the training crops, where they are known already (`features_of`).
    """
    train = sets["train"]
    if settings.pseudo_labels and (train.labels == UNLABELLED).any():
        features = features_of(train, settings) if features is None else features
        labels = guess_labels(features, train.labels, settings.pseudo_labels)
        train = replace(train, labels=labels)
    return Trainer(settings, progress, (names, {**sets, "train": train}))


def features_of(cells: CellSet, settings: TrainSettings) -> list[NDArray[np.float32]]:
    """Descriptions ``(N, D)`` that labels are guessed from, each number of mean 0 and deviation 1.

    The features of a model that the training starts from are among them.
    """
    size = settings.input_size
    features = describe_cells(cells, size)
    if settings.init is not None:
        denoiser = load_bundle(settings.init, device="cpu").denoiser
        assert isinstance(denoiser, UNetDenoiser)  # like_start has checked it
        features = np.concatenate([features, embed(denoiser, cells, settings)], axis=1)
    described = [features, describe_patches(cells, size), describe_colours(cells, size)]
    return [
        np.asarray((x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6), np.float32) for x in described
    ]


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


def guess_labels(features: Sequence[NDArray[np.float32]], labels: Tensor, least: float) -> Tensor:
    """Labels ``(N,)`` with the missing ones guessed where the guess is clear.

    Parameters
    ----------
    features : sequence of (N, D) array
        Descriptions of the same crops, the numbers of each on common scales.
    labels : (N,) int64 tensor
        -1 where missing.
    least : float
        Share of the votes that the first class must have; guesses below it stay -1.
    """
    known = (labels >= 0).numpy()
    classes = np.unique(labels[known].numpy())
    if len(classes) < 2:
        return labels  # there is nothing to choose between
    votes = np.mean([_votes(_components(x), labels) for x in _views(features)], axis=0)
    guessed = torch.from_numpy(classes[votes.argmax(axis=1)])
    clear = torch.from_numpy(votes.max(axis=1) >= least)
    return torch.where(labels >= 0, labels, guessed.where(clear, UNLABELLED))


def _views(features: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Each description and, where there are several, all side by side, each counting the same."""
    if len(features) == 1:
        return list(features)
    return [*features, np.concatenate([x / np.sqrt(x.shape[1]) for x in features], axis=1)]


def _votes(points: NDArray[np.float64], labels: Tensor) -> NDArray[np.float64]:
    """Votes ``(N, K)`` of the regression and of the graph, half of them each."""
    known = (labels >= 0).numpy()
    regression = LogisticRegression(C=FREEDOM, max_iter=500)
    regression.fit(points[known], labels[known].numpy())
    return np.asarray((regression.predict_proba(points) + _spread(points, labels)) / 2)


def _components(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Principal components, their spreads drawn half-way together."""
    centred = features.astype(np.float64) - features.mean(axis=0)
    left, spread, _ = np.linalg.svd(centred, full_matrices=False)
    points = left[:, :COMPONENTS] * np.sqrt(spread[:COMPONENTS])
    return np.asarray(points / (points.std() + 1e-12))


def _spread(points: NDArray[np.float64], labels: Tensor) -> NDArray[np.float64]:
    """Votes ``(N, K)`` of labels that spread from neighbour to neighbour; 0 where none arrives."""
    unit = points / (np.linalg.norm(points, axis=1, keepdims=True) + 1e-12)
    near = min(NEIGHBOURS, len(unit) - 1)
    graph = LabelSpreading(kernel="knn", n_neighbors=near, alpha=SPREAD, max_iter=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged to the last digit, or cells nobody reaches
        graph.fit(unit, labels.numpy())
        return np.asarray(np.nan_to_num(graph.label_distributions_))
