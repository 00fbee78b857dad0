"""Reading the files of a model: JSON and safetensors, nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from cytodiffusion.errors import BundleError, DownloadNeeded


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


def split_classes(source: str | Path) -> tuple[str | Path, list[str] | None]:
    """Part ``MODEL#class,class`` into the model and the classes; None where none are named."""
    model, found, names = str(source).rpartition("#")
    if not found or Path(source).expanduser().exists():
        return source, None
    return model, [name.strip() for name in names.split(",")]


def fetch(repository: str, wanted: Sequence[str], allow_download: bool) -> Path:
    """Return the folder that the files of a repository ``owner/name`` are in."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                repository, allow_patterns=list(wanted), local_files_only=not allow_download
            )
        )
    except LocalEntryNotFoundError as error:
        if not allow_download:
            raise DownloadNeeded(
                f"The model {repository} is not on this machine (there is no such folder either); "
                "allow the download from the Hugging Face Hub, or name a folder."
            ) from error
        raise BundleError(f"The Hub could not be reached for the model {repository}.") from error
    except Exception as error:  # the Hub client raises its own and its HTTP library's kinds
        raise BundleError(f"The model {repository} could not be fetched: {error}.") from error
