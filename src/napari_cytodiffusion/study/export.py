"""The cells of the study as files for others: tables, outlines, AnnData, crops."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from qtpy.QtGui import QAction
from qtpy.QtWidgets import QFileDialog, QWidget

from cytodiffusion.errors import CytoDiffusionError
from cytodiffusion.study.export import NEEDED, check_target
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.common import tell
from napari_cytodiffusion.shared.export_bar import ExportBar
from napari_cytodiffusion.shared.save_dialog import ask_where
from napari_cytodiffusion.study.current import CurrentStudy
from napari_cytodiffusion.study.filling import export_body

#: Format of crops, which go into a folder.
_CROPS = "crops"

#: What the cells can be exported as: ending, text of the menu, kind of file.
KINDS = (
    (".csv", "Table (CSV) ...", "CSV (*.csv)"),
    (".parquet", "Table (Parquet) ...", "Parquet (*.parquet)"),
    (".geojson", "Outlines for QuPath (GeoJSON) ...", "GeoJSON (*.geojson)"),
    (".h5ad", "AnnData for scanpy (h5ad) ...", "AnnData (*.h5ad)"),
    (_CROPS, "A picture of each cell, in folders of classes ...", ""),
)


class ExportButton(ExportBar):
    """Exports the cells of the whole study, or of the image that is open."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        tip = "Write the cells of the study to a file: what models said, and what people said"
        super().__init__("Export study ...", tip, KINDS, parent)
        self._session, self._study = session, CurrentStudy.of(session)
        menu = self.button.menu()
        menu.addSeparator()
        self.only_open = QAction("Only the image that is open", menu)
        self.only_open.setCheckable(True)
        menu.addAction(self.only_open)
        menu.aboutToShow.connect(self._offer)
        for signal in (self._study.opened, self._study.closed, self._study.images_changed):
            signal.connect(self.refresh)
        self.refresh()

    def has_something(self) -> bool:
        """Whether the study has images."""
        study = self._study.study
        return study is not None and bool(study.images())

    def _offer(self) -> None:
        """Offer what can be written here; say why the rest cannot."""
        for ending, package in NEEDED.items():
            there = importlib.util.find_spec(package) is not None
            self.actions_by_kind[ending].setEnabled(there)
            needs = f'It needs the package {package}: pip install "napari-cytodiffusion[study]"'
            self.actions_by_kind[ending].setToolTip("" if there else needs)
        opened = self._open_image()
        self.only_open.setEnabled(opened is not None)
        self.only_open.setText(f"Only {opened or 'the image that is open'}")

    def _open_image(self) -> str | None:
        return self._study.image_of(self._session.current)

    def choose(self, kind: str, files: str) -> None:
        """Ask where to write the cells, and begin."""
        study = self._study.study
        if study is None:
            return
        image = self._open_image() if self.only_open.isChecked() else None
        name = f"{study.name} cells" if image is None else f"{Path(image).stem} cells"
        if kind == _CROPS:
            path = self._ask_folder(name)
        else:
            path = ask_where(self, "Export study", name, files)
        if path is not None:
            self.export(path, image)

    def _ask_folder(self, name: str) -> Path | None:
        """Ask for a folder; the crops go into a new one in it."""
        chosen = QFileDialog.getExistingDirectory(self, "Folder to put the crops into")
        if not chosen:
            return None
        path, number = Path(chosen) / name.replace(".", " "), 1
        while path.exists():
            number += 1
            path = path.with_name(f"{name.replace('.', ' ')} {number}")
        return path

    def export(self, path: Path, image: str | None = None) -> None:
        """Write the cells of the study, or of one image, to a file or a folder of crops."""
        folder = self._study.folder
        if folder is None or self.busy:
            return
        try:
            check_target(path)
        except CytoDiffusionError as error:
            tell(error)
            return
        self.begin(export_body(folder, path, image), path.name)

    def written(self, what: tuple[Sequence[Path], Sequence[str]]) -> tuple[str, str]:
        """Say where the cells are, and what else the user should know."""
        files, notes = what
        return " ".join((f"The cells are in {files[0].name}.", *notes)), str(files[0])
