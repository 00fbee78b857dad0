"""Which images train and which choose."""

from __future__ import annotations

import hashlib


def split_by_name(name: str, validation_share: float = 0.15) -> str:
    """Assign an image to train or val by a hash of its name, so that it never moves."""
    digest = hashlib.sha256(name.encode()).digest()
    return "val" if digest[0] / 256 < validation_share else "train"
