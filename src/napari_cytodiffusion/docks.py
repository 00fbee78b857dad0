"""One place for all docks of the plugin: the Plugins menu would put each below the last."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterable

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget


def share_place(widget: QWidget, others: weakref.WeakSet[QWidget]) -> None:
    """Make a tab of a widget that is being docked where another of the plugin is.

    Below one another they would need more height than a screen has.
    """
    found, known = weakref.ref(widget), list(map(weakref.ref, others))
    others.add(widget)

    def put() -> None:
        new = found()
        # a widget that is gone in Python may be gone in Qt, and the other way round
        with contextlib.suppress(RuntimeError):
            dock = None if new is None else _dock_of(new)
            if dock is not None:
                there = [w for w in (r() for r in known) if w is not None]
                _join(dock, [d for d in map(_dock_of, there) if d is not None])

    QTimer.singleShot(0, put)


def find_docked(name: str, widgets: Iterable[QWidget]) -> QWidget | None:
    """Find the widget whose dock has this name, as in the Plugins menu."""
    for widget in list(widgets):
        with contextlib.suppress(RuntimeError):
            dock = _dock_of(widget)
            if dock is not None and dock.windowTitle().startswith(name):
                return widget
    return None


def raise_dock(widget: QWidget) -> None:
    """Bring the dock of a widget to the front."""
    dock = _dock_of(widget)
    if dock is not None:
        dock.show()
        dock.raise_()


def _join(dock: QDockWidget, others: list[QDockWidget]) -> None:
    window = dock.parent()
    if not isinstance(window, QMainWindow) or dock.isFloating():
        return
    if window.tabifiedDockWidgets(dock):
        return
    area = window.dockWidgetArea(dock)
    for other in reversed(others):
        if other.isHidden() and not window.tabifiedDockWidgets(other):
            continue
        if not other.isFloating() and window.dockWidgetArea(other) == area:
            window.tabifyDockWidget(other, dock)
            dock.show()
            dock.raise_()
            return


def _dock_of(widget: QWidget) -> QDockWidget | None:
    parent = widget.parent()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parent()
    return parent
