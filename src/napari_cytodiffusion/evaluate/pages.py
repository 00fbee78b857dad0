"""The sections of a report, one at a time, each with its text, plots and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QSizePolicy,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_cytodiffusion.evaluate.cell_wall import CellWall
from napari_cytodiffusion.evaluate.plots import ReportPlot
from napari_cytodiffusion.evaluate.sections import (
    Block,
    Folded,
    Grid,
    Plot,
    Points,
    Section,
    Source,
    Text,
)
from napari_cytodiffusion.evaluate.table import ReportTable
from napari_cytodiffusion.shared.common import TallArea, note
from napari_cytodiffusion.shared.fold import Fold


class ReportPages(QWidget):
    """A chooser of sections, and the section that is chosen; pages are made when first shown."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.choice = QComboBox(self)
        self.choice.setToolTip("Section of the report")
        self.back, self.forth = QToolButton(self), QToolButton(self)
        self.back.setArrowType(Qt.ArrowType.LeftArrow)
        self.back.setToolTip("Section before")
        self.forth.setArrowType(Qt.ArrowType.RightArrow)
        self.forth.setToolTip("Next section")
        self.stack = QStackedWidget(self)
        self.cells = CellWall(self.stack)
        self.stack.addWidget(self.cells)
        top = QHBoxLayout()
        top.setSpacing(4)
        top.addWidget(self.back)
        top.addWidget(self.choice, 1)
        top.addWidget(self.forth)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(top)
        layout.addWidget(self.stack, 1)
        self._metrics: Mapping[str, Any] = {}
        self._sections: dict[str, Section] = {}
        self._pages: dict[str, QWidget] = {}
        self.choice.currentIndexChanged.connect(self._show)
        self.back.clicked.connect(lambda _: self._step(-1))
        self.forth.clicked.connect(lambda _: self._step(1))

    def set_report(self, report: Any, sections: Sequence[Section]) -> None:
        """Show a `cytodiffusion.evaluation.stored.StoredReport`, where the last one was left."""
        before = self.choice.currentData()
        for page in self._pages.values():
            self.stack.removeWidget(page)
            page.deleteLater()
        self._pages = {}
        self._metrics = report.metrics
        self._sections = {section.key: section for section in sections}
        self.cells.set_report(report)
        with QSignalBlocker(self.choice):
            self.choice.clear()
            for section in sections:
                self.choice.addItem(section.title, section.key)
            self.choice.setCurrentIndex(max(0, self.choice.findData(before)))
        self._show()

    def show_section(self, key: str) -> None:
        """Choose a section."""
        self.choice.setCurrentIndex(self.choice.findData(key))

    def tables(self) -> list[ReportTable]:
        """Return the tables of the section that is shown, from the top."""
        return self.stack.currentWidget().findChildren(ReportTable)

    def plots(self) -> list[ReportPlot]:
        """Return the plots of the section that is shown, from the top."""
        return self.stack.currentWidget().findChildren(ReportPlot)

    def _step(self, by: int) -> None:
        self.choice.setCurrentIndex(self.choice.currentIndex() + by)

    def _show(self, _: Any = None) -> None:
        section = self._sections.get(self.choice.currentData())
        if section is None:
            return
        if not section.blocks:
            self.stack.setCurrentWidget(self.cells)
        else:
            if section.key not in self._pages:
                self._pages[section.key] = page = self._page(section)
                self.stack.addWidget(page)
            self.stack.setCurrentWidget(self._pages[section.key])
        self.back.setEnabled(self.choice.currentIndex() > 0)
        self.forth.setEnabled(self.choice.currentIndex() < self.choice.count() - 1)

    # -- pages --------------------------------------------------------------------------------

    def _page(self, section: Section) -> QWidget:
        inside = QWidget(self.stack)
        layout = self._column(inside, section.blocks)
        layout.setContentsMargins(0, 4, 6, 4)
        layout.addStretch(1)
        return TallArea(inside, self.stack)

    def _column(self, inside: QWidget, blocks: Sequence[Block]) -> QVBoxLayout:
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        for block in blocks:
            layout.addWidget(self._made(block, inside))
        return layout

    def _made(self, block: Block, parent: QWidget) -> QWidget:
        match block:
            case Text(text, bold):
                label = _paragraph(text, parent)
                font = label.font()
                font.setBold(bold)
                label.setFont(font)
                return label
            case Points(sentences):
                return _paragraph("\n".join(f"\u2022 {text}" for text in sentences), parent)
            case Grid():
                return ReportTable(block, self._metrics.get("colors", {}), parent)
            case Plot(key):
                return ReportPlot(self._metrics, key, parent)
            case Source(text):
                return _source(text, parent)
            case Folded(title, blocks, opened):
                fold = Fold(title, parent, opened)
                self._column(fold.inside, blocks)
                return fold


def _paragraph(text: str, parent: QWidget) -> QLabel:
    """Text that comes from data as it is, never as markup, and never wider than the dock."""
    label = note(text, parent)
    label.setTextFormat(Qt.TextFormat.PlainText)
    policy = label.sizePolicy()
    policy.setHorizontalPolicy(QSizePolicy.Policy.Ignored)
    label.setSizePolicy(policy)
    return label


def _source(text: str, parent: QWidget) -> QPlainTextEdit:
    box = QPlainTextEdit(text, parent)
    box.setReadOnly(True)
    box.setMinimumHeight(240)
    return box
