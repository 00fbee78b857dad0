"""Writing model bundles: whole or not at all, and over nobody's own files."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from cytodiffusion.datasets.seen import TRAINING_IMAGES
from cytodiffusion.errors import BundleError
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.bundle_files import (
    CHECKSUMS,
    FILES,
    FORMAT,
    OPTIONAL_FILES,
    STABLE_DIFFUSION_FILES,
    WEIGHTS,
)
from cytodiffusion.model.codec import Codec
from cytodiffusion.model.denoiser import UNetDenoiser
from cytodiffusion.model.files import file_checksum
from cytodiffusion.model.generator import FILES as GENERATOR_FILES
from cytodiffusion.model.generator import save_generator
from cytodiffusion.model.schedule import NoiseSchedule
from cytodiffusion.model.segmenter import FILES as SEGMENTER_FILES
from cytodiffusion.model.segmenter import save_segmenter
from cytodiffusion.model.slide_correction import FILES as SLIDE_CORRECTION_FILES
from cytodiffusion.model.slide_correction import save_slide_correction
from cytodiffusion.model.slide_distance import FILES as SLIDE_DISTANCE_FILES
from cytodiffusion.model.slide_distance import save_slide_distance
from cytodiffusion.model.stable_diffusion import StableDiffusionCodec, StableDiffusionDenoiser
from cytodiffusion.model.taught_head import FILES as TAUGHT_HEAD_FILES
from cytodiffusion.model.taught_head import save_taught_head


def save_bundle(folder: Path, model: ModelBundle, dtype: torch.dtype = torch.float16) -> Path:
    """Write a bundle, whole or not at all; an older bundle in its place is replaced.

    The network is written in half precision in the layout of diffusers, so that
    ``UNetDenoiser.from_pretrained(folder)``, or that of its U-Net and VAE with the folders
    ``unet`` and ``vae``, loads it too.
    """
    folder = Path(folder)
    files = files_of(model.denoiser)
    check_target(folder, files)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise BundleError(f"The bundle cannot be written to {folder}: {error.strerror}.") from error
    try:
        schedule = _write_network(fresh, model.denoiser, model.codec, dtype)
        described = {
            "format": FORMAT,
            "name": model.name,
            "version": model.version,
            "classes": [asdict(c) for c in model.classes],
            "codec": model.codec.to_config(),
            "schedule": schedule,
            "window_um": model.window_um,
            "disc_radius": model.disc_radius,
            "training": model.training,
        }
        if model.traits:
            described["traits"] = [trait.to_dict() for trait in model.traits]
        if model.taxonomy is not None:
            described["taxonomy"] = model.taxonomy.to_dict()
        _write_json(fresh / "classes.json", described)
        numbers, tensors = model.calibration.to_parts()
        _write_json(fresh / "calibration.json", numbers)
        save_file(tensors, fresh / "calibration.safetensors")
        (fresh / "card.md").write_text(model.card, encoding="utf-8")
        if model.training_images is not None:
            model.training_images.save(fresh / TRAINING_IMAGES)
            files = (*files, TRAINING_IMAGES)
        if model.generator is not None:
            save_generator(fresh, model.generator)
            files = (*files, *GENERATOR_FILES)
        if model.slide_correction is not None:
            save_slide_correction(fresh, model.slide_correction)
            files = (*files, *SLIDE_CORRECTION_FILES)
        if model.slide_distance is not None:
            save_slide_distance(fresh, model.slide_distance)
            files = (*files, *SLIDE_DISTANCE_FILES)
        if model.segmenter is not None:
            save_segmenter(fresh, model.segmenter)
            files = (*files, *SEGMENTER_FILES)
        if model.head is not None:
            save_taught_head(fresh, model.head)
            files = (*files, *TAUGHT_HEAD_FILES)
        _write_json(fresh / CHECKSUMS, {n: file_checksum(fresh / n) for n in files})
        for name in files:  # safetensors writes for the owner alone
            (fresh / name).chmod((fresh / CHECKSUMS).stat().st_mode)
        for part in (fresh, *(p for p in fresh.iterdir() if p.is_dir())):
            part.chmod(0o755)
        _replace_folder(fresh, folder)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BundleError(f"The bundle cannot be written to {folder}: {reason}.") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def files_of(denoiser: nn.Module) -> tuple[str, ...]:
    """Return the files of a bundle with such a network, ``checksums.json`` not counted."""
    published = isinstance(denoiser, StableDiffusionDenoiser)
    return STABLE_DIFFUSION_FILES if published else FILES


def _write_network(
    folder: Path,
    denoiser: UNetDenoiser | StableDiffusionDenoiser,
    codec: Codec,
    dtype: torch.dtype,
) -> dict[str, Any]:
    """Write the network in ``dtype`` and return the settings of its noise levels."""
    if isinstance(denoiser, StableDiffusionDenoiser):
        assert isinstance(codec, StableDiffusionCodec)
        _write_part(folder / "unet", denoiser.unet, dtype)
        _write_part(folder / "vae", codec.vae, torch.float32)  # frozen: stays what it was
        schedule = denoiser.schedule.to_config()
        from diffusers import DDPMScheduler

        DDPMScheduler(**schedule).save_config(folder / "scheduler")
        return schedule
    half = UNetDenoiser.from_config(denoiser.config)
    half.load_state_dict({k: v.cpu() for k, v in denoiser.state_dict().items()})
    half.to(dtype).save_pretrained(folder)
    return NoiseSchedule.to_config()


def _write_part(folder: Path, network: Any, dtype: torch.dtype) -> None:
    """Write a network's settings and weights as diffusers names them."""
    network.save_config(folder)
    weights = {k: v.to("cpu", dtype).contiguous() for k, v in network.state_dict().items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def check_target(folder: Path, files: Sequence[str] = FILES) -> None:
    """BundleError unless ``folder`` is free, empty, or holds ``files`` and nothing else.

    A bundle replaces its folder as a whole: nobody's own files may be in it.
    """
    if folder.name in ("", ".."):
        raise BundleError(f"{folder} cannot become a bundle; name a new folder.")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise BundleError(f"{folder} is not a folder; name a new folder for the bundle.")
    if folder.is_dir():
        parts = {name.split("/")[0] for name in files if "/" in name}
        there = [*folder.iterdir(), *(p for part in parts for p in (folder / part).glob("*"))]
        names = {p.relative_to(folder).as_posix() for p in there}
        foreign = sorted(names - {*files, *parts, *OPTIONAL_FILES, CHECKSUMS})
        if foreign:
            raise BundleError(
                f"{folder} holds other files, such as {foreign[0]}; name a new folder for the "
                "bundle."
            )


def _replace_folder(fresh: Path, folder: Path) -> None:
    """Put ``fresh`` in the place of ``folder``; the old one goes only when the new one is there."""
    old = fresh.with_name(f"{fresh.name}.old")
    if folder.exists():
        os.replace(folder, old)
    try:
        os.replace(fresh, folder)
    except OSError:
        if old.exists():
            os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
