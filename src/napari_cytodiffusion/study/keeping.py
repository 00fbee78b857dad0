"""*Keep in a study*: what is open in the viewer, taken into a study as it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer
from napari.utils import notifications
from qtpy.QtWidgets import QFileDialog, QPushButton, QVBoxLayout, QWidget

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import CytoDiffusionError, InputError
from cytodiffusion.study.database import FILE
from napari_cytodiffusion.layers.belonging import image_of
from napari_cytodiffusion.layers.placement import (
    found_at,
    full_size,
    is_cells,
    is_image,
    note_of,
    pixel_size_of,
)
from napari_cytodiffusion.layers.views import CellViews
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.common import plain_note, tell
from napari_cytodiffusion.study.current import CurrentStudy
from napari_cytodiffusion.study.filling import FieldToKeep, keep_body

if TYPE_CHECKING:
    from cytodiffusion.study.taking import Kept

#: What the note of a label layer has that a study keeps, too.
_SEGMENTATION = ("method", "settings", "kinds")


class KeepButton(QWidget):
    """A button that takes the images of the viewer into the open study, and what became of them.

    It is there while there is something to keep.
    """

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session, self._study = session, CurrentStudy.of(session)
        self._owner = parent  # what is docked: the run ends with it
        self._layers: list[tuple[Layer, Layer]] = []
        self._views_kept: list[CellViews] = []
        self._kept: list[Kept] = []
        self.button = QPushButton("Keep in a study ...", self)
        self.button.setToolTip(
            "Take over what is open in the viewer: images, cells, what the model said of them, and "
            "what people said."
        )
        self.said = plain_note("", self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.button)
        layout.addWidget(self.said)
        self.button.clicked.connect(self._on_click)
        for signal in (self._study.opened, self._study.closed, self._study.image_opened):
            signal.connect(self.refresh)
        session.cells_changed.connect(self.refresh)
        session.busy_changed.connect(self.refresh)
        events = session.viewer.layers.events
        for event in (events.inserted, events.removed):
            event.connect(self.refresh, position="last")
        self.refresh()

    # -- what there is to keep ----------------------------------------------------------------

    def _views(self) -> list[CellViews]:
        """Return classified cells of images that are in no open study."""
        known = [v for v in self._session.classified() if len(v.results) and not v.running]
        return [v for v in known if self._study.image_of(v) is None]

    def _segmented(self) -> list[tuple[Layer, Layer]]:
        """Return images and their cells that nobody has classified; the last cells of each."""
        viewer = self._session.viewer
        layers = [] if viewer is None else list(viewer.layers)
        images = [layer for layer in layers if is_image(layer)]
        taken = [v.image for v in self._session.classified()]
        found: dict[int, tuple[Layer, Layer]] = {}
        for cells in filter(is_cells, layers):
            image = image_of(cells, images)
            if image is None or any(image is other for other in taken):
                continue
            if self._study.name_of(image) is None:
                found[id(image)] = image, cells
        return list(found.values())

    def refresh(self, _: Any = None) -> None:
        """Offer to keep what there is."""
        try:
            count = len(self._views()) + len(self._segmented())
            study = self._study.study
            where = "a study ..." if study is None else study.name
            what = "" if count < 2 else f" ({count:,} images)"
            self.button.setText(f"Keep in {where}{what}")
            able = study is None or self._study.writable
            self.button.setEnabled(count > 0 and able and not self._session.busy)
            self.button.setVisible(count > 0)
            self.said.setVisible(bool(self.said.text()))
        except RuntimeError:  # the widget is destroyed, and only its Python part is left
            return

    # -- keeping ------------------------------------------------------------------------------

    def _on_click(self) -> None:
        if self._study.study is None:
            chosen = ask_folder(self, "Keep in a study: name its folder")
            if chosen is None or not _open_or_make(self._study, chosen):
                return
        self.keep()

    def keep(self) -> None:
        """Take all that is open into the open study."""
        folder = self._study.folder
        try:
            views = self._views()
            fields = [_of_views(v) for v in views]
            pairs = self._segmented()
            fields += [_of_layers(image, cells) for image, cells in pairs]
        except InputError as error:
            tell(error)
            return
        if folder is None or not fields:
            return
        body = keep_body(self._session.engine, folder, fields, self._study.observer)
        started = self._session.start(
            body,
            owner=self._owner,
            on_progress=self._on_progress,
            on_item=self._on_item,
            on_end=self._on_end,
        )
        if started is not None:
            self._kept = []
            self._views_kept = views
            self._layers = [(v.image, v.labels) for v in views] + pairs
            self.refresh()

    def _on_progress(self, share: float, text: str) -> None:
        self._say(text)

    def _on_item(self, kept: Kept) -> None:
        number = len(self._kept)
        image, cells = self._layers[number]
        self._study.restored.update(self._views_kept[number : number + 1])  # it is there already
        self._kept.append(kept)
        self._study.keep_as(image, cells, kept.image.name)

    def _on_end(self, outcome: str, error: CytoDiffusionError | None) -> None:
        cells = sum(kept.cells for kept in self._kept)
        said = sum(kept.said for kept in self._kept)
        text = f"{cells:,} cells are in the study now, {said:,} of them with a class from people."
        if any(kept.written for kept in self._kept):
            text += " Pixels that were in no file were written into its folder."
        text = text if self._kept else "Nothing was kept."
        self._say(text)
        if not self.isVisible():  # another page of the dock is shown by now
            notifications.show_info(text)
        if self._kept:
            self._study.images_changed.emit()
            self._study.refresh_said()
        self.refresh()
        if error is not None:
            tell(error)

    def _say(self, text: str) -> None:
        self.said.setText(text)
        self.said.setVisible(bool(text))


def ask_folder(parent: QWidget, title: str) -> Path | None:
    """Ask for the folder of a study, new or not; None where nobody names one."""
    start = str(Path.home() / "study")
    options = QFileDialog.Option.DontConfirmOverwrite
    chosen, _ = QFileDialog.getSaveFileName(
        parent, title, start, "Folder of a study (*)", options=options
    )
    return Path(chosen) if chosen else None


def _open_or_make(study: CurrentStudy, folder: Path) -> bool:
    return study.open(folder) if (folder / FILE).is_file() else study.create(folder)


def _of_views(views: CellViews) -> FieldToKeep:
    """Gather what is known of classified cells; those that were changed since have no class."""
    known = note_of(views.labels)
    source = known.get("classified_at_source", known.get("pixel_size_source", "given"))
    kept = views.results.uncorrected.without(views.changes.to_classify)
    return FieldToKeep(
        dict(
            name=views.image.name,
            path=_file_of(views.image),
            pixels=full_size(views.image),
            labels=np.array(full_size(views.labels)),
            pixel_size_um=views.pixel_size_um,
            pixel_size_source=str(source),
            segmentation={key: known[key] for key in _SEGMENTATION if key in known},
            batches=tuple(kept.batches),
            settings=views.settings or ClassifySettings(),
            said=dict(views.people.said),
        ),
        *views.model,
    )


def _of_layers(image: Layer, cells: Layer) -> FieldToKeep:
    """Gather what is known of cells that nobody has classified."""
    known, size = note_of(cells), found_at(cells) or pixel_size_of(image)
    if size is None:
        raise InputError(
            f"Nobody has said how large the pixels of '{image.name}' are: segment or classify it "
            "first."
        )
    return FieldToKeep(
        dict(
            name=image.name,
            path=_file_of(image),
            pixels=full_size(image),
            labels=np.array(full_size(cells)),
            pixel_size_um=size,
            pixel_size_source=str(known.get("pixel_size_source", "given")),
            segmentation={key: known[key] for key in _SEGMENTATION if key in known},
        )
    )


def _file_of(image: Layer) -> Path | None:
    path = image.source.path or note_of(image).get("path")
    return None if path is None else Path(path)
