"""A field for any number of folders or files, a row each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magicgui.widgets.bases import ValuedContainerWidget
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLineEdit, QToolButton, QVBoxLayout, QWidget

from napari_cytodiffusion.shared.choosers import PathEdit

#: Folders of these names are called by the folder that they are in.
_PLAIN = ("data", "test", "val", "train", "all", "images", "cells")


def name_of(path: Path) -> str:
    """Return what the data at a path are called, where nobody says."""
    plain = path.stem.lower() in _PLAIN and path.parent.stem
    return path.parent.stem if plain else path.stem


@dataclass(frozen=True, eq=False)
class _Row:
    box: QWidget
    name: QLineEdit
    field: PathEdit


class PathRows(QWidget):
    """The rows, with a button below that adds one; each has a name where ``named``."""

    changed = Signal()

    def __init__(self, add: str, hint: str, title: str, named: bool, parent: QWidget) -> None:
        super().__init__(parent)
        self._hint, self._title, self._named = hint, title, named
        self._rows: list[_Row] = []
        self.add_button = QToolButton(self)
        self.add_button.setText(f"+ {add}")
        self.add_button.setToolTip(title)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(4)
        self._layout.addWidget(self.add_button)
        self.add_button.clicked.connect(lambda _: self.add().line_edit.native.setFocus())

    def add(self) -> PathEdit:
        """Add an empty row; returns its field."""
        box = QWidget(self)
        row = _Row(box, QLineEdit(box), PathEdit(self._title, self._hint))
        remove = QToolButton(box)
        remove.setText("\u00d7")
        remove.setToolTip("Remove it")
        row.name.setPlaceholderText("name")
        row.name.setToolTip("What it is called in the report")
        row.name.setVisible(self._named)
        row.field.margins = (0, 0, 0, 0)
        layout = QHBoxLayout(box)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(row.name, 1)
        layout.addWidget(row.field.native, 2)
        layout.addWidget(remove)
        self._rows.append(row)
        self._layout.insertWidget(self._layout.count() - 1, box)
        row.field.native.show()
        row.field.changed.connect(lambda: self._on_path(row))
        row.name.textChanged.connect(lambda _: self.changed.emit())
        remove.clicked.connect(lambda _: self._remove(row))
        self.changed.emit()
        return row.field

    def names(self) -> list[QLineEdit]:
        """Return the lines of the names, from the top."""
        return [row.name for row in self._rows]

    def lines(self) -> list[QLineEdit]:
        """Return the lines of the paths, from the top."""
        return [row.field.line_edit.native for row in self._rows]

    def remove_buttons(self) -> list[QToolButton]:
        """Return the buttons that remove a row, from the top."""
        return [row.box.findChildren(QToolButton)[-1] for row in self._rows]

    def paths(self) -> list[tuple[str, Path]]:
        """Return name and path of each row that is filled."""
        found = [(row, row.field.get_value()) for row in self._rows]
        return [(row.name.text().strip() or name_of(p), p) for row, p in found if p is not None]

    def _on_path(self, row: _Row) -> None:
        path = row.field.get_value()
        row.name.setPlaceholderText("name" if path is None else name_of(path))
        self.changed.emit()

    def _remove(self, row: _Row) -> None:
        self._rows.remove(row)
        self._layout.removeWidget(row.box)
        row.box.hide()
        row.box.deleteLater()
        self.changed.emit()


class PathList(ValuedContainerWidget[Any]):
    """The rows as a field of a form: paths by name where ``named``, else one after the other."""

    def __init__(self, add: str, hint: str, named: bool, **options: Any) -> None:
        super().__init__(widgets=[], layout="vertical", labels=False, **options)
        self.margins = (0, 0, 0, 0)
        self._named = named
        self.rows = PathRows(add, hint, options.get("tooltip", ""), named, self.native)
        self.native.layout().addWidget(self.rows)
        self.rows.changed.connect(lambda: self.changed.emit(self.get_value()))

    def get_value(self) -> dict[str, Path] | tuple[Path, ...]:
        """Return the paths that were entered."""
        found = self.rows.paths()
        return dict(found) if self._named else tuple(path for _, path in found)

    def set_value(self, value: Any) -> None:
        """Add paths, with their names where they have any."""
        named = value.items() if isinstance(value, Mapping) else [("", path) for path in value]
        for name, path in named:
            self.rows.add().value = path
            self.rows.names()[-1].setText(name)
