"""The low-data curve: a few labelled cells a class, all other training cells without a label.

For each seed the labelled cells are drawn at random, class by class, and the draws are
nested: the 10 are among the 20. Ours is trained with guesses of the missing labels
(`training.few_labels`); every model sees the same crops with the same augmentation and sampler.
Every finished run is stored, so that an interrupted curve goes on where it stopped.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytodiffusion import __version__
from cytodiffusion.baselines import Baseline
from cytodiffusion.baselines.baseline import baseline_logits
from cytodiffusion.classification.classifier import gather_evidence
from cytodiffusion.classification.scores import fit_temperature, softmax
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import InputError
from cytodiffusion.evaluation.context import Context
from cytodiffusion.evaluation.settings import LowDataSettings as LowDataSettings
from cytodiffusion.files.atomic import atomic_file
from cytodiffusion.metrics.scores import balanced_accuracy
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.schedule import NoiseSchedule
from cytodiffusion.progress import Progress, silent
from cytodiffusion.training.augmentation.settings import AugmentSettings, nothing_but
from cytodiffusion.training.baseline import BaselineTrainer
from cytodiffusion.training.calibrate import Views, blank_calibration, plain_views
from cytodiffusion.training.data import UNLABELLED, CellSet
from cytodiffusion.training.few_labels import features_of, few_labels_run
from cytodiffusion.training.finish import describe_classes
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.trainer import Trainer

#: Names of models, each with the class it predicts of every cell.
Predictions = Iterator[tuple[str, NDArray[np.int64]]]


def low_data_curve(
    names: list[str],
    sets: dict[str, CellSet],
    folder: Path,
    settings: LowDataSettings | None = None,
    progress: Progress = silent,
    added: CellSet | None = None,
) -> dict[str, Any]:
    """Measure balanced accuracy against the number of labelled cells a class."""
    settings = settings or LowDataSettings()
    _check(names, sets, settings)
    study = _Study(names, sets, folder, settings, progress, added)
    # draw by draw: a curve that is stopped has compared all models on the same draws
    seeds = range(settings.first_seed, settings.first_seed + settings.seeds)
    wanted = list(product(seeds, settings.counts, settings.models))
    done: list[dict[str, Any]] = []
    for number, (seed, cells, model) in enumerate(wanted):
        study.share = number / len(wanted), 1 / len(wanted)
        study.report(0.0, f"{model}, {cells} labelled cells a class, seed {seed}")
        done.append(study.result(model, cells, seed))
        _write(folder, summarise_runs(done, settings))
    result = summarise_runs(done, settings)
    progress(1.0, f"{len(wanted)} runs with few labels")
    return result


def draw_labelled(labels: Tensor, cells: int, seed: int) -> Tensor:
    """Labels ``(N,)`` of which ``cells`` a class are kept, the others -1.

    More cells with the same seed are the same ones and others.
    """
    generator = torch.Generator().manual_seed(seed)
    kept = torch.full_like(labels, UNLABELLED)
    for k in range(int(labels.max()) + 1):
        index = (labels == k).nonzero().squeeze(1)
        chosen = index[torch.randperm(len(index), generator=generator)[:cells]]
        kept[chosen] = k
    return kept


def summarise_runs(runs: Iterable[dict[str, Any]], settings: LowDataSettings) -> dict[str, Any]:
    """Means and standard deviations of runs, by model and number of labelled cells."""
    table = pd.DataFrame(runs)
    curves: dict[str, list[dict[str, Any]]] = {}
    for model in settings.models:
        curves[model] = []
        for cells in sorted(settings.counts):
            of = table[(table["model"] == model) & (table["cells"] == cells)]["balanced_accuracy"]
            if not len(of):
                continue
            curves[model].append(
                {
                    "cells": cells,
                    "balanced_accuracy": float(of.mean()),
                    "sd": float(of.std(ddof=1)) if len(of) > 1 else 0.0,
                    "seeds": len(of),
                }
            )
    return {
        "split": settings.split,
        "curves": curves,
        "runs": table.to_dict("records"),
        "version": __version__,
    }


def _write(folder: Path, result: dict[str, Any]) -> None:
    with atomic_file(folder / "low_data.json") as path:
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    with atomic_file(folder / "low_data.csv") as path:
        pd.DataFrame(result["runs"]).to_csv(path, index=False)


def _check(names: list[str], sets: dict[str, CellSet], settings: LowDataSettings) -> None:
    for split in ("train", settings.split):
        if split not in sets:
            raise InputError(f"The low-data curve needs a {split} split, and there is none.")
    most = max(settings.counts)
    for k, name in enumerate(names):
        found = int((sets["train"].labels == k).sum())
        if found < most:
            raise InputError(
                f"The class {name} has {found} training cells, but {most} are to be labelled."
            )


class _Study:
    """The runs of one curve, and what they share: the descriptions of all crops."""

    def __init__(
        self,
        names: list[str],
        sets: dict[str, CellSet],
        folder: Path,
        settings: LowDataSettings,
        progress: Progress,
        added: CellSet | None,
    ):
        self.names, self.sets, self.folder = names, sets, folder
        self.settings, self.progress, self.added = settings, progress, added
        self.train = sets["train"] if added is None else sets["train"] + added
        self.shared: list[NDArray[np.float32]] | None = None
        self.share = (0.0, 1.0)  # of the whole: where the current run begins, and its part
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        self._check_folder()

    def report(self, fraction: float, text: str) -> None:
        """Progress of the current run, as a part of the whole; may raise ``Cancelled``."""
        first, part = self.share
        self.progress(first + part * min(fraction, 1.0), text)

    def _check_folder(self) -> None:
        """Refuse to mix results of different settings."""
        path = self.folder / "settings.json"
        free = {"counts", "seeds", "first_seed", "models", "split", "device"}
        own = json.loads(self.settings.model_dump_json(exclude=free))
        own |= {"classes": self.names, "cells": {k: c.digest() for k, c in self.sets.items()}}
        own |= {} if self.added is None else {"added": self.added.digest()}
        own |= {"ours": OURS | own["ours"], "rivals": RIVALS | own["rivals"]}
        own = json.loads(json.dumps(own, default=lambda value: value.model_dump()))
        if not path.is_file():
            with atomic_file(path) as part:
                part.write_text(json.dumps(own, indent=1) + "\n", encoding="utf-8")
        elif json.loads(path.read_text(encoding="utf-8")) != own:
            raise InputError(
                f"{self.folder} holds runs with other settings or cells; name a new folder."
            )

    def result(self, model: str, cells: int, seed: int) -> dict[str, Any]:
        """Return the result of one run, from disk where it is there."""
        path = self._path(model, cells, seed)
        if not path.is_file():
            self._run(model, cells, seed)
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return stored

    def _path(self, model: str, cells: int, seed: int) -> Path:
        return self.folder / "runs" / f"{self.settings.split}-{model}-{cells}-{seed}.json"

    def _run(self, model: str, cells: int, seed: int) -> None:
        """Train, and store what came of it."""
        shutil.rmtree(self.folder / "run.run", ignore_errors=True)  # of a run that was killed
        labels = draw_labelled(self.sets["train"].labels, cells, seed)
        if self.added is not None:
            labels = torch.cat([labels, self.added.labels])
        reported = self.sets[self.settings.split]
        few = {"train": replace(self.train, labels=labels), "val": reported}
        views = plain_views(reported, self.settings.input_size)
        train = self._ours if model == "diffusion" else self._rival
        for name, predicted in train(model, few, seed, views):
            found = {
                "model": name,
                "cells": cells,
                "seed": seed,
                "balanced_accuracy": balanced_accuracy(views.labels, predicted),
            }
            with atomic_file(self._path(name, cells, seed)) as part:
                part.write_text(json.dumps(found) + "\n", encoding="utf-8")

    def _ours(self, model: str, few: dict[str, CellSet], seed: int, views: Views) -> Predictions:
        settings = self._settings(seed, **(OURS | self.settings.ours))
        run = few_labels_run(settings, self.names, few, self._shared(settings), self.report)
        self._fit(run)
        budget = ClassifySettings(
            trials=self.settings.trials,
            min_trials=min(3, self.settings.trials),
            seed=seed,
            batch_size=1024,
        )
        evidence = gather_evidence(
            views.windows,
            as_bundle(run, self.settings.levels),
            budget,
            background=views.backgrounds,
            stop_early=False,
        )
        yield model, evidence.logits.argmax(axis=1)

    def _shared(self, settings: TrainSettings) -> list[NDArray[np.float32]]:
        """Describe all crops once, whatever the labels are."""
        if self.shared is None:
            self.shared = features_of(self.train, settings.model_copy(update={"seed": 0}))
        return self.shared

    def _rival(self, model: str, few: dict[str, CellSet], seed: int, views: Views) -> Predictions:
        """Train with the labels that are there, and go on with guessed ones where asked to."""
        kind = model.partition("+")[0]
        settings = self._settings(seed, kind=kind, **(RIVALS | self.settings.rivals))
        run = BaselineTrainer(settings, self.report, (self.names, few))
        self._fit(run)
        yield kind, _rival_logits(run.baseline(), views).argmax(axis=1)
        if {model, *self.settings.models} & {f"{kind}+pseudo"}:
            again = self._again(run, settings, few)
            yield f"{kind}+pseudo", _rival_logits(again.baseline(), views).argmax(axis=1)

    def _again(
        self, run: BaselineTrainer, settings: TrainSettings, few: dict[str, CellSet]
    ) -> BaselineTrainer:
        """Go on with the labels that the network is sure of (pseudo-labelling, Lee 2013)."""
        train, model = few["train"], run.baseline()
        size = settings.input_size
        logits = baseline_logits(train.windows(size), model, 256, train.backgrounds.numpy())
        known = train.labels >= 0
        temperature = fit_temperature(logits[known.numpy()], train.labels[known].numpy())
        sure = softmax(logits / max(temperature, 1.0))
        guessed = torch.from_numpy(sure.argmax(axis=1))
        clear = torch.from_numpy(sure.max(axis=1) >= self.settings.confidence)
        labels = train.labels.where(known, guessed.where(clear, UNLABELLED))
        both = {**few, "train": replace(train, labels=labels)}
        start = run.ema_network().state_dict()
        second = BaselineTrainer(settings, self.report, (self.names, both), start)
        self._fit(second)
        return second

    def _settings(self, seed: int, **values: Any) -> TrainSettings:
        steps = int(values["steps"])
        return TrainSettings(
            data=self.folder,
            output=self.folder / "run",
            seed=seed,
            device=self.settings.device,
            input_size=self.settings.input_size,
            checkpoint_every=min(steps, 100),
            validate_every=steps,
            **values,
        )

    def _fit(self, run: Trainer) -> None:
        run.fit()
        shutil.rmtree(run.run, ignore_errors=True)  # the result is what is kept


def _rival_logits(model: Baseline, views: Views) -> NDArray[np.float64]:
    return baseline_logits(views.windows, model, 256, views.backgrounds)


def as_bundle(run: Trainer, levels: tuple[int, ...]) -> ModelBundle:
    """Return the network of a run as a bundle that is not calibrated."""
    s, denoiser = run.settings, run.ema_denoiser()
    return ModelBundle(
        name=s.name,
        version="",
        classes=describe_classes(run.names, s),
        input_size=s.input_size,
        window_um=s.window_um,
        disc_radius=s.disc_radius,
        denoiser=denoiser,
        codec=run.codec,
        schedule=NoiseSchedule(),
        calibration=blank_calibration(len(run.names), s.widths[-1], levels),
        device=next(denoiser.parameters()).device,
    )


#: One laboratory's cells: stains are hardly varied, as colours tell most with few labels.
GENTLE = AugmentSettings(
    **nothing_but(
        scale=0.2,
        aspect=0.07,
        shift=0.05,
        mixing=0.03,
        density=0.08,
        thickness=0.1,
        tint=0.01,
        hue=0.05,
        blur=0.5,
        noise=0.015,
        plain_share=0.25,
    )
)

#: Smaller crops, networks and batches than the default model's: a curve is dozens of trainings.
SMALL: dict[str, Any] = {"steps": 600, "warmup": 20, "augment": GENTLE, "ema_decay": 0.98}

OURS: dict[str, Any] = SMALL | {
    "batch_size": 64,
    "patch": 4,
    "widths": (32, 64, 128),
    "blocks": (1, 1, 2),
    "dropout": 0.0,
    "learning_rate": 2e-3,
    "class_loss": 1.0,
    "level_tilt": 3.0,
    "pseudo_labels": 0.3,
    "unlabelled_share": 0.0,
}

RIVALS: dict[str, Any] = SMALL | {"batch_size": 32}

log = logging.getLogger(__name__)


def low_data_figures(context: Context) -> dict[str, Any]:
    """Measure the curve in the folder ``low-data`` of the report.

    Runs that are in that folder already are not done again, so that an evaluation that was
    stopped goes on, and a second one is quick.
    """
    from cytodiffusion.training.sets import load_sets
    from cytodiffusion.training.settings import TrainSettings

    s = context.settings
    progress = context.next("few labels")
    changes = {} if s.low_data_steps is None else {"steps": s.low_data_steps}
    settings = LowDataSettings(
        counts=s.low_data,
        seeds=s.seeds,
        first_seed=s.seed,
        device=s.device,
        split="val" if s.split == "val" else "test",
        ours=changes,
        rivals=changes,
    )
    folder = s.output / "low-data"
    runs = len(settings.counts) * settings.seeds * len(settings.models)
    log.info("The low-data curve takes %d trainings; finished ones are kept in %s.", runs, folder)
    reading = TrainSettings(
        data=s.data,
        layout=s.layout,
        output=folder / "unused",
        pixel_size_um=s.pixel_size_um,
        input_size=settings.input_size,
        duplicates="drop",
    )
    names, sets = load_sets(reading, lambda share, text: progress(0.0, text))
    return low_data_curve(names, sets, folder, settings, progress)
