"""*Generate cells*: synthetic cells of the asked classes, as a gallery."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from napari.utils import notifications
from qtpy.QtCore import QSize, QTimer
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from cytodiffusion.errors import CytoDiffusionError, DownloadNeeded, OutOfMemoryError
from cytodiffusion.generation.settings import GenerationSettings, Mix
from napari_cytodiffusion.generate import jobs
from napari_cytodiffusion.generate.class_counts import ClassCounts
from napari_cytodiffusion.generate.gallery_layers import GalleryLayers
from napari_cytodiffusion.generate.jobs import (
    Basket,
    EffortEstimate,
    GenerateRequest,
    GenerationStarted,
    plural,
)
from napari_cytodiffusion.layers.placement import full_size, is_image
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.choosers import Choice, DeviceChoice, ModelChoice
from napari_cytodiffusion.shared.common import Pace, RunBar, ask, note, tell
from napari_cytodiffusion.shared.defaults import defaults
from napari_cytodiffusion.shared.settings_form import SettingsForm, make_field
from napari_cytodiffusion.workers import Job, duration

#: Milliseconds between two looks at what is being drawn.
_LOOK_MS = 200

#: Rows of the form from the top; the numbers of cells stand below the model.
_ROWS = (
    "model",
    "guidance",
    "seed",
    ("towards", "share"),
    "stain",
    "reject",
    "steps",
    "tries",
    "least_confidence",
    "device",
)

#: Milliseconds without another change after which a model is loaded.
_SETTLE_MS = 300


class GenerateWidget(QWidget):
    """Dock widget *Generate cells*.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer it is docked in.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._session = Session.of(napari_viewer)
        self._session.attach(self)
        self._names: tuple[str, ...] = ()
        self._request: GenerateRequest | None = None
        self._basket = Basket()
        self._gallery: GalleryLayers | None = None
        self._cells: Any = None
        self._said = ""
        self._pace = Pace()
        self._next_look = 0.0
        self._effort: EffortEstimate | None = None
        self._warm: Job | None = None
        self._saving: Job | None = None
        self._build()
        self._connect()
        self._on_form()
        self._show_done()

    def _build(self) -> None:
        self.counts = ClassCounts(self)
        self.counts.setEnabled(False)
        towards = Choice(
            lambda _: [("no other class", None), *((name, name) for name in self._names)],
            name="towards",
            label="Mix with",
            tooltip="Draw cells between their own class and this one.",
        )
        stain = Choice(
            lambda _: [("as the model learned it", None), *self._images()],
            name="stain",
            label="Stain",
            tooltip="Draw in the stain of an open image: its red cells, nuclei and light.",
        )
        share = make_field(Mix, "share", percent=True, title=" ", step=0.1)
        self.form = SettingsForm(
            GenerationSettings,
            _ROWS,
            widgets={
                "model": ModelChoice(label="Model"),
                "device": DeviceChoice(),
                "towards": towards,
                "share": share,
                "stain": stain,
            },
            words={"guidance": {"decimals": 1, "step": 0.5}},
            start=defaults("classification", "model", "device", "seed"),
            more=("steps", "tries", "least_confidence", "device"),
        )
        self.form.insert_below("model", self.counts, 1)
        self.effort = note("Loading the model ...", self)
        self.run_bar = RunBar("Generate cells", self)
        self.run_bar.follow(self._session)
        self.save_button = QPushButton("Save ...", self)
        self.save_button.setToolTip("Write a PNG a cell, cells.csv and a contact sheet")
        self.classify_button = QPushButton("Classify ...", self)
        self.classify_button.setToolTip("Open Classify cells on this gallery")
        last = QHBoxLayout()
        last.addWidget(self.save_button, 1)
        last.addWidget(self.classify_button, 1)
        layout = QVBoxLayout(self)
        layout.addWidget(self.form.native, 100)
        layout.addWidget(self.effort)
        layout.addWidget(self.run_bar)
        layout.addLayout(last)
        layout.addStretch(1)

    def _connect(self) -> None:
        self._look_timer = QTimer(self)
        self._look_timer.setInterval(_LOOK_MS)
        self._look_timer.timeout.connect(self._look)
        self._model_timer = QTimer(self)
        self._model_timer.setSingleShot(True)
        self._model_timer.setInterval(_SETTLE_MS)
        self._model_timer.timeout.connect(self._load_model)
        for name in ("model", "device"):
            self.form[name].changed.connect(self._on_model_choice)
        self.form.changed.connect(self._on_form)
        layers = self._session.viewer.layers
        for event in (layers.events.inserted, layers.events.removed):
            event.connect(self._on_layers)
        self.counts.changed.connect(self._show_effort)
        self.run_bar.run.connect(self.start)
        self.run_bar.cancel.connect(self._session.cancel)
        self.save_button.clicked.connect(self._on_save)
        self.classify_button.clicked.connect(self._on_classify)

    def sizeHint(self) -> QSize:
        """Room for all classes of the bundled model."""
        return QSize(340, 640)

    @property
    def ready(self) -> bool:
        """Whether the classes of the model are known and what a cell takes."""
        return self._effort is not None

    # -- the model ----------------------------------------------------------------------------

    def showEvent(self, event: Any) -> None:
        """Load the model while the user is still choosing: it says which classes there are."""
        super().showEvent(event)
        if self._warm is None:
            self._load_model()

    def _on_model_choice(self) -> None:
        if self.isVisible():
            self._model_timer.start()

    def _load_model(self) -> None:
        if self._session.busy:
            # two at a time would load the same model twice
            self._model_timer.start()
            return
        self.effort.setText("Loading the model ...")
        self._effort = None
        if self._warm is not None and self._warm.is_running:
            self._warm.abandon()
        self._warm = Job(jobs.model_body(self._asked()), self)
        self._warm.yielded.connect(self._on_model)
        self._warm.failed.connect(self._on_no_model)
        self._warm.start()

    def _on_model(self, item: Any) -> None:
        if isinstance(item, EffortEstimate):
            self._effort = item
            self._show_effort()
            return
        self.set_classes(item.class_names, [c.color for c in item.classes])

    def set_classes(self, names: Any, colors: Any) -> None:
        """Offer the classes of a model."""
        self.counts.set_classes(names, colors)
        self.counts.setEnabled(True)
        self._names = tuple(names)
        self.form["towards"].reset_choices()

    def _on_no_model(self, error: CytoDiffusionError) -> None:
        self.effort.setText(str(error))

    def _images(self) -> list[tuple[str, Any]]:
        """Return the open images by name."""
        viewer = self._session.viewer
        return [] if viewer is None else [(x.name, x) for x in viewer.layers if is_image(x)]

    def _on_layers(self, _event: Any = None) -> None:
        self.form["stain"].reset_choices()

    def _on_form(self) -> None:
        self.form["share"].enabled = self.form["towards"].value is not None
        for name in ("tries", "least_confidence"):
            self.form[name].enabled = self.form["reject"].value
        self._show_effort()

    def _show_effort(self) -> None:
        total = self.counts.total()
        if self._effort is None:
            return
        words = self._effort.text(total, self.form["steps"].value) if total else ""
        more = " Cells that are drawn anew come on top." if self.form["reject"].value else ""
        self.effort.setText(f"{words}{more}" if total else "Ask for at least one cell.")

    # -- a run --------------------------------------------------------------------------------

    def _asked(self) -> GenerateRequest:
        form = self.form
        return GenerateRequest(
            source=form["model"].value or "default",
            device=form["device"].value,
            counts=self.counts.counts(),
            settings=form.values(),
            towards=form["towards"].value,
            share=form["share"].value,
            stain_of=None if form["stain"].value is None else full_size(form["stain"].value),
            engine=self._session.engine,
        )

    def start(self) -> None:
        """Generate the cells that are asked for."""
        request = self._asked()
        if not request.counts:
            self.run_bar.line.setText("Ask for at least one cell of a class.")
            return
        self._begin(request)

    def _begin(self, request: GenerateRequest) -> None:
        basket = Basket()
        job = self._session.start(
            jobs.generate_body(request, basket),
            owner=self,
            on_progress=self._on_progress,
            on_item=self._on_begun,
            on_end=self._on_end,
        )
        if job is None:
            return
        self._request, self._basket, self._pace = request, basket, Pace()
        self._gallery, self._cells = None, None
        self._show_done()
        self.run_bar.begin("Starting ...")
        self._look_timer.start()

    def _on_begun(self, begun: GenerationStarted) -> None:
        if self._session.viewer is not None:
            self._gallery = GalleryLayers(self._session.viewer, begun)

    def _on_progress(self, fraction: float, text: str) -> None:
        if self._gallery is not None and fraction > 0.02:
            left = self._pace.seconds * (1 - fraction) / fraction
            text = f"{text[:1].upper()}{text[1:]}, {duration(left)} left"
        self.run_bar.advance(fraction, text)

    def _look(self) -> None:
        """Show how the cells look by now; put them right when the run is over."""
        if self._session.viewer is None:
            self._look_timer.stop()
            return
        running = self._session.owns_run(self)
        if self._gallery is not None and not self._gallery.in_viewer(self._session.viewer):
            self._gallery.remove(self._session.viewer)
            self._gallery = None
            if running:
                notifications.show_info("The gallery was removed: the run stops.")
                self._session.cancel()
        if not running and self._basket.closed.is_set():
            self._finish()
        elif self._gallery is not None and time.monotonic() >= self._next_look:
            before = time.monotonic()
            self._gallery.put(self._basket.take())
            now = time.monotonic()
            # painting many tiles must not outweigh the work
            self._next_look = now + 3 * (now - before)

    def _on_end(self, outcome: str, error: CytoDiffusionError | None) -> None:
        self._said = {"done": "", "cancelled": "Cancelled"}.get(outcome, "Stopped by an error")
        if outcome == "cancelled":
            self.run_bar.end("Cancelled; what is done is being put together ...")
        elif error is not None:
            self._said = str(error).rstrip(".")
        if self._basket.closed.is_set():
            self._finish()
        if error is not None:
            self._on_error(error)

    def _finish(self) -> None:
        """Show what is done, in the gallery and in words."""
        self._look_timer.stop()
        finished, viewer = self._basket.finished, self._session.viewer
        if finished is None:
            if self._gallery is not None and viewer is not None:
                self._gallery.remove(viewer)
                self._gallery = None
            self.run_bar.end(f"{self._said}." if self._said else "")
            return
        self._cells = finished.cells
        if self._gallery is not None:
            self._gallery.finish(finished)
        self.run_bar.end(self._summary(finished.cells))
        self._show_done()

    def _summary(self, cells: Any) -> str:
        count = f"{len(cells):,} synthetic {plural(len(cells))}"
        if self._said:
            asked = sum(cells.asked.values())
            said = [f"{self._said}.", f"{count} of {asked:,} are kept."]
        else:
            said = [f"{count} in {duration(self._pace.seconds)}.", *cells.warnings]
        denied = int((~cells.accepted).sum())
        if denied:
            said.append(f"With {denied:,} of them the classifier does not agree (red frames).")
        shown = 0 if self._gallery is None else len(self._gallery.gallery.shown)
        if shown and shown < len(cells):
            said.append(f"The gallery shows {shown:,} of them.")
        return " ".join(said)

    def _on_error(self, error: CytoDiffusionError) -> None:
        request = self._request
        if request is None:
            return
        if isinstance(error, DownloadNeeded) and not request.allow_download:
            if ask(self, "Download a model", f"{error}\n\nDownload it now?"):
                self._begin(dataclasses.replace(request, allow_download=True))
        elif jobs.is_large_order(error) and not request.insist:
            if ask(self, "Many cells", f"{jobs.effort_of(error)}.\n\nGenerate them?"):
                self._begin(dataclasses.replace(request, insist=True))
        elif isinstance(error, OutOfMemoryError) and request.device != "cpu":
            question = "Generate on the CPU instead? It is slower but has more memory."
            if ask(self, "Out of memory", question):
                self._session.engine.forget_models()
                self._begin(dataclasses.replace(request, device="cpu"))

    # -- what is done -------------------------------------------------------------------------

    def _show_done(self) -> None:
        self.save_button.setEnabled(self._cells is not None)
        self.classify_button.setEnabled(self._cells is not None and self._gallery is not None)

    def _on_save(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for the cells")
        if folder:
            self.save(Path(folder))

    def save(self, folder: Path) -> None:
        """Write the cells into a folder."""
        self.save_button.setEnabled(False)
        self.run_bar.line.setText("Saving ...")
        self._saving = Job(jobs.save_body(self._cells, folder), self)
        self._saving.yielded.connect(self._on_saved)
        self._saving.failed.connect(self._on_not_saved)
        self._saving.ended.connect(self._show_done)
        self._saving.start()

    def _on_saved(self, saved: Any) -> None:
        self.run_bar.line.setText(
            f"{len(saved.frame):,} images and cells.csv are in {saved.folder}."
        )

    def _on_not_saved(self, error: CytoDiffusionError) -> None:
        self.run_bar.line.setText(str(error))

    def _on_classify(self) -> None:
        viewer, gallery = self._session.viewer, self._gallery
        if viewer is None or gallery is None or not gallery.in_viewer(viewer):
            self.run_bar.line.setText("The gallery is gone: generate the cells again.")
            return
        try:
            dock, widget = viewer.window.add_plugin_dock_widget(
                "napari-cytodiffusion", "Classify cells", tabify=True
            )
        except (AttributeError, KeyError, ValueError) as error:
            tell(CytoDiffusionError(f"Classify cells cannot be opened here: {error}"))
            return
        dock.show()
        dock.raise_()
        widget.image.choose(gallery.image)
        widget.cells.choose(gallery.tiles)
