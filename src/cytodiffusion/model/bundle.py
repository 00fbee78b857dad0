"""Model bundles: a folder (or Hub id) with everything that classification needs.

``config.json`` and ``diffusion_pytorch_model.safetensors`` are the network in diffusers' own
format; ``classes.json`` names, colours and groups the classes and fixes the input;
``calibration.json`` and ``calibration.safetensors`` hold what was measured on validation data;
``card.md`` says where it comes from; ``checksums.json`` guards all of them. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cytodiffusion.datasets.seen import TRAINING_IMAGES, TrainingImages
from cytodiffusion.device import pick_device
from cytodiffusion.errors import BundleError
from cytodiffusion.taxonomy import Taxonomy

from .calibration import Calibration
from .codec import Codec, PixelCodec, codec_from_config
from .denoiser import UNetDenoiser, embedding_width
from .files import check_weights, read_json
from .files import file_checksum as file_checksum
from .files import read_tensors as read_tensors
from .generator import Generator
from .generator_files import FILES as GENERATOR_FILES
from .generator_files import load_generator
from .laboratory import FILES as LABORATORY_FILES
from .laboratory import Laboratory, load_laboratory
from .noise import NoiseSchedule, centred_disc
from .source import fetch, split_classes
from .stable_diffusion import StableDiffusionDenoiser, hard_disc

WEIGHTS = "diffusion_pytorch_model.safetensors"
#: What diffusers calls weights in half precision; a Stable Diffusion checkpoint may have them.
HALF_WEIGHTS = "diffusion_pytorch_model.fp16.safetensors"
FILES = (
    "config.json",
    WEIGHTS,
    "classes.json",
    "calibration.json",
    "calibration.safetensors",
    "card.md",
)
#: Those of a bundle with Stable Diffusion's network, in the folders that diffusers gives it.
STABLE_DIFFUSION_FILES = (
    *FILES[2:],
    "scheduler/scheduler_config.json",
    *(f"{part}/{name}" for part in ("unet", "vae") for name in FILES[:2]),
)
#: Files that a bundle may have besides; checked like the others where it has them.
OPTIONAL_FILES = (TRAINING_IMAGES, *GENERATOR_FILES, *LABORATORY_FILES)
CHECKSUMS = "checksums.json"
#: What is fetched of a model on the Hub: a bundle, or a checkpoint with its averaged weights.
HUB_FILES = (
    *(*FILES, *STABLE_DIFFUSION_FILES, *OPTIONAL_FILES, CHECKSUMS),
    *(f"unet_ema/{name}" for name in FILES[:2]),
    *(f"{part}/{HALF_WEIGHTS}" for part in ("unet", "unet_ema", "vae")),
)
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
    denoiser : UNetDenoiser or StableDiffusionDenoiser
    codec : Codec
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
    taxonomy : Taxonomy, optional
        Hierarchy that its classes belong to.
    training_images : TrainingImages, optional
        Fingerprints of what it was trained on; older bundles have none.
    generator : Generator, optional
        Draws synthetic cells; without one the denoiser does.
    laboratory : Laboratory, optional
        Corrects the cells of a slide for what they have in common; without one each stays as it is.
    """

    name: str
    version: str
    classes: tuple[CellClass, ...]
    input_size: int
    window_um: float
    disc_radius: float
    denoiser: UNetDenoiser | StableDiffusionDenoiser
    codec: Codec
    schedule: NoiseSchedule
    calibration: Calibration
    device: torch.device
    source: str = ""
    checksum: str = ""
    card: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    taxonomy: Taxonomy | None = None
    training_images: TrainingImages | None = None
    generator: Generator | None = None
    laboratory: Laboratory | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the posterior."""
        return tuple(c.name for c in self.classes)

    @property
    def calibrated(self) -> bool:
        """Whether its doubts mean anything; a checkpoint of other code calls no anomaly."""
        return math.isfinite(self.calibration.anomaly_threshold)

    def disc(self) -> Tensor:
        """Weight of each latent in a crop's error, ``(grid, grid)``."""
        published = isinstance(self.denoiser, StableDiffusionDenoiser)
        disc = (hard_disc if published else centred_disc)(self.codec.grid, self.disc_radius)
        return disc.to(self.device)

    def record(self) -> dict[str, Any]:
        """Return what a result says about the model it came from."""
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
        ``default``, a folder, or a Hub id ``owner/name``; what `split_classes` parts is passed
        over.
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
    source, _ = split_classes(source)
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    parts = str(source).split("/")
    if folder.exists() or len(parts) != 2 or not all(parts) or str(source).startswith((".", "~")):
        raise BundleError(f"There is no model bundle at {source}: it must be a folder or a Hub id.")
    return fetch(str(source), HUB_FILES, allow_download)


def load_bundle(
    source: str | Path = "default",
    *,
    device: str = "auto",
    allow_download: bool = False,
    class_names: Sequence[str] | None = None,
) -> ModelBundle:
    """Load and verify a bundle.

    Parameters
    ----------
    source : str or Path
        ``default``, a folder, or a Hub id ``owner/name``; of a Stable Diffusion checkpoint that
        does not name its classes ``SOURCE#class,class``, in the order of its one-hot vectors.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``mps``.
    allow_download : bool
        Whether a Hub id may be downloaded.
    class_names : sequence of str, optional
        The same by themselves.

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
    named = class_names or split_classes(source)[1]
    if holds_stable_diffusion(folder):
        from .stable_diffusion_files import load_stable_diffusion

        return load_stable_diffusion(folder, target, str(source), named)
    if named:
        raise BundleError(f"The bundle {folder} names its classes itself; name none behind a #.")
    checksum = verify_bundle(folder)
    described = read_description(folder)
    classes, codec = described["classes"], described["codec"]
    denoiser = _load_denoiser(folder, len(classes), codec)
    calibration = load_calibration(folder, classes, embedding_width(denoiser))
    return ModelBundle(
        name=described["name"],
        version=described["version"],
        classes=classes,
        input_size=codec.size,
        window_um=described["window_um"],
        disc_radius=described["disc_radius"],
        denoiser=denoiser.to(target, memory_format=torch.channels_last).eval(),
        codec=codec,
        schedule=NoiseSchedule(),
        calibration=calibration,
        device=target,
        source=str(source),
        checksum=checksum,
        card=(folder / "card.md").read_text(encoding="utf-8", errors="replace"),
        training=described["training"],
        taxonomy=described["taxonomy"],
        training_images=load_training_images(folder),
        generator=_generator(folder, len(classes), target),
        laboratory=_laboratory(folder, len(classes), embedding_width(denoiser)),
    )


def holds_stable_diffusion(folder: Path) -> bool:
    """Tell whether ``folder`` is laid out as a Stable Diffusion checkpoint of diffusers."""
    return any((folder / part).is_dir() for part in ("unet", "unet_ema"))


def read_description(
    folder: Path, make_codec: Callable[[dict[str, Any]], Codec] = codec_from_config
) -> dict[str, Any]:
    """``classes.json`` with its entries checked and turned into objects."""
    content = read_json(folder / "classes.json")
    if content.get("format") != FORMAT:
        raise BundleError(
            f"The bundle {folder} has the format {content.get('format')!r}, this version of "
            f"cytodiffusion reads {FORMAT}; update the older of the two."
        )
    try:
        classes = tuple(CellClass(**c) for c in content["classes"])
        check_classes(classes)
        sizes = {k: float(content[k]) for k in ("window_um", "disc_radius")}
        if not all(0 < v < 1000 for v in sizes.values()):
            raise ValueError("window and disc must have positive sizes")
        return {
            "classes": classes,
            "codec": make_codec(content["codec"]),
            "name": str(content["name"]),
            "version": str(content["version"]),
            "training": dict(content.get("training", {})),
            "taxonomy": Taxonomy.from_dict(t) if (t := content.get("taxonomy")) else None,
            **sizes,
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"classes.json of the bundle {folder} is not as expected: {_reason(error)}."
        ) from error


def check_classes(classes: Sequence[CellClass]) -> None:
    """ValueError unless there are classes, with different names and with colours."""
    names = [c.name for c in classes]
    if len(set(names)) != len(names) or not names:
        raise ValueError("class names must be there and differ")
    for c in classes:
        if not isinstance(c.name, str) or not c.name or "|" in c.name:
            raise ValueError(f"{c.name!r} cannot be the name of a class")
        if not re.fullmatch("#[0-9a-fA-F]{6}", str(c.color)):
            raise ValueError(f"{c.color!r} is not a colour such as #0072b2")


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def verify_bundle(folder: Path, files: Sequence[str] = FILES) -> str:
    """Check that every one of ``files`` is there and unaltered; return the bundle's checksum.

    Raises
    ------
    BundleError
    """
    missing = [name for name in (*files, CHECKSUMS) if not (folder / name).is_file()]
    if missing:
        raise BundleError(f"The bundle {folder} lacks {', '.join(missing)}; copy it again in full.")
    expected = read_json(folder / CHECKSUMS)
    files = [*files, *(name for name in OPTIONAL_FILES if name in expected)]
    for name in files:
        try:
            found = file_checksum(folder / name)
        except OSError as error:
            raise BundleError(
                f"{name} of the bundle {folder} cannot be read: {error.strerror or error}."
            ) from error
        if expected.get(name) != found:
            raise BundleError(
                f"{name} of the bundle {folder} is not the file it was made with "
                "(wrong checksum); copy the bundle again."
            )
    return hashlib.sha256("".join(expected[n] for n in files).encode()).hexdigest()


def load_training_images(folder: Path) -> TrainingImages | None:
    """Fingerprints of the training images of a verified bundle; None where it has none."""
    if TRAINING_IMAGES not in read_json(folder / CHECKSUMS):
        return None
    return TrainingImages.load(folder / TRAINING_IMAGES)


def _generator(folder: Path, n_classes: int, device: torch.device) -> Generator | None:
    """Return the generator of a verified bundle; None where it has none."""
    if not set(GENERATOR_FILES) <= read_json(folder / CHECKSUMS).keys():
        return None
    generator = load_generator(folder, n_classes)
    return generator.to(device, memory_format=torch.channels_last)  # type: ignore[no-any-return]


def _laboratory(folder: Path, n_classes: int, embedding: int) -> Laboratory | None:
    """Return the correction for laboratories of a verified bundle; None where it has none."""
    there = set(LABORATORY_FILES) & read_json(folder / CHECKSUMS).keys()
    if not there:
        return None
    if lost := sorted(set(LABORATORY_FILES) - there):
        raise BundleError(f"The bundle {folder} lacks {lost[0]}; copy it again in full.")
    return load_laboratory(folder, n_classes, embedding)


def _load_denoiser(folder: Path, n_classes: int, codec: PixelCodec) -> UNetDenoiser:
    config = read_json(folder / "config.json")
    kind = config.get("_class_name", UNetDenoiser.__name__)
    if kind != UNetDenoiser.__name__:
        raise BundleError(
            f"The bundle {folder} has a network of the kind {kind!r}, which this version of "
            "cytodiffusion does not know."
        )
    try:
        denoiser: UNetDenoiser = UNetDenoiser.from_config(config)
    except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise BundleError(
            f"config.json of the bundle {folder} describes no denoiser: {error}."
        ) from error
    if denoiser.num_classes != n_classes:
        raise BundleError(
            f"The bundle {folder} names {n_classes} classes, but its network has "
            f"{denoiser.num_classes}."
        )
    halvings = len(denoiser.config.widths) - 1
    if denoiser.config.in_channels != codec.channels or codec.grid % 2**halvings:
        raise BundleError(f"Network and codec of the bundle {folder} do not fit each other.")
    weights = {k: v.float() for k, v in read_tensors(folder / WEIGHTS).items()}
    check_weights(weights, denoiser, folder)
    denoiser.load_state_dict(weights)
    return denoiser


def load_calibration(folder: Path, classes: Sequence[CellClass], embedding: int) -> Calibration:
    """Read what was measured on validation data; BundleError if it does not fit the network."""
    try:
        calibration = Calibration.from_parts(
            read_json(folder / "calibration.json"),
            read_tensors(folder / "calibration.safetensors"),
        )
        calibration.check(len(classes), embedding)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BundleError(
            f"The calibration of the bundle {folder} does not fit: {_reason(error)}."
        ) from error
    return calibration
