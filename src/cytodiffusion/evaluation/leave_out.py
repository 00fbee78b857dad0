"""A copy of a classifier that has never seen one class, to ask whether it notices that class."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic_core import to_jsonable_python

from cytodiffusion.datasets import Record, class_names
from cytodiffusion.errors import InputError
from cytodiffusion.evaluation.settings import EvaluateSettings
from cytodiffusion.files.atomic import atomic_file
from cytodiffusion.model.stable_diffusion import StableDiffusionDenoiser
from cytodiffusion.progress import Progress, silent

log = logging.getLogger(__name__)

#: Settings of a training run that must not be taken over: places, and weights that know the class.
NOT_COPIED = {"data", "layout", "output", "resume", "device", "init"}
#: Settings that say nothing about what was learnt, or differ between a model and its copy.
FREE = NOT_COPIED | {
    *("name", "steps", "warmup", "pixel_size_um", "attribution", "colors", "groups", "taxonomy"),
    *("duplicates", "allow_download", "checkpoint_every", "validate_every", "mixed_precision"),
    *("laboratories", "fields", "photographs", "photograph_share", "log_every", "tracker"),
}
#: Steps after which the pace is told.
TOLD_AFTER = 20


class NoCopy(InputError):
    """A classifier of which no copy without a class can be trained here."""


def slug(name: str) -> str:
    """Name of a class as part of a file name; names that differ get different ones."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "class"
    if plain == re.sub(r"[\s_-]+", "-", name.lower()).strip("-"):
        return plain
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def model_without(
    model: Any,
    records: Sequence[Record],
    settings: EvaluateSettings,
    folder: Path,
    progress: Progress = silent,
) -> Any:
    """Load the copy without ``settings.leave_out`` of an earlier evaluation, or train it.

    A copy is trained from the labelled training and validation images with the settings that made
    the classifier, from scratch, and stays in ``folder`` for the next evaluation. A training
    that was stopped goes on.
    """
    wanted = _steps(model, settings)
    if not (folder / "checksums.json").is_file():
        _train(model, records, settings, folder, wanted, progress)
    return _earlier_copy(model, folder, settings, wanted)


def check_copy(
    model: Any, records: Sequence[Record], settings: EvaluateSettings, folder: Path
) -> None:
    """Refuse, before any work, what `model_without` would refuse."""
    wanted = _steps(model, settings)
    if (folder / "checksums.json").is_file():
        _earlier_copy(model, folder, settings, wanted)
        return
    _how_trained(model, settings, wanted)
    class_names(_others(records, str(settings.leave_out)))


def _steps(model: Any, settings: EvaluateSettings) -> int:
    return int(settings.leave_out_steps or model.training.get("steps", 0))


def _earlier_copy(model: Any, folder: Path, settings: EvaluateSettings, wanted: int) -> Any:
    copy = _load_copy(folder, settings)
    if copy.name != copy_name(model, settings) or _learnt(copy) != _learnt(model):
        raise InputError(
            f"The model in {folder} was made for another classifier than {model.name}, or by other "
            "settings: remove it, choose another report folder, or give it with --leave-out-model."
        )
    found = copy.training.get("steps")
    if found != wanted:
        raise InputError(
            f"The model in {folder} was trained for {found} steps, not {wanted}: remove it, or set "
            f"leave_out_steps={found}."
        )
    return copy


def copy_name(model: Any, settings: EvaluateSettings) -> str:
    """Return what the copy of a classifier without the class is called."""
    return f"{model.name} without {settings.leave_out}"


def _learnt(model: Any) -> dict[str, Any]:
    """Return the settings that a model and its copy have in common.

    One that came after the model is what its copy was trained with, the default.
    """
    from cytodiffusion.training.settings import TrainSettings

    usual = {
        name: to_jsonable_python(field.get_default(call_default_factory=True))
        for name, field in TrainSettings.model_fields.items()
        if not field.is_required()
    }
    recorded = {k: v for k, v in (usual | _recorded(model)).items() if k not in FREE}
    return {**recorded, "kind": kind_of(model)}


def _recorded(model: Any) -> dict[str, Any]:
    """Return the settings that a model was trained with, as far as it says."""
    from cytodiffusion.training.augmentation.settings import nothing_but
    from cytodiffusion.training.settings import TrainSettings

    recorded = {
        key: value
        for key, value in model.training.items()
        if key in TrainSettings.model_fields and key not in NOT_COPIED
    }
    recorded.pop("norm", None)
    if getattr(model, "kind", "") == "resnet18":
        recorded["norm"] = getattr(
            model, "norm", "batch"
        )  # also where an earlier version does not name it
    if "augment" in recorded:
        # what an earlier version does not name it did not vary
        recorded["augment"] = nothing_but(**recorded["augment"])
    return recorded


def given_copies(models: Sequence[Any], settings: EvaluateSettings) -> list[Any]:
    """Load the copies that were given, each for the first classifier of its kind without one."""
    copies: list[Any] = [None] * len(models)
    for folder in settings.leave_out_model:
        if not (folder / "checksums.json").is_file():
            raise InputError(f"There is no model in {folder} (--leave-out-model).")
        copy = _load_copy(folder, settings)
        for number, model in enumerate(models):
            wanted = copies[number] is None and settings.leave_out in model.class_names
            if wanted and kind_of(model) == kind_of(copy):
                copies[number] = copy
                break
        else:
            raise InputError(
                f"The model in {folder} ({kind_of(copy)}, --leave-out-model) stands for no "
                f"classifier here: there are {', '.join(kind_of(m) for m in models)}, of which "
                f"each that knows {settings.leave_out} can have one copy."
            )
    return copies


def kind_of(model: Any) -> str:
    """Return the kind of a classifier, in the words of ``train --kind``."""
    if isinstance(getattr(model, "denoiser", None), StableDiffusionDenoiser):
        return "stable-diffusion"
    return str(getattr(model, "kind", "diffusion"))


def _load_copy(folder: Path, settings: EvaluateSettings) -> Any:
    from cytodiffusion.predict import load_classifier

    copy = load_classifier(folder, settings.device)
    if settings.leave_out in copy.class_names:
        raise InputError(
            f"The model in {folder} knows the class {settings.leave_out}; it must not."
        )
    return copy


def _train(
    model: Any,
    records: Sequence[Record],
    settings: EvaluateSettings,
    folder: Path,
    steps: int,
    progress: Progress,
) -> None:
    from cytodiffusion.training.settings import TrainSettings
    from cytodiffusion.training.train import train

    left_out = str(settings.leave_out)
    recorded = _how_trained(model, settings, steps)
    table = write_table(records, left_out, folder.with_name(folder.name + ".csv"))
    kept = {record.label for record in _others(records, left_out)}
    for looks in ("colors", "groups"):
        recorded[looks] = {k: v for k, v in recorded.get(looks, {}).items() if k in kept}
    recorded |= {
        "name": copy_name(model, settings),
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
    if model.training.get("init"):
        log.warning(
            "%s began with the weights of %s, which know the class: its copy begins with random "
            "ones and is trained for fewer steps in all.",
            model.name,
            model.training["init"],
        )
    train(
        TrainSettings(
            **recorded, data=table, output=folder, device=settings.device, resume=run.is_dir()
        ),
        _Pace(progress, steps),
    )


def _how_trained(model: Any, settings: EvaluateSettings, steps: int) -> dict[str, Any]:
    """Return the settings that a copy is to be trained with; NoCopy if it cannot be."""
    recorded = _recorded(model)
    if not recorded or not steps:
        raise NoCopy(
            f"The model {model.name} does not say how it was trained, so no copy without "
            f"{settings.leave_out} can be made: give one with --leave-out-model."
        )
    if recorded.get("kind") == "stable-diffusion":
        raise NoCopy(
            f"{model.name} was fine-tuned from a Stable Diffusion that it does not hold, so no "
            f"copy without {settings.leave_out} can be made of it alone: train one and give it "
            "with --leave-out-model."
        )
    return recorded


def write_table(records: Sequence[Record], left_out: str, path: Path) -> Path:
    """Write the training and validation images of the other classes as a CSV to train from."""
    kept = _others(records, left_out)
    rows = [{"path": str(r.path.absolute()), "class": r.label, "split": r.split} for r in kept]
    with atomic_file(path) as partial:
        pd.DataFrame(rows).to_csv(partial, index=False)
    return path


def _others(records: Sequence[Record], left_out: str) -> list[Record]:
    """Training and validation images of the other classes; NoCopy without them."""
    kept = [r for r in records if r.label and r.label != left_out and r.split != "test"]
    for split in ("train", "val"):
        if not any(r.split == split for r in kept):
            raise NoCopy(
                f"The data has no images in its {split} split, so no model without {left_out} can "
                "be trained: give one with --leave-out-model."
            )
    return kept


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
