"""Folders with Stable Diffusion's network: checkpoints of the published code, and bundles.

Both are laid out as diffusers does it, ``unet/``, ``vae/`` and ``scheduler/``. The published code
saves such a folder at the end of a training and, on the way, checkpoints with ``unet/`` and
``unet_ema/`` (the averaged weights, which are preferred here) but without a VAE. A bundle has our
``classes.json``, calibration, card and checksums beside them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor

from cytodiffusion.device import half_precision_pays
from cytodiffusion.errors import BundleError
from cytodiffusion.model.bundle import CellClass, ModelBundle
from cytodiffusion.model.bundle_files import (
    CHECKSUMS,
    HALF_WEIGHTS,
    STABLE_DIFFUSION_FILES,
    WEIGHTS,
    check_classes,
    load_calibration,
    load_training_images,
    read_description,
    verify_bundle,
)
from cytodiffusion.model.calibration import Calibration
from cytodiffusion.model.files import (
    check_weights,
    file_checksum,
    read_json,
    read_tensors,
    split_classes,
)
from cytodiffusion.model.stable_diffusion import (
    DISC_RADIUS,
    PUBLISHED_WINDOW_UM,
    SIZE,
    StableDiffusionCodec,
    StableDiffusionDenoiser,
    StableDiffusionSchedule,
    hard_disc,
)
from cytodiffusion.model.validation_record import ValidationRecord
from cytodiffusion.taxonomy import colors_and_groups

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
#: Levels of an uncalibrated checkpoint's trials: spread over all of them, in a fixed odd order.
_UNCALIBRATED_LEVELS = tuple(1 + (37 * i % 100) * 998 // 99 for i in range(100))
_UNCALIBRATED = (
    "This checkpoint has not been calibrated: its classes are those with the least error, but "
    "probabilities, prediction sets and anomaly scores mean nothing yet. "
    "`cytodiffusion train DATA --kind stable-diffusion --init FOLDER` trains and calibrates."
)


def load_stable_diffusion(
    folder: Path,
    device: torch.device,
    source: str,
    class_names: Sequence[str] | None = None,
    dtype: torch.dtype | None = None,
) -> ModelBundle:
    """Load a bundle or a checkpoint with Stable Diffusion's network."""
    bundle = (folder / CHECKSUMS).is_file() or _is_described(folder)
    if bundle and class_names:
        raise BundleError(f"The bundle {folder} names its classes itself; name none behind a #.")
    checksum = verify_bundle(folder, STABLE_DIFFUSION_FILES) if bundle else ""
    unet, vae, schedule = load_networks(folder, dtype or _precision(device))

    def make_codec(config: dict[str, Any]) -> StableDiffusionCodec:
        if config.get("kind") != "stable-diffusion":
            raise ValueError(f"unknown codec {config.get('kind')!r} of this network")
        return StableDiffusionCodec(vae, int(config["size"]))

    described = (
        read_description(folder, make_codec)
        if bundle
        else _undescribed(folder, source, make_codec, class_names)
    )
    classes, codec = described["classes"], described["codec"]
    if unet.config.in_channels != codec.channels or unet.config.out_channels != codec.channels:
        raise BundleError(f"U-Net and VAE of {folder} do not fit each other.")
    try:
        denoiser = StableDiffusionDenoiser(unet, len(classes), schedule)
    except ValueError as error:
        raise BundleError(
            f"The U-Net of {folder} does not depend on the class: {error}."
        ) from error
    width = denoiser.embedding_width
    calibration = (
        load_calibration(folder, classes, width)
        if bundle
        else uncalibrated(len(classes), width, codec)
    )
    codec.vae.to(device)
    card = (folder / "card.md").read_text(encoding="utf-8", errors="replace") if bundle else ""
    return ModelBundle(
        name=described["name"],
        version=described["version"],
        classes=classes,
        input_size=codec.size,
        window_um=described["window_um"],
        disc_radius=described["disc_radius"],
        denoiser=denoiser.to(device).eval(),
        codec=codec,
        schedule=schedule,
        calibration=calibration,
        device=device,
        source=source,
        checksum=checksum or file_checksum(_weights_file(_unet_part(folder))),
        card=card or f"# {described['name']}\n\n{_UNCALIBRATED}\n",
        training=described["training"],
        taxonomy=described.get("taxonomy"),
        training_images=load_training_images(folder) if bundle else None,
    )


def _is_described(folder: Path) -> bool:
    """Tell whether ``classes.json`` is a bundle's, not a mere list of names."""
    path = folder / "classes.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "format" in content


def _precision(device: torch.device) -> torch.dtype:
    return torch.bfloat16 if half_precision_pays(device) else torch.float32


def _undescribed(
    folder: Path, source: str, make_codec: Any, names: Sequence[str] | None
) -> dict[str, Any]:
    """Return what a bundle's ``classes.json`` would say of a checkpoint."""
    return {
        "classes": _named_classes(folder, names),
        "codec": make_codec({"kind": "stable-diffusion", "size": SIZE}),
        # the folder of one from the Hub is called by a commit
        "name": Path(split_classes(source)[0]).name or folder.resolve().name,
        "version": "uncalibrated",
        "training": {},
        "window_um": PUBLISHED_WINDOW_UM,
        "disc_radius": DISC_RADIUS,
    }


def _named_classes(folder: Path, names: Sequence[str] | None) -> tuple[CellClass, ...]:
    found = list(names) if names else _listed_names(folder)
    try:
        looks = zip(found, colors_and_groups(found), strict=True)
        classes = tuple(CellClass(name, *look) for name, look in looks)
        check_classes(classes)
    except ValueError as error:
        raise BundleError(f"The classes of {folder} are not usable: {error}.") from error
    return classes


def _listed_names(folder: Path) -> list[str]:
    """Class names in ``classes.json``: a list, or an object of names and their numbers."""
    path = folder / "classes.json"
    if not path.is_file():
        raise BundleError(
            f"{folder} is a Stable Diffusion checkpoint that does not name its classes: name them "
            "behind a #, such as MODEL#basophil,eosinophil, in the order of its one-hot vectors; "
            'or put them into a classes.json beside unet/: ["basophil", "eosinophil"].'
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not a JSON file.") from error
    if isinstance(content, dict):
        order = sorted(content.values(), key=str)
        if sorted(map(str, range(len(content)))) != [str(n) for n in order]:
            raise BundleError(f"{path} must number its classes 0, 1, 2 and so on.")
        content = sorted(content, key=lambda name: int(content[name]))
    if not isinstance(content, list) or not all(isinstance(n, str) for n in content):
        raise BundleError(f"{path} must hold a list of class names.")
    return content


def uncalibrated(n_classes: int, embedding: int, codec: StableDiffusionCodec) -> Calibration:
    """Calibration of a checkpoint nobody has calibrated: sums of errors, a plain t-test.

    Logits are the published weighted *sums* of squared errors in the disc, no anomaly is called
    and prediction sets hold every class.
    """
    eye = torch.eye(embedding)
    return Calibration(
        levels=_UNCALIBRATED_LEVELS,
        validation=ValidationRecord(
            scores=torch.ones(1),
            temperature=1 / (float(hard_disc(codec.grid, DISC_RADIUS).sum()) * codec.channels),
        ),
        prior_variance=1e-12,
        prior_weight=1e-6,
        anomaly_threshold=float("inf"),
        false_alarms=0.0,
        embedding_mean=torch.zeros(embedding),
        class_means=torch.zeros(n_classes, embedding),
        within_factor=eye,
        total_factor=eye,
    )


def load_networks(
    folder: Path, dtype: torch.dtype = torch.float32
) -> tuple[UNet2DConditionModel, AutoencoderKL, StableDiffusionSchedule]:
    """Read the U-Net (the averaged one where there are two), VAE and noise levels of a folder."""
    if not (folder / "vae").is_dir():
        raise BundleError(
            f"{folder} has no VAE: copy the folder vae of the Stable Diffusion 1.5 it was trained "
            "from beside its unet."
        )
    schedule = _load_schedule(folder)
    vae = _load_network(AutoencoderKL, folder / "vae", torch.float32)
    return _load_network(UNet2DConditionModel, _unet_part(folder), dtype), vae, schedule


def _unet_part(folder: Path) -> Path:
    averaged = folder / "unet_ema"
    return averaged if averaged.is_dir() else folder / "unet"


def _load_network(kind: Any, part: Path, dtype: torch.dtype) -> Any:
    """Read a diffusers network without ever making random weights for it."""
    file = _weights_file(part)
    config = read_json(part / "config.json")
    named = config.get("_class_name", kind.__name__)
    if named != kind.__name__:
        raise BundleError(f"{part} holds a network of the kind {named!r}, not {kind.__name__}.")
    try:
        with torch.device("meta"):
            network = kind.from_config(config)
    except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise BundleError(
            f"{part / 'config.json'} describes no {kind.__name__}: {error}."
        ) from error
    weights: dict[str, Tensor] = _of_today(read_tensors(file))
    check_weights(weights, network, part)
    network.load_state_dict({k: v.to(dtype) for k, v in weights.items()}, assign=True)
    return network.eval()


def _of_today(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the attention weights of VAEs that were saved before diffusers 0.19."""
    new = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
    found = {}
    for name, value in weights.items():
        stem, _, last = name.rpartition(".")
        head, _, layer = stem.rpartition(".")
        if layer in new and ".attentions." in f".{head}.":
            name = f"{head}.{new[layer]}.{last}"
            value = value.flatten(1) if value.ndim == 4 else value
        found[name] = value
    return found


def _weights_file(part: Path) -> Path:
    for name in (WEIGHTS, HALF_WEIGHTS):
        if (part / name).is_file():
            return part / name
    pickles = sorted(p.name for p in part.iterdir() if p.suffix in _PICKLES)
    if pickles:
        raise BundleError(
            f"{part} holds its weights as {pickles[0]}, a pickle, which can run any code and is "
            "never opened; save them as safetensors where you trust the file."
        )
    raise BundleError(f"{part} holds no weights: {WEIGHTS} is missing.")


def _load_schedule(folder: Path) -> StableDiffusionSchedule:
    path = folder / "scheduler" / "scheduler_config.json"
    config = read_json(path) if path.is_file() else {}
    kind = config.get("prediction_type", "epsilon")
    if kind != "epsilon":
        raise BundleError(
            f"{path} asks for {kind!r}; only networks that predict the noise are read."
        )
    if config.get("num_train_timesteps", 1000) != 1000:
        raise BundleError(f"{path} has not the 1000 noise levels of Stable Diffusion.")
    try:
        return StableDiffusionSchedule(config)
    except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise BundleError(f"{path} describes no noise levels: {error}.") from error
