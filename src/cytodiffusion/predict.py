"""One way to load and ask a classifier, whether it is a diffusion model or a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.baselines import Baseline, classify_baseline, is_baseline, load_baseline
from cytodiffusion.cells.crops import Crops
from cytodiffusion.classification.classifier import classify
from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.progress import Progress, silent

#: What can classify crops.
Classifier: TypeAlias = ModelBundle | Baseline


def predict(
    model: Classifier,
    windows: Crops | NDArray[np.uint8],
    settings: ClassifySettings | None = None,
    *,
    background: NDArray[np.floating] | None = None,
    progress: Progress = silent,
) -> Classification:
    """Classify crops by either kind of model.

    Parameters
    ----------
    windows : Crops or (N, S, S, 3) uint8 array
        S is the model's input size; the window is the model's, the cell in the centre.
    background : (3,) or (N, 3) array, optional
        Colour of the empty background, 0 to 255; estimated from each crop where missing.
    progress : callable
        May raise ``Cancelled``.
    """
    if isinstance(model, Baseline):
        return classify_baseline(windows, model, settings, background=background, progress=progress)
    return classify(windows, model, settings, background=background, progress=progress)


def load_classifier(
    source: str | Path = "default", device: str = "auto", *, allow_download: bool = False
) -> Classifier:
    """Load and verify a diffusion model or a baseline."""
    if str(source) != "default" and is_baseline(source):
        return load_baseline(source, device)
    return load_bundle(source, device=device, allow_download=allow_download)
