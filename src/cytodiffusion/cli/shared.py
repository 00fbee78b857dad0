"""What several commands do before their work; imports the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cytodiffusion.cli.reporter import Reporter
from cytodiffusion.settings import make_settings as make_settings

if TYPE_CHECKING:
    from cytodiffusion.classification.settings import ClassifySettings
    from cytodiffusion.predict import Classifier


def classify_settings(
    *,
    trials: int | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    error_rate: float | None = None,
    coverage: float | None = None,
    by_class: bool | None = None,
    alone: bool = False,
) -> ClassifySettings:
    """Return the settings of the engine with those changed that were given."""
    from cytodiffusion.classification.settings import ClassifySettings

    values: dict[str, Any] = {
        "seed": seed,
        "error_rate": error_rate,
        "by_class": by_class,
        "alone": alone,
    }
    if trials is not None:
        values |= {"trials": trials, "min_trials": min(trials, ClassifySettings().min_trials)}
    if batch_size is not None:
        values["batch_size"] = batch_size
    if coverage is not None:
        values["coverage"] = coverage
    return make_settings(ClassifySettings, values)


def load_model(reporter: Reporter, source: str, device: str, allow_download: bool) -> Classifier:
    """Load and verify a model and say which one it is."""
    from cytodiffusion.predict import load_classifier

    bundle = load_classifier(source, device, allow_download=allow_download)
    reporter.say(f"Model {bundle.name} {bundle.version} on {bundle.device}")
    if not bundle.calibrated:
        reporter.warn(
            f"{bundle.name} has not been calibrated: its classes are those with the least error, "
            "but probabilities, prediction sets and anomaly scores mean nothing yet."
        )
    return bundle
