"""cytodiffusion.model.bundle_files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cytodiffusion.datasets.seen import TRAINING_IMAGES, TrainingImages
from cytodiffusion.errors import BundleError
from cytodiffusion.model.bundle import CellClass
from cytodiffusion.model.calibration import Calibration
from cytodiffusion.model.codec import Codec, codec_from_config
from cytodiffusion.model.files import file_checksum, read_json, read_tensors
from cytodiffusion.model.generator import FILES as GENERATOR_FILES
from cytodiffusion.model.segmenter import FILES as SEGMENTER_FILES
from cytodiffusion.model.slide_correction import FILES as SLIDE_CORRECTION_FILES
from cytodiffusion.model.slide_distance import FILES as SLIDE_DISTANCE_FILES
from cytodiffusion.model.taught_head import FILES as TAUGHT_HEAD_FILES
from cytodiffusion.taxonomy import Taxonomy
from cytodiffusion.traits import Trait

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
OPTIONAL_FILES = (
    TRAINING_IMAGES,
    *GENERATOR_FILES,
    *SLIDE_CORRECTION_FILES,
    *SLIDE_DISTANCE_FILES,
    *SEGMENTER_FILES,
    *TAUGHT_HEAD_FILES,
)

CHECKSUMS = "checksums.json"

#: What is fetched of a model on the Hub: a bundle, or a checkpoint with its averaged weights.
HUB_FILES = (
    *(*FILES, *STABLE_DIFFUSION_FILES, *OPTIONAL_FILES, CHECKSUMS),
    *(f"unet_ema/{name}" for name in FILES[:2]),
    *(f"{part}/{HALF_WEIGHTS}" for part in ("unet", "unet_ema", "vae")),
)

FORMAT = 1


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
        traits = tuple(Trait.from_dict(t) for t in content.get("traits", ()))
        check_traits(traits, [c.name for c in classes])
        if not all(0 < v < 1000 for v in sizes.values()):
            raise ValueError("window and disc must have positive sizes")
        return {
            "classes": classes,
            "traits": traits,
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


def check_traits(traits: Sequence[Trait], classes: Sequence[str]) -> None:
    """ValueError unless traits have different names and are of classes that there are."""
    names = [trait.name for trait in traits]
    if len(set(names)) != len(names):
        raise ValueError("the names of attributes and finer classes must differ")
    for trait in traits:
        if unknown := {trait.parent, *trait.classes} - {"", *classes}:
            raise ValueError(f"the trait {trait.name!r} is of the unknown class {min(unknown)!r}")


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def verify_bundle(folder: Path, files: Sequence[str] = FILES) -> str:
    """Check that every one of ``files`` is there and unaltered; return the bundle's checksum."""
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


def load_calibration(folder: Path, classes: Sequence[CellClass], embedding: int) -> Calibration:
    """Read what was measured on validation data; BundleError if it does not fit the network."""
    try:
        calibration = Calibration.from_parts(
            read_json(folder / "calibration.json"),
            read_tensors(folder / "calibration.safetensors"),
            len(classes),
        )
        calibration.check(len(classes), embedding)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BundleError(
            f"The calibration of the bundle {folder} does not fit: {_reason(error)}."
        ) from error
    return calibration
