"""A copy of a classifier that has never seen one class, to ask whether it notices that class."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cytodiffusion.datasets import Record
from cytodiffusion.errors import InputError
from cytodiffusion.evaluation.settings import EvaluateSettings
from cytodiffusion.output import atomic_file
from cytodiffusion.progress import Progress, silent

log = logging.getLogger(__name__)

#: Settings of a training run that must not be taken over: places, and weights that know the class.
NOT_COPIED = {"data", "output", "resume", "device", "init"}
#: Steps after which the pace is told.
TOLD_AFTER = 20


def slug(name: str) -> str:
    """Name of a class as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "class"


def model_without(
    model: Any,
    records: Sequence[Record],
    settings: EvaluateSettings,
    folder: Path,
    progress: Progress = silent,
) -> Any:
    """Load the classifier without ``settings.leave_out``, or train it first.

    A copy is trained from the training and validation images with the settings that made the
    classifier, from scratch, and stays in ``folder`` for the next evaluation. A training
    that was stopped goes on.

    Parameters
    ----------
    model : ModelBundle or Baseline
        The one that knows the class.
    records : sequence of Record
        Of all splits.
    settings : EvaluateSettings
    folder : Path
        Where the copy is or comes to be.
    progress : callable

    Returns
    -------
    ModelBundle or Baseline

    Raises
    ------
    InputError
        If there is nothing to train from, or the copy knows the class after all.
    """
    from cytodiffusion.predict import load_classifier

    left_out = str(settings.leave_out)
    wanted = int(settings.leave_out_steps or model.training.get("steps", 0))
    if (folder / "checksums.json").is_file():
        copy = load_classifier(folder, settings.device)
        _check(copy, left_out, wanted if folder != settings.leave_out_model else None, folder)
        return copy
    if folder == settings.leave_out_model:
        raise InputError(f"There is no model in {folder} (--leave-out-model).")
    _train(model, records, settings, folder, wanted, progress)
    copy = load_classifier(folder, settings.device)
    _check(copy, left_out, wanted, folder)
    return copy


def _check(copy: Any, left_out: str, steps: int | None, folder: Path) -> None:
    if left_out in copy.class_names:
        raise InputError(f"The model in {folder} knows the class {left_out}; it must not.")
    found = copy.training.get("steps")
    if steps is not None and found != steps:
        raise InputError(
            f"The model in {folder} was trained for {found} steps, not {steps}: remove it, or ask "
            f"for --leave-out-steps {found}."
        )


def _train(
    model: Any,
    records: Sequence[Record],
    settings: EvaluateSettings,
    folder: Path,
    steps: int,
    progress: Progress,
) -> None:
    from cytodiffusion.training.settings import TrainSettings
    from cytodiffusion.training.trainer import train

    left_out = str(settings.leave_out)
    recorded = {
        key: value
        for key, value in model.training.items()
        if key in TrainSettings.model_fields and key not in NOT_COPIED
    }
    if not recorded or not steps:
        raise InputError(
            f"The model {model.name} does not say how it was trained, so no copy without "
            f"{left_out} can be made: give one with --leave-out-model."
        )
    if recorded.get("kind") == "stable-diffusion":
        raise InputError(
            f"{model.name} was fine-tuned from a Stable Diffusion that it does not hold, so no "
            f"copy without {left_out} can be made of it alone: train one and give it with "
            "--leave-out-model."
        )
    table = write_table(records, left_out, folder.with_name(folder.name + ".csv"))
    recorded |= {
        "name": f"{model.name} without {left_out}",
        "steps": steps,
        "warmup": max(1, min(int(recorded.get("warmup", 200)), steps // 10)),
        "pixel_size_um": settings.pixel_size_um,
    }
    run = folder.with_name(folder.name + ".run")
    log.info(
        "%s is trained once more without %s: %d steps; it stays in %s for the next evaluation.",
        model.name,
        left_out,
        steps,
        folder,
    )
    train(
        TrainSettings(
            **recorded, data=table, output=folder, device=settings.device, resume=run.is_dir()
        ),
        _Pace(progress, steps),
    )


def write_table(records: Sequence[Record], left_out: str, path: Path) -> Path:
    """Write the training and validation images of the other classes as a CSV to train from.

    Raises
    ------
    InputError
        If there are none.
    """
    kept = [r for r in records if r.label and r.label != left_out and r.split != "test"]
    for split in ("train", "val"):
        if not any(r.split == split for r in kept):
            raise InputError(
                f"The data has no images in its {split} split, so no model without {left_out} can "
                "be trained: give one with --leave-out-model."
            )
    rows = [{"path": str(r.path.absolute()), "class": r.label, "split": r.split} for r in kept]
    with atomic_file(path) as partial:
        pd.DataFrame(rows).to_csv(partial, index=False)
    return path


class _Pace:
    """Passes progress on, and says once what the training will take."""

    def __init__(self, progress: Progress, steps: int) -> None:
        self.progress, self.steps = progress, steps
        self.start: tuple[float, float] | None = None
        self.told = False

    def __call__(self, fraction: float, text: str) -> None:
        self.progress(fraction, text)
        if not text.startswith("step") or self.told:
            return
        now = time.monotonic()
        if self.start is None:
            self.start = now, fraction
            return
        done = (fraction - self.start[1]) * self.steps
        if done >= TOLD_AFTER:
            pace = (now - self.start[0]) / done
            left = pace * self.steps * (1 - fraction)
            log.info("%.2f seconds a step: about %.0f minutes to go.", pace, max(1, left / 60))
            self.told = True
