"""Baselines on disk: a folder of safetensors and JSON with checksums; nothing is pickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError
from safetensors.torch import save_file
from torch import Tensor

from cytodiffusion.baselines.baseline import Baseline
from cytodiffusion.baselines.network import BaselineNetwork, Norm, build_network
from cytodiffusion.datasets.seen import TRAINING_IMAGES
from cytodiffusion.device import pick_device
from cytodiffusion.errors import BundleError, InputError
from cytodiffusion.files.atomic import sha256, staged_folder
from cytodiffusion.model.bundle import CellClass
from cytodiffusion.model.bundle_files import CHECKSUMS, load_training_images, verify_bundle
from cytodiffusion.model.files import read_tensors
from cytodiffusion.model.saving import check_target
from cytodiffusion.model.validation_record import STORED, ValidationRecord

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
FILES = (CONFIG, WEIGHTS, "card.md")
#: What ``config.json`` says it is; a bundle's own has no such entry.
FORMAT = "cytodiffusion-baseline"
#: What the confidence of validation cells is called here: the gap of the two largest probabilities.
GAP = "validation_gap"
#: What baselines once kept in its place, the largest probability: no cell is accepted by it.
FORMER = "validation_confidence"
NETWORK = "network."


class BaselineConfig(BaseModel):
    """What ``config.json`` of a baseline holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str = Field(FORMAT, pattern=f"^{FORMAT}$")
    format_version: int = Field(1, ge=1, le=1)
    name: str
    version: str
    kind: str
    norm: Norm = "batch"  # which earlier versions do not name
    classes: list[CellClass] = Field(min_length=1)
    input_size: PositiveInt
    window_um: PositiveFloat
    temperature: PositiveFloat
    anomaly_threshold: float
    false_alarms: float = Field(ge=0, le=1)
    training: dict[str, Any] = {}


def is_baseline(folder: str | Path) -> bool:
    """Tell whether a folder holds a baseline (sound or not) and no diffusion model."""
    try:
        content = json.loads((Path(folder).expanduser() / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def save_baseline(folder: Path, model: Baseline, dtype: torch.dtype = torch.float16) -> Path:
    """Write a baseline, whole or not at all; an older one in its place is replaced."""
    folder = Path(folder)
    check_target(folder, FILES)
    config = BaselineConfig(
        name=model.name,
        version=model.version,
        kind=model.kind,
        norm=model.norm,
        classes=list(model.classes),
        input_size=model.input_size,
        window_um=model.window_um,
        temperature=model.validation.temperature,
        anomaly_threshold=model.anomaly_threshold,
        false_alarms=model.false_alarms,
        training=model.training,
    )
    tensors = {NETWORK + k: _stored(v, dtype) for k, v in model.network.state_dict().items()}
    record = model.validation.to_tensors()
    tensors |= record | {GAP: record.pop(FORMER)}
    with staged_folder(folder) as staging:
        (staging / CONFIG).write_text(config.model_dump_json(indent=1) + "\n", encoding="utf-8")
        save_file(tensors, staging / WEIGHTS)
        (staging / "card.md").write_text(model.card, encoding="utf-8")
        files: tuple[str, ...] = FILES
        if model.training_images is not None:
            model.training_images.save(staging / TRAINING_IMAGES)
            files = (*files, TRAINING_IMAGES)
        sums = {name: sha256(staging / name) for name in files}
        (staging / CHECKSUMS).write_text(json.dumps(sums, indent=1) + "\n", encoding="utf-8")
    return folder


def _stored(value: Tensor, dtype: torch.dtype) -> Tensor:
    value = value.detach().contiguous().cpu()
    return value.to(dtype) if value.is_floating_point() else value


def load_baseline(folder: str | Path, device: str = "auto") -> Baseline:
    """Load and verify a baseline."""
    target = pick_device(device)
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise BundleError(f"There is no baseline at {folder}: it must be a folder.")
    checksum = verify_bundle(place, FILES)
    config = _read_config(place)
    tensors = read_tensors(place / WEIGHTS)
    validation = _take_record(place, tensors, config)
    network = _load_network(place, config, tensors)
    return Baseline(
        name=config.name,
        version=config.version,
        kind=config.kind,
        norm=config.norm,
        classes=tuple(config.classes),
        input_size=config.input_size,
        window_um=config.window_um,
        network=network.to(target).to(memory_format=torch.channels_last).eval(),
        validation=validation,
        anomaly_threshold=config.anomaly_threshold,
        false_alarms=config.false_alarms,
        device=target,
        source=str(folder),
        checksum=checksum,
        card=(place / "card.md").read_text(encoding="utf-8", errors="replace"),
        training=config.training,
        training_images=load_training_images(place),
    )


def _take_record(
    folder: Path, tensors: dict[str, Tensor], config: BaselineConfig
) -> ValidationRecord:
    """Take what is kept of validation cells out of ``tensors``."""
    if tensors.pop(FORMER, None) is not None:
        tensors.pop("validation_correct", None)
    if GAP in tensors:
        tensors[FORMER] = tensors.pop(GAP)
    names = [name for name, _ in STORED.values() if name in tensors]
    record = {name: tensors.pop(name) for name in names}
    try:
        return ValidationRecord.from_tensors(record, config.temperature, {}, len(config.classes))
    except ValueError as error:
        raise BundleError(
            f"The record of validation cells of the baseline {folder} is not sound: {error}."
        ) from error


def _read_config(folder: Path) -> BaselineConfig:
    try:
        return BaselineConfig.model_validate_json((folder / CONFIG).read_bytes())
    except (OSError, ValidationError) as error:
        reason = "it cannot be read"
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc'])) or 'its content'}: {first['msg']}"
        raise BundleError(f"config.json of the baseline {folder} is wrong: {reason}.") from error


def _load_network(
    folder: Path, config: BaselineConfig, tensors: dict[str, Tensor]
) -> BaselineNetwork:
    try:
        network = build_network(
            config.kind, len(config.classes), config.input_size, norm=config.norm
        )
    except InputError as error:
        raise BundleError(f"The baseline {folder} cannot be built: {error}") from error
    state = network.state_dict()
    found = {k.removeprefix(NETWORK): v for k, v in tensors.items()}
    odd = sorted(set(state) ^ set(found)) or [k for k in state if state[k].shape != found[k].shape]
    if odd:
        raise BundleError(f"The weights of the baseline {folder} do not fit it, such as {odd[0]}.")
    broken = [k for k, v in found.items() if not v.isfinite().all()]
    if broken:
        raise BundleError(
            f"The weights of the baseline {folder} are damaged: {broken[0]} has entries that are "
            "not numbers."
        )
    network.load_state_dict({k: v.to(state[k].dtype) for k, v in found.items()})
    return network
