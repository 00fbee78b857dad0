"""What *Inspect cell* says of a cell beside its class: the finer class, and its attributes."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QVBoxLayout, QWidget

from cytodiffusion.classification.attributes import told_attributes, told_finer
from napari_cytodiffusion.layers.results import CellRecord, percent
from napari_cytodiffusion.shared.common import note
from napari_cytodiffusion.shared.fold import FoldButton

#: A finer class with a smaller share is not named.
_LITTLE = 0.005


class MorphologyPanel(QWidget):
    """The finer classes of a cell, and its attributes in a part that folds away.

    It is hidden where the model tells nothing of that kind of the cell.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.finer = note("", self)
        self.finer.setTextFormat(Qt.TextFormat.PlainText)
        self.fold = FoldButton("Morphology", self, opened=True)
        self._inside = QWidget(self)
        self._grid = QGridLayout(self._inside)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(3)
        self._grid.setColumnStretch(1, 1)
        self.rows: list[tuple[QLabel, QLabel, QLabel]] = []
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for widget in (self.finer, self.fold, self._inside):
            layout.addWidget(widget)
        self.fold.toggled.connect(self._inside.setVisible)
        self.hide()

    def show_cell(self, record: CellRecord) -> None:
        """Say what the model tells of a cell."""
        finer = finer_text(record)
        self.finer.setText(finer)
        self.finer.setVisible(bool(finer))
        told = told_attributes(record.result)
        while len(self.rows) < len(told):
            self._add_row()
        for number, labels in enumerate(self.rows):
            shown = number < len(told)
            for label in labels:
                label.setVisible(shown)
            if shown:
                texts = told[number].title, told[number].words, percent(told[number].probability)
                for label, text in zip(labels, texts, strict=True):
                    label.setText(text)
                    label.setToolTip(told[number].meaning)
        self.fold.setVisible(bool(told))
        self._inside.setVisible(bool(told) and self.fold.isChecked())
        self.setVisible(bool(told or finer))

    def _add_row(self) -> None:
        labels = (QLabel(self._inside), QLabel(self._inside), QLabel(self._inside))
        for column, label in enumerate(labels):
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setWordWrap(column == 1)
            self._grid.addWidget(label, len(self.rows), column)
        self.rows.append(labels)


def finer_text(record: CellRecord) -> str:
    """Name the finer classes of a cell and their shares of its class; empty where it has none."""
    shares = told_finer(record.result)
    if not shares:
        return ""
    result = record.result.coarse or record.result
    name = result.class_names[result.predicted[0]]
    likely = [
        f"{value.removesuffix(name).strip() or value} {percent(share)}"
        for value, share in shares
        if share >= _LITTLE
    ]
    return f"{name[:1].upper()}{name[1:]}: {', '.join(likely)}"
