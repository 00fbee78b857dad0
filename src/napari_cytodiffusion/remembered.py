"""What the window remembers of choices that are no defaults of a run: how cells are shown."""

from __future__ import annotations

from qtpy.QtCore import QSettings


def store() -> QSettings:
    """Return where it is kept, on this computer for this user."""
    return QSettings("cytodiffusion", "napari-cytodiffusion")


def remember(key: str, value: str) -> None:
    """Keep a word."""
    store().setValue(key, value)


def remembered(key: str, usual: str) -> str:
    """Return a word that was kept, else the usual one."""
    return str(store().value(key, usual))
