"""Plots of a report in the window, from its numbers as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from napari_cytodiffusion.reports import classifiers
from napari_cytodiffusion.widgets.common import note
from napari_cytodiffusion.widgets.plots import legible, text_color

#: Colours of the model and of the baselines beside it (Okabe & Ito 2008).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_PLOTS = (
    ("confusion", "Confusion matrix", "Counts; the colour is the share of the true class."),
    (
        "reliability",
        "Reliability",
        "Accuracy of the cells of each bin of confidence. On the dashed line confidence is right.",
    ),
    (
        "risk",
        "Risk against coverage",
        "Error that remains when only the most confident cells are decided.",
    ),
    (
        "trials",
        "Trials against accuracy",
        "Line: balanced accuracy when no cell stops early. Bars: share of cells that took so many.",
    ),
)


class ReportPlots(QWidget):
    """One plot at a time, chosen by name."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.choice = QComboBox(self)
        for key, title, _ in _PLOTS:
            self.choice.addItem(title, key)
        self.plot = pg.PlotWidget(self, background=None)
        self.plot.setMenuEnabled(False)
        self.plot.hideButtons()
        self.plot.setMinimumHeight(300)
        self.line = note("", self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addWidget(self.choice)
        layout.addWidget(self.plot, 1)
        layout.addWidget(self.line)
        self._metrics: Mapping[str, Any] | None = None
        self.choice.currentIndexChanged.connect(self._draw)

    def sizeHint(self) -> QSize:
        """As narrow as the dock wants it."""
        return QSize(320, 380)

    def set_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Show the plots of a report."""
        self._metrics = metrics
        self._draw()

    def show_plot(self, key: str) -> None:
        """Choose a plot."""
        self.choice.setCurrentIndex(self.choice.findData(key))

    def _draw(self, _: Any = None) -> None:
        if self._metrics is None:
            return
        item = self.plot.getPlotItem()
        self.plot.clear()
        if item.legend is not None:
            item.legend.scene().removeItem(item.legend)
            item.legend = None
        view = self.plot.getViewBox()
        view.invertY(False)
        view.setMouseEnabled(False, False)
        for side in ("left", "bottom"):
            axis = self.plot.getAxis(side)
            axis.setTicks(None)
            axis.setStyle(tickTextOffset=4)
            axis.setTextPen(text_color(self))
            axis.setWidth(None) if side == "left" else axis.setHeight(None)
            axis.enableAutoSIPrefix(False)
            axis.setLabel("")
        key = self.choice.currentData()
        self.line.setText(next(text for name, _, text in _PLOTS if name == key))
        getattr(self, f"_draw_{key}")(self._metrics)

    def _curves(self, metrics: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], QColor]]:
        return [
            (name, found, legible(_COLOURS[number % len(_COLOURS)], self))
            for number, (name, found) in enumerate(classifiers(metrics))
        ]

    def _legend(self, corner: tuple[int, int]) -> None:
        self.plot.addLegend(offset=corner, labelTextColor=text_color(self))

    def _dashed(self) -> None:
        grey = QColor(text_color(self))
        grey.setAlpha(130)
        self.plot.plot([0, 1], [0, 1], pen=pg.mkPen(grey, style=Qt.PenStyle.DashLine))

    def _labels(self, bottom: str, left: str) -> None:
        self.plot.setLabel("bottom", bottom)
        self.plot.setLabel("left", left)

    # -- the plots ----------------------------------------------------------------------------

    def _draw_confusion(self, metrics: Mapping[str, Any]) -> None:
        names = metrics["confusion"]["classes"]
        counts = np.array(metrics["confusion"]["counts"])
        rows = np.flatnonzero(counts.sum(axis=1))
        columns = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
        part = counts[np.ix_(rows, columns)]
        shares = part / part.sum(axis=1, keepdims=True)
        image = pg.ImageItem(shares, axisOrder="row-major", levels=(0, 1))
        image.setColorMap(pg.ColorMap([0.0, 1.0], ["#f2f6fb", "#08519c"]))
        self.plot.addItem(image)
        for i, j in np.argwhere(part > 0):
            ink = "white" if shares[i, j] > 0.5 else "#1d2733"
            text = pg.TextItem(f"{part[i, j]:,}", color=ink, anchor=(0.5, 0.5))
            text.setPos(j + 0.5, i + 0.5)
            self.plot.addItem(text)
        self.plot.getViewBox().invertY(True)
        left = self.plot.getAxis("left")
        left.setTicks([[(i + 0.5, names[k]) for i, k in enumerate(rows)]])
        metric = self.fontMetrics()
        left.setWidth(max(metric.horizontalAdvance(names[k]) for k in rows) + 30)
        short = [(j + 0.5, _short(names[k])) for j, k in enumerate(columns)]
        self.plot.getAxis("bottom").setTicks([short])
        self._labels("predicted", "true")
        self.plot.setXRange(0, len(columns), padding=0)
        self.plot.setYRange(0, len(rows), padding=0)

    def _draw_reliability(self, metrics: Mapping[str, Any]) -> None:
        self._legend((40, 10))
        self._dashed()
        for name, found, colour in self._curves(metrics):
            points = found["reliability"]
            most = max(p["n"] for p in points)
            self.plot.plot(
                [p["confidence"] for p in points],
                [p["accuracy"] for p in points],
                pen=pg.mkPen(colour, width=1),
                symbol="o",
                symbolSize=[5 + 9 * (p["n"] / most) ** 0.5 for p in points],
                symbolBrush=colour,
                symbolPen=None,
                name=f"{name}, ECE {found['ece']:.3f}",
            )
        self._labels("confidence", "accuracy")
        self.plot.setXRange(0, 1.02, padding=0)
        self.plot.setYRange(-0.02, 1.04, padding=0)

    def _draw_risk(self, metrics: Mapping[str, Any]) -> None:
        self._legend((40, 10))
        highest = 0.001
        for name, found, colour in self._curves(metrics):
            curve = found["risk_coverage"]
            risk = 100 * np.array(curve["risk"])
            highest = max(highest, risk.max(initial=0))
            self.plot.plot(
                curve["coverage"],
                risk,
                pen=pg.mkPen(colour, width=2),
                name=f"{name}, AURC {found['aurc']:.4f}",
            )
        self._labels("share of cells decided", "error among them (%)")
        self.plot.setXRange(0, 1.02, padding=0)
        self.plot.setYRange(0, 1.3 * highest, padding=0)

    def _draw_trials(self, metrics: Mapping[str, Any]) -> None:
        bars, points = metrics["trials"]["histogram"], metrics["trials"]["points"]
        grey = QColor(text_color(self))
        grey.setAlpha(60)
        total = sum(b["n"] for b in bars)
        self.plot.addItem(
            pg.BarGraphItem(
                x=[b["trials"] for b in bars],
                height=[b["n"] / total for b in bars],
                width=0.8,
                brush=grey,
                pen=None,
            )
        )
        colour = legible(_COLOURS[0], self)
        self.plot.plot(
            [p["trials"] for p in points],
            [p["balanced_accuracy"] for p in points],
            pen=pg.mkPen(colour, width=2),
            symbol="o",
            symbolSize=6,
            symbolBrush=colour,
            symbolPen=None,
        )
        self._labels("trials", "balanced accuracy; share")
        last = max([b["trials"] for b in bars] + [p["trials"] for p in points])
        self.plot.setXRange(0.4, last + 0.6, padding=0)
        self.plot.setYRange(0, 1.03, padding=0)

    def wheelEvent(self, event: Any) -> None:
        """Leave the wheel to the panel that scrolls."""
        event.ignore()


def _short(name: str) -> str:
    """Return a class name that fits under a column: the beginnings of its words."""
    words = name.split()
    return name[:4] if len(words) == 1 else "".join(w[:2] for w in words)
