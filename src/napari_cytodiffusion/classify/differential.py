"""The differential count below the legend: white cells of all images that are classified."""

from __future__ import annotations

import html

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from cytodiffusion.metrics.differential import Differential, DifferentialSettings
from napari_cytodiffusion.classify.export import decimal_mark
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.common import note
from napari_cytodiffusion.shared.fold import FoldButton
from napari_cytodiffusion.shared.settings_form import make_field

#: Milliseconds between two counts while cells arrive.
_EVERY_MS = 400


class DifferentialPanel(QWidget):
    """Counts the white cells, says what it leaves out, and copies the table."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session
        self.found: Differential | None = None
        self.fold = FoldButton("Differential count", self, opened=True)
        self._inside = QWidget(self)
        self.headline = note("", self._inside)
        self.table = QLabel("", self._inside)
        self.table.setTextFormat(Qt.TextFormat.RichText)
        self.table.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.remarks = note("", self._inside)
        self.stop_at = make_field(DifferentialSettings, "stop_at", none="never, count all")
        self.copy = QPushButton("Copy", self._inside)
        self.copy.setToolTip("Copy the table, to paste it into a spreadsheet")
        row = QHBoxLayout()
        row.addWidget(QLabel(self.stop_at.label, self._inside))
        row.addWidget(self.stop_at.native, 1)
        row.addWidget(self.copy)
        inside = QVBoxLayout(self._inside)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(4)
        for widget in (self.headline, self.table, self.remarks):
            inside.addWidget(widget)
        inside.addLayout(row)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.fold)
        layout.addWidget(self._inside)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_EVERY_MS)
        self._timer.timeout.connect(self.count)
        self.fold.toggled.connect(self._inside.setVisible)
        self.stop_at.native.setToolTip(self.stop_at.tooltip)
        self.stop_at.changed.connect(lambda _: self.count())
        self.copy.clicked.connect(self._on_copy)
        self.count()

    def count_soon(self) -> None:
        """Count again, but not for every batch of cells that arrives."""
        if not self._timer.isActive():
            self._timer.start()

    def count(self) -> None:
        """Count the white cells of the images that are classified now."""
        views = self._session.classified()
        self.setVisible(bool(views))
        if not views:
            self.found = None
            return
        fields = [(own.results.batches, own.results.white) for own in views]
        self.found = found = self._session.engine.differential(fields, self.stop_at.value)
        first, _, shares = found.headline().partition(";")
        self.headline.setText(f"<b>{html.escape(first)}</b>")
        self.headline.setToolTip(shares.strip())
        self.table.setText(_as_html(found))
        self.table.setVisible(found.counted > 0)
        self.remarks.setText(" ".join(found.remarks()))
        self.remarks.setVisible(bool(self.remarks.text()))
        self.copy.setEnabled(found.counted > 0)

    def _on_copy(self) -> None:
        clipboard = QApplication.clipboard()
        if self.found is not None and clipboard is not None:
            clipboard.setText(self.found.as_text(decimal_mark()))


def _as_html(found: Differential) -> str:
    """Return the table of the classes with the 95 % intervals of their shares."""
    rows = ["<tr><td></td><td></td><td></td><td>95 % interval</td></tr>"]
    for c in found.classes:
        low, high = (100 * end for end in c.interval)
        rows.append(
            f"<tr><td>{html.escape(c.name)}&nbsp;&nbsp;</td>"
            f"<td align='right'>{c.count:,}&nbsp;&nbsp;</td>"
            f"<td align='right'>({100 * c.share:.0f}&nbsp;%)&nbsp;&nbsp;</td>"
            f"<td>{low:.0f}\u2013{high:.0f}&nbsp;%</td></tr>"
        )
    return f"<table cellspacing='0' cellpadding='1'>{''.join(rows)}</table>"
