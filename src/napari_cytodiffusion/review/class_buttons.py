"""The classes as buttons: a key each, live counts, and cells can be dragged onto them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import (
    QColor,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDropEvent,
    QIcon,
    QPixmap,
    QResizeEvent,
)
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QPushButton,
    QSizePolicy,
    QWidget,
)

from napari_cytodiffusion.classify.reviewing import CLASS_KEYS
from napari_cytodiffusion.review.gallery import CELLS_MIME
from napari_cytodiffusion.shared.common import EDGE, TallArea

_SWATCH = 12

#: Entry behind the classes that asks for one that is not there.
OTHER = "Another class ..."

#: Pixels that a button likes to be wide, and of height that all of them take at most.
_WIDTH, _HIGHEST = 130, 210


class ClassButton(QPushButton):
    """A class: a click, or cells that are dropped on it, mean that they are of this class.

    Signals
    -------
    given ()
        The selected cells are of this class.
    """

    given = Signal()

    def __init__(self, name: str, color: str, key: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.name = name
        swatch = QPixmap(_SWATCH, _SWATCH)
        swatch.fill(QColor(color))
        self.setIcon(QIcon(swatch))
        self.setIconSize(QSize(_SWATCH, _SWATCH))
        self.setAcceptDrops(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # keys stay with the gallery
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._key = key
        self._text = QLabel(self)
        self._count = QLabel(self)
        self._count.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for label in (self._text, self._count):
            label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
            label.setStyleSheet("background: transparent")
        self._text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        inside = QHBoxLayout(self)
        inside.setContentsMargins(_SWATCH + 12, 0, 6, 0)
        inside.setSpacing(4)
        inside.addWidget(self._text, 1)
        inside.addWidget(self._count)
        self.setStyleSheet("text-align: left")
        self.setAccessibleName(name)
        self.clicked.connect(self.given)
        self.set_count(None, "")

    def set_count(self, count: int | None, tip: str) -> None:
        """Show how many cells are of this class; None shows nothing."""
        self._count.setText("" if count is None else f"{count:,}")
        key = f"Key {self._key}. " if self._key else ""
        self.setToolTip(
            f"{self.name}. {key}{tip}Drag cells here, or click, to give them this class."
        )
        self._elide()

    def _elide(self) -> None:
        text = f"{self._key}  {self.name}" if self._key else self.name
        room = max(20, self.width() - _SWATCH - 26 - self._count.sizeHint().width())
        metrics = self._text.fontMetrics()
        self._text.setText(metrics.elidedText(text, Qt.TextElideMode.ElideRight, room))

    def sizeHint(self) -> QSize:
        """As high as text needs."""
        return QSize(_WIDTH, self.fontMetrics().height() + 10)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Cut the name where there is no room."""
        super().resizeEvent(event)
        self._elide()

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        """Take cells."""
        if event is not None and event.mimeData().hasFormat(CELLS_MIME):
            event.acceptProposedAction()
            self.setDown(True)

    def dragLeaveEvent(self, event: QDragLeaveEvent | None) -> None:
        """Look as before."""
        self.setDown(False)

    def dropEvent(self, event: QDropEvent | None) -> None:
        """Give the cells this class."""
        self.setDown(False)
        if event is not None and event.mimeData().hasFormat(CELLS_MIME):
            event.acceptProposedAction()
            self.given.emit()


class ClassButtons(QWidget):
    """A button a class, in two columns.

    Signals
    -------
    given (str)
        The selected cells are of the class of this name.
    """

    given = Signal(str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._shown: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self.buttons: list[ClassButton] = []
        self.other = QPushButton(OTHER, self)
        self.other.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.other.setToolTip("Give the selected cells a class that is not here yet.")
        self.other.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.other.clicked.connect(self._on_other)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(3)
        for column in (0, 1):
            self._grid.setColumnStretch(column, 1)
        self._place()

    def set_classes(self, names: Sequence[str], colors: Sequence[str]) -> None:
        """Show these classes."""
        wanted = (tuple(names), tuple(colors))
        if wanted == self._shown:
            return
        self._shown = wanted
        for button in self.buttons:
            button.setParent(None)
            button.deleteLater()
        self.buttons = []
        for index, (name, color) in enumerate(zip(names, colors, strict=True)):
            key = CLASS_KEYS[index] if index < len(CLASS_KEYS) else ""
            button = ClassButton(name, color, key, self)
            button.given.connect(partial(self.given.emit, name))
            self.buttons.append(button)
        self._place()

    def set_counts(self, counts: Sequence[int], given: Sequence[int]) -> None:
        """Show how many cells are of each class, and in the tip how many of these people gave."""
        for button, count, by_people in zip(self.buttons, counts, given, strict=True):
            button.set_count(int(count), f"{count:,} cells, {by_people:,} of them by people. ")

    def _place(self) -> None:
        parts: list[QWidget] = [*self.buttons, self.other]
        lines = -(-len(parts) // 2)
        for number, part in enumerate(parts):  # down the columns, as the keys go
            self._grid.removeWidget(part)
            self._grid.addWidget(part, number % lines, number // lines)

    def _on_other(self) -> None:
        name, fine = QInputDialog.getText(self, "Another class", "What are these cells?")
        if fine and name.strip():
            self.given.emit(name.strip())


class ClassArea(TallArea):
    """As high as the classes need, up to a bound; beyond it they scroll."""

    def __init__(self, classes: ClassButtons, parent: QWidget) -> None:
        super().__init__(classes, parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        """Height of all classes, if it is not too much."""
        return self.minimumSizeHint()

    def minimumSizeHint(self) -> QSize:
        """Return the same: cells have what is left of the height."""
        inside = self.widget()
        if inside is None:
            return super().minimumSizeHint()
        high = min(inside.sizeHint().height() + EDGE, _HIGHEST)
        return QSize(super().minimumSizeHint().width(), high)
