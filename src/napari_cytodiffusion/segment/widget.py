"""*Segment cells*: an image becomes a label layer of its cells."""

from __future__ import annotations

import dataclasses
from typing import Any

from napari.layers import Labels, Layer
from napari.utils import notifications
from qtpy.QtWidgets import QVBoxLayout, QWidget

from cytodiffusion.errors import CytoDiffusionError, DownloadNeeded, OutOfMemoryError
from cytodiffusion.settings import SegmentOptions
from napari_cytodiffusion.layers.belonging import bind, scales_beside
from napari_cytodiffusion.layers.placement import NOTE, full_size, is_image, placement
from napari_cytodiffusion.segment import jobs
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.choosers import LayerChoice, ModelChoice, PixelSizeBox
from napari_cytodiffusion.shared.common import Pace, RunBar, ask, note, tell
from napari_cytodiffusion.shared.defaults import default
from napari_cytodiffusion.shared.settings_form import SettingsForm, checked
from napari_cytodiffusion.workers import Job, duration

#: What the form says otherwise than the settings.
_WORDS: dict[str, dict[str, Any]] = {
    "method": {"choices": {"auto": "Automatic", "network": "Smear network"}},
    "pixel_size_um": {"none": "by the red cells"},
}

_WHAT = {
    "auto": "Cellpose where its weights and a GPU are at hand, else the smear network.",
    "network": "A small neural network made for stained blood smears; fast, no download.",
    "watershed": "By rules of colour and size alone; for smears that are not crowded.",
    "cellpose": "A neural network for cells of any kind; slow without a GPU.",
}


class SegmentWidget(QWidget):
    """Dock widget *Segment cells*.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer it is docked in.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._session = Session.of(napari_viewer)
        self._session.attach(self)
        self._request: jobs.SegmentRequest | None = None
        self._layer: Layer | None = None
        self._found = ""
        self._pace = Pace()
        self._forecast: Job | None = None
        self._build(getattr(napari_viewer, "__wrapped__", napari_viewer))
        self._connect()
        self._on_layer()
        self._on_method()

    def _build(self, viewer: Any) -> None:
        self.image = LayerChoice(viewer, is_image, "open an image first", label="Image")
        self.model = ModelChoice(
            [(name, name) for name in self._session.engine.cellpose_models()],
            "Own weights",
            "path of the weights",
            False,
            name="model",
            label="Model",
        )
        self.form = SettingsForm(
            SegmentOptions,
            ("image", "method", "model", "device", "pixel_size_um"),
            widgets={"image": self.image, "model": self.model},
            words=_WORDS,
            start={"method": default("segmentation", "method")},
            more=(),
        )
        self.method, self.device = self.form["method"], self.form["device"]
        self.pixel_size: PixelSizeBox = self.form["pixel_size_um"]
        self.what = note("", self)
        self.run_bar = RunBar("Segment cells", self)
        self.run_bar.follow(self._session)
        layout = QVBoxLayout(self)
        layout.addWidget(self.form.native)
        layout.addWidget(self.what)
        layout.addWidget(self.run_bar)
        layout.addStretch(1)

    def _connect(self) -> None:
        self.image.changed.connect(self._on_layer)
        self.image.rescaled.connect(self._on_layer)
        for field in (self.method, self.model, self.device):
            field.changed.connect(self._on_method)
        self.run_bar.run.connect(self.start)
        self.run_bar.cancel.connect(self._session.cancel)

    def _on_layer(self, _: Any = None) -> None:
        self.pixel_size.follow(self.image.layer())
        self._on_method()

    def _on_method(self, _: Any = None) -> None:
        method = str(self.method.value)
        for name in ("model", "device"):
            self.form.show_field(name, method == "cellpose")
        self.what.setText(_WHAT[method])
        layer = self.image.layer()
        if method == "cellpose" and layer is not None:
            shape = full_size(layer).shape[:2]
            body = jobs.forecast_body(
                self._session.engine,
                self.model.value,
                shape,
                self.device.value,
                self.pixel_size.value,
            )
            self._forecast = Job(body, self)
            self._forecast.yielded.connect(self._on_forecast)
            self._forecast.start()

    def _on_forecast(self, text: str) -> None:
        if self.method.value == "cellpose":
            self.what.setText(f"{_WHAT['cellpose']} {text}".strip())

    def options(self) -> SegmentOptions:
        """Return how cells are found, for whatever image; InputError where that makes no sense."""
        method = str(self.method.value)
        own = {"model": self.model.value, "device": self.device.value}
        return checked(SegmentOptions, {"method": method, **(own if method == "cellpose" else {})})

    # -- a run --------------------------------------------------------------------------------

    def start(self) -> None:
        """Segment the chosen image."""
        layer = self.image.layer()
        if layer is None:
            notifications.show_warning("Open an image first: File > Open, or File > Open Sample.")
            return
        method = str(self.method.value)
        own = method == "cellpose"
        if own and not self.model.value:
            notifications.show_warning("Choose the file of the Cellpose weights first.")
            return
        request = jobs.SegmentRequest(
            image=full_size(layer),
            method=method,
            pixel_size_um=self.pixel_size.value,
            model=self.model.value if own else None,
            device=self.device.value if own else "auto",
            path=getattr(layer.source, "path", None),
            beside_um=scales_beside(layer, self._session.viewer.layers),
        )
        self._begin(request, layer)

    def _begin(self, request: jobs.SegmentRequest, layer: Layer | None = None) -> None:
        """Start a run of this layer, of that of the last run where none is given."""
        layer = self._layer if layer is None else layer
        job = self._session.start(
            jobs.segment_body(self._session.engine, request),
            owner=self,
            layers=() if layer is None else (layer,),
            on_progress=self.run_bar.advance,
            on_item=self._on_item,
            on_end=self._on_end,
        )
        if job is not None:
            self._layer = layer  # only now: a run that goes on keeps its own
            self._request, self._pace, self._found = request, Pace(), ""
            self.run_bar.begin("Starting ...")

    def _on_item(self, result: Any) -> None:
        viewer, layer = self._session.viewer, self._layer
        if viewer is None or layer is None:
            return
        cells = Labels(
            result.labels,
            name=f"{layer.name} cells",
            opacity=0.5,
            metadata={
                NOTE: {
                    "pixel_size_um": result.pixel_size_um,
                    "pixel_size_source": result.pixel_size_source,
                    "method": result.method,
                    "settings": dict(result.settings),
                    **({} if result.kinds is None else {"kinds": result.kinds.tolist()}),
                }
            },
            **placement(layer),
        )
        bind(cells, layer)
        viewer.add_layer(cells)
        size = f"{result.pixel_size_um:.3g} \u00b5m a pixel"
        origin = {
            "estimated": "by the red cells",
            "assumed": "assumed, please check",
            "file": "as the file states",
            "slide": "as in the other open images",
        }
        origin_text = origin.get(result.pixel_size_source)
        self._found = f"{result.n_cells:,} cells; {size}" + (
            f" ({origin_text})." if origin_text else "."
        )
        for sentence in result.warnings:
            notifications.show_warning(sentence)

    def _on_end(self, outcome: str, error: CytoDiffusionError | None) -> None:
        self._layer = None if outcome == "done" else self._layer
        if outcome == "done":
            self.run_bar.end(f"{self._found} Took {duration(self._pace.seconds)}.")
        elif outcome == "cancelled":
            self.run_bar.end("Cancelled.")
        else:
            self.run_bar.end("Stopped by an error.")
            self._on_error(error)

    def _on_error(self, error: CytoDiffusionError | None) -> None:
        request = self._request
        if error is None or request is None:
            return
        if isinstance(error, DownloadNeeded) and not request.allow_download:
            if ask(self, "Download Cellpose's weights", f"{error}\n\nDownload them now?"):
                self._begin(dataclasses.replace(request, allow_download=True))
            return
        if isinstance(error, jobs.ScaleUnlike):
            slide = error.slide
            size = f"{slide.pixel_size_um:.3g} \u00b5m a pixel"
            common = ask(self, "Two scales", f"{error}\n\nUse {size} for this image too?")
            self._begin(dataclasses.replace(request, beside_um=(), slide=slide if common else None))
            return
        tell(error)
        if isinstance(error, OutOfMemoryError) and request.device != "cpu":
            question = "Segment on the CPU instead? It is much slower but has more memory."
            if ask(self, "Out of memory", question):
                self._begin(dataclasses.replace(request, device="cpu"))
