"""Which cell is compared with which class, and how: the upper part of *Counterfactual*."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from cytodiffusion.counterfactual.settings import CounterfactualSettings, HeatmapSettings
from napari_cytodiffusion.counterfactual import targets
from napari_cytodiffusion.counterfactual import texts as words
from napari_cytodiffusion.counterfactual.jobs import CounterfactualRequest
from napari_cytodiffusion.counterfactual.targets import TargetChoice
from napari_cytodiffusion.layers.results import CellRecord, Results, percent
from napari_cytodiffusion.layers.views import CellViews
from napari_cytodiffusion.shared.choosers import Choice
from napari_cytodiffusion.shared.defaults import FEWEST_PASSES, MOST_PASSES, default
from napari_cytodiffusion.shared.settings_form import SettingsForm, make_field

#: Passes are raised by this where a map has not converged; versions to the most there are.
_MORE, _MOST_VERSIONS = 4, 8


class WindowSettings(BaseModel):
    """What is asked in the window beside the engine's settings."""

    at_once: bool = Field(
        True,
        title="At every click",
        description="Make the heatmap as soon as a cell or a target is chosen.",
    )
    class_colors: bool = Field(
        False,
        title="Class colours",
        description="Keep the colours of the classes in the slide.",
    )
    saliency: bool = Field(
        False,
        title="Saliency",
        description="Also map which pixels the answer rests on (integrated gradients): orange "
        "speaks for the class, violet against it. It knows no target, and dark parts stand out "
        "easily.",
    )
    opacity: int = Field(
        80,
        ge=0,
        le=100,
        title="Opacity",
        description="How much of the cell the overlay covers.",
        json_schema_extra={"unit": "%", "decimals": 0},
    )
    frames: int = Field(
        16, ge=2, le=240, title="Frames", description="Pictures from the cell to its other class."
    )
    numbers: str = Field(
        "",
        title="Numbers",
        description="Numbers of the cells, with commas between.",
        json_schema_extra={"hint": "such as 3, 7, 12-15"},
    )
    most: int = Field(
        20,
        ge=1,
        le=10_000,
        title="At most",
        description="Cells of the batch; the uncertain ones come first.",
        json_schema_extra={"unit": "cells, uncertain first"},
    )
    versions: bool = Field(
        False,
        title="Counterfactual cells too (slower)",
        description="Make each cell's version of the target class beside its heatmap.",
    )


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
    """

    changed = Signal()

    def __init__(self, save: QPushButton, parent: QWidget) -> None:
        super().__init__(parent)
        self._record: CellRecord | None = None
        self._results: Results | None = None
        self._wanted: int | None = None  # a target that was chosen, for the next cells too
        self.title = QLabel("", self)
        self.title.setTextFormat(Qt.TextFormat.RichText)
        self._choices: list[tuple[str, int | None]] = []
        self.target = Choice(
            lambda _: self._choices or [("", None)],
            name="target",
            label="Target",
            tooltip="The class that the cell is compared with; the likeliest comes first.",
        )
        self.strength = make_field(
            CounterfactualSettings,
            "strength",
            percent=True,
            step=0.05,
            none="the least that turns it",
        )
        # a number that is being typed is no wish yet
        self.strength.native.setKeyboardTracking(False)
        checks = ("at_once", "class_colors", "saliency")
        self.fields = SettingsForm(
            HeatmapSettings,
            ("target", checks, "method", "versions", "trials", "strength"),
            widgets={
                "target": self.target,
                "strength": self.strength,
                **{name: make_field(WindowSettings, name) for name in checks},
            },
            words={"trials": {"step": 16, "minimum": FEWEST_PASSES, "maximum": MOST_PASSES}},
            start={"trials": default("counterfactual", "trials")},
            # the pictures need the room
            more=("method", "versions", "trials", "strength"),
        )
        self.at_once, self.class_colors, self.saliency = (self.fields[name] for name in checks)
        head = QHBoxLayout()
        head.addWidget(self.title, 1)
        head.addWidget(save)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(head)
        layout.addWidget(self.fields.native)
        self.target.changed.connect(self._on_target)
        self.fields["method"].changed.connect(self._on_method)
        self._show_effort()
        self.strength.changed.connect(self.changed.emit)
        self.saliency.changed.connect(lambda _: self.changed.emit())
        self.show_cell(None, None)

    def _on_method(self, _: Any = None) -> None:
        self._show_effort()
        self.changed.emit()

    def _show_effort(self) -> None:
        """Show what a map is the mean of: versions, or passes."""
        edited = self.fields["method"].value == "edited"
        self.fields.show_field("versions", edited)
        self.fields.show_field("trials", not edited)

    def show_strength(self, shown: bool) -> None:
        """Show or hide how far a cell may be changed."""
        self.fields.show_field("strength", shown)

    def show_cell(self, record: CellRecord | None, views: CellViews | None) -> None:
        """Name a cell and offer the classes that it can be compared with."""
        self._record = record
        self._results = None if views is None else views.coarse
        self._choices = []
        if record is not None and views is not None:
            self._choices = [
                (words.target_text(record, views.coarse, index), index)
                for index in targets.ranking(record, views.coarse)
            ]
        with self.target.changed.blocked():
            self.target.reset_choices()
            self.target.enabled = bool(self._choices)
            if record is None or views is None:
                self.title.setText("<span style='font-size: large'>No cell chosen</span>")
                return
            asked = targets.asked_of(record, views.coarse, self._wanted)
            if asked is not None:
                self.target.value = asked.target
        name = views.coarse.class_names[record.predicted]
        color = views.coarse.colors[record.predicted]
        self.title.setText(
            f"<span style='font-size: large'><span style='color: {color}'>\u25a0</span> "
            f"<b>{name}</b> {percent(record.confidence)}</span> &nbsp; cell {record.label:,}"
        )

    def asked(self) -> TargetChoice | None:
        """Return what is asked for: the current cell and target."""
        if self._record is None or self._results is None or self.target.value is None:
            return None
        return targets.asked_of(self._record, self._results, self.target.value)

    def wish(self, versions: bool = True, saliency: bool = True) -> CounterfactualRequest:
        """Return how heatmaps and counterfactual cells are made, and the saliency if it is on."""
        return CounterfactualRequest(
            maps=True,
            versions=versions,
            method=self.fields["method"].value,
            turns=self.fields["versions"].value,
            trials=self.fields["trials"].value,
            seed=default("counterfactual", "seed"),
            strength=self.strength.value,
            saliency=saliency and self.saliency.value,
        )

    def more(self) -> int | None:
        """Return the versions or passes to try where a map has not converged; None at the most."""
        if self.fields["method"].value == "edited":
            return _MOST_VERSIONS if self.fields["versions"].value < _MOST_VERSIONS else None
        more = _MORE * self.fields["trials"].value
        return more if more <= MOST_PASSES else None

    def use_more(self) -> None:
        """Take as many as `more` says."""
        name = "versions" if self.fields["method"].value == "edited" else "trials"
        if (more := self.more()) is not None:
            self.fields[name].value = more

    def choose(self, target: int) -> None:
        """Choose a target, for the next cells too."""
        if target in self.target.choices:
            with self.target.changed.blocked():
                self.target.value = target
            self._on_target()

    def _on_target(self, _: Any = None) -> None:
        asked, record, results = self.asked(), self._record, self._results
        if asked is None or record is None or results is None:
            return
        # the likeliest class is another one for another cell
        runner_up = asked.target == targets.ranking(record, results)[0]
        self._wanted = None if runner_up else asked.target
        self.changed.emit()
