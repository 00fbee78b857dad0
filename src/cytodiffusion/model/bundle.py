"""Model bundles: a folder (or Hub id) with everything that classification needs.

``config.json`` and ``diffusion_pytorch_model.safetensors`` are the network in diffusers' own
format; ``classes.json`` names, colours and groups the classes and fixes the input;
``calibration.json`` and ``calibration.safetensors`` hold what was measured on validation data;
``card.md`` says where it comes from; ``checksums.json`` guards all of them. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cytodiffusion.device import pick_device
from cytodiffusion.errors import BundleError, DownloadNeeded

from .calibration import Calibration
from .codec import PixelCodec, codec_from_config
from .denoiser import UNetDenoiser
from .noise import NoiseSchedule

WEIGHTS = "diffusion_pytorch_model.safetensors"
FILES = (
    "config.json",
    WEIGHTS,
    "classes.json",
    "calibration.json",
    "calibration.safetensors",
    "card.md",
)
CHECKSUMS = "checksums.json"
FORMAT = 1


@dataclass(frozen=True)
class CellClass:
    """One class of cells."""

    name: str
    color: str  #: ``#rrggbb``
    group: str = ""  #: such as "granulocyte"


@dataclass
class ModelBundle:
    """A denoiser with all that belongs to it, ready to classify.

    Attributes
    ----------
    name, version : str
    classes : tuple of CellClass
    input_size : int
        Side of a crop in pixels.
    window_um : float
        Side of a crop in micrometres.
    disc_radius : float
        Share of the window where errors count.
    denoiser : UNetDenoiser
    codec : PixelCodec
    schedule : NoiseSchedule
    calibration : Calibration
    device : torch.device
    source : str
        Where it was loaded from.
    checksum : str
        SHA-256 over the checksums of all files.
    card : str
        The model card, Markdown.
    training : dict
        Settings of the run that made it.
    """

    name: str
    version: str
    classes: tuple[CellClass, ...]
    input_size: int
    window_um: float
    disc_radius: float
    denoiser: UNetDenoiser
    codec: PixelCodec
    schedule: NoiseSchedule
    calibration: Calibration
    device: torch.device
    source: str = ""
    checksum: str = ""
    card: str = ""
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the posterior."""
        return tuple(c.name for c in self.classes)

    def record(self) -> dict[str, Any]:
        """What a result says about the model it came from."""
        return {
            "name": self.name,
            "version": self.version,
            "source": self.source,
            "sha256": self.checksum,
            "classes": list(self.class_names),
            "device": str(self.device),
        }


def default_bundle_path() -> Path:
    """Folder of the bundle that ships with the package."""
    return Path(str(resources.files("cytodiffusion"))) / "bundles" / "default"


def bundle_folder(source: str | Path, *, allow_download: bool = False) -> Path:
    """Find the folder that ``source`` means.

    Parameters
    ----------
    source : str or Path
        ``default``, a folder, or a Hub id ``owner/name``.
    allow_download : bool
        Whether the Hub may be asked.

    Raises
    ------
    BundleError
        If there is no such folder or Hub repository.
    DownloadNeeded
        If it is on the Hub, not in the local cache, and downloading was not allowed.
    """
    if str(source) == "default":
        return default_bundle_path()
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    parts = str(source).split("/")
    if folder.exists() or len(parts) != 2 or not all(parts) or str(source).startswith((".", "~")):
        raise BundleError(f"There is no model bundle at {source}: it must be a folder or a Hub id.")
    return _from_hub(str(source), allow_download)


def _from_hub(repository: str, allow_download: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    wanted = [*FILES, CHECKSUMS]
    try:
        return Path(
            snapshot_download(
                repository, allow_patterns=wanted, local_files_only=not allow_download
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


def load_bundle(
    source: str | Path = "default", *, device: str = "auto", allow_download: bool = False
) -> ModelBundle:
    """Load and verify a bundle.

    Parameters
    ----------
    source : str or Path
        ``default``, a folder, or a Hub id ``owner/name``.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``mps``.
    allow_download : bool
        Whether a Hub id may be downloaded.

    Raises
    ------
    BundleError
        If a file is missing, altered, not safetensors, or does not fit the others.
    DownloadNeeded
        If the bundle must be downloaded and that was not allowed.
    InputError
        If there is no such device.
    """
    target = pick_device(device)
    folder = bundle_folder(source, allow_download=allow_download)
    checksum = verify_bundle(folder)
    described = _read_json(folder / "classes.json")
    try:
        classes = tuple(CellClass(**c) for c in described["classes"])
        codec = codec_from_config(described["codec"])
        window_um, disc = float(described["window_um"]), float(described["disc_radius"])
        name, version = str(described["name"]), str(described["version"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"classes.json of the bundle {folder} is not as expected: {error}."
        ) from error
    denoiser = _load_denoiser(folder, len(classes), codec)
    calibration = _load_calibration(folder, classes, denoiser)
    return ModelBundle(
        name=name,
        version=version,
        classes=classes,
        input_size=codec.size,
        window_um=window_um,
        disc_radius=disc,
        denoiser=denoiser.to(target, memory_format=torch.channels_last).eval(),
        codec=codec,
        schedule=NoiseSchedule(),
        calibration=calibration,
        device=target,
        source=str(source),
        checksum=checksum,
        card=(folder / "card.md").read_text(encoding="utf-8"),
        training=described.get("training", {}),
    )


def verify_bundle(folder: Path) -> str:
    """Check that every file is there and unaltered; return the bundle's checksum.

    Raises
    ------
    BundleError
    """
    missing = [name for name in (*FILES, CHECKSUMS) if not (folder / name).is_file()]
    if missing:
        raise BundleError(f"The bundle {folder} lacks {', '.join(missing)}; copy it again in full.")
    expected = _read_json(folder / CHECKSUMS)
    for name in FILES:
        if expected.get(name) != file_checksum(folder / name):
            raise BundleError(
                f"{name} of the bundle {folder} is not the file it was made with "
                "(wrong checksum); copy the bundle again."
            )
    return hashlib.sha256("".join(expected[n] for n in FILES).encode()).hexdigest()


def file_checksum(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
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


def _load_denoiser(folder: Path, n_classes: int, codec: PixelCodec) -> UNetDenoiser:
    config = _read_json(folder / "config.json")
    try:
        denoiser: UNetDenoiser = UNetDenoiser.from_config(config)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BundleError(
            f"config.json of the bundle {folder} describes no denoiser: {error}."
        ) from error
    if denoiser.num_classes != n_classes:
        raise BundleError(
            f"The bundle {folder} names {n_classes} classes, but its network has "
            f"{denoiser.num_classes}."
        )
    if denoiser.config.in_channels != codec.channels:
        raise BundleError(f"Network and codec of the bundle {folder} do not fit each other.")
    weights = {k: v.float() for k, v in read_tensors(folder / WEIGHTS).items()}
    expected = {k: tuple(v.shape) for k, v in denoiser.state_dict().items()}
    found = {k: tuple(v.shape) for k, v in weights.items()}
    if expected != found:
        odd = sorted(k for k in expected | found if expected.get(k) != found.get(k))
        raise BundleError(
            f"The weights of the bundle {folder} do not fit its network: {len(odd)} tensors "
            f"differ, such as {odd[0]}."
        )
    denoiser.load_state_dict(weights)
    return denoiser


def _load_calibration(
    folder: Path, classes: Sequence[CellClass], denoiser: UNetDenoiser
) -> Calibration:
    try:
        calibration = Calibration.from_parts(
            _read_json(folder / "calibration.json"),
            read_tensors(folder / "calibration.safetensors"),
        )
        calibration.check(len(classes), int(denoiser.config.widths[-1]))
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"The calibration of the bundle {folder} does not fit: {error}."
        ) from error
    return calibration


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
    """Write a bundle, whole or not at all.

    The network is written in half precision by ``save_pretrained`` of diffusers, so that
    ``UNetDenoiser.from_pretrained(folder)`` loads it too.

    Raises
    ------
    BundleError
        If the folder cannot be written.
    """
    folder = Path(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise BundleError(f"The bundle cannot be written to {folder}: {error.strerror}.") from error
    try:
        half = UNetDenoiser.from_config(denoiser.config)
        half.load_state_dict({k: v.cpu() for k, v in denoiser.state_dict().items()})
        half.to(dtype).save_pretrained(fresh, safe_serialization=True)
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
        fresh.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(fresh, folder)
    except OSError as error:
        raise BundleError(f"The bundle cannot be written to {folder}: {error.strerror}.") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
