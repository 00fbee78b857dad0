"""How a result came about: model, settings, seed, versions, machine and time."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

#: Libraries whose versions a result records.
RECORDED = ("napari-cytodiffusion", "torch", "diffusers", "numpy", "scikit-image", "cellpose")


class Recorded(Protocol):
    """A model of whatever kind."""

    def record(self) -> dict[str, Any]:
        """Return what a result says about the model it came from."""


class Seeded(Protocol):
    """Settings of whatever was done."""

    @property
    def seed(self) -> int:
        """Seed of the random numbers."""

    def model_dump(self) -> dict[str, Any]:
        """Return the settings by name."""


def provenance(model: Recorded, settings: Seeded, **more: Any) -> dict[str, Any]:
    """Record how a result came about: model, settings, seed, versions, machine."""
    return {
        "model": model.record(),
        "settings": settings.model_dump(),
        "seed": settings.seed,
        **circumstances(),
        **more,
    }


def circumstances() -> dict[str, Any]:
    """Record what a result was made with, and when: versions, machine, time."""
    return {
        "versions": _versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in RECORDED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
