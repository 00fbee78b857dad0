"""What several commands do before their work; imports the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cytodiffusion.cli.reporter import Reporter

if TYPE_CHECKING:
    from cytodiffusion.predict import Classifier


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
