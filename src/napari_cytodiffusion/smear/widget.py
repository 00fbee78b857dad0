"""*Synthetic smear*: a field of view whose every cell is known, by one's own parameters."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from napari.utils import notifications
from qtpy.QtCore import QSize
from qtpy.QtWidgets import QFileDialog, QLabel, QPushButton, QVBoxLayout, QWidget

from cytodiffusion.errors import CytoDiffusionError, DownloadNeeded
from cytodiffusion.smear import DIFFERENTIAL, SmearSettings
from napari_cytodiffusion.generate.class_counts import ClassCounts
from napari_cytodiffusion.layers.placement import right_of
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.choosers import DeviceChoice, ModelChoice
from napari_cytodiffusion.shared.common import Pace, RunBar, TallArea, ask
from napari_cytodiffusion.shared.defaults import default
from napari_cytodiffusion.shared.settings_form import SettingsForm
from napari_cytodiffusion.smear import jobs
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
        content.addStretch(1)
        self.run_bar = RunBar("Make smear", self)
        self.run_bar.follow(self._session)
        self.save_button = QPushButton("Save ...", self)
        self.save_button.setToolTip("Write the image, its labels and the true classes")
        self.save_button.setEnabled(False)
        layout = QVBoxLayout(self)
        layout.addWidget(TallArea(inside, self), 1)
        layout.addWidget(self.run_bar)
        layout.addWidget(self.save_button)
        self.model.changed.connect(self._on_model)
        self.run_bar.run.connect(self.start)
        self.run_bar.cancel.connect(self._session.cancel)
        self.save_button.clicked.connect(self._on_save)

    def sizeHint(self) -> QSize:
        """Room for most of the form."""
        return QSize(340, 700)

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
        self._made = made
        left = right_of(viewer, _APART_UM)
        added = []
        for data, options, kind in jobs.smear_layers(made.smear, seen=True):
            add = getattr(viewer, f"add_{kind}")
            added.append(add(data, **{**options, "translate": (0.0, left)}))
        added[-1].contour = _OUTLINE
        viewer.fit_to_view(layers=added[:1])
        for sentence in made.smear.warnings:
            notifications.show_warning(sentence)

    def _on_end(self, outcome: str, error: CytoDiffusionError | None) -> None:
        if outcome == "done" and self._made is not None:
            cells = len(self._made.smear.cells)
            took = duration(self._pace.seconds)
            self.run_bar.end(f"{cells:,} cells, all of them known, in {took}.")
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
        job = Job(jobs.save_body(self._made, folder), self)
        job.yielded.connect(self._on_saved)
        job.failed.connect(self._say)
        self._jobs = [job]
        job.start()

    def _on_saved(self, folder: Path) -> None:
        self._say(f"The image, its labels and the true classes are in {folder}.")
