"""*Classify cells*: an image and its cells become classes with uncertainty."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from napari.layers import Layer
from napari.utils import notifications
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from cytodiffusion.classification.result import unpromised
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import CytoDiffusionError, DownloadNeeded, InputError, OutOfMemoryError
from cytodiffusion.settings import SegmentOptions
from napari_cytodiffusion.classify import jobs
from napari_cytodiffusion.classify.agreement import AgreementNote
from napari_cytodiffusion.classify.changes import ChangedCells
from napari_cytodiffusion.classify.differential import DifferentialPanel
from napari_cytodiffusion.classify.export import CellExport
from napari_cytodiffusion.classify.legend import Legend
from napari_cytodiffusion.classify.reviewing import Reviewing
from napari_cytodiffusion.classify.summary import summary
from napari_cytodiffusion.engine import model_body
from napari_cytodiffusion.layers.agreement import add_understood, is_foreign
from napari_cytodiffusion.layers.belonging import (
    OTHER,
    OWN,
    UNCLEAR,
    best_cells,
    bind,
    image_of,
    name_of_image,
    relation,
)
from napari_cytodiffusion.layers.placement import (
    CLASSIFIED_AT,
    NOTE,
    found_at,
    full_size,
    is_image,
    may_be_cells,
    note_of,
)
from napari_cytodiffusion.layers.results import Results
from napari_cytodiffusion.layers.views import CellViews
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.blind import BlindNote
from napari_cytodiffusion.shared.choosers import LayerChoice, ModelChoice, PixelSizeBox
from napari_cytodiffusion.shared.common import Pace, RunBar, ask, note, tell
from napari_cytodiffusion.shared.defaults import defaults
from napari_cytodiffusion.shared.fold import FormArea, RestArea
from napari_cytodiffusion.shared.settings_form import SettingsForm, checked, make_field
from napari_cytodiffusion.workers import Job, duration

if TYPE_CHECKING:
    from cytodiffusion.model.bundle import CellClass

#: Fields of the form that are folded away at first.
_MORE = (
    *("pixel_size_um", "error_rate", "prior", "prior_shares", "alone", "trials", "seed"),
    "device",
)

#: What stands in the place of the legend once its layer is gone.
_REMOVED = "The layer of the {} was removed. {} shows it again."

#: What the mixtures of cells are called that may be expected.
PRIORS = {
    "auto": "Normal blood (automatic)",
    "even": "All classes alike",
    "normal-blood": "Normal blood",
    "own": "My own shares",
}

#: What the form says otherwise than the settings.
_WORDS: dict[str, dict[str, Any]] = {
    "error_rate": {"percent": True, "decimals": 1, "step": 0.005, "none": "any, mark none"},
    "prior": {"choices": PRIORS},
    "prior_shares": {"hint": "lymphocyte=0.8, neutrophil=0.15"},
}


class ClassifyWidget(QWidget):
    """Dock widget *Classify cells*.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer it is docked in.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._session = Session.of(napari_viewer)
        self._session.attach(self)
        self._reviewing = Reviewing.of(self._session)
        self._request: jobs.ClassifyRequest | None = None
        self._layers: tuple[Layer, Layer] | None = None
        self._pair: tuple[Layer | None, Layer | None] = (None, None)
        self._picked: tuple[Layer | None, Layer | None] = (None, None)
        self._views: CellViews | None = None
        self._prepared: jobs.PreparedRun | None = None
        self._pace = Pace()
        self._warm: Job | None = None
        self._classified = False
        self._build(getattr(napari_viewer, "__wrapped__", napari_viewer))
        self._connect()
        self._choose_cells()
        self._on_cells()
        self._on_view()

    def _build(self, viewer: Any) -> None:
        self.image = LayerChoice(viewer, is_image, "open an image first", label="Image")
        self.cells = LayerChoice(viewer, may_be_cells, "segment cells first", label="Cells")
        self.model = ModelChoice(name="model", label="Model")
        size = make_field(SegmentOptions, "pixel_size_um", none="by the red cells")
        self.pixel_size = cast(PixelSizeBox, size)
        self.device = make_field(SegmentOptions, "device")
        self.form = SettingsForm(
            ClassifySettings,
            ("image", "cells", "model", "level", *_MORE),
            widgets={
                "image": self.image,
                "cells": self.cells,
                "model": self.model,
                "pixel_size_um": self.pixel_size,
                "device": self.device,
            },
            words=_WORDS,
            start=defaults(
                *("classification", "model", "device", "level", "trials", "seed", "prior")
            ),
            more=_MORE,
        )
        self.form["prior"].changed.connect(self._show_shares)
        self._show_shares()
        self.agreement = AgreementNote(self.image, self.cells, self.pixel_size, self)
        self.run_bar = RunBar("Classify cells", self)
        self.run_bar.follow(self._session)
        self.changes = ChangedCells(self._session, self)
        self.changes.asked.connect(self._begin)
        self.class_button = self._view_button("Class", "class")
        self.uncertainty_button = self._view_button("Uncertainty", "uncertainty")
        self.anomalies = QCheckBox("Outline anomalies", self)
        self.anomalies.setChecked(True)
        self.anomalies.setToolTip("Cells unlike anything the model was trained on.")
        self.review = QCheckBox("", self)
        self.review.setChecked(True)
        self.review.setToolTip(
            "Outlined in amber: cells that are too unsure for the errors that were allowed, or "
            "whose class contradicts what was outlined."
        )
        self.review.setVisible(False)
        self.legend = Legend(self)
        self.legend.style_choice.follow(self._session)
        self.removed = note(_REMOVED, self)
        self.summary = note("", self)
        self.differential = DifferentialPanel(self._session, self)
        self.export = CellExport(self._session, self)
        switch = QHBoxLayout()
        switch.setSpacing(0)
        switch.addWidget(self.class_button)
        switch.addWidget(self.uncertainty_button)
        found = QWidget(self)
        inside = QVBoxLayout(found)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addLayout(switch)
        for part in (
            *(self.legend, self.removed, self.differential),
            *(self.anomalies, self.review, self.summary),
        ):
            inside.addWidget(part)
        inside.addStretch(1)
        layout = QVBoxLayout(self)
        layout.addWidget(FormArea(self.form.native, self))
        layout.addWidget(self.agreement)
        layout.addWidget(self.run_bar)
        layout.addWidget(self.changes)
        rest = RestArea(found, self)  # shows what it takes in
        self.blind = BlindNote(self._session, "what the model says of the cells", self, found)
        layout.addWidget(self.blind)
        layout.addWidget(rest, 1)
        layout.addWidget(self.export)

    def _show_shares(self, _: Any = None) -> None:
        self.form.show_field("prior_shares", self.form["prior"].value == "own")

    def _view_button(self, text: str, kind: str) -> QPushButton:
        button = QPushButton(text, self)
        button.setCheckable(True)
        button.setAutoExclusive(True)
        button.setChecked(kind == "class")
        button.setEnabled(False)
        button.setToolTip(f"Colour the cells by {kind} (key U switches)")
        button.clicked.connect(lambda: self._session.show(kind))
        return button

    def _connect(self) -> None:
        for event in (self.image.changed, self.image.refilled):
            event.connect(self._choose_cells)
        self.cells.refilled.connect(self._on_new_cells)
        self.cells.changed.connect(self._on_pair)
        self.cells.picked.connect(self._on_pick)
        for chooser in (self.image, self.cells):
            chooser.rescaled.connect(self._follow_scale)
        self.run_bar.run.connect(self.start)
        self.run_bar.cancel.connect(self._session.cancel)
        self.legend.shown_changed.connect(self._session.show_classes)
        self.anomalies.toggled.connect(self._show_outlines)
        self.review.toggled.connect(self._show_outlines)
        self._session.cells_changed.connect(self._on_cells)
        self._session.view_changed.connect(self._on_view)
        self._reviewing.changed.connect(self._on_said)

    # -- the layers ---------------------------------------------------------------------------

    def _choose_cells(self, _: Any = None) -> None:
        """Take the cells of the image, unless the user has chosen others for it."""
        image, cells = self.image.layer(), self.cells.layer()
        picked = cells is not None and self._picked[0] is image and self._picked[1] is cells
        if image is not None and not picked:
            best = best_cells(image, self.cells.offered(), self.image.offered(), cells)
            if best is not cells:
                self.cells.choose(best)
        self._on_pair()

    def _on_new_cells(self, new: Layer | None) -> None:
        """Take new cells together with their image."""
        image = None if new is None else image_of(new, self.image.offered())
        if image is not None:
            self.image.choose(image)
        self._choose_cells()

    def _on_pick(self) -> None:
        self._picked = (self.image.layer(), self.cells.layer())

    def _on_pair(self, _: Any = None) -> None:
        image, cells = pair = (self.image.layer(), self.cells.layer())
        if any(one is not other for one, other in zip(pair, self._pair, strict=True)):
            self._pair = pair
            self._follow_scale()
        text, tip = "Classify cells", ""
        if image is not None and cells is None:
            text = f"Segment {_short(image.name)} first"
            tip = f"There are no cells of '{image.name}' yet."
        self.run_bar.set_text(text, tip)
        self.cells.set_nothing("segment cells first" if image is None else "none of this image yet")

    def _follow_scale(self) -> None:
        self.pixel_size.follow(*self._pair)

    # -- a run --------------------------------------------------------------------------------

    def start(self) -> None:
        """Classify the chosen cells."""
        image, cells = self.image.layer(), self.cells.layer()
        if image is None or cells is None:
            self._say_what_is_missing(image)
            return
        if not self._are_its_cells(image, cells):
            return
        try:
            request = self._asked(image, cells)
            if request.pixel_size_um is not None:
                jobs.check_scales(request.found_at_um, request.pixel_size_um)
        except jobs.ScalesDiffer as error:
            if not self._is_scale_meant(error):
                return
            request = dataclasses.replace(request, found_at_um=None)
        except InputError as error:
            tell(error)
            return
        self._begin(request, (image, cells))

    def _asked(self, image: Layer, cells: Layer) -> jobs.ClassifyRequest:
        """Gather what the form asks for; InputError where that makes no sense."""
        return jobs.ClassifyRequest(
            image=full_size(image),
            labels=full_size(cells),
            source=self.model.value or "default",
            device=self.device.value,
            settings=self.settings(),
            pixel_size_um=self.pixel_size.value,
            found_at_um=found_at(cells),
            kinds=note_of(cells).get("kinds"),
            foreign=cells.name if is_foreign(cells) else None,
        )

    def settings(self) -> ClassifySettings:
        """Return the settings; an error rate that nobody touched is not insisted on.

        InputError where they make no sense.
        """
        values = self.form.values()
        if values["error_rate"] == ClassifySettings.model_fields["error_rate"].default:
            del values["error_rate"]
        if values["prior"] != "own":  # what stands in the hidden line is not meant
            del values["prior_shares"]
        return checked(ClassifySettings, values)

    def _say_what_is_missing(self, image: Layer | None) -> None:
        if image is None:
            notifications.show_warning(
                "Choose an image and the label layer of its cells; Segment cells makes one."
            )
            return
        notifications.show_info(f"Segment '{image.name}' first: its cells are not known yet.")
        segment = self._session.open_dock("Segment cells")
        chooser = getattr(segment, "image", None)
        if isinstance(chooser, LayerChoice):
            chooser.choose(image)

    def _are_its_cells(self, image: Layer, cells: Layer) -> bool:
        """Whether cells are those of an image, by what is known of them or by the user's word."""
        found = relation(cells, image, self.image.offered())
        if found == OTHER:
            of = name_of_image(cells)
            known = f"are those of '{of}'" if of else "lie elsewhere"
            question = f"The cells of '{cells.name}' {known}, not of '{image.name}'."
        elif found == UNCLEAR:
            question = f"The cells of '{cells.name}' fit several images."
        else:
            if found == OWN:  # also where it was not noted so far
                bind(cells, image)
            return True
        question += f"\n\nClassify them as the cells of '{image.name}'?"
        if not ask(self, "Cells of another image", question):
            return False
        bind(cells, image)
        return True

    def _is_scale_meant(self, error: jobs.ScalesDiffer) -> bool:
        size = f"{error.pixel_size_um:.3g} \u00b5m a pixel"
        return ask(self, "Two scales", f"{error}\n\nClassify at {size} all the same?")

    def _begin(
        self, request: jobs.ClassifyRequest, layers: tuple[Layer, Layer] | None = None
    ) -> None:
        """Start a run of these layers, of those of the last run where none are given."""
        layers = layers or self._layers
        job = self._session.start(
            jobs.classify_body(self._session.engine, request),
            owner=self,
            layers=layers or (),
            on_progress=self._on_progress,
            on_item=self._on_item,
            on_end=self._on_end,
        )
        if job is not None:
            # only now: a run that goes on keeps its own
            self._layers = layers
            self._request, self._views, self._pace = request, None, Pace()
            self.changes.request = request
            self._prepared = None
            self.run_bar.begin("Starting ...")

    def _on_progress(self, fraction: float, text: str) -> None:
        if self._views is None:
            self.run_bar.advance(0.0, text)
        else:
            total = self._views.results.total
            done = round(fraction * total)
            self.run_bar.advance(fraction, self._pace.text(done, total) if total else "")

    def _on_item(self, item: Any) -> None:
        if isinstance(item, jobs.UnderstoodLabels):
            self._on_understood(item)
            return
        if isinstance(item, jobs.PreparedRun):
            self._prepared = item
            return
        if isinstance(item, jobs.CorrectedCells):
            self._on_corrected(item)
            return
        if self._prepared is not None:
            # not before there is something to show: a run that ends earlier leaves no layers,
            # and those of an earlier one as they were
            self._show_layers(self._prepared)
            self._prepared = None
        if self._views is not None:
            self._views.results.add(item.batch)
            self._outline_review(self._views)
            if item.painted:
                self._views.refresh()
            done, total = item.batch.done, item.batch.total
            self.run_bar.advance(done / max(total, 1), self._pace.text(done, total))
            self._show_counts(self._views)

    def _on_understood(self, item: jobs.UnderstoodLabels) -> None:
        """Go on with cells made of labels of another tool, in a layer of their own."""
        viewer = self._session.viewer
        if self._layers is not None and viewer is not None:
            image, foreign = self._layers
            cells = add_understood(viewer, image, foreign, item.labels, item.notes)
            self._layers = (image, cells)
            if self._request is not None:  # should it be asked for once more
                self._request = dataclasses.replace(self._request, labels=item.labels, foreign=None)
                self.changes.request = self._request

    def _on_corrected(self, item: jobs.CorrectedCells) -> None:
        if self._views is None:
            return
        for batch in item.batches:
            self._views.results.add(batch)
        self._outline_review(self._views)
        self._views.refresh()
        self._show_counts(self._views)

    def _show_layers(self, prepared: jobs.PreparedRun) -> None:
        viewer = self._session.viewer
        if self._layers is None or viewer is None:
            return
        image, cells = self._layers
        if any(layer not in viewer.layers for layer in self._layers):
            return
        model = prepared.model
        results = _results_of(model.classes)
        if len(prepared.classes) > len(model.classes):
            results = _results_of(prepared.classes, coarse=results)
        before = next((v for v in self._session.classified() if v.image is image), None)
        self._views = CellViews(
            viewer,
            image,
            cells,
            prepared.maps,
            results,
            self._session.take_layers(image, cells),
        )
        self._views.pixel_size_um = prepared.pixel_size_um
        self._views.window_um = model.window_um
        # what the cells were found at stays as it was noted
        cells.metadata[NOTE] = {
            **note_of(cells),
            CLASSIFIED_AT: prepared.pixel_size_um,
            "classified_at_source": prepared.pixel_size_source,
            "model": model.name,
            "model_version": model.version,
        }
        self._views.error_rate = prepared.error_rate
        self._views.settings, self._views.prior = prepared.settings, prepared.prior
        self._views.one_level = prepared.one_level
        self._views.running = True
        self._reviewing.carry(before, self._views)
        if self._request is not None:
            self._views.kinds = self._request.kinds
            rate = self._request.settings.error_rate
            self._views.no_promise = unpromised(rate, prepared.error_rate)
            self._views.model = (self._request.source, self._request.device)
        review = self.review.isChecked() and _has_review(self._views)
        self._views.show_outlines(self.anomalies.isChecked(), review)
        self._session.add_views(self._views)

    def _on_end(self, outcome: str, error: CytoDiffusionError | None) -> None:
        views, self._views, self._prepared = self._views, None, None
        if views is not None:
            views.running = False
        done = 0 if views is None else len(views.results)
        if outcome == "failed":
            self.run_bar.end("Stopped by an error.")
            self._on_error(error)
        elif outcome == "cancelled":
            kept = f" {done:,} classified cells are kept." if done else ""
            self.run_bar.end(f"Cancelled.{kept}")
        else:
            took = duration(self._pace.seconds)
            self.run_bar.end(f"{done:,} cells classified in {took}.")
        if views is not None and done:
            views.results.compact()
            views.maps.paint()
            views.refresh()
            self._session.cells_changed.emit()
            self.differential.count()
            self._write_table(views)
            if views.people.said:
                self._reviewing.learn(views)

    def _on_error(self, error: CytoDiffusionError | None) -> None:
        request = self._request
        if error is None or request is None:
            return
        if isinstance(error, DownloadNeeded) and not request.allow_download:
            if ask(self, "Download a model", f"{error}\n\nDownload it now?"):
                self._begin(dataclasses.replace(request, allow_download=True))
            return
        if isinstance(error, jobs.ScalesDiffer):
            if self._is_scale_meant(error):
                size = error.pixel_size_um
                self._begin(dataclasses.replace(request, pixel_size_um=size, found_at_um=None))
            return
        tell(error)
        if isinstance(error, OutOfMemoryError) and request.device != "cpu":
            question = "Classify on the CPU instead? It is slower but has more memory."
            if ask(self, "Out of memory", question):
                self._session.engine.forget_models()
                self._begin(dataclasses.replace(request, device="cpu"))

    def _write_table(self, views: CellViews) -> None:
        """Hand the table to the labels once it is made, without holding up the window."""
        frame_of = self._session.engine.cells_frame
        batches = list(views.results.batches)
        job = Job(jobs.table_body(lambda: frame_of(batches), full_size(views.labels)), self)
        job.yielded.connect(views.set_features)
        job.failed.connect(tell)
        job.start()

    # -- what is shown ------------------------------------------------------------------------

    def _on_cells(self) -> None:
        views = self._session.current
        for button in (self.class_button, self.uncertainty_button):
            button.setEnabled(views is not None)
        self.differential.count_soon()
        self.export.refresh()
        if views is None:
            self.summary.setText("")
            self.review.setVisible(False)
            if self._classified:  # a legend of what is gone says nothing
                self.legend.set_classes((), ())
            self._classified = False
            return
        self._classified = True
        self._show_classes(views.results.class_names, views.results.colors)
        self._show_counts(views)
        self.legend.set_shown(views.shown)
        boxes = [(self.anomalies, views.outlines[0])]
        if _has_review(views):
            boxes.append((self.review, views.outlines[1]))
        for box, outlined in boxes:
            with QSignalBlocker(box):
                box.setChecked(outlined)

    def _show_classes(self, names: Any, colors: Any) -> None:
        if (self.legend.names, self.legend.colors) != (tuple(names), tuple(colors)):
            self.legend.set_classes(names, colors)
            self.legend.bar.set_classes(len(names))

    def _show_counts(self, views: CellViews) -> None:
        if views is not self._session.current:
            return
        self.legend.set_counts(views.shown_counts)
        self._on_said()
        self.review.setVisible(_has_review(views))
        wanted = "for review"
        if views.error_rate is not None:
            wanted = f"too unsure for {100 * views.error_rate:.3g} % errors"
        self.review.setText(f"Outline cells {wanted}")
        self.summary.setText(summary(views))
        self.differential.count_soon()
        self.export.refresh()

    def _on_said(self) -> None:
        views = self._session.current
        if views is not None:
            self.legend.set_reviewed(*views.people.counts(views.results))

    def _outline_review(self, views: CellViews) -> None:
        """Outline cells for review once there are any: a contradiction is found on the way."""
        if self.review.isChecked() and _has_review(views) and not views.outlines[1]:
            views.show_outlines(views.outlines[0], True)

    def _show_outlines(self, _: Any = None) -> None:
        views = self._session.current
        review = self.review.isChecked() and views is not None and _has_review(views)
        self._session.show_outlines(self.anomalies.isChecked(), review)

    def _on_view(self) -> None:
        views = self._session.current
        self._show_legend()
        self.differential.count_soon()
        if views is None:
            return
        self.class_button.setChecked(views.kind == "class")
        self.uncertainty_button.setChecked(views.kind == "uncertainty")
        self.legend.set_kind(views.kind)
        if len(self.legend.counts) == len(views.shown_counts):
            self.legend.set_counts(views.shown_counts)

    def _show_legend(self) -> None:
        """Show the legend, or that the layer it speaks of was removed."""
        views = self._session.current
        gone = None if views is None or views.kind in views.layers else views.kind
        if gone is not None:
            words = "classes" if gone == "class" else "uncertainty"
            self.removed.setText(_REMOVED.format(words, gone.capitalize()))
        self.legend.setVisible(gone is None)
        self.removed.setVisible(gone is not None)

    def showEvent(self, event: Any) -> None:
        """Load the model while the user is still choosing, so that the first run starts at once."""
        super().showEvent(event)
        if self._warm is None and self.model.value == "default":
            body = model_body(self._session.engine, "default", self.device.value)
            self._warm = Job(body, self)
            self._warm.yielded.connect(self._on_model)
            self._warm.start()

    def _on_model(self, model: Any) -> None:
        if self._session.current is None:
            self._show_classes(model.class_names, [c.color for c in model.classes])


def _results_of(classes: Sequence[CellClass], coarse: Results | None = None) -> Results:
    """Return empty results with these classes."""
    colors, groups = [c.color for c in classes], [c.group for c in classes]
    return Results([c.name for c in classes], colors, groups, coarse)


def _has_review(views: CellViews) -> bool:
    """Whether cells may be for review: by an error rate, or as their class is contradicted."""
    return views.error_rate is not None or bool(views.results.contradictions.any())


def _short(name: str, letters: int = 24) -> str:
    """Return a name that fits on a button."""
    return name if len(name) <= letters else f"{name[: letters - 1]}\u2026"
