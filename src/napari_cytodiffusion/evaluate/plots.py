"""Plots of a report in the window, from its numbers as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QColor, QShowEvent
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_cytodiffusion.evaluate.jobs import classifiers, short
from napari_cytodiffusion.shared.common import note
from napari_cytodiffusion.shared.plot_board import PlotBoard
from napari_cytodiffusion.shared.plots import legible, text_color

#: Colours of the model and of the baselines beside it (Okabe & Ito 2008).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")

_CAPTIONS = {
    "confusion": "Confusion matrix: cells of each true class (row) by what they were called; the "
    "colour is the share of the row, by its square root.",
    "reliability": "Reliability: accuracy of the cells of each bin of confidence, with 95 % "
    "intervals; hollow: fewer than ten cells. On the dashed line confidence is right.",
    "risk": "Risk against coverage: error that remains when only the most confident cells are "
    "decided.",
    "sets": "Coverage found against coverage asked for; the numbers are the model's mean set "
    "sizes, which fall below 1 where sets are empty.",
    "anomaly": "ROC of the anomaly score; the dot is the stated threshold.",
    "shift": "Balanced accuracy with 95 % intervals; open: every class competes; shared: only "
    "those that occur there.",
    "trials": "Line: balanced accuracy when no cell stops early. Bars: share of cells that took so "
    "many.",
    "low_data": "Balanced accuracy with few labelled cells a class; bars: standard deviation over "
    "seeds. A plus marks baselines that use the unlabelled cells too.",
    "psychometric": "Right answers, more cells in larger dots; fitted curves, the model's with its "
    "95 % credible band; below, the thresholds' 95 % credible intervals.",
}

#: Bins with fewer cells are drawn hollow.
_FEW_IN_BIN = 10

_DASHED = Qt.PenStyle.DashLine


def _grey(widget: QWidget, alpha: int = 130) -> QColor:
    """Colour of text, faint."""
    grey = QColor(text_color(widget))
    grey.setAlpha(alpha)
    return grey


class ReportPlot(PlotBoard):
    """One plot of a report with a line below it, drawn in the colours of the window."""

    def __init__(self, metrics: Mapping[str, Any], key: str, parent: QWidget) -> None:
        super().__init__(parent)
        self._metrics, self.key = metrics, key
        self.line = note("", self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.plot, 1)
        layout.addWidget(self.line)

    def sizeHint(self) -> QSize:
        """As narrow as the dock wants it."""
        return QSize(320, 380)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Draw when the theme is known."""
        super().showEvent(event)
        self._clear()
        # the label hangs five pixels below its axis
        self.plot.getPlotItem().setContentsMargins(0, 0, 0, 5)
        self.line.setText(_CAPTIONS[self.key])
        try:
            getattr(self, f"_draw_{self.key}")(self._metrics)
        except (KeyError, TypeError, ValueError, IndexError):
            self._clear()
            self.line.setText("The report lacks the figures of this plot: see its HTML page.")

    def _curves(self, metrics: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], QColor]]:
        return [
            (short(name), found, legible(_COLOURS[number % len(_COLOURS)], self))
            for number, (name, found) in enumerate(classifiers(metrics))
        ]

    # -- the plots ----------------------------------------------------------------------------

    def _draw_confusion(self, metrics: Mapping[str, Any]) -> None:
        names = metrics["confusion"]["classes"]
        counts = np.array(metrics["confusion"]["counts"])
        rows = np.flatnonzero(counts.sum(axis=1))
        columns = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
        part = counts[np.ix_(rows, columns)]
        shares = part / part.sum(axis=1, keepdims=True)
        # by the square root: one error in fifty cells is to be seen
        image = pg.ImageItem(np.sqrt(shares), axisOrder="row-major", levels=(0, 1))
        image.setColorMap(pg.ColorMap([0.0, 1.0], ["#f2f6fb", "#08519c"]))
        self.plot.addItem(image)
        small = self.font()
        small.setPointSizeF(0.85 * small.pointSizeF())
        for i, j in np.argwhere(part > 0):
            ink = "white" if shares[i, j] > 0.3 else "#1d2733"
            text = pg.TextItem(f"{part[i, j]:,}", color=ink, anchor=(0.5, 0.5))
            text.setFont(small)
            text.setPos(j + 0.5, i + 0.5)
            self.plot.addItem(text)
        self.plot.getViewBox().invertY(True)
        left = self.plot.getAxis("left")
        # names do not fit under narrow columns: both sides carry numbers
        number = {int(k): str(j + 1) for j, k in enumerate(columns)}
        titles = [f"{names[k]}  {number[int(k)]}" for k in rows]
        left.setTicks([[(i + 0.5, title) for i, title in enumerate(titles)]])
        metric = self.fontMetrics()
        left.setWidth(max(metric.horizontalAdvance(title) for title in titles) + 12)
        below = [(j + 0.5, number[int(k)]) for j, k in enumerate(columns)]
        self.plot.getAxis("bottom").setTicks([below])
        others = [f"{number[int(k)]} {names[k]}" for k in columns if k not in rows]
        if others:
            self.line.setText(f"{self.line.text()} Further columns: {', '.join(others)}.")
        self._labels("predicted", "")
        self.plot.setXRange(0, len(columns), padding=0)
        self.plot.setYRange(0, len(rows), padding=0)

    def _draw_reliability(self, metrics: Mapping[str, Any]) -> None:
        from cytodiffusion.evaluation.plots import wilson  # it imports matplotlib

        self._legend((-10, -10))
        self._dashed()
        for name, found, colour in self._curves(metrics):
            points = found["reliability"]
            most = max(p["n"] for p in points)
            x = [p["confidence"] for p in points]
            y = [p["accuracy"] for p in points]
            ends = np.array([wilson(p["accuracy"], p["n"]) for p in points])
            faint = QColor(colour)
            faint.setAlpha(130)
            self._bars_of_error(x, y, ends[:, 0], ends[:, 1], faint)
            hollow = pg.mkBrush(None)
            self.plot.plot(
                x,
                y,
                pen=None,
                symbol="o",
                symbolSize=[5 + 9 * (p["n"] / most) ** 0.5 for p in points],
                symbolBrush=[
                    pg.mkBrush(colour) if p["n"] >= _FEW_IN_BIN else hollow for p in points
                ],
                symbolPen=pg.mkPen(colour),
            )
            label = f"{name}, ECE {found['ece']:.3f}"
            self.plot.plot(pen=None, symbol="o", symbolBrush=colour, symbolPen=None, name=label)
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
        grey = _grey(self, 60)
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

    def _draw_sets(self, metrics: Mapping[str, Any]) -> None:
        self._legend((-10, -10))
        asked = [row["asked"] for row in metrics["sets"]]
        lowest = min(asked)
        self._dashed(lowest)
        for name, found, colour in self._curves(metrics):
            covered = [row["coverage"] for row in found["sets"]]
            lowest = min(lowest, *covered)
            self._dots(asked, covered, colour, name)
        colour = legible(_COLOURS[0], self)
        for row in metrics["sets"]:
            self._write(f"{row['size']:.2f}", row["asked"], row["coverage"], colour, (0, 0))
        self.plot.getAxis("bottom").setTicks([[(level, f"{level:g}") for level in asked]])
        self._labels("coverage asked for", "coverage found")
        self.plot.setXRange(min(asked) - 0.02, 1.02, padding=0)
        self.plot.setYRange(lowest - 0.05, 1.02, padding=0)

    def _draw_anomaly(self, metrics: Mapping[str, Any]) -> None:
        self._legend((-10, -10))
        self._dashed()
        for name, found, colour in self._curves(metrics):
            anomaly = found["anomaly"]
            if anomaly["auc"] is None:
                continue
            self.plot.plot(
                anomaly["roc"]["false_alarms"],
                anomaly["roc"]["sensitivity"],
                pen=pg.mkPen(colour, width=2),
                name=f"{name}, AUC {anomaly['auc']:.3f}",
            )
            self._dots([1 - anomaly["specificity"]], [anomaly["sensitivity"]], colour)
        self._labels("false alarms", "sensitivity")
        self.plot.setXRange(-0.02, 1.02, padding=0)
        self.plot.setYRange(-0.02, 1.04, padding=0)

    def _draw_shift(self, metrics: Mapping[str, Any]) -> None:
        self._legend((40, 4))
        everyone = self._curves(metrics)
        width = 0.8 / len(everyone)
        for number, (name, found, colour) in enumerate(everyone):
            rows = [("balanced_accuracy", found)]
            for other in metrics["shift"]:
                shift = found["shift"][other]
                rows += [("balanced_accuracy", shift), ("shared_balanced_accuracy", shift)]
            values = [row[key] for key, row in rows]
            ends = np.array([row["intervals"][key] for key, row in rows], float)
            x = np.arange(len(rows)) + (number - (len(everyone) - 1) / 2) * width
            bars = pg.BarGraphItem(
                x=x, height=values, width=0.92 * width, brush=colour, pen=None, name=name
            )
            self.plot.addItem(bars)
            self._bars_of_error(x, values, ends[:, 0], ends[:, 1], text_color(self))
        places = ["this data"]
        for other in metrics["shift"]:
            places += [f"{short(other, 8)}\nopen", f"{short(other, 8)}\nshared"]
        self.plot.getAxis("bottom").setTicks([list(enumerate(places))])
        self.plot.getAxis("bottom").setHeight(3 * self.fontMetrics().height() + 6)
        self._labels("", "balanced accuracy")
        self.plot.getAxis("left").setTicks([[(v / 5, f"{v / 5:g}") for v in range(6)]])
        self.plot.setXRange(-0.5, len(places) - 0.5, padding=0)
        self.plot.setYRange(0, 1.1 + 0.08 * len(everyone), padding=0)

    def _draw_low_data(self, metrics: Mapping[str, Any]) -> None:
        self._legend((-10, -10))
        curves = metrics["low_data"]["curves"]
        ticks = sorted({p["cells"] for points in curves.values() for p in points})
        lowest = 1.0
        for number, (name, points) in enumerate(curves.items()):
            colour = legible(_COLOURS[number % len(_COLOURS)], self)
            x = np.log10([p["cells"] for p in points]) + 0.006 * number
            y = np.array([p["balanced_accuracy"] for p in points])
            spread = np.array([p["sd"] for p in points])
            self._bars_of_error(x, y, y - spread, y + spread, colour)
            self._dots(x, y, colour, name)
            lowest = min(lowest, float((y - spread).min()))
        self.plot.getAxis("bottom").setTicks([[(float(np.log10(t)), str(t)) for t in ticks]])
        self._labels("labelled cells a class", "balanced accuracy")
        self.plot.setXRange(np.log10(ticks[0]) - 0.1, np.log10(ticks[-1]) + 0.1, padding=0)
        self.plot.setYRange(max(0, lowest - 0.15), 1.01, padding=0)

    def _draw_psychometric(self, metrics: Mapping[str, Any]) -> None:
        self._legend((-10, -80))
        part = metrics["psychometric"]
        names = {"model": str(metrics["model"]["name"])}
        guess = pg.InfiniteLine(part["guess_rate"], 0, pg.mkPen(_grey(self), style=_DASHED))
        self.plot.addItem(guess)
        for number, (name, found) in enumerate(part["observers"].items()):
            if "curve" not in found:
                continue
            colour = legible(_COLOURS[number % len(_COLOURS)], self)
            curve = found["curve"]
            if name == "model":
                self._band(curve["index"], curve["low"], curve["high"], colour)
            points = found["points"]
            most = max(p["n"] for p in points)
            self.plot.addItem(
                pg.ScatterPlotItem(
                    [p["index"] for p in points],
                    [p["accuracy"] for p in points],
                    size=[5 + 9 * (p["n"] / most) ** 0.5 for p in points],
                    brush=colour,
                    pen=None,
                )
            )
            self.plot.plot(
                curve["index"],
                curve["accuracy"],
                pen=pg.mkPen(colour, width=2),
                name=short(names.get(name, name)),
            )
            low, high = np.clip(found["intervals"]["threshold"], 0, 1)
            height = -0.03 - 0.025 * number
            self.plot.plot([low, high], [height, height], pen=pg.mkPen(colour, width=3))
        self._labels("index of difficulty, easy to the right", "right answers")
        self.plot.setXRange(0, 1.02, padding=0)
        self.plot.getAxis("left").setTicks([[(v / 5, f"{v / 5:g}") for v in range(6)]])
        self.plot.setYRange(-0.05 - 0.025 * len(part["observers"]), 1.04, padding=0)
