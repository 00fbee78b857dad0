"""Start a training from the weights of an earlier model, with the same or with new classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cytodiffusion.errors import InputError
from cytodiffusion.model.bundle import ModelBundle, load_bundle
from cytodiffusion.model.codec import PixelCodec
from cytodiffusion.model.denoiser import UNetDenoiser

from .settings import TrainSettings


def like_start(settings: TrainSettings) -> TrainSettings:
    """Return ``settings`` with the network of the model that ``settings.init`` names.

    Raises
    ------
    InputError
        If there is no such model, or its network is not ours.
    """
    if settings.init is None or settings.kind != "diffusion":
        return settings
    model = load_bundle(settings.init, device="cpu")
    if not isinstance(model.denoiser, UNetDenoiser) or not isinstance(model.codec, PixelCodec):
        raise InputError(f"A training cannot start from {model.name}: its network is another.")
    config = model.denoiser.config
    return settings.model_copy(
        update={
            "input_size": model.input_size,
            "window_um": model.window_um,
            "disc_radius": model.disc_radius,
            "patch": model.codec.patch,
            "widths": tuple(config.widths),
            "blocks": tuple(config.blocks),
            "head_channels": config.head_channels,
        }
    )


def start_from(denoiser: UNetDenoiser, names: Sequence[str], model: ModelBundle) -> None:
    """Copy the weights of ``model`` into ``denoiser``; classes go by name.

    Classes that ``model`` does not know keep their random rows of the class table.
    """
    source = model.denoiser.state_dict()
    table = denoiser.class_table.detach().clone()
    known = {name: row for row, name in enumerate(model.class_names)}
    for row, name in enumerate(names):
        if name in known:
            table[row] = source["class_table"][known[name]]
    with torch.no_grad():
        denoiser.load_state_dict({**source, "class_table": table})
