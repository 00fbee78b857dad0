"""A tiny model that can be taught, and studies whose cells it has classified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from studies import NAMES, made_up, predictions, square_labels, write_image

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.class_statistics import COMBINED, SCORES, ClassStatistics
from cytodiffusion.model.generator import Generator
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.saving import save_bundle
from cytodiffusion.model.testing import tiny_bundle
from cytodiffusion.study import Study

#: Where the embeddings of a class lie: along an axis of its own. The network does not know blasts.
AXES = {**{name: k for k, name in enumerate(NAMES)}, "blast": 5}
WIDTH, FAR = 16, 9.0


def teachable_bundle(folder: Path, generator: Generator | None = None) -> ModelBundle:
    """Write and load a tiny bundle that keeps what its training cells were like."""
    model = load_bundle(tiny_bundle(folder, NAMES, generator=generator), device="cpu")
    k, rng = len(NAMES), np.random.default_rng(0)
    centres = np.eye(WIDTH)[:k] * FAR
    classes = np.repeat(np.arange(k), 30)
    away = centres[classes] - centres.mean(axis=0) + rng.normal(size=(len(classes), WIDTH))
    unit = away / np.linalg.norm(away, axis=1, keepdims=True)
    levels = len(model.calibration.levels)
    leads = torch.full((k, k), -6.0)
    leads.fill_diagonal_(0.0)
    statistics = ClassStatistics(
        lead_means=leads,
        lead_factors=torch.eye(k).expand(k, k, k).clone(),
        shape_means=torch.zeros(k, k),
        shape_factors=torch.eye(k).expand(k, k, k).clone(),
        level_means=torch.zeros(levels, k),
        level_spreads=torch.ones(levels, k),
        neighbours=torch.from_numpy(unit).half(),
        neighbour_classes=torch.from_numpy(classes),
        centres=torch.zeros(3, len(COMBINED)),
        scales=torch.ones(3, len(COMBINED)),
        thresholds=torch.full((3, len(SCORES)), 5.0),
    )
    model.calibration = replace(
        model.calibration,
        embedding_mean=torch.from_numpy(centres.mean(axis=0)).float(),
        class_means=torch.from_numpy(centres).float(),
        class_statistics=statistics,
    )
    save_bundle(folder, model, torch.float32)
    return load_bundle(folder, device="cpu")


def truth_of(cells: int, blasts: int, seed: int = 0) -> list[str]:
    """Classes of cells, of which some are blasts."""
    rng = np.random.default_rng(seed)
    names = [*rng.choice(NAMES, cells - blasts), *["blast"] * blasts]
    return [str(name) for name in rng.permutation(names)]


def add_classified(
    study: Study, path: Path, model: ModelBundle, truth: Sequence[str], seed: int = 0
) -> list[int]:
    """Add an image whose cells the model has classified; blasts it takes for lymphocytes."""
    labels = square_labels(len(truth))
    image = study.put_image(write_image(path, labels, seed), labels, 0.5, "file")
    seen = [NAMES.index(name) if name in NAMES else 0 for name in truth]
    posterior = np.full((len(truth), len(NAMES)), 0.05)
    posterior[np.arange(len(truth)), seen] = 0.9
    result = made_up(posterior, seed)
    rng = np.random.default_rng(seed)
    axes = np.eye(WIDTH)[[AXES[name] for name in truth]] * FAR
    embedding = (axes + rng.normal(size=axes.shape)).astype(np.float32)
    result = replace(result, embedding=embedding, traits=(), trait_probabilities=None)
    frame = predictions(labels, seed).assign(predicted=[NAMES[k] for k in seen])
    study.put_predictions(image.name, frame, model, ClassifySettings(), result)
    return [study.cell(image.name, label) for label in range(1, len(truth) + 1)]


def annotate(study: Study, cells: Sequence[int], classes: Sequence[str], who: str = "Ada") -> None:
    """Give cells classes, which are added where they are new."""
    for name in dict.fromkeys(classes):
        study.add_class(name)
    study.annotate_many(dict(zip(cells, classes, strict=True)), who)
