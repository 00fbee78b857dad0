"""What the window remembers that is no default of a run: how cells are shown, recent files."""

from __future__ import annotations

from pathlib import Path

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


#: How many files of a kind are remembered.
_RECENT = 8


def recent_files(key: str) -> list[Path]:
    """Return files that were opened before and are still there, the last one first."""
    value = store().value(key, [])
    paths = [value] if isinstance(value, str) else list(value or [])
    return [Path(path) for path in paths if Path(path).is_file()]


def remember_file(key: str, path: Path) -> None:
    """Put a file first among those that were opened before."""
    own = path.resolve()
    others = [str(p) for p in recent_files(key) if p != own]
    store().setValue(key, [str(own), *others][:_RECENT])
