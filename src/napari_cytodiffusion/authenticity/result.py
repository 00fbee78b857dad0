"""The page that shows what came of authenticity tests: tables, plots, export."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QPushButton,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_cytodiffusion.authenticity import jobs as words
from napari_cytodiffusion.authenticity.reasons import ReasonsPage
from napari_cytodiffusion.shared.common import TallArea, note, plain_note
from napari_cytodiffusion.shared.plot_board import PlotBoard
from napari_cytodiffusion.shared.plots import legible, text_color
from napari_cytodiffusion.shared.table import FigureTable, short

#: Colours of participants (Okabe & Ito 2008), as in the figure that is exported.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")

_PLOTS = (
    ("people", "Accuracy of each participant"),
    ("classes", "Accuracy of each class"),
    ("detection", "Hits against false alarms"),
    ("curves", "Psychometric functions"),
)


class ResultPlots(PlotBoard):
    """Plots of a result, one at a time."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.choice = QComboBox(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addWidget(self.choice)
        layout.addWidget(self.plot, 1)
        layout.addStretch(0)
        self._figures: Mapping[str, Any] | None = None
        self.choice.currentIndexChanged.connect(self._redraw)

    def set_figures(self, figures: Mapping[str, Any]) -> None:
        """Show the plots that the figures allow."""
        self._figures = figures
        curves = figures["psychometric"].get("observers", {})
        drawn = any("curve" in found for found in curves.values())
        self.choice.blockSignals(True)
        self.choice.clear()
        for key, title in _PLOTS:
            if key != "curves" or drawn:
                self.choice.addItem(title, key)
        self.choice.blockSignals(False)
        self._redraw()

    def _redraw(self, _: Any = None) -> None:
        if self._figures is None or self.choice.currentData() is None:
            return
        self._clear()
        getattr(self, f"_draw_{self.choice.currentData()}")(self._figures)

    def _draw_people(self, figures: Mapping[str, Any]) -> None:
        rows = {name: f["accuracy"] for name, f in figures["participants"].items()}
        if len(rows) > 1:
            rows["all answers"] = figures["pooled"]["accuracy"]
        self._forest(rows)

    def _draw_classes(self, figures: Mapping[str, Any]) -> None:
        self._forest({name: f["accuracy"] for name, f in figures["pooled"]["classes"].items()})

    def _forest(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Shares with exact intervals, one a line; the dashed line is guessing."""
        colour = legible(_COLOURS[0], self)
        x = [row["value"] for row in rows.values()]
        y = list(range(len(rows)))
        low, high = zip(*(row["interval"] for row in rows.values()), strict=True)
        self.plot.getViewBox().invertY(True)
        lines = pg.ErrorBarItem(
            x=np.array(x, float),
            y=np.array(y, float),
            left=np.subtract(x, low),
            right=np.subtract(high, x),
            pen=pg.mkPen(colour, width=2),
        )
        self.plot.addItem(lines)
        dots = pg.ScatterPlotItem(x, y, size=9, brush=pg.mkBrush(colour), pen=None)
        self.plot.addItem(dots)
        self._guessing()
        left = self.plot.getAxis("left")
        left.setTicks([[(n, short(name, 18)) for n, name in enumerate(rows)]])
        widest = max(self.fontMetrics().horizontalAdvance(short(n, 18)) for n in rows)
        left.setWidth(widest + 14)
        self.plot.setXRange(0, 1, padding=0.04)
        self.plot.setYRange(-0.7, len(rows) - 0.3, padding=0)
        self._labels("accuracy, 95 % exact; dashed: guessing", "")

    def _guessing(self) -> None:
        grey = QColor(text_color(self))
        grey.setAlpha(130)
        pen = pg.mkPen(grey, style=Qt.PenStyle.DashLine)
        self.plot.addItem(pg.InfiniteLine(0.5, angle=90, pen=pen))

    def _draw_detection(self, figures: Mapping[str, Any]) -> None:
        self._legend((-10, -10))
        self._dashed()
        for number, (name, found) in enumerate(figures["participants"].items()):
            alarms, hits = found["false_alarms"]["value"], found["hits"]["value"]
            if alarms is not None and hits is not None:
                text = f"{escape(short(name, 16))}, d' {found['dprime']:.2f}"
                self._dots([alarms], [hits], self._colour(number), text)
        self.plot.setXRange(0, 1, padding=0.02)
        self.plot.setYRange(0, 1, padding=0.02)
        self._labels("real called synthetic", "synthetic called synthetic")

    def _draw_curves(self, figures: Mapping[str, Any]) -> None:
        self._legend((-10, -10))
        part = figures["psychometric"]
        number = 0
        for name, found in part["observers"].items():
            if "curve" not in found:
                continue
            colour, curve = self._colour(number), found["curve"]
            self._band(curve["index"], curve["low"], curve["high"], colour)
            pen = pg.mkPen(colour, width=2)
            self.plot.plot(curve["index"], curve["accuracy"], pen=pen, name=escape(short(name, 16)))
            number += 1
        self.plot.setXRange(0, 1, padding=0.02)
        self.plot.setYRange(0.2, 1, padding=0.02)
        kind = "others who were right" if part["index"]["kind"] == "participants" else "model"
        self._labels(f"easy to the right ({kind})", "share of right answers")

    def _colour(self, number: int) -> QColor:
        return legible(_COLOURS[number % len(_COLOURS)], self)


class ResultPage(QWidget):
    """Figures of all participants of the chosen tests.

    Signals
    -------
    more (), export (), back ()
        More files are to be compared; the result is to be saved; back to the test.
    """

    more = Signal()
    export = Signal()
    back = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.title = note("", self)
        self.tabs = QTabWidget(self)
        self.people = FigureTable(True, self.tabs)
        self.classes = FigureTable(True, self.tabs)
        self.reasons = ReasonsPage(self.tabs)
        self.pairs = FigureTable(True, self.tabs)
        self.times = FigureTable(False, self.tabs)
        self.plots = ResultPlots(self.tabs)
        self.remarks = plain_note("", self.tabs)  # names are anybody's
        self.remarks.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self.remarks.setContentsMargins(4, 6, 4, 4)
        for title, page in (
            ("Participants", self.people),
            ("Plots", self.plots),
            ("Classes", self.classes),
            ("What gave them away", self.reasons),
            ("Compared", self.pairs),
            ("Times", self.times),
            ("Notes", TallArea(self.remarks, self.tabs)),
        ):
            self.tabs.addTab(page, title)
        self.back_button = QPushButton("Back", self)
        self.more_button = QPushButton("Compare with ...", self)
        self.more_button.setToolTip("Other files: copies of this test, or other tests")
        self.export_button = QPushButton("Export ...", self)
        self.export_button.setToolTip("CSV, JSON, a figure and a page")
        buttons = QHBoxLayout()
        for button in (self.back_button, self.more_button, self.export_button):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.title)
        layout.addWidget(self.tabs, 1)
        layout.addLayout(buttons)
        self.back_button.clicked.connect(self.back)
        self.more_button.clicked.connect(self.more)
        self.export_button.clicked.connect(self.export)

    def show_result(
        self,
        result: Any,
        made: Sequence[str] = (),
        test: str = "",
        image: Callable[[int], np.ndarray] | None = None,
    ) -> None:
        """Show a `cytodiffusion.authenticity.result.AuthenticityResult`.

        ``made`` is what was noticed when the test was made, ``test`` the opened one, of whose
        cells ``image`` gives the pictures.
        """
        figures = result.figures
        people = len(figures["participants"])
        accuracy = figures["pooled"]["accuracy"]
        low, high = accuracy["interval"]
        self.title.setText(
            f"<b>{people} {'participant' if people == 1 else 'participants'}, "
            f"{figures['mode']}: accuracy {accuracy['value']:.3f}</b> "
            f"({low:.3f}\u2013{high:.3f}); guessing is 0.5"
        )
        self.people.set_table(words.people_table(figures))
        self.classes.set_table(words.class_table(figures))
        self.pairs.set_table(words.pairs_table(figures), text_columns=2)
        self.times.set_table(words.times_table(figures))
        self.reasons.show_result(result, test, image)
        self.tabs.setTabVisible(self.tabs.indexOf(self.reasons), bool(figures["judges"]))
        self.tabs.setTabVisible(self.tabs.indexOf(self.pairs), people > 1)
        self.plots.set_figures(figures)
        remarks = list(dict.fromkeys([*figures["leaks"], *made, *figures["notes"]]))
        if "why" in figures["psychometric"]:
            remarks.append(f"No psychometric functions: {figures['psychometric']['why']}.")
        self.remarks.setText("\n".join(f"\u2022 {text}" for text in remarks))
