"""cytodiffusion.model.loading."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import torch

from cytodiffusion.device import pick_device
from cytodiffusion.errors import BundleError
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.bundle_files import (
    CHECKSUMS,
    HUB_FILES,
    WEIGHTS,
    load_calibration,
    load_training_images,
    read_description,
    verify_bundle,
)
from cytodiffusion.model.codec import PixelCodec
from cytodiffusion.model.denoiser import UNetDenoiser, embedding_width
from cytodiffusion.model.files import (
    check_weights,
    fetch,
    file_checksum,
    read_json,
    read_tensors,
    split_classes,
)
from cytodiffusion.model.generator import FILES as GENERATOR_FILES
from cytodiffusion.model.generator import Generator, load_generator
from cytodiffusion.model.schedule import NoiseSchedule
from cytodiffusion.model.segmenter import FILES as SEGMENTER_FILES
from cytodiffusion.model.segmenter import Segmenter, load_segmenter
from cytodiffusion.model.slide_correction import FILES as SLIDE_CORRECTION_FILES
from cytodiffusion.model.slide_correction import SlideCorrection, load_slide_correction
from cytodiffusion.model.slide_distance import FILES as SLIDE_DISTANCE_FILES
from cytodiffusion.model.slide_distance import SlideDistance, load_slide_distance
from cytodiffusion.model.taught_head import FILES as TAUGHT_HEAD_FILES
from cytodiffusion.model.taught_head import TaughtHead, known_classes, load_taught_head
from cytodiffusion.traits import Trait, sizes_of


def default_bundle_path() -> Path:
    """Folder of the bundle that ships with the package."""
    return Path(str(resources.files("cytodiffusion"))) / "bundles" / "default"


def bundle_folder(source: str | Path, *, allow_download: bool = False) -> Path:
    """Find the folder that ``source`` means."""
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
    """Load and verify a bundle."""
    target = pick_device(device)
    folder = bundle_folder(source, allow_download=allow_download)
    named = class_names or split_classes(source)[1]
    if holds_stable_diffusion(folder):
        from cytodiffusion.model.stable_diffusion_files import load_stable_diffusion

        return load_stable_diffusion(folder, target, str(source), named)
    if named:
        raise BundleError(f"The bundle {folder} names its classes itself; name none behind a #.")
    checksum = verify_bundle(folder)
    described = read_description(folder)
    classes, codec = described["classes"], described["codec"]
    known = _known(folder, len(classes))
    denoiser = _load_denoiser(folder, known, codec, described["traits"])
    calibration = load_calibration(folder, classes[:known], embedding_width(denoiser))
    return ModelBundle(
        name=described["name"],
        version=described["version"],
        classes=classes,
        input_size=codec.size,
        window_um=described["window_um"],
        disc_radius=described["disc_radius"],
        denoiser=denoiser.to(target).to(memory_format=torch.channels_last).eval(),
        codec=codec,
        schedule=NoiseSchedule(),
        calibration=calibration,
        device=target,
        source=str(source),
        checksum=checksum,
        card=(folder / "card.md").read_text(encoding="utf-8", errors="replace"),
        training=described["training"],
        taxonomy=described["taxonomy"],
        traits=described["traits"],
        training_images=load_training_images(folder),
        generator=_generator(folder, known, target),
        slide_correction=_slide_correction(folder, known, embedding_width(denoiser)),
        slide_distance=_slide_distance(folder, known),
        head=_head(folder, known, len(classes), embedding_width(denoiser)),
        segmenter=_segmenter(folder),
    )


def load_segmenter_of(source: str | Path = "default") -> Segmenter:
    """Load the smear network of a bundle alone; of the default one where that has none."""
    folder = bundle_folder(source)
    expected = read_json(folder / CHECKSUMS) if (folder / CHECKSUMS).is_file() else {}
    if not set(SEGMENTER_FILES) <= expected.keys():
        if str(source) == "default":
            raise BundleError("The default model has no smear network; install the package again.")
        return load_segmenter_of("default")
    for name in SEGMENTER_FILES:
        if not (folder / name).is_file() or file_checksum(folder / name) != expected[name]:
            raise BundleError(
                f"{name} of the bundle {folder} is not the file it was made with "
                "(wrong checksum); copy the bundle again."
            )
    return load_segmenter(folder)


def holds_stable_diffusion(folder: Path) -> bool:
    """Tell whether ``folder`` is laid out as a Stable Diffusion checkpoint of diffusers."""
    return any((folder / part).is_dir() for part in ("unet", "unet_ema"))


def _generator(folder: Path, n_classes: int, device: torch.device) -> Generator | None:
    """Return the generator of a verified bundle; None where it has none."""
    if not set(GENERATOR_FILES) <= read_json(folder / CHECKSUMS).keys():
        return None
    generator = load_generator(folder, n_classes)
    return generator.to(device).to(memory_format=torch.channels_last)


def _slide_correction(folder: Path, n_classes: int, embedding: int) -> SlideCorrection | None:
    """Return the slide correction of a verified bundle; None where it has none."""
    if not _holds_all(folder, SLIDE_CORRECTION_FILES):
        return None
    return load_slide_correction(folder, n_classes, embedding)


def _slide_distance(folder: Path, n_classes: int) -> SlideDistance | None:
    """Return the slide distance of a verified bundle; None where it has none."""
    if not _holds_all(folder, SLIDE_DISTANCE_FILES):
        return None
    return load_slide_distance(folder, n_classes)


def _segmenter(folder: Path) -> Segmenter | None:
    """Return the smear network of a verified bundle; None where it has none."""
    return load_segmenter(folder) if _holds_all(folder, SEGMENTER_FILES) else None


def _known(folder: Path, n_classes: int) -> int:
    """Return how many of the classes the network itself knows: the first ones."""
    known = known_classes(folder) if _holds_all(folder, TAUGHT_HEAD_FILES) else n_classes
    if known is None or known > n_classes:
        raise BundleError(f"The bundle {folder} does not say which classes it was taught.")
    return known


def _head(folder: Path, known: int, n_classes: int, embedding: int) -> TaughtHead | None:
    """Return what a verified bundle was taught; None where that is nothing."""
    if not _holds_all(folder, TAUGHT_HEAD_FILES):
        return None
    return load_taught_head(folder, known, n_classes, embedding)


def _holds_all(folder: Path, files: Sequence[str]) -> bool:
    """Whether a bundle has files that it may have; BundleError where it has some of them."""
    there = set(files) & read_json(folder / CHECKSUMS).keys()
    if there and (lost := sorted(set(files) - there)):
        raise BundleError(f"The bundle {folder} lacks {lost[0]}; copy it again in full.")
    return bool(there)


def _load_denoiser(
    folder: Path, n_classes: int, codec: PixelCodec, traits: Sequence[Trait] = ()
) -> UNetDenoiser:
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
    if sum(sizes_of(traits)) != sum(denoiser.config.trait_sizes):
        raise BundleError(f"The network of the bundle {folder} tells other traits than it names.")
    halvings = len(denoiser.config.widths) - 1
    if denoiser.config.in_channels != codec.channels or codec.grid % 2**halvings:
        raise BundleError(f"Network and codec of the bundle {folder} do not fit each other.")
    weights = {k: v.float() for k, v in read_tensors(folder / WEIGHTS).items()}
    check_weights(weights, denoiser, folder)
    denoiser.load_state_dict(weights)
    return denoiser
