"""The training loop: Accelerate, EMA, atomic checkpoints, exact resumption."""

from __future__ import annotations

import json
import logging
import math
import time
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from cytodiffusion.device import half_precision_pays, pick_device
from cytodiffusion.errors import InputError
from cytodiffusion.model.bundle_files import FILES
from cytodiffusion.model.saving import check_target
from cytodiffusion.progress import Progress, silent
from cytodiffusion.training.checkpoint import (
    begun_with,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from cytodiffusion.training.data import generator_for
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.training_log import TrainingLog, check_tracker, start_tracker

log = logging.getLogger(__name__)

#: Settings that may differ between a run and its resumption.
FREE_SETTINGS = {
    "allow_download",
    "resume",
    "device",
    "checkpoint_every",
    "validate_every",
    "output",
    "data",
    "layout",
    "log_every",
    "tracker",
    "start_share",
}

#: Longest silence of the progress, in seconds.
SILENCE = 10.0


class TrainingLoop:
    """State of one run: network, optimiser, averages, history.

    Every random draw depends on the seed and the step alone. A kind of training says what its
    network is, what a batch is, and how it is validated.
    """

    #: Files of the folder that the run ends in.
    files: tuple[str, ...] = FILES

    #: How long the optimiser remembers gradients and their squares.
    betas: tuple[float, float] = (0.9, 0.99)

    #: Names of the classes, where there are any.
    names: list[str]

    def __init__(self, settings: TrainSettings, progress: Progress = silent):
        self.settings = settings
        self.progress = progress
        check_target(settings.output, self.files)
        check_tracker(settings.tracker)
        self.run = settings.output.with_name(settings.output.name + ".run")
        self._check_folder()
        self._load()
        self.history: list[dict[str, float]] = []
        self.step = 0
        self._build()
        if settings.resume:
            self._resume()

    def _load(self) -> None:
        """Read what the network is trained on."""
        raise NotImplementedError

    def _network(self) -> nn.Module:
        """Build the network together with its loss, as one module."""
        raise NotImplementedError

    def _batch(self, step: int) -> tuple[Tensor, ...]:
        """Make what the network is given at a step."""
        raise NotImplementedError

    def _validate(self, parts: dict[str, float]) -> None:
        """Add a row with ``validation`` to the history."""
        raise NotImplementedError

    def _told(self, parts: dict[str, float]) -> str:
        """Words of the progress on the last batch."""
        raise NotImplementedError

    def _check_folder(self) -> None:
        """Make sure before hours of work that it can go on, and that its result can be written."""
        earlier = find_checkpoint(self.run)
        if earlier is not None and not self.settings.resume:
            raise InputError(
                f"{self.run} holds an earlier run; add --resume to go on with it, or remove it."
            )
        seed = None if earlier is None else begun_with(earlier).get("seed")
        if seed not in (None, self.settings.seed):
            raise InputError(
                f"The run in {self.run} was begun with the seed {seed}: go on with that one, or "
                "train into a new folder."
            )
        try:
            self.run.mkdir(parents=True, exist_ok=True)
            (self.run / ".writable").touch()
            (self.run / ".writable").unlink()
        except OSError as error:
            raise InputError(f"{self.run} cannot be written: {error.strerror}.") from error

    def _build(self) -> None:
        s = self.settings
        device = pick_device(s.device)
        precision = s.mixed_precision
        if precision == "auto":
            precision = "bf16" if half_precision_pays(device) else "no"
        trackers = {} if s.tracker == "none" else {"log_with": s.tracker, "project_dir": self.run}
        self.accelerator = _accelerator(precision, device, **trackers)
        torch.manual_seed(s.seed)
        model = self._network()
        optimizer = torch.optim.AdamW(
            self._groups(model),
            lr=s.learning_rate,
            betas=self.betas,
            fused=True,
        )
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.ema = EMAModel(model.parameters(), decay=s.ema_decay, use_ema_warmup=True, power=0.75)
        self.ema.to(self.accelerator.device)

    def _groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Parameters by how they are optimised; ``pace`` multiplies the learning rate."""
        decay = [p for p in model.parameters() if p.ndim > 1]
        rest = [p for p in model.parameters() if p.ndim <= 1]
        return [
            {"params": decay, "weight_decay": self.settings.weight_decay, "pace": 1.0},
            {"params": rest, "weight_decay": 0, "pace": 1.0},
        ]

    def _resume(self) -> None:
        folder = find_checkpoint(self.run)
        if folder is None:
            return
        plain = self.accelerator.unwrap_model(self.model)
        meta = load_checkpoint(folder, plain, self.optimizer, self.ema)
        if meta.get("classes", self.names) not in ([], self.names):
            raise InputError(
                f"The run in {folder} was begun with other classes "
                f"({', '.join(meta['classes'])}); train into a new folder."
            )
        current = self._plain_settings()
        changed = sorted(k for k, v in current.items() if meta["settings"].get(k) != v)
        if changed:
            log.warning("resumed with other settings than before: %s", ", ".join(changed))
        self.step = int(meta["step"])
        self.history = meta["history"]

    def _plain_settings(self) -> dict[str, Any]:
        return json.loads(self.settings.model_dump_json(exclude=FREE_SETTINGS))  # type: ignore[no-any-return]

    def fit(self) -> None:
        """Train from the current step to the last."""
        self.model.train()
        table = TrainingLog(self.run, self.step)
        start_tracker(self.accelerator, self.settings.tracker, self.step)
        try:
            self._fit(table)
        finally:
            for tracker in self.accelerator.trackers:
                tracker.finish()

    def _fit(self, table: TrainingLog) -> None:
        s = self.settings
        first, started = self.step, time.monotonic()
        told = started
        while self.step < s.steps:
            parts = self._train_step(self.step)
            self.step += 1
            if not all(map(math.isfinite, parts.values())):
                raise InputError(
                    f"The training diverged at step {self.step}; go on from the last checkpoint "
                    "with a lower learning rate."
                )
            table.add(parts)
            now, last = time.monotonic(), self.step == s.steps
            if self.step % 20 == 0 or last or now - told > SILENCE:
                told = now
                self._report(parts, (now - started) / (self.step - first))
            validated = self.step % s.validate_every == 0 or last
            if validated:
                self._validate(parts)
            saved = self.step % s.checkpoint_every == 0 or last
            if self.step % s.log_every == 0 or validated or saved:
                self._log(table, parts, validated)
            if saved:
                self._save()

    def _log(self, table: TrainingLog, parts: dict[str, float], validated: bool) -> None:
        """Write a row of the log; before a checkpoint, so that a resumed run has all rows."""
        found = self.history[-1] if validated and self.history else {}
        measured = {k: v for k, v in found.items() if k != "step" and k not in parts}
        rate = self.optimizer.param_groups[0]["lr"]
        figures = table.write(self.step, rate, measured)
        if self.accelerator.trackers:
            self.accelerator.log(figures, step=self.step)

    def _train_step(self, step: int) -> dict[str, float]:
        s = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = s.learning_rate * group["pace"] * rate_at(step, s)
        torch.manual_seed(generator_for(s.seed, step, "dropout").initial_seed())
        batch = self._batch(step)
        with self.accelerator.autocast():
            loss, parts = self.model(*batch)
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.ema.step(self.model.parameters())
        return {"loss": float(loss.detach())} | {k: float(v) for k, v in parts.items()}

    def _report(self, parts: dict[str, float], seconds: float) -> None:
        last = f", validation {self.history[-1]['validation']:.3f}" if self.history else ""
        self.progress(
            self.step / self.settings.steps,
            f"step {self.step}/{self.settings.steps}, {self._told(parts)}{last}, "
            f"{seconds:.2f} s a step",
        )

    def _save(self) -> None:
        plain = self.accelerator.unwrap_model(self.model)
        save_checkpoint(
            self.run,
            self.step,
            plain,
            self.optimizer,
            self.ema,
            self._plain_settings(),
            self.history,
            self.names,
        )


def _accelerator(precision: str, device: torch.device, **trackers: Any) -> Accelerator:
    """Accelerator of this run, whatever an earlier one in the same process used.

    Accelerate keeps precision and device for the life of a process: a second run with others
    would be refused, or stay on the device of the first.
    """
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    if AcceleratorState._shared_state:
        state = AcceleratorState()
        other = (state.mixed_precision, state.device.type) != (precision, device.type)
        if other and state.num_processes == 1:
            AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(mixed_precision=precision, cpu=device.type == "cpu", **trackers)


def rate_at(step: int, settings: TrainSettings) -> float:
    """Learning rate, relative: linear warm-up, constant, linear fall over the last share."""
    rise = min(1.0, (step + 1) / settings.warmup)
    fall = settings.cooldown * settings.steps
    if fall <= 0:
        return rise
    return rise * min(1.0, (settings.steps - step) / fall)
