"""The last page of a lesson: the score, what was taken for what, and the cells that were wrong."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QHeaderView, QPushButton, QVBoxLayout, QWidget

from cytodiffusion.lessons import LearnerSession
from napari_cytodiffusion.lesson import jobs as words
from napari_cytodiffusion.shared.common import TallArea, note
from napari_cytodiffusion.shared.plots import legible
from napari_cytodiffusion.shared.table import FigureTable
from napari_cytodiffusion.shared.tiles import TileBoard

#: Side in pixels below which no cell shrinks.
_LEAST = 100


class ResultPage(QWidget):
    """Shows what came of a sitting.

    Signals
    -------
    back ()
    look (object)
        A cell whose answer is to be shown again, a `cytodiffusion.lessons.session.Reveal`.
    """

    back = Signal()
    look = Signal(object)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.title = note("", self)
        larger = self.title.font()
        larger.setPointSizeF(1.15 * larger.pointSizeF())
        self.title.setFont(larger)
        self.confusion_title = note(
            "What was said at first, in columns, of the cells of each class, in rows:", self
        )
        self.confusion = FigureTable(False, self)
        self.wrong_title = note("", self)
        self.wrong = TileBoard(2, self, least=_LEAST)
        self.wrong.setToolTip("Click a cell to see all that is told of it")
        self.back_button = QPushButton("Back to the lesson", self)
        inside = QWidget(self)
        scrolled = QVBoxLayout(inside)
        scrolled.setContentsMargins(0, 0, 0, 0)
        scrolled.addWidget(self.title)
        scrolled.addWidget(self.confusion_title)
        scrolled.addWidget(self.confusion)
        scrolled.addWidget(self.wrong_title)
        scrolled.addWidget(self.wrong, 1)
        scrolled.addStretch(0)
        buttons = QHBoxLayout()
        buttons.addWidget(self.back_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(TallArea(inside, self), 1)
        layout.addLayout(buttons)
        self._reveals: list[Any] = []
        self.wrong.chosen.connect(lambda number: self.look.emit(self._reveals[number]))
        self.back_button.clicked.connect(self.back)

    def show_session(self, session: LearnerSession) -> None:
        """Show what came of a finished sitting."""
        self._reveals = session.reveals()
        self.title.setText(words.summary(session))
        colors = {one.name: one.color for one in session.lesson.content.classes}
        table = words.confusion_table(session)
        self.confusion.set_table(table, colors)
        header = self.confusion.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        for column, name in enumerate(session.lesson.content.class_names, 1):
            self.confusion.horizontalHeaderItem(column).setToolTip(name)
        wrong = legible(words.WRONG, self)
        for row in range(len(table.rows)):
            item = self.confusion.item(row, 0)
            item.setText(f"{row + 1}  {item.text()}")
            for column in range(1, len(table.header)):
                if column != row + 1:
                    self.confusion.item(row, column).setForeground(wrong)
        rows = self.confusion.verticalHeader().defaultSectionSize() * (len(table.rows) + 1)
        self.confusion.setFixedHeight(rows + 16)
        tiles = words.wrong_tiles(self._reveals, session.lesson)
        said = f"{len(tiles)} were wrong at first; click one to read about it again:"
        self.wrong_title.setText(said if tiles else "Every first answer was right.")
        self.wrong.set_tiles(tiles, session.lesson.content.window_um)
        self.wrong.setVisible(bool(tiles))
