"""*Inspect cell*: one cell, what the classifier saw of it and what it made of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.utils import notifications
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from cytodiffusion.errors import CytoDiffusionError
from napari_cytodiffusion.classify import texts
from napari_cytodiffusion.classify.morphology import MorphologyPanel
from napari_cytodiffusion.classify.review_bar import ReviewBar
from napari_cytodiffusion.classify.reviewing import Reviewing, said_of
from napari_cytodiffusion.layers.placement import full_size
from napari_cytodiffusion.layers.results import FILTERS, REVIEW, CellRecord, percent
from napari_cytodiffusion.layers.views import CellViews, look_at, mark_cell
from napari_cytodiffusion.session import NEXT_KEY, PREVIOUS_KEY, Session
from napari_cytodiffusion.shared.common import TallArea, note, tell
from napari_cytodiffusion.shared.fold import FoldButton
from napari_cytodiffusion.shared.plots import ErrorPlot, Gauge, PosteriorPlot, text_color

#: Pixels of a side of the picture of a cell.
_CROP = 288

_BAR_UM = 5

_ORDERS = (
    ("uncertainty", "uncertain first"),
    ("anomaly", "unusual first"),
    ("class", "class by class"),
)

_EMPTY = "Click a cell, or step through the cells with the arrows."

_NOTHING = "Nothing is classified yet: Classify cells comes first."


class InspectWidget(QWidget):
    """Dock widget *Inspect cell*.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer it is docked in.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._session = Session.of(napari_viewer)
        self._label = 0
        self._views: CellViews | None = None
        self._reviewing = Reviewing.of(self._session)
        self._build()
        self._session.attach(self)
        self._session.watch(self)
        self._reviewing.watch(self)
        self._reviewing.changed.connect(self._show_class)
        self._reviewing.next_wanted.connect(self._on_next_wanted)
        self._session.inspected.connect(self.show_cell)
        self._session.stepped.connect(self.step)
        self._session.cells_changed.connect(self._on_cells)
        self._session.blind_changed.connect(self._on_blind)
        self._on_blind()
        self.show_cell(self._session.chosen)

    # -- layout -------------------------------------------------------------------------------

    def _build(self) -> None:
        self.order = QComboBox(self)
        for value, text in _ORDERS:
            self.order.addItem(text, value)
        self.only = QComboBox(self)
        self.previous = QPushButton("\u25c0", self)
        self.next = QPushButton("\u25b6", self)
        self.previous.setToolTip(f"Previous cell (key {PREVIOUS_KEY})")
        self.next.setToolTip(f"Next cell (key {NEXT_KEY})")
        self.place = QLabel("", self)
        self.place.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.place.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.follow = QCheckBox("Camera follows", self)
        self.follow.setChecked(True)
        choose = QHBoxLayout()
        choose.addWidget(self.order, 1)
        choose.addWidget(self.only, 1)
        steps = QHBoxLayout()
        steps.addWidget(self.previous)
        steps.addWidget(self.place, 1)
        steps.addWidget(self.next)
        steps.addWidget(self.follow)
        self.review_bar = ReviewBar(self._reviewing, self)
        self.hint = note(_EMPTY, self)
        self.details = self._build_details()
        self._area = TallArea(self.details, self)
        layout = QVBoxLayout(self)
        layout.addLayout(choose)
        layout.addLayout(steps)
        layout.addWidget(self.review_bar)
        layout.addWidget(self.hint)
        layout.addWidget(self._area, 1)
        # as wide as the picture of a cell before there is one; wider where something needs it
        layout.addStrut(_CROP + 16)
        self.previous.clicked.connect(lambda: self.step(-1))
        self.next.clicked.connect(lambda: self.step(1))
        self.order.currentIndexChanged.connect(self._show_place)
        self.only.currentIndexChanged.connect(self._show_place)

    def _build_details(self) -> QWidget:
        details = QWidget(self)
        self.title = QLabel("", details)
        self.title.setTextFormat(Qt.TextFormat.RichText)
        self.title.setWordWrap(True)
        self.crop = QLabel(details)
        self.crop.setFixedSize(_CROP, _CROP)
        self.summary = note("", details)
        self.members = note("", details)
        self.review = note("", details)
        self.border = note("", details)
        self.unusual = note("", details)
        self.gauge = Gauge(details)
        self.posterior = PosteriorPlot(details)
        self.posterior.setToolTip("How probable each class is; a dot marks those that fit.")
        self.morphology = MorphologyPanel(details)
        self.fold = FoldButton("Details", details)
        self.more = self._build_more(details)
        self.more.hide()
        self.fold.toggled.connect(self._on_fold)
        layout = QVBoxLayout(details)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.title, self.summary, self.members, self.review, self.border):
            layout.addWidget(widget)
        #: What tells of the model's word.
        self._by_model = (
            *(self.summary, self.members, self.posterior, self.morphology),
            *(self.unusual, self.gauge, self.fold),
        )
        layout.addWidget(self.crop, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addWidget(self.posterior)
        layout.addWidget(self.morphology)
        layout.addWidget(self.unusual)
        layout.addWidget(self.gauge)
        layout.addWidget(self.fold)
        layout.addWidget(self.more)
        layout.addStretch(1)
        return details

    def _build_more(self, parent: QWidget) -> QWidget:
        """Figures for who wants them, each with what it means."""
        more = QWidget(parent)
        self.facts: dict[str, QLabel] = {}
        grid = QGridLayout()
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(3)
        for row, (key, (name, meaning)) in enumerate(texts.TERMS.items()):
            head, value = QLabel(name, more), QLabel("", more)
            value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            for label in (head, value):
                label.setToolTip(meaning)
            grid.addWidget(head, row, 0)
            grid.addWidget(value, row, 1)
            self.facts[key] = value
        grid.setColumnStretch(1, 1)
        title, meaning = texts.ERRORS
        self.errors_title = note(f"<b>{title}</b>", more)
        self.errors = ErrorPlot(more)
        for widget in (self.errors_title, self.errors):
            widget.setToolTip(meaning)
        layout = QVBoxLayout(more)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(grid)
        layout.addWidget(self.errors_title)
        layout.addWidget(self.errors)
        named = QHBoxLayout()
        named.addWidget(QLabel("Your name", more))
        named.addWidget(self.review_bar.observer, 1)
        layout.addLayout(named)
        layout.addWidget(note("Hold the pointer over a name to read what it means.", more))
        return more

    # -- what is current ----------------------------------------------------------------------

    def _on_cells(self) -> None:
        views = self._session.current
        if views is not self._views:
            self._views, self._label = views, 0
            self._fill_classes(views)
        if views is not None and self._label and views.results.record(self._label) is None:
            self._label = 0  # it was deleted
        record = None if views is None else views.results.record(self._label)
        if views is not None and record is not None:  # what others learned changes it, too
            self._show_class()
            self._show_numbers(record, views)
        known = views is not None and len(views.results) > 0
        for widget in (self.previous, self.next, self.order, self.only):
            widget.setEnabled(known)
        shown = known and self._label != 0
        self._area.setVisible(shown)
        self.review_bar.setVisible(shown)
        self.hint.setVisible(not shown)
        self.hint.setText(_EMPTY if known else _NOTHING)
        self._show_place()

    def _on_blind(self, _: bool = False) -> None:
        """Hide what the model says of the cell, and orders that tell of it; or show them."""
        open_eyed = not self._session.blind
        for widget in (self.order, self.only, *self._by_model):
            widget.setVisible(open_eyed)
        self.more.setVisible(open_eyed and self.fold.isChecked())
        self._on_cells()

    def _on_fold(self, opened: bool) -> None:
        """Show the details, or fold them away."""
        self.more.setVisible(opened)
        if opened:
            self._on_cells()

    def _show_class(self) -> None:
        """Show the class of the cell, by a person or by the model."""
        views = self._views
        record = None if views is None else views.results.record(self._label)
        if views is None or record is None:
            return
        results = views.results
        if tuple(zip(results.class_names, results.colors, strict=True)) != self.posterior.classes:
            chosen = self.only.currentData()
            self._fill_classes(views)
            with QSignalBlocker(self.only):
                self.only.setCurrentIndex(max(0, self.only.findData(chosen)))
        self.review_bar.show_cell(
            views.results.class_names,
            views.results.colors,
            int(record.predicted),
            said_of(views.people, self._label),
            self._reviewing.can_undo(views),
            self._session.blind,
        )

    def _on_next_wanted(self) -> None:
        """Go to the next cell of the order that nobody has looked at."""
        if self._reviewing.guided:
            return
        walk, views = self._walk(), self._views
        if not walk or views is None:
            return
        at = walk.index(self._label) + 1 if self._label in walk else 0
        said = views.people.said
        for label in (*walk[at:], *walk[:at]):
            if label not in said:
                self._session.inspect(label)
                if self.follow.isChecked():
                    self._look_at()
                return
        notifications.show_info("You have looked at all cells of this choice.")

    def _fill_classes(self, views: CellViews | None) -> None:
        with QSignalBlocker(self.only):
            self.only.clear()
            self.only.addItem("all classes", None)
            if views is None:
                return
            if views.error_rate is not None:
                self.only.addItem("for review", REVIEW)
            for value, text in FILTERS:
                self.only.addItem(text, value)
            for index, name in enumerate(views.results.class_names):
                self.only.addItem(name, index)
        self.posterior.set_classes(views.results.class_names, views.results.colors)

    def _walk(self) -> list[int]:
        if self._views is None:
            return []
        if self._session.blind:
            return self._views.results.ordered("label")
        return self._views.results.ordered(self.order.currentData(), self.only.currentData())

    def _show_place(self, _: Any = None) -> None:
        walk = self._walk()
        if self._label in walk:
            self.place.setText(f"{walk.index(self._label) + 1:,} of {len(walk):,}")
        else:
            self.place.setText(f"{len(walk):,} cells" if self._views is not None else "")

    def step(self, by: int) -> None:
        """Go to the next (1) or previous (-1) cell of the chosen order."""
        if self._reviewing.guided:
            return
        walk = self._walk()
        if not walk:
            return
        at = walk.index(self._label) + by if self._label in walk else 0
        # through the session, so that other widgets follow
        self._session.inspect(walk[at % len(walk)])
        if self.follow.isChecked():
            self._look_at()

    # -- one cell -----------------------------------------------------------------------------

    def show_cell(self, label: int) -> None:
        """Show everything about one cell."""
        views = self._session.current
        record = None if views is None else views.results.record(label)
        if views is None or record is None:
            return
        self._label = label
        self._on_cells()
        self._show_crop(record, views)
        if self._session.viewer is not None:
            mark_cell(self._session.viewer, views, record)

    def _show_numbers(self, record: CellRecord, views: CellViews) -> None:
        results = views.results
        names = results.class_names
        if self._session.blind:
            self.title.setText(f"cell {record.label:,}")
            self.border.setText(texts.border(record))
            self.border.setVisible(bool(self.border.text()))
            self.review.hide()
            return
        name, color = names[record.predicted], results.colors[record.predicted]
        whose = " by the model" if record.by_human >= 0 else ""
        self.title.setText(
            f"<span style='font-size: large'><span style='color: {color}'>\u25a0</span> "
            f"<b>{name}</b>, {percent(record.confidence)}</span>{whose} &nbsp; "
            f"cell {record.label:,}"
        )
        self.morphology.show_cell(record)
        self.summary.setText(texts.runner_up(record, names))
        self.members.setText(texts.fitting(record, names))
        said = (
            texts.border(record),
            texts.CHANGED if record.label in views.changes.changed else "",
        )
        self.border.setText("<br>".join(filter(None, said)))
        self.border.setVisible(any(said))
        self.posterior.set_posterior(record.posterior, record.prediction_set, text_color(self))
        top = max(1.5 * record.anomaly_threshold, 1.1 * record.anomaly_score)
        self.gauge.set_value(record.anomaly_score, record.anomaly_threshold, top)
        self.unusual.setText(texts.strangeness(record))
        self.review.setText(texts.review(record))
        self.review.setVisible(bool(self.review.text()))
        for key, text in texts.details(record, len(names), views.pixel_size_um).items():
            self.facts[key].setText(text)
        if self.fold.isChecked():  # drawing these takes longer than all the rest
            self.errors.set_errors(
                record.levels, record.errors_by_level, results.colors, record.predicted
            )

    def _show_crop(self, record: CellRecord, views: CellViews) -> None:
        try:
            pixels = self._session.engine.crop(
                full_size(views.image),
                full_size(views.labels),
                record.label,
                (record.y, record.x),
                views.pixel_size_um,
                views.window_um,
                _CROP,
            )
        except CytoDiffusionError as error:
            tell(error)
            return
        pixels = np.ascontiguousarray(pixels)
        image = QImage(pixels.tobytes(), _CROP, _CROP, 3 * _CROP, QImage.Format.Format_RGB888)
        pixmap = QPixmap.fromImage(image.copy())
        painter = QPainter(pixmap)
        length = round(_BAR_UM / views.window_um * _CROP)
        painter.fillRect(8, _CROP - 12, length, 4, QColor("black"))
        painter.setPen(QColor("black"))
        painter.drawText(8, _CROP - 16, f"{_BAR_UM} \u00b5m")
        painter.end()
        self.crop.setPixmap(pixmap)
        self.crop.setToolTip(f"What the classifier sees: {views.window_um:.3g} \u00b5m a side")

    def _look_at(self) -> None:
        viewer, views = self._session.viewer, self._views
        record = None if views is None else views.results.record(self._label)
        if viewer is not None and views is not None and record is not None:
            look_at(viewer, views, record)
