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

from cytodiffusion.errors import BundleError

from .bundle import CHECKSUMS, FILES, FORMAT, CellClass, file_checksum
from .calibration import Calibration
from .codec import PixelCodec
from .denoiser import UNetDenoiser
from .noise import NoiseSchedule


def save_bundle(
    folder: Path,
    *,
    name: str,
    version: str,
    classes: Sequence[CellClass],
    denoiser: UNetDenoiser,
    codec: PixelCodec,
    calibration: Calibration,
    window_um: float,
    disc_radius: float,
    card: str,
    training: dict[str, Any] | None = None,
    dtype: torch.dtype = torch.float16,
) -> Path:
    """Write a bundle, whole or not at all; an older bundle in its place is replaced.

    The network is written in half precision by ``save_pretrained`` of diffusers, so that
    ``UNetDenoiser.from_pretrained(folder)`` loads it too.

    Raises
    ------
    BundleError
        If the folder cannot be written, or holds anything else than a bundle.
    """
    folder = Path(folder)
    check_target(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise BundleError(f"The bundle cannot be written to {folder}: {error.strerror}.") from error
    try:
        half = UNetDenoiser.from_config(denoiser.config)
        half.load_state_dict({k: v.cpu() for k, v in denoiser.state_dict().items()})
        nn.Module.to(half, dtype)  # that of diffusers warns of modules to be kept in float32
        half.save_pretrained(fresh, safe_serialization=True)
        described = {
            "format": FORMAT,
            "name": name,
            "version": version,
            "classes": [asdict(c) for c in classes],
            "codec": codec.to_config(),
            "schedule": NoiseSchedule.to_config(),
            "window_um": window_um,
            "disc_radius": disc_radius,
            "training": training or {},
        }
        _write_json(fresh / "classes.json", described)
        numbers, tensors = calibration.to_parts()
        _write_json(fresh / "calibration.json", numbers)
        save_file(tensors, fresh / "calibration.safetensors")
        (fresh / "card.md").write_text(card, encoding="utf-8")
        _write_json(fresh / CHECKSUMS, {n: file_checksum(fresh / n) for n in FILES})
        for name in FILES:  # safetensors writes for the owner alone
            (fresh / name).chmod((fresh / CHECKSUMS).stat().st_mode)
        fresh.chmod(0o755)
        _replace_folder(fresh, folder)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BundleError(f"The bundle cannot be written to {folder}: {reason}.") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def check_target(folder: Path, files: Sequence[str] = FILES) -> None:
    """BundleError unless ``folder`` is free, empty, or holds ``files`` and nothing else.

    A bundle replaces its folder as a whole: nobody's own files may be in it.
    """
    if folder.name in ("", ".."):
        raise BundleError(f"{folder} cannot become a bundle; name a new folder.")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise BundleError(f"{folder} is not a folder; name a new folder for the bundle.")
    if folder.is_dir():
        foreign = sorted({p.name for p in folder.iterdir()} - {*files, CHECKSUMS})
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
