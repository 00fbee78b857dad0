"""Checkpoints of a training run: whole or not at all, safetensors and JSON only."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cytodiffusion.errors import InputError

FOLDER = "checkpoint"
STATE = "state.safetensors"
META = "meta.json"


def save_checkpoint(
    run: Path,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: EMAModel,
    settings: dict[str, Any],
    history: list[dict[str, float]],
    classes: Sequence[str] = (),
) -> None:
    """Write the state after ``step`` steps; a kill leaves the previous checkpoint in place."""
    tensors: dict[str, Tensor] = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"ema.{i}": v for i, v in enumerate(ema.shadow_params)}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    tensors = {k: v.detach().contiguous().cpu() for k, v in tensors.items()}
    meta = {
        "step": step,
        "ema_steps": ema.optimization_step,
        "settings": settings,
        "history": history,
        "classes": list(classes),
    }
    try:
        _write(run, tensors, meta)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"The checkpoint cannot be written to {run}: {reason}.") from error


def _write(run: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    fresh = run / f"{FOLDER}.new"
    if not (run / FOLDER).exists() and _is_complete(fresh):
        os.replace(fresh, run / FOLDER)  # a kill between two renames left it as the newest
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    save_file(tensors, fresh / STATE)
    part = fresh / f"{META}.part"
    part.write_text(json.dumps(meta, indent=1), encoding="utf-8")
    os.replace(part, fresh / META)  # last: whoever finds it finds all
    _replace_folder(fresh, run / FOLDER)


def _replace_folder(fresh: Path, final: Path) -> None:
    """Swap folders so that at every moment one of them, old or new, is complete."""
    old = final.with_suffix(".old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        os.replace(final, old)
    os.replace(fresh, final)
    shutil.rmtree(old, ignore_errors=True)


def find_checkpoint(run: Path) -> Path | None:
    """Return the newest complete checkpoint of a run, or None."""
    for name in (FOLDER, f"{FOLDER}.new", f"{FOLDER}.old"):
        if _is_complete(run / name):
            return run / name
    return None


def _is_complete(folder: Path) -> bool:
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(meta, dict) and (folder / STATE).is_file()


def begun_with(folder: Path) -> dict[str, Any]:
    """Return the settings that the run of a complete checkpoint was begun with."""
    meta = json.loads((folder / META).read_text(encoding="utf-8"))
    return dict(meta.get("settings") or {})


def load_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, ema: EMAModel
) -> dict[str, Any]:
    """Restore a run from a checkpoint folder and return its ``meta.json``."""
    try:
        meta: dict[str, Any] = json.loads((folder / META).read_text(encoding="utf-8"))
        tensors = load_file(folder / STATE)
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(
            f"The checkpoint in {folder} is damaged; remove it to start again."
        ) from error
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    try:
        model.load_state_dict(weights)
        for i, shadow in enumerate(ema.shadow_params):
            shadow.data.copy_(tensors[f"ema.{i}"])
        ema.optimization_step = int(meta["ema_steps"])
        groups = optimizer.state_dict()["param_groups"]
        state = _optimizer_state(tensors, optimizer)
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    except (KeyError, IndexError, RuntimeError, ValueError) as error:
        raise InputError(
            f"The checkpoint in {folder} was made with other settings; train into a new folder."
        ) from error
    return meta


def _optimizer_state(
    tensors: dict[str, Tensor], optimizer: torch.optim.Optimizer
) -> dict[int, dict[str, Tensor]]:
    """State of the optimiser by parameter, each tensor laid out in memory as its parameter is.

    The fused AdamW walks parameters, gradients and averages in the order of memory, whatever
    their strides say: averages in another order than a channels-last weight would be mixed up.
    """
    params = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if not key.startswith("optimizer."):
            continue
        _, index, name = key.split(".", 2)
        param = params[int(index)]
        if value.shape == param.shape and value.ndim:
            value = torch.empty_like(param, dtype=value.dtype).copy_(value)
        state.setdefault(int(index), {})[name] = value.detach()
    return state
