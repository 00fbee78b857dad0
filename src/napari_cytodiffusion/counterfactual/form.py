"""Which cell is compared with which class, and how: the upper part of *Counterfactual*."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_cytodiffusion.counterfactual import targets
from napari_cytodiffusion.counterfactual import texts as words
from napari_cytodiffusion.counterfactual.jobs import CounterfactualRequest
from napari_cytodiffusion.counterfactual.morph_page import StrengthRow
from napari_cytodiffusion.counterfactual.targets import TargetChoice
from napari_cytodiffusion.layers.results import CellRecord, percent
from napari_cytodiffusion.layers.views import CellViews
from napari_cytodiffusion.shared.common import form
from napari_cytodiffusion.shared.defaults import default

#: Trials are raised by this where a map has not converged, up to the most.
_MORE, _MOST_TRIALS = 4, 4096


class CounterfactualForm(QWidget):
    """Cell, target, trials, strength.

    Signals
    -------
    changed ()
        Another target or strength was chosen.

    Parameters
    ----------
    save : QPushButton
        Stands beside the name of the cell.
    parent : QWidget
    """

    changed = Signal()

    def __init__(self, save: QPushButton, parent: QWidget) -> None:
        super().__init__(parent)
        self._record: CellRecord | None = None
        self._wanted: int | None = None  # a target that was chosen, for the next cells too
        self.title = QLabel("", self)
        self.title.setTextFormat(Qt.TextFormat.RichText)
        self.target = QComboBox(self)
        self.target.setToolTip(
            "The class that the cell is compared with; the runner-up comes first."
        )
        self.trials = QSpinBox(self)
        self.trials.setRange(16, _MOST_TRIALS)
        self.trials.setSingleStep(16)
        self.trials.setValue(default("counterfactual", "trials"))
        self.trials.setToolTip("Passes of the network a cell; more make the map clearer.")
        self.strength = StrengthRow(self)
        self.at_once = QCheckBox("At every click", self)
        self.at_once.setChecked(True)
        self.at_once.setToolTip("Make the heatmap as soon as a cell or a target is chosen.")
        self.class_colors = QCheckBox("Class colours", self)
        self.class_colors.setToolTip("Keep the colours of the classes in the slide.")
        self._lay_out(save)
        self.target.activated.connect(self._on_target)
        self.strength.changed.connect(self.changed)
        self.show_cell(None, None)

    def _lay_out(self, save: QPushButton) -> None:
        head = QHBoxLayout()
        head.addWidget(self.title, 1)
        head.addWidget(save)
        checks = QHBoxLayout()
        checks.addWidget(self.at_once)
        checks.addSpacing(12)
        checks.addWidget(self.class_colors)
        checks.addStretch(1)
        self._fields = form(self)
        self._fields.addRow("Target", self.target)
        self._fields.addRow("Trials", self.trials)
        self._fields.addRow("Strength", self.strength)
        self._fields.addRow(checks)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(head)
        layout.addLayout(self._fields)

    def show_strength(self, shown: bool) -> None:
        """Show or hide how far a cell may be changed."""
        self._fields.setRowVisible(self.strength, shown)

    def show_cell(self, record: CellRecord | None, views: CellViews | None) -> None:
        """Name a cell and offer the classes that it can be compared with."""
        self._record = record
        with QSignalBlocker(self.target):
            self.target.clear()
            if record is None or views is None:
                self.title.setText("<span style='font-size: large'>No cell chosen</span>")
                self.target.setEnabled(False)
                return
            for index in targets.ranking(record):
                self.target.addItem(words.target_text(record, views.results, index), index)
            self.target.setEnabled(self.target.count() > 0)
            asked = targets.asked_of(record, self._wanted)
            if asked is not None:
                self.target.setCurrentIndex(self.target.findData(asked.target))
        name = views.results.class_names[record.predicted]
        color = views.results.colors[record.predicted]
        self.title.setText(
            f"<span style='font-size: large'><span style='color: {color}'>\u25a0</span> "
            f"<b>{name}</b> {percent(record.confidence)}</span> &nbsp; cell {record.label:,}"
        )

    def asked(self) -> TargetChoice | None:
        """Return what is asked for: the current cell and target."""
        if self._record is None or self.target.currentData() is None:
            return None
        return targets.asked_of(self._record, self.target.currentData())

    def wish(self, versions: bool = True) -> CounterfactualRequest:
        """Return how heatmaps and counterfactual cells are made."""
        return CounterfactualRequest(
            maps=True,
            versions=versions,
            trials=self.trials.value(),
            seed=default("counterfactual", "seed"),
            strength=self.strength.value(),
        )

    def more(self) -> int | None:
        """Return the trials to try where a map has not converged; None at the most."""
        more = _MORE * self.trials.value()
        return more if more <= _MOST_TRIALS else None

    def choose(self, target: int) -> None:
        """Choose a target, for the next cells too."""
        index = self.target.findData(target)
        if index >= 0:
            self.target.setCurrentIndex(index)
            self._on_target()

    def _on_target(self, _: Any = None) -> None:
        asked, record = self.asked(), self._record
        if asked is None or record is None:
            return
        # the runner-up is another class for another cell
        runner_up = asked.target == targets.ranking(record)[0]
        self._wanted = None if runner_up else asked.target
        self.changed.emit()
