"""The page of *Synthetic smear* on which a learner counts, and is told how near that came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_cytodiffusion.generate.class_counts import ClassCounts
from napari_cytodiffusion.shared.common import note, plain_note
from napari_cytodiffusion.shared.table import FigureTable
from napari_cytodiffusion.smear import jobs

_EMPTY = (
    "Check \u201cAs an exercise\u201d and make a smear: its cells are then shown without their "
    "classes, for you to count."
)

_TASK = (
    "Count the white cells by class, and type the numbers here. Or name the cells in Review cells "
    "(classify the layer \u201ccells to name\u201d first) and take your classes from there."
)


class ExercisePage(QWidget):
    """Numbers by class, a button that checks, and the table of truth and answer.

    Signals
    -------
    checked (object)
        The numbers typed, by class.
    taken ()
        The classes given in *Review cells* are to be checked instead.
    """

    checked = Signal(object)
    taken = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.task = note(_EMPTY, self)
        self.counts = ClassCounts(self, {"Clear": 0}, 100)
        self.counts.changed.connect(self._on_counts)
        self.total = note("", self)
        self.check_button = QPushButton("Check the count", self)
        self.review_button = QPushButton("Check my classes of Review cells", self)
        self.table = FigureTable(False, self)
        self.table.setToolTip("Bold: the truth is outside the range that chance allows")
        self.remarks = plain_note("", self)
        self.remarks.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        buttons = QHBoxLayout()
        buttons.addWidget(self.check_button)
        buttons.addWidget(self.review_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addWidget(self.task)
        layout.addWidget(self.counts)
        layout.addWidget(self.total)
        layout.addLayout(buttons)
        layout.addWidget(self.table)
        layout.addWidget(self.remarks)
        layout.addStretch(1)
        self.check_button.clicked.connect(lambda: self.checked.emit(self.counts.counts()))
        self.review_button.clicked.connect(self.taken)
        self.offer(False)

    def offer(self, there: bool) -> None:
        """Begin a new exercise, or say that there is none."""
        self.task.setText(_TASK if there else _EMPTY)
        for widget in (self.counts, self.total, self.check_button, self.review_button):
            widget.setVisible(there)
        self.table.hide()
        self.remarks.setText("")

    def set_classes(self, names: Sequence[str], colors: Sequence[str]) -> None:
        """Offer the white cells that may be on the smear, none of them counted yet."""
        self.counts.set_classes(names, colors, [0] * len(names))
        self.counts.set_all(0)

    def show_result(self, found: Any) -> None:
        """Show an `ExerciseResult`."""
        self.table.set_table(jobs.score_table(found))
        rows = self.table.rowCount()
        height = self.table.verticalHeader().defaultSectionSize()
        self.table.setFixedHeight((rows + 1) * height + 12)
        self.table.show()
        self.remarks.setText("\n".join(f"\u2022 {text}" for text in found.remarks()))

    def say(self, text: str) -> None:
        """Say why there is nothing to show."""
        self.table.hide()
        self.remarks.setText(text)

    def _on_counts(self) -> None:
        self.total.setText(f"{self.counts.total()} white cells counted")
