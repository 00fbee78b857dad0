"""*Synthetic smear*: a field of view whose every cell is known, by one's own parameters."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from napari.utils import notifications
from qtpy.QtCore import QSize
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QLabel,
    QPushButton,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from cytodiffusion.errors import CytoDiffusionError, DownloadNeeded
from cytodiffusion.smear import DIFFERENTIAL, SmearSettings
from cytodiffusion.smear.presets import PRESETS, Blood
from napari_cytodiffusion.generate.class_counts import ClassCounts
from napari_cytodiffusion.layers.placement import right_of
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.choosers import DeviceChoice, ModelChoice
from napari_cytodiffusion.shared.common import Pace, RunBar, TallArea, ask
from napari_cytodiffusion.shared.defaults import default
from napari_cytodiffusion.shared.settings_form import SettingsForm
from napari_cytodiffusion.smear import jobs
from napari_cytodiffusion.smear.exercise import ExercisePage
from napari_cytodiffusion.smear.jobs import SmearRequest, SmearResult
from napari_cytodiffusion.workers import Job, duration

#: Stands for cells that no model renders.
DRAWN = "drawn"

#: Rows of the differential that are seen: all, as the form around them scrolls already.
_ALL = 1000

#: Micrometres between a smear and what is left of it.
_APART_UM = 5.0

#: Width in pixels of the outlines of the true cells.
_OUTLINE = 3

#: Rows of the form from the top.
_ROWS = (
    "model",
    "preset",
    "width",
    "height",
    "pixel_size_um",
    "n_white",
    "n_red",
    "n_platelets",
    "seed",
    "n_artefacts",
    "overlap",
    "stain_variation",
    "light_variation",
    "device",
)

#: What a form can say beyond what the settings say.
_WORDS: dict[str, dict[str, Any]] = {
    "width": {"step": 64},
    "height": {"step": 64},
    "preset": {
        "none": "none: as below",
        "choices": {
            "normal-adult": "Normal adult",
            "left-shift": "Left shift",
            "eosinophilia": "Eosinophilia",
            "thrombocytopenia": "Thrombocytopenia",
            "lymphocytosis": "Lymphocytosis",
        },
    },
    "n_red": {"none": "a third of the field", "step": 10},
    "overlap": {"percent": True, "step": 0.05},
    "stain_variation": {"step": 0.05},
    "light_variation": {"step": 0.25},
}


class SmearWidget(QWidget):
    """Dock widget *Synthetic smear*.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer it is docked in.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._session = Session.of(napari_viewer)
        self._session.attach(self)
        self._request: SmearRequest | None = None
        self._made: SmearResult | None = None
        self._hidden = False
        self._layers: list[Any] = []
        self._pace = Pace()
        self._jobs: list[Job] = []
        self._build()
        self._on_model()

    def _build(self) -> None:
        inside = QWidget(self)
        self.model = ModelChoice(
            (("default", "Bundled"), (DRAWN, "None: plain drawings, quick")),
            label="Model",
            tooltip="What renders the white cells and platelets.",
        )
        self.device = DeviceChoice(value=default("classification", "device"))
        self.form = SettingsForm(
            SmearSettings,
            _ROWS,
            widgets={"model": self.model, "device": self.device},
            words=_WORDS,
            more=_ROWS[_ROWS.index("n_artefacts") :],
        )
        self.shares = ClassCounts(inside, {"As usual": None, "Equal": 1, "Clear": 0}, _ALL)
        self.shares.setToolTip("Parts of the white cells; they need not add up to anything.")
        content = QVBoxLayout(inside)
        content.setContentsMargins(0, 0, 0, 0)
        content.addWidget(self.form.native)
        content.addWidget(QLabel("Differential, in parts of the white cells", inside))
        content.addWidget(self.shares)
        self.as_exercise = QCheckBox("As an exercise: hide the classes", inside)
        content.addWidget(self.as_exercise)
        content.addStretch(1)
        self.run_bar = RunBar("Make smear", self)
        self.run_bar.follow(self._session)
        self.save_button = QPushButton("Save ...", self)
        self.save_button.setToolTip("Write the image, its labels and the true classes")
        self.save_button.setEnabled(False)
        page = QWidget(self)
        making = QVBoxLayout(page)
        making.setContentsMargins(0, 4, 0, 0)
        making.addWidget(TallArea(inside, page), 1)
        making.addWidget(self.run_bar)
        self.exercise = ExercisePage(self)
        self.pages = QTabWidget(self)
        self.pages.addTab(page, "Smear")
        self.pages.addTab(TallArea(self.exercise, self), "Exercise")
        layout = QVBoxLayout(self)
        layout.addWidget(self.pages, 1)
        layout.addWidget(self.save_button)
        self.model.changed.connect(self._on_model)
        self.run_bar.run.connect(self.start)
        self.run_bar.cancel.connect(self._session.cancel)
        self.save_button.clicked.connect(self._on_save)
        self.form["preset"].changed.connect(self._on_preset)
        self.shares.changed.connect(self._on_shares)
        self.exercise.checked.connect(self._check_counts)
        self.exercise.taken.connect(self._check_cells)

    def sizeHint(self) -> QSize:
        """Room for most of the form."""
        return QSize(400, 700)

    # -- the classes --------------------------------------------------------------------------

    def _on_model(self) -> None:
        source = self.model.value
        self.device.enabled = source != DRAWN
        if source in ("default", DRAWN, ""):
            self.set_classes(*jobs.usual_classes())
            return
        job = Job(jobs.classes_body(self._asked()), self)
        job.yielded.connect(lambda found: self.set_classes(*found))
        job.failed.connect(self._say)
        self._jobs = [job]
        job.start()

    def set_classes(self, names: Any, colors: Any) -> None:
        """Offer the white cells of a model, with the usual differential."""
        usual = [int(DIFFERENTIAL.get(name, 0)) for name in names]
        self.shares.set_classes(names, colors, usual if any(usual) else None)
        self.exercise.set_classes(names, colors)
        self._on_preset()

    def _on_preset(self, _: Any = None) -> None:
        """Put what a preset says into the form, for all to see."""
        blood = PRESETS.get(self.form["preset"].value)
        if blood is None:
            return
        known = {name: 0 for name in self.shares.spins}
        self.form["n_platelets"].value = blood.n_platelets
        self.shares.set_counts({**known, **self._parts(blood)})

    def _parts(self, blood: Blood) -> dict[str, int]:
        """Parts of a preset, of the classes that the model draws."""
        spins = self.shares.spins
        return {name: round(part) for name, part in blood.differential.items() if name in spins}

    def _on_shares(self) -> None:
        """Let go of a preset whose differential is changed."""
        blood = PRESETS.get(self.form["preset"].value)
        if blood is not None and self.shares.counts() != self._parts(blood):
            self.form["preset"].value = None

    def _differential(self) -> dict[str, float] | None:
        shares: dict[str, float] = dict(self.shares.counts())
        return None if shares == dict(DIFFERENTIAL) else shares

    # -- a run --------------------------------------------------------------------------------

    def _asked(self) -> SmearRequest:
        source = self.model.value or "default"
        return SmearRequest(
            source=None if source == DRAWN else source,
            device=self.device.value,
            settings={**self.form.values(), "differential": self._differential()},
            engine=self._session.engine,
        )

    def start(self) -> None:
        """Make the smear."""
        if not self.shares.counts() and self.form["n_white"].value:
            self._say("Give at least one class a part of the white cells, or ask for none.")
            return
        self._begin(self._asked())

    def _begin(self, request: SmearRequest) -> None:
        job = self._session.start(
            jobs.smear_body(request),
            owner=self,
            on_progress=self.run_bar.advance,
            on_item=self._on_made,
            on_end=self._on_end,
        )
        if job is not None:
            self._request, self._pace = request, Pace()
            self.run_bar.begin("Starting ...")

    def _on_made(self, made: SmearResult) -> None:
        viewer = self._session.viewer
        if viewer is None:
            return
        self._made, hidden = made, self.as_exercise.isChecked()
        self._hidden = hidden
        layers = (
            jobs.exercise_layers(made.smear) if hidden else jobs.smear_layers(made.smear, seen=True)
        )
        left = right_of(viewer, _APART_UM)
        added = []
        for data, options, kind in layers:
            add = getattr(viewer, f"add_{kind}")
            added.append(add(data, **{**options, "translate": (0.0, left)}))
        added[-1].contour = _OUTLINE
        viewer.fit_to_view(layers=added[:1])
        for sentence in made.smear.warnings:
            notifications.show_warning(sentence)
        self.exercise.offer(hidden)
        self._layers = added
        if hidden:
            self.exercise.counts.set_all(0)
            self.pages.setCurrentIndex(1)

    # -- the exercise -------------------------------------------------------------------------

    def _check_counts(self, counts: dict[str, int]) -> None:
        self._check(counts, None)

    def _check_cells(self) -> None:
        """Check the classes that were given to the cells of the exercise in *Review cells*."""
        views, own = self._session.current, self._layers[-1:]
        if views is None or not own or views.labels is not own[0]:
            self.exercise.say(
                "Classify the layer \u201ccells to name\u201d first, name its cells in Review "
                "cells, and leave it chosen."
            )
            return
        self._check({}, {label: name for label, (name, _) in views.people.said.items()})

    def _check(self, counts: dict[str, int], cells: dict[int, str] | None) -> None:
        if self._made is None:
            return
        job = Job(jobs.score_body(self._made.smear, self._session.engine, counts, cells), self)
        job.yielded.connect(self._on_scored)
        job.failed.connect(lambda error: self.exercise.say(str(error)))
        self._jobs = [job]
        job.start()

    def _on_scored(self, found: Any) -> None:
        """Show the table, and what the cells are."""
        self.exercise.show_result(found)
        viewer, made = self._session.viewer, self._made
        if viewer is None or made is None or not self._hidden:
            return
        self._hidden = False
        data, options, _ = jobs.smear_layers(made.smear, seen=True)[1]
        place = self._layers[0].translate
        viewer.add_labels(data, **{**options, "translate": place}).contour = _OUTLINE

    def _on_end(self, outcome: str, error: CytoDiffusionError | None) -> None:
        if outcome == "done" and self._made is not None:
            cells = len(self._made.smear.cells)
            took = duration(self._pace.seconds)
            known = "to be counted" if self._hidden else "all of them known"
            self.run_bar.end(f"{cells:,} cells, {known}, in {took}.")
        else:
            self.run_bar.end("Cancelled." if error is None else str(error))
        self.save_button.setEnabled(self._made is not None)
        request = self._request
        if not isinstance(error, DownloadNeeded) or request is None or request.allow_download:
            return
        if ask(self, "Download a model", f"{error}\n\nDownload it now?"):
            self._begin(dataclasses.replace(request, allow_download=True))

    def _say(self, words: Any) -> None:
        self.run_bar.line.setText(str(words))

    # -- what is done -------------------------------------------------------------------------

    def _on_save(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for the smear")
        if folder:
            self.save(Path(folder))

    def save(self, folder: Path) -> None:
        """Write the last smear into a folder."""
        if self._made is None:
            return
        self._say("Saving ...")
        job = Job(jobs.save_body(self._made, folder, self._hidden), self)
        job.yielded.connect(self._on_saved)
        job.failed.connect(self._say)
        self._jobs = [job]
        job.start()

    def _on_saved(self, folder: Path) -> None:
        what = "hidden classes" if self._hidden else "true classes"
        self._say(f"The image, its labels and the {what} are in {folder}.")
