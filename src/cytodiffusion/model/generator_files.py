"""The generator's two files in a model bundle."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from cytodiffusion.errors import BundleError

from .files import check_weights, read_json, read_tensors
from .generator import Generator

CONFIG = "generator.json"
WEIGHTS = "generator.safetensors"
FILES = (CONFIG, WEIGHTS)
#: Ending of the name of the units that a weight is counted in.
UNIT = ".unit"


def save_generator(folder: Path, generator: Generator) -> None:
    """Write a generator: convolutions in 8 bits a weight, the rest in half precision."""
    config = {k: v for k, v in generator.config.items() if not k.startswith("_")}
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    packed: dict[str, Tensor] = {}
    for name, weight in generator.state_dict().items():
        packed |= _packed(name, weight.detach().cpu().float())
    save_file(packed, folder / WEIGHTS)


def _packed(name: str, weight: Tensor) -> dict[str, Tensor]:
    """Tensors that stand for a weight: whole numbers and their unit in each output channel."""
    if weight.ndim < 4:
        return {name: weight.to(torch.float16).contiguous()}
    unit = weight.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-8) / 127
    return {name: (weight / unit).round().to(torch.int8).contiguous(), name + UNIT: unit}


def _unpacked(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: value.float() * packed.get(name + UNIT, torch.ones(()))
        for name, value in packed.items()
        if not name.endswith(UNIT)
    }


def load_generator(folder: Path, n_classes: int) -> Generator:
    """Read a generator; BundleError where it does not fit the bundle's classes or itself."""
    config = read_json(folder / CONFIG)
    try:
        generator = Generator(**config)
    except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise BundleError(
            f"{CONFIG} of the bundle {folder} describes no generator: {error}."
        ) from error
    if generator.num_classes != n_classes:
        raise BundleError(
            f"The bundle {folder} names {n_classes} classes, but its generator draws "
            f"{generator.num_classes}."
        )
    weights = _unpacked(read_tensors(folder / WEIGHTS))
    check_weights(weights, generator, folder)
    generator.load_state_dict(weights)
    return generator.eval()  # type: ignore[no-any-return]
