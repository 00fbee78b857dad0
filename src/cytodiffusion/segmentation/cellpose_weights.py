"""Cellpose's weights: which there are, where they lie, how they get here, whether they are safe."""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cytodiffusion.errors import CytoDiffusionError, DownloadNeeded, InputError
from cytodiffusion.progress import Progress, silent

_HUB_REPOSITORY = "mouseland/cellpose-sam"
_FOLDER_VARIABLE = "CELLPOSE_LOCAL_MODELS_PATH"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class CellposeModelInfo:
    """A model Cellpose publishes.

    Attributes
    ----------
    name : str
    download_bytes : int
        Approximate: four bytes a parameter.
    tile : int
        Side of the square the network sees at once, in pixels.
    needs_dinov3 : bool
        Its network comes from the ``dinov3`` package, which Cellpose does not install.
    """

    name: str
    download_bytes: int
    tile: int = 256
    needs_dinov3: bool = False


#: The models of Cellpose 4.2, its own default first.
MODELS = {
    info.name: info
    for info in (
        CellposeModelInfo("cpsam_v2", 1_220_000_000),
        CellposeModelInfo("cpsam", 1_220_000_000),
        CellposeModelInfo("cpdino", 1_220_000_000, tile=384, needs_dinov3=True),
        CellposeModelInfo("cpdino-vitb", 345_000_000, tile=384, needs_dinov3=True),
    )
}


def models_folder() -> Path:
    """Return the folder in which Cellpose keeps its weights."""
    chosen = os.environ.get(_FOLDER_VARIABLE)
    return Path(chosen) if chosen else Path.home() / ".cellpose" / "models"


def available_models() -> tuple[str, ...]:
    """Return the names of Cellpose's models and of those the user added to Cellpose's window."""
    listed = models_folder() / "gui_models.txt"
    own: list[str] = []
    if listed.is_file():
        lines = listed.read_text(encoding="utf-8", errors="replace").splitlines()
        own = [line.strip() for line in lines if line.strip() and line.strip() not in MODELS]
    return (*MODELS, *own)


def default_model() -> str:
    """Return the first model whose weights are here, otherwise Cellpose's default."""
    return next((name for name in MODELS if weights_present(name)), next(iter(MODELS)))


def weights_path(model: str | Path) -> Path:
    """Return where the weights of `model` are or would be."""
    if str(model) in available_models():
        return models_folder() / str(model)
    path = Path(model).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the Cellpose weights file in it.")
    raise InputError(
        f"There is no Cellpose model and no file {model}; the models are "
        f"{', '.join(available_models())}."
    )


def weights_present(model: str | Path) -> bool:
    """Return whether `model` can be used without a download."""
    try:
        return weights_path(model).is_file()
    except InputError:
        return False


def download_size(model: str | Path) -> int:
    """Return about how many bytes must be downloaded before `model` can be used."""
    if weights_present(model):
        return 0
    info = MODELS.get(str(model))
    return info.download_bytes if info else 0


def fetch_weights(
    model: str | Path, *, allow_download: bool = False, progress: Progress = silent
) -> Path:
    """Return the weights file of `model`, downloaded if need be and allowed."""
    path = weights_path(model)
    if path.is_file():
        return path
    info = MODELS.get(str(model))
    if info is None:
        raise InputError(f"The weights of the Cellpose model {model} are missing: {path}.")
    if not allow_download:
        raise DownloadNeeded(
            f"Cellpose's model {info.name} must be downloaded from huggingface.co first, about "
            f"{_megabytes(info.download_bytes)}, to {path.parent}; "
            "agree to that or use the watershed, which needs no download."
        )
    try:
        _download(info.name, path, progress)
    except CytoDiffusionError:
        raise
    except Exception as error:  # the network fails in many ways
        raise InputError(
            f"Cellpose's model {info.name} could not be downloaded ({error}); "
            f"without a network, copy the file {info.name} to {path.parent}."
        ) from error
    return path


def check_weights(path: Path) -> dict[str, Any]:
    """Return the tensors of a Cellpose weights file without ever running code in it."""
    import torch

    state: Any
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path} is not opened: it is not a plain file of Cellpose 4 weights "
            "and could run code of its own."
        ) from None
    except Exception as error:  # torch raises anything for files of other kinds
        raise InputError(f"{path} is not a file of Cellpose 4 weights.") from error
    if not isinstance(state, dict) or not all(torch.is_tensor(v) for v in state.values()):
        raise InputError(f"{path} is not a file of Cellpose 4 weights.")
    if "W2" not in state:
        raise InputError(f"{path} holds weights, but not of Cellpose 4; older models do not fit.")
    return dict(state)


def _download(name: str, path: Path, progress: Progress) -> None:
    """Fetch a file from the Hub, checked against the SHA-256 the Hub states, all or nothing.

    Cellpose's own downloader switches off the check of certificates and has no checksum.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    found = get_hf_file_metadata(hf_hub_url(_HUB_REPOSITORY, name))
    total = found.size or MODELS[name].download_bytes
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, done = hashlib.sha256(), 0
    handle, partial = tempfile.mkstemp(prefix=f".{name}-", dir=path.parent)
    try:
        with (
            os.fdopen(handle, "wb") as file,
            urllib.request.urlopen(found.location, timeout=60) as reply,
        ):
            while block := reply.read(_CHUNK):
                file.write(block)
                digest.update(block)
                done += len(block)
                progress(min(1.0, done / total), f"Downloading {name}: {_megabytes(done)}")
        if found.size is not None and done != found.size:
            raise InputError(f"The download of {name} was cut short; try again.")
        if found.etag and len(found.etag) == 64 and digest.hexdigest() != found.etag:
            raise InputError(f"The download of {name} arrived damaged; try again.")
        os.chmod(partial, 0o644)  # temporary files are private, weights need not be
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)


def _megabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
