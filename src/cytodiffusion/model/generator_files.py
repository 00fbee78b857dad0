"""The generator's two files in a model bundle."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from cytodiffusion.errors import BundleError

from .files import check_weights, read_json, read_tensors
from .generator import Generator

CONFIG = "generator.json"
WEIGHTS = "generator.safetensors"
FILES = (CONFIG, WEIGHTS)


def save_generator(folder: Path, generator: Generator) -> None:
    """Write a generator in half precision."""
    config = {k: v for k, v in generator.config.items() if not k.startswith("_")}
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    weights = {
        k: v.to("cpu", torch.float16).contiguous() for k, v in generator.state_dict().items()
    }
    save_file(weights, folder / WEIGHTS)


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
    weights = {k: v.float() for k, v in read_tensors(folder / WEIGHTS).items()}
    check_weights(weights, generator, folder)
    generator.load_state_dict(weights)
    return generator.eval()  # type: ignore[no-any-return]
