"""A page that takes every plain key while it has the focus: napari would take some for its own."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QWidget

_PLAIN = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier

_KEYPAD = Qt.KeyboardModifier.KeypadModifier

#: Keys that go on.
GO_ON = Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter

#: Seconds after a cell appears in which a key still belongs to the one before.
GUARD = 0.15


class KeyPage(QWidget):
    """Calls `on_key` with each key that is pressed; one that is held down counts once."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def on_key(self, key: int) -> None:
        """Do what a key means."""
        raise NotImplementedError

    def event(self, event: QEvent | None) -> bool:
        """Take plain keys before any shortcut of the window."""
        if event is not None and event.type() == QEvent.Type.ShortcutOverride and _is_plain(event):
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Answer by key; napari gets none of the plain keys."""
        if event is None or not _is_plain(event):
            super().keyPressEvent(event)
            return
        event.accept()
        if not event.isAutoRepeat():
            self.on_key(event.key())

    def keyReleaseEvent(self, event: QKeyEvent | None) -> None:
        """Keep the release of a key that was taken."""
        if event is not None and _is_plain(event):
            event.accept()
        else:
            super().keyReleaseEvent(event)


def _is_plain(event: Any) -> bool:
    return (event.modifiers() & ~_KEYPAD) in _PLAIN
