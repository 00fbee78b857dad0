"""An ordinary classifier with all that belongs to it, and its answers in the common form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytodiffusion.baselines.network import BaselineNetwork, Norm
from cytodiffusion.cells.crops import Crops
from cytodiffusion.classification.classifier import (
    ClassifySettings,
    check_background,
    check_crops,
    normalised,
)
from cytodiffusion.classification.decision import answers, check_promises
from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.scores import margin, softmax
from cytodiffusion.device import Batches, half_precision_pays
from cytodiffusion.model.bundle import TrainedModel
from cytodiffusion.model.validation_record import ValidationRecord
from cytodiffusion.progress import Progress, silent

#: Crops that go through the network at once.
MICRO_BATCH = {"cpu": 64, "cuda": 1024, "mps": 256}


@dataclass(kw_only=True)
class Baseline(TrainedModel):
    """A trained baseline.

    Attributes
    ----------
    kind : str
        ``resnet18`` or ``vit``.
    network : BaselineNetwork
    norm : str
        How a ResNet-18 normalises: ``batch`` or ``group``.
    validation : ValidationRecord
        Its cells are accepted by the gap of the two largest probabilities, as their order goes
        by it.
    anomaly_threshold : float
        Cells whose ``1 - gap`` is above it are anomalous.
    false_alarms : float
        Share of validation cells above the threshold.
    """

    kind: str
    network: BaselineNetwork
    validation: ValidationRecord
    anomaly_threshold: float
    false_alarms: float
    norm: Norm = "batch"
    calibrated: ClassVar[bool] = True

    def record(self) -> dict[str, Any]:
        """Return what a result says about the model it came from."""
        return {**super().record(), "kind": self.kind}


def classify_baseline(
    crops: Crops | NDArray[np.uint8],
    model: Baseline,
    settings: ClassifySettings | None = None,
    *,
    background: NDArray[np.floating] | None = None,
    progress: Progress = silent,
) -> Classification:
    """Classify crops by a baseline.

    Parameters
    ----------
    crops : Crops or (N, S, S, 3) uint8 array
    settings : ClassifySettings, optional
        Trials do not matter: there is one.
    background : (3,) or (N, 3) array, optional
        Colour of the empty background, 0 to 255; estimated from each crop where missing.
    """
    settings = settings or ClassifySettings()
    pixels = check_crops(crops, model.name, model.input_size)
    check_promises(model.validation, settings, model)
    background = check_background(background, len(pixels))
    logits = baseline_logits(pixels, model, settings.batch_size, background, progress)
    return decide_from_logits(logits, model, settings)


def decide_from_logits(
    logits: NDArray[np.float64], model: Baseline, settings: ClassifySettings
) -> Classification:
    """Turn logits ``(N, K)`` into posterior, prediction sets and anomalies."""
    n, k = logits.shape
    posterior = softmax(logits / model.validation.temperature)
    gap = margin(posterior)
    return Classification(
        **answers(posterior, model.validation, model, settings),
        class_names=model.class_names,
        anomaly_score=1.0 - gap,
        anomaly=1.0 - gap > model.anomaly_threshold,
        trials=np.ones(n, np.int64),
        errors_by_level=np.zeros((n, 0, k), np.float32),
        levels=np.zeros(0, np.int64),
        anomaly_threshold=model.anomaly_threshold,
        logits=logits,
        certainty_name="margin",
    )


def baseline_logits(
    pixels: NDArray[np.uint8],
    model: Baseline,
    batch_size: int,
    background: NDArray[np.floating] | None,
    progress: Progress = silent,
) -> NDArray[np.float64]:
    """Logits ``(N, K)``, before the temperature, of ``pixels (N, S, S, 3)``."""
    n = len(pixels)
    parts = [np.zeros((0, len(model.classes)))]
    micro = min(batch_size, MICRO_BATCH.get(model.device.type, 64), max(n, 1))

    def logits(part: slice) -> NDArray[np.float64]:
        return _forward(normalised(pixels[part], background, part), model)

    for part, found in Batches(micro, model.device).run(n, logits):
        parts.append(found)
        progress(part.stop / n, f"classified {part.stop} of {n} cells")
    return np.concatenate(parts)


@torch.inference_mode()
def _forward(unit: Tensor, model: Baseline) -> NDArray[np.float64]:
    half = half_precision_pays(model.device)
    with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=half):
        logits = model.network(unit.to(model.device))
    return np.asarray(logits.double().cpu().numpy())
