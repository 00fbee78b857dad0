"""A report in the window: its headline figures, and the plots of its page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import (
    QDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_cytodiffusion.shared.common import TallArea, note
from napari_cytodiffusion.shared.plot_picture import PlotPicture
from napari_cytodiffusion.shared.tiles import pixmap_of

if TYPE_CHECKING:
    from cytodiffusion.evaluation.report_content import KeyFigure
    from cytodiffusion.evaluation.stored import StoredPlot, StoredReport

#: Warnings that are shown here; the page has them all.
_WARNINGS = 3

_COLUMNS = 3

#: The theme sets the size of all text, which only a style of its own overrules.
_LARGE_TEXT = "font-size: 15pt; font-weight: bold"

#: Width of a plot that is enlarged.
_LARGE = 900

_GROUPS = (("hardest", "Hardest"), ("anomalous", "Most anomalous"))

_MISSING = "The page of the report, report.html, is missing: it has the plots and the tables."


class ReportPage(QWidget):
    """What is seen of a report: figures, warnings, plots, and ways to the page and the cells.

    Signals
    -------
    page_asked ()
    cell_asked (str)
        Path of the image of a cell that is to be opened.
    """

    page_asked = Signal()
    cell_asked = Signal(str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.page_button = QPushButton("Whole report in the browser", self)
        self.page_button.setToolTip("Opens report.html: tables, all plots, cells, limits")
        self.cells_button = QPushButton("Cells", self)
        self.cells_button.setToolTip("Open the image of a cell that is worth a look as a layer")
        self.cells = QMenu(self.cells_button)
        self.cells_button.setMenu(self.cells)
        self.plots: list[PlotPicture] = []
        buttons = QHBoxLayout()
        buttons.addWidget(self.page_button, 1)
        buttons.addWidget(self.cells_button)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.addLayout(buttons)
        self._area: QWidget | None = None
        self.page_button.clicked.connect(self.page_asked)

    def set_report(self, report: StoredReport) -> None:
        """Show a report; where its figures are odd an error is raised and nothing changes."""
        figures, remarks, cells = report.key_figures, _remarks(report), _cells(report)
        inside = QWidget(self)
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(0, 4, 6, 4)
        layout.setSpacing(10)
        layout.addLayout(_figures(figures, inside))
        for text in remarks:
            layout.addWidget(_paragraph(text, inside))
        self.plots = [PlotPicture(plot, inside) for plot in report.plots]
        for picture in self.plots:
            picture.setToolTip("Click to enlarge")
            picture.setCursor(Qt.CursorShape.PointingHandCursor)
            picture.clicked.connect(lambda plot=picture.plot: self._enlarge(plot))
            layout.addWidget(picture)
            layout.addWidget(_paragraph(picture.plot.caption, inside))
        layout.addStretch(1)
        area = TallArea(inside, self)
        if self._area is not None:
            self._layout.removeWidget(self._area)
            self._area.hide()
            self._area.deleteLater()
        self._layout.addWidget(area, 1)
        self._area = area
        self.page_button.setEnabled(report.page is not None)
        self._fill_cells(cells)

    def _enlarge(self, plot: StoredPlot) -> None:
        """Show a plot in a window of its own, which can be made as large as one likes."""
        dialog = QDialog(self.window())
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle("Plot of the report")
        picture = PlotPicture(plot, dialog)
        picture.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        layout = QVBoxLayout(dialog)
        layout.addWidget(picture, 1)
        layout.addWidget(note(plot.caption, dialog))
        dialog.resize(_LARGE, picture.heightForWidth(_LARGE) + 60)
        dialog.show()

    def _fill_cells(self, cells: dict[str, list[tuple[str, str, QIcon]]]) -> None:
        self.cells.clear()
        for title, found in cells.items():
            menu = self.cells.addMenu(title)
            for text, path, icon in found:
                action = menu.addAction(icon, text)
                action.triggered.connect(lambda _=False, path=path: self.cell_asked.emit(path))
        self.cells_button.setEnabled(bool(cells))


def _figures(figures: list[KeyFigure], parent: QWidget) -> QGridLayout:
    """Return the figures that the page begins with, side by side."""
    grid = QGridLayout()
    grid.setVerticalSpacing(10)
    for number, found in enumerate(figures):
        box = QVBoxLayout()
        box.setSpacing(0)
        value = QLabel(found.value, parent)
        value.setStyleSheet(_LARGE_TEXT)
        for label in (_plain(found.title, parent), value, _plain(found.note, parent)):
            box.addWidget(label)
        grid.addLayout(box, *divmod(number, _COLUMNS))
    return grid


def _plain(text: str, parent: QWidget) -> QLabel:
    label = QLabel(text, parent)
    label.setTextFormat(Qt.TextFormat.PlainText)
    return label


def _remarks(report: StoredReport) -> list[str]:
    """Return what a reader should know before the plots."""
    warnings = [str(text) for text in report.metrics.get("warnings", ())]
    shown = [f"\u26a0 {text}" for text in warnings[:_WARNINGS]]
    if len(warnings) > _WARNINGS:
        shown.append(f"\u26a0 {len(warnings) - _WARNINGS} more warnings are on the page.")
    missing = [] if report.page is not None else [_MISSING]
    return [*shown, *report.comparisons, *missing, *report.metrics.get("limits", ())[:1]]


def _paragraph(text: str, parent: QWidget) -> QLabel:
    """Text that comes from data as it is, never as markup, and never wider than the dock."""
    label = note(text, parent)
    label.setTextFormat(Qt.TextFormat.PlainText)
    policy = label.sizePolicy()
    policy.setHorizontalPolicy(QSizePolicy.Policy.Ignored)
    label.setSizePolicy(policy)
    return label


def _cells(report: StoredReport) -> dict[str, list[tuple[str, str, QIcon]]]:
    """Return caption, path and picture of the cells of each group that has any."""
    found = {}
    for key, title in _GROUPS:
        entries = report.metrics.get("montage", {}).get(key)
        if entries:
            found[title] = [
                (_caption(e), str(e["path"]), _icon(report, e["tile"])) for e in entries
            ]
    return found


def _icon(report: StoredReport, tile: int) -> QIcon:
    picture = report.picture(tile)
    return QIcon() if picture is None else QIcon(pixmap_of(picture))


def _caption(entry: Mapping[str, Any]) -> str:
    """Return a line for a cell: its class, what the model gave instead, and its file."""
    true = "" if entry.get("p_true") is None else f" {entry['p_true']:.2f}"
    wrong = entry["label"] != entry["predicted"]
    said = f" \u2192 {entry['predicted']} {entry['confidence']:.2f}" if wrong else ""
    mark = " \u25b2" if entry["anomaly"] else ""
    return f"{entry['label']}{true}{said}{mark}   {Path(entry['path']).name}"
