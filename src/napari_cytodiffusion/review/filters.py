"""Which cells *Review cells* shows: by class, label, image and observer."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QWidget

from cytodiffusion.review.cells import PeopleSaid, ReviewCells
from cytodiffusion.review.ordering import CellFilter

#: What people said of the cells shown: text, `CellFilter.labelled`.
_LABELLED = (("All", None), ("To do", False), ("Labelled", True))

#: Images that are listed at most: a study of images of one cell each may have very many.
_LISTED = 300


class ReviewFilters(QWidget):
    """Boxes that choose which cells are shown; those that have nothing to choose are hidden.

    Signals
    -------
    changed ()
        Something else was chosen.
    """

    changed = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.classes, self.labelled = narrow_box(self), narrow_box(self)
        self.images, self.observers = narrow_box(self), narrow_box(self)
        for text, value in _LABELLED:
            self.labelled.addItem(text, value)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for number, box in enumerate(self.boxes):
            layout.addWidget(box, *divmod(number, 2))
            layout.setColumnStretch(number % 2, 1)
            box.currentIndexChanged.connect(self._on_change)

    @property
    def boxes(self) -> tuple[QComboBox, ...]:
        """All of them."""
        return self.classes, self.labelled, self.images, self.observers

    def fill(self, cells: ReviewCells, people: PeopleSaid) -> None:
        """Offer what there is to choose; what was chosen stays chosen."""
        many = len(cells.images) > _LISTED
        images = [] if many else list(enumerate(cells.images))
        names = [(name, name or "you") for name in people.observers]
        _fill(self.classes, "All classes", list(enumerate(cells.class_names)))
        _fill(self.images, "All images", images)
        _fill(self.observers, "By anybody", names)
        self.images.setVisible(len(images) > 1)
        self.observers.setVisible(len(names) > 1)

    def chosen(self, blind: bool) -> CellFilter:
        """Return what is chosen."""
        return CellFilter(
            class_index=self.classes.currentData(),
            image=self.images.currentData(),
            labelled=self.labelled.currentData(),
            observer=self.observers.currentData(),
            blind=blind,
        )

    def _on_change(self, _: int) -> None:
        self.changed.emit()


def narrow_box(parent: QWidget) -> QComboBox:
    """Return a box that long names do not make wide."""
    box = QComboBox(parent)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)
    return box


def _fill(box: QComboBox, everything: str, entries: list[tuple[Any, str]]) -> None:
    """Offer these entries below one for all."""
    there = [(box.itemData(at), box.itemText(at)) for at in range(1, box.count())]
    if box.count() and there == entries:
        return
    chosen = box.currentData()
    with QSignalBlocker(box):
        box.clear()
        box.addItem(everything, None)
        for value, text in entries:
            box.addItem(text, value)
        box.setCurrentIndex(max(0, box.findData(chosen)) if chosen is not None else 0)
