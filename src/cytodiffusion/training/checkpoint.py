"""Checkpoints of a training run: whole or not at all, safetensors and JSON only."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cytodiffusion.errors import InputError

FOLDER = "checkpoint"


def save_checkpoint(
    run: Path,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: EMAModel,
    settings: dict[str, Any],
    history: list[dict[str, float]],
) -> None:
    """Write the state after ``step`` steps; a kill leaves the previous checkpoint in place."""
    tensors: dict[str, Tensor] = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"ema.{i}": v for i, v in enumerate(ema.shadow_params)}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    fresh = run / f"{FOLDER}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    save_file(
        {k: v.detach().contiguous().cpu() for k, v in tensors.items()}, fresh / "state.safetensors"
    )
    meta = {
        "step": step,
        "ema_steps": ema.optimization_step,
        "settings": settings,
        "history": history,
    }
    (fresh / "meta.json").write_text(json.dumps(meta, indent=1))
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
        if (run / name / "meta.json").is_file():
            return run / name
    return None


def load_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, ema: EMAModel
) -> dict[str, Any]:
    """Restore a run from a checkpoint folder and return its ``meta.json``.

    Raises
    ------
    InputError
        If the checkpoint does not fit the settings of the run.
    """
    meta: dict[str, Any] = json.loads((folder / "meta.json").read_text())
    tensors = load_file(folder / "state.safetensors")
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"The checkpoint in {folder} was made with other settings; train into a new folder."
        ) from error
    for i, shadow in enumerate(ema.shadow_params):
        shadow.data.copy_(tensors[f"ema.{i}"])
    ema.optimization_step = meta["ema_steps"]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    return meta
