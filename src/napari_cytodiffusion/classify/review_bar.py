"""The row on top of *Inspect cell* where a person gives the cell its class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtGui import QColor, QIcon, QKeySequence, QPixmap, QShortcut
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_cytodiffusion.classify.reviewing import CLASS_KEYS, Reviewing

#: Entry of the list of classes that asks for another one.
_OTHER = "Another class ..."

_SWATCH = 12


class ReviewBar(QWidget):
    """Shows whose word the class of the cell is, and takes another one.

    The field ``observer`` has its place among the details of the cell.
    """

    def __init__(self, reviewing: Reviewing, parent: QWidget) -> None:
        super().__init__(parent)
        self._reviewing = reviewing
        self._shown: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self.title = QLabel("Class:", self)
        self.choice = QComboBox(self)
        self.choice.setToolTip(
            "The class that you give this cell; the keys stand before the names. All other cells "
            "of the slide are classified anew by it."
        )
        self.confirm = QPushButton("Right, next", self)
        self.confirm.setToolTip("The class is right: go to the next cell (Enter)")
        self.undo = QPushButton("Undo", self)
        self.undo.setToolTip("Take back what you said last (Ctrl+Z)")
        self.whose = QLabel("", self)
        self.observer = QLineEdit(self)
        self.observer.setPlaceholderText("for the table, if you like")
        self.observer.setText(reviewing.observer)
        self.observer.setToolTip("Who looks at the cells: the column observer of the table")
        first, second = QHBoxLayout(), QHBoxLayout()
        first.addWidget(self.title)
        first.addWidget(self.choice, 1)
        second.addWidget(self.whose, 1)
        second.addWidget(self.confirm)
        second.addWidget(self.undo)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(first)
        layout.addLayout(second)
        self.choice.activated.connect(self._on_choice)
        self.confirm.clicked.connect(reviewing.confirm)
        self.undo.clicked.connect(reviewing.undo)
        self.observer.editingFinished.connect(self._on_observer)
        reviewing.changed.connect(self._show_observer)
        for index, key in enumerate(CLASS_KEYS):
            self._shortcut(key, partial(reviewing.give, index))
        for key in ("Return", "Enter"):
            self._shortcut(key, reviewing.confirm)
        self._shortcut("Ctrl+Z", reviewing.undo)
        self._shortcut("Ctrl+Shift+Z", reviewing.redo)

    def _shortcut(self, key: str, does: Callable[[], object]) -> None:
        """Let a key work in the dock, as it does on the canvas."""
        parent = self.parentWidget() or self
        shortcut = QShortcut(QKeySequence(key), parent)
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        shortcut.activated.connect(partial(self._on_shortcut, does))

    def _on_shortcut(self, does: Callable[[], object]) -> None:
        if isinstance(QApplication.focusWidget(), QLineEdit):  # Enter ends the name
            self.choice.setFocus()
            return
        does()

    def show_cell(
        self,
        names: Sequence[str],
        colors: Sequence[str],
        predicted: int,
        said: str,
        can_undo: bool,
        blind: bool = False,
    ) -> None:
        """Show the class of a cell: what a person said, else what was predicted.

        Not that in blind mode, in which nobody is to know it.
        """
        wanted = (tuple(names), tuple(colors))
        with QSignalBlocker(self.choice):
            if wanted != self._shown:
                self._shown = wanted
                self._fill()
            name = said or ("" if blind else names[predicted])
            self.choice.setCurrentIndex(names.index(name) if name in names else -1)
        if blind:
            text = "said by you" if said else "said by nobody yet"
        elif not said:
            text = "said by the model"
        elif said == names[predicted]:
            text = "said by you, and by the model"
        else:
            text = "said by you"
        self.whose.setText(text)
        self.undo.setEnabled(can_undo)

    def _fill(self) -> None:
        self.choice.clear()
        for index, (name, color) in enumerate(zip(*self._shown, strict=True)):
            key = f"{CLASS_KEYS[index]}  " if index < len(CLASS_KEYS) else "     "
            swatch = QPixmap(_SWATCH, _SWATCH)
            swatch.fill(QColor(color))
            self.choice.addItem(QIcon(swatch), f"{key}{name}")
        self.choice.addItem(_OTHER)

    def _on_choice(self, index: int) -> None:
        names = self._shown[0]
        if index < len(names):
            self._reviewing.say(names[index])
            return
        name, fine = QInputDialog.getText(self, "Another class", "What is this cell?")
        if fine and name.strip():
            self._reviewing.say(name)
        else:
            self._reviewing.changed.emit()  # shows the class again

    def _show_observer(self) -> None:
        """Show the name that was given elsewhere."""
        if not self.observer.hasFocus():
            self.observer.setText(self._reviewing.observer)

    def _on_observer(self) -> None:
        self._reviewing.call_observer(self.observer.text())
