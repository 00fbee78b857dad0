"""What *Classify cells* says of image and labels before and while it works on them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_cytodiffusion.layers.agreement import disagreements
from napari_cytodiffusion.layers.placement import note_of
from napari_cytodiffusion.shared.choosers import LayerChoice, PixelSizeBox
from napari_cytodiffusion.shared.common import note
from napari_cytodiffusion.shared.plots import legible

_RED = "#e5484d"


class AgreementNote(QWidget):
    """Says in red what disagrees between the chosen layers, and what was made of foreign labels."""

    def __init__(
        self, image: LayerChoice, cells: LayerChoice, pixel_size: PixelSizeBox, parent: QWidget
    ) -> None:
        super().__init__(parent)
        self._image, self._cells, self._pixel_size = image, cells, pixel_size
        self.red: QLabel = note("", self)
        self.made: QLabel = note("", self)
        for label in (self.red, self.made):
            label.setTextFormat(Qt.TextFormat.RichText)  # names are escaped
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.red)
        layout.addWidget(self.made)
        for chooser in (image, cells):
            for event in (chooser.changed, chooser.refilled, chooser.rescaled, chooser.moved):
                event.connect(self.look)
        pixel_size.changed.connect(self.look)
        self.look()

    def look(self, *_: Any) -> None:
        """Compare the chosen layers."""
        image, cells = self._image.layer(), self._cells.layer()
        both = image is not None and cells is not None
        said = disagreements(image, cells, self._pixel_size.value) if both else []
        colour = legible(_RED, self).name()
        lines = [f"<span style='color: {colour}'>{escape(t, quote=False)}</span>" for t in said]
        self.red.setText("<br>".join(lines))
        notes = () if cells is None else note_of(cells).get("notes", ())
        self.tell(notes)

    def tell(self, notes: Sequence[str]) -> None:
        """Say what was made of labels of another tool."""
        self.made.setText("<br>".join(escape(text, quote=False) for text in notes))
        self.red.setVisible(bool(self.red.text()))
        self.made.setVisible(bool(notes))
        self.setVisible(bool(self.red.text()) or bool(notes))
