"""One place for all docks of the plugin: the Plugins menu would put each below the last.

There they are tabs, with names short enough for five of them to be read side by side.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QTabBar, QWidget

#: What stands on the tab of a widget, by what the Plugins menu calls it.
TABS = {
    "Study": "Study",
    "Classes of a study": "Classes",
    "Observers of a study": "Observers",
    "Segment cells": "Segment",
    "Classify cells": "Classify",
    "Inspect cell": "Inspect",
    "Review cells": "Review",
    "Counterfactual heatmap": "Heatmap",
    "Teach": "Teach",
    "Report": "Report",
    "Generate cells": "Generate",
    "Synthetic smear": "Smear",
    "Authenticity test": "Test",
    "Lesson": "Lesson",
}

#: Property of a dock: what it is called in the menu.
_TITLE = "cytodiffusion_title"


def share_place(
    widget: QWidget, others: weakref.WeakSet[QWidget], on_closed: Callable[..., None]
) -> None:
    """Make a tab of a widget that is being docked where another of the plugin is.

    Below one another they would need more height than a screen has. ``on_closed`` is called when
    the dock is closed: napari lets the widget live on until it is collected.
    """
    found, known = weakref.ref(widget), list(map(weakref.ref, others))
    others.add(widget)

    def put() -> None:
        new = found()
        # a widget that is gone in Python may be gone in Qt, and the other way round
        with contextlib.suppress(RuntimeError):
            dock = None if new is None else _dock_of(new)
            if dock is not None:
                dock.destroyed.connect(on_closed)
                _name(dock)
                there = [w for w in (r() for r in known) if w is not None]
                _join(dock, [d for d in map(_dock_of, there) if d is not None])

    QTimer.singleShot(0, put)


def find_docked(name: str, widgets: Iterable[QWidget]) -> QWidget | None:
    """Find the widget whose dock has this name, as in the Plugins menu."""
    for widget in list(widgets):
        with contextlib.suppress(RuntimeError):
            dock = _dock_of(widget)
            if dock is not None and _title_of(dock).startswith(name):
                return widget
    return None


def names_of(widgets: Iterable[QWidget]) -> list[str]:
    """Return what the docks of widgets are called in the Plugins menu, those that are open."""
    found = []
    for widget in list(widgets):
        with contextlib.suppress(RuntimeError):
            dock = _dock_of(widget)
            if dock is not None and dock.toggleViewAction().isChecked():
                title = _title_of(dock)
                found += [name for name in TABS if title.startswith(name)]
    return sorted(dict.fromkeys(found))


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
            _widen_tabs(window)
            return


def _title_of(dock: QDockWidget) -> str:
    """Return what a dock is called in the menu."""
    return str(dock.property(_TITLE) or dock.windowTitle())


def _name(dock: QDockWidget) -> None:
    """Put a short name on the tab of a dock; the menu keeps the long one."""
    title = _title_of(dock)
    for name, tab in TABS.items():
        if title.startswith(name):
            dock.setProperty(_TITLE, title)
            dock.setWindowTitle(tab)
            dock.toggleViewAction().setText(title)


def _widen_tabs(window: QMainWindow) -> None:
    """Show whole names on tabs; where there are too many, arrows lead to the others."""
    own = set(TABS.values())
    for bar in window.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly):
        if own & {bar.tabText(index) for index in range(bar.count())}:
            bar.setElideMode(Qt.TextElideMode.ElideNone)
            bar.setUsesScrollButtons(True)


def _dock_of(widget: QWidget) -> QDockWidget | None:
    parent = widget.parent()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parent()
    return parent
