"""What several commands do before their work; imports the engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cytodiffusion.cli.reporter import Reporter
from cytodiffusion.errors import InputError

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


def folder_images(reporter: Reporter, folder: Path) -> list[Path]:
    """Return the images below a folder and warn of what is odd; InputError if there are none."""
    from cytodiffusion.image.formats import image_files, list_folder

    files, notes = image_files(folder), list_folder(folder).notes
    for note in notes:
        reporter.warn(note)
    if not files:
        raise InputError(" ".join((f"There are no images in the folder {folder}.", *notes)))
    return files
