"""Reading the files of a model: JSON and safetensors, nothing else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from cytodiffusion.errors import BundleError


def file_checksum(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; BundleError for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not a JSON file.") from error
    if not isinstance(content, dict):
        raise BundleError(f"{path} holds no JSON object.")
    return content


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; BundleError for anything else, a pickle above all."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise BundleError(
            f"{path} is not a safetensors file; other formats are never loaded."
        ) from error


def check_weights(weights: dict[str, Tensor], network: nn.Module, folder: Path) -> None:
    """BundleError unless the weights are numbers and just those that the network has."""
    expected = {k: tuple(v.shape) for k, v in network.state_dict().items()}
    found = {k: tuple(v.shape) for k, v in weights.items()}
    if expected != found:
        odd = sorted(k for k in expected | found if expected.get(k) != found.get(k))
        raise BundleError(
            f"The weights of the bundle {folder} do not fit its network: {len(odd)} tensors "
            f"differ, such as {odd[0]}."
        )
    broken = [k for k, v in weights.items() if not v.isfinite().all()]
    if broken:
        raise BundleError(
            f"The weights of the bundle {folder} are damaged: {broken[0]} has entries that are "
            "not numbers."
        )
