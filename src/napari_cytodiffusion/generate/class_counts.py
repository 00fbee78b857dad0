"""How many cells of each class: colour, name and a number a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from qtpy.QtCore import QSignalBlocker, Qt, QTimer, Signal
from qtpy.QtGui import QFocusEvent, QWheelEvent
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_cytodiffusion.shared.fold import FormArea

_SWATCH = 14

_MOST = 1_000_000

#: Rows that are seen at least; the rest is scrolled to.
_ROWS_SEEN = 5

#: Buttons below the rows, with the number they set.
BUTTONS: dict[str, int | None] = {"1 of each": 1, "10 of each": 10, "Clear": 0}


class _Count(QSpinBox):
    """A number that scrolling the list over it does not change."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setRange(0, _MOST)
        self.setGroupSeparatorShown(True)
        self.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.setMinimumWidth(96)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def focusInEvent(self, event: QFocusEvent | None) -> None:
        """Select the number, so that typing takes its place; after the click has set the cursor."""
        super().focusInEvent(event)
        QTimer.singleShot(0, self.selectAll)

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Leave the wheel to the list, unless one is typing here."""
        if event is not None and not self.hasFocus():
            event.ignore()
        else:
            super().wheelEvent(event)


class ClassCounts(QWidget):
    """Numbers of cells by class.

    Signals
    -------
    changed ()
        A number was changed.

    Parameters
    ----------
    buttons : mapping of str to int or None
        Buttons that set all numbers; None sets those that the classes came with.
    seen : int
        Rows that are seen at least; the others are scrolled to.
    """

    changed = Signal()

    def __init__(
        self,
        parent: QWidget,
        buttons: Mapping[str, int | None] = MappingProxyType(BUTTONS),
        seen: int = _ROWS_SEEN,
    ) -> None:
        super().__init__(parent)
        self._seen = seen
        self._usual: dict[str, int] = {}
        self.spins: dict[str, QSpinBox] = {}
        self._rows = QWidget(self)
        self._grid = QGridLayout(self._rows)
        self._grid.setContentsMargins(4, 0, 4, 0)
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(2)
        self._grid.setColumnStretch(1, 1)
        self._area = FormArea(self._rows, self)
        self.buttons: dict[str, QPushButton] = {}
        row = QHBoxLayout()
        row.setSpacing(4)
        for text, count in buttons.items():
            button = self.buttons[text] = QPushButton(text, self)
            button.clicked.connect(lambda _, count=count: self.set_all(count))
            row.addWidget(button, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self._area, 1)
        layout.addLayout(row)

    def set_classes(
        self, names: Sequence[str], colors: Sequence[str], counts: Sequence[int] | None = None
    ) -> None:
        """Offer these classes; those that were there keep their numbers."""
        self._usual = dict(zip(names, counts or [1] * len(names), strict=True))
        before = {name: spin.value() for name, spin in self.spins.items()}
        while self._grid.count():
            widget = self._grid.takeAt(0).widget()
            if widget is not None:
                widget.setParent(None)
                widget.deleteLater()
        self.spins = {}
        for row, (name, color) in enumerate(zip(names, colors, strict=True)):
            self._add(row, name, color, before.get(name, self._usual[name]))
        self._grid.setRowStretch(len(names), 1)
        height = 0 if not self.spins else next(iter(self.spins.values())).sizeHint().height() + 2
        self._area.setMinimumHeight(min(len(names), self._seen) * height)
        self._area.setMaximumHeight(len(names) * height + 2)
        # room that is left over belongs below all of it
        below = max(button.sizeHint().height() for button in self.buttons.values()) + 6
        self.setMaximumHeight(len(names) * height + 2 + below)
        self.changed.emit()

    def _add(self, row: int, name: str, color: str, count: int) -> None:
        swatch = QLabel(self._rows)
        swatch.setFixedSize(_SWATCH, _SWATCH)
        swatch.setStyleSheet(f"background: {color}; border-radius: 3px;")
        spin = _Count(self._rows)
        spin.setValue(count)
        spin.valueChanged.connect(self._on_value)
        label = QLabel(name, self._rows)
        label.setBuddy(spin)
        self._grid.addWidget(swatch, row, 0)
        self._grid.addWidget(label, row, 1)
        self._grid.addWidget(spin, row, 2)
        self.spins[name] = spin

    def set_all(self, count: int | None) -> None:
        """Set the numbers of all classes; None sets those they came with."""
        self.set_counts(self._usual if count is None else dict.fromkeys(self.spins, count))

    def set_counts(self, counts: Mapping[str, int]) -> None:
        """Set the numbers of some classes."""
        for name, count in counts.items():
            with QSignalBlocker(self.spins[name]):
                self.spins[name].setValue(count)
        self.changed.emit()

    def counts(self) -> dict[str, int]:
        """Numbers by class, those with none left out."""
        return {name: spin.value() for name, spin in self.spins.items() if spin.value()}

    def total(self) -> int:
        """Cells of all classes."""
        return sum(self.counts().values())

    def _on_value(self, _: int) -> None:
        self.changed.emit()
