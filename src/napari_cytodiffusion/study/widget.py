"""*Study*: where the day begins; its images, how far one is with them, and what is to be done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qtpy.QtCore import QModelIndex, Qt, QTimer
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QPushButton,
    QSizePolicy,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from cytodiffusion.errors import CytoDiffusionError
from cytodiffusion.study.check import ImageCounts, image_counts
from napari_cytodiffusion.classify.reviewing import Reviewing
from napari_cytodiffusion.remembered import remember, remembered
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.common import ask, note, plain_note
from napari_cytodiffusion.study.adding import AddImages
from napari_cytodiffusion.study.classified import ClassifiedImages
from napari_cytodiffusion.study.current import CurrentStudy
from napari_cytodiffusion.study.export import ExportButton
from napari_cytodiffusion.study.image_list import ImageList
from napari_cytodiffusion.study.keeping import KeepButton, ask_folder
from napari_cytodiffusion.study.moved import FindMoved
from napari_cytodiffusion.study.outlines import ChangedOutlines
from napari_cytodiffusion.study.place import Place

#: Milliseconds after which counts follow what was said.
_COUNT_MS = 300

#: What is remembered: studies that were open, as JSON; how many of them.
_RECENT, _MANY = "study/recent", 8

_WELCOME = (
    "A study keeps your images, their cells and every class that you give in one folder, so that "
    "you can go on tomorrow where you stopped. Make a new study or open one; then add images to it."
)

_FIRST_IMAGES = "The study is empty: add images, and their cells are found and classified."

_ONLY_READ = "This study can only be looked at: its folder may not be written."


class StudyWidget(QWidget):
    """Dock widget *Study*.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer it is docked in.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._session = Session.of(napari_viewer)
        self._current = CurrentStudy.of(self._session)
        Place.of(self._session)
        ClassifiedImages.of(self._session)
        self._reviewing = Reviewing.of(self._session)
        self._session.attach(self)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_COUNT_MS)
        self._timer.timeout.connect(self.refresh)
        self._pages = QStackedLayout(self)
        self._pages.addWidget(self._build_start())
        self._pages.addWidget(self._build_study())
        self._connect()
        self._show_study()

    # -- layout -------------------------------------------------------------------------------

    def _build_start(self) -> QWidget:
        page = QWidget(self)
        self.welcome = note(_WELCOME, page)
        self.new_button = QPushButton("New study ...", page)
        self.open_button = QPushButton("Open study ...", page)
        self.recent_title = QLabel("Opened before", page)
        self.recent = QListWidget(page)
        self.recent.setToolTip("Click one to open it.")
        self.start_trouble = plain_note("", page)
        layout = QVBoxLayout(page)
        for part in (self.welcome, self.new_button, self.open_button):
            layout.addWidget(part)
        layout.addWidget(KeepButton(self._session, self))
        layout.addWidget(self.start_trouble)
        layout.addWidget(self.recent_title)
        layout.addWidget(self.recent, 1)
        layout.addStretch(0)
        return page

    def _build_study(self) -> QWidget:
        page = QWidget(self)
        self.title = QLabel("", page)
        self.title.setTextFormat(Qt.TextFormat.PlainText)
        self.title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        font = self.title.font()
        font.setBold(True)
        self.title.setFont(font)
        self.menu_button = QPushButton("Study", page)
        self.menu = QMenu(self.menu_button)
        self.new_action = self.menu.addAction("New study ...")
        self.open_action = self.menu.addAction("Open study ...")
        self.recent_menu = self.menu.addMenu("Opened before")
        self.menu.addSeparator()
        self.classes_action = self.menu.addAction("Classes ...")
        self.observers_action = self.menu.addAction("Observers ...")
        self.menu.addSeparator()
        self.close_action = self.menu.addAction("Close this study")
        self.menu_button.setMenu(self.menu)
        head = QHBoxLayout()
        head.addWidget(self.title, 1)
        head.addWidget(self.menu_button)
        self.observer = QLineEdit(page)
        self.observer.setToolTip("Who gives classes from now on; it is kept with each of them.")
        named = QHBoxLayout()
        named.addWidget(QLabel("Your name", page))
        named.addWidget(self.observer, 1)
        self.state = plain_note("", page)
        self.trouble = plain_note("", page)
        self.images = ImageList(page)
        layout = QVBoxLayout(page)
        layout.addLayout(head)
        layout.addLayout(named)
        layout.addWidget(self.state)
        self.moved = FindMoved(self._session, self)
        self.outlines = ChangedOutlines(self._session, self)
        self.adding = AddImages(self._session, self)
        self.keeping = KeepButton(self._session, self)
        self.exporting = ExportButton(self._session, self)
        layout.addWidget(self.images, 1)
        for part in (self.trouble, self.moved, self.outlines, self.adding):
            layout.addWidget(part)
        layout.addWidget(self.keeping)
        layout.addWidget(self.exporting)
        return page

    def _connect(self) -> None:
        for signal in (self.new_button.clicked, self.new_action.triggered):
            signal.connect(self._on_new)
        for signal in (self.open_button.clicked, self.open_action.triggered):
            signal.connect(self._on_open)
        self.classes_action.triggered.connect(lambda: self._session.open_dock("Classes of a study"))
        self.observers_action.triggered.connect(
            lambda: self._session.open_dock("Observers of a study")
        )
        self.close_action.triggered.connect(self._current.close)
        self.recent.itemClicked.connect(self._on_recent)
        self.recent_menu.aboutToShow.connect(self._fill_recent_menu)
        self.images.clicked.connect(self._on_image)
        self.images.activated.connect(self._on_image)
        self.observer.editingFinished.connect(self._on_observer)
        current = self._current
        current.opened.connect(self._on_opened)
        current.closed.connect(self._show_study)
        current.troubled.connect(self._on_trouble)
        current.image_opened.connect(self._on_image_opened)
        for changed in (current.images_changed, current.predictions_changed):
            changed.connect(self.refresh)
        current.annotated.connect(self._refresh_soon)
        self._session.cells_changed.connect(self._refresh_soon)
        self._reviewing.changed.connect(self._show_observer)

    # -- studies ------------------------------------------------------------------------------

    def _on_new(self) -> None:
        chosen = ask_folder(self, "Name of the new study")
        if chosen is not None:
            self._current.create(chosen)

    def _on_open(self) -> None:
        start = _folder_of(self.recent_studies())
        chosen = QFileDialog.getExistingDirectory(self, "Folder of the study", start)
        if chosen:
            self._current.open(chosen)

    def _on_recent(self, item: QListWidgetItem) -> None:
        self._current.open(item.data(Qt.ItemDataRole.UserRole))

    def recent_studies(self) -> list[str]:
        """Return the studies that were open, the last first, as far as they are there."""
        try:
            known = json.loads(remembered(_RECENT, "[]"))
        except ValueError:
            return []
        return [str(one) for one in known if Path(str(one)).is_dir()]

    def _fill_recent_menu(self) -> None:
        self.recent_menu.clear()
        for folder in self.recent_studies():
            if folder != str(self._current.folder):
                action = self.recent_menu.addAction(Path(folder).name)
                action.setToolTip(folder)
                action.triggered.connect(lambda _=False, to=folder: self._current.open(to))
        self.recent_menu.setEnabled(bool(self.recent_menu.actions()))

    def _on_opened(self) -> None:
        folder = self._current.folder
        if folder is not None:
            path = str(folder.resolve())
            others = [one for one in self.recent_studies() if one != path]
            remember(_RECENT, json.dumps([path, *others][:_MANY]))
        self._show_study()

    def _show_study(self) -> None:
        """Show the open study, or how to come by one."""
        study = self._current.study
        self._say("" if study is None or self._current.writable else _ONLY_READ)
        self._pages.setCurrentIndex(0 if study is None else 1)
        if study is None:
            self.recent.clear()
            for folder in self.recent_studies():
                item = QListWidgetItem(Path(folder).name)
                item.setToolTip(folder)
                item.setData(Qt.ItemDataRole.UserRole, folder)
                self.recent.addItem(item)
            some = self.recent.count() > 0
            self.recent_title.setVisible(some)
            self.recent.setVisible(some)
            return
        self.title.setText(study.name)
        self.title.setToolTip(str(study.folder.resolve()))
        self._show_observer()
        self.refresh()

    # -- images -------------------------------------------------------------------------------

    def _refresh_soon(self, _: Any = None) -> None:
        if self._current.study is not None:
            self._timer.start()

    def refresh(self) -> None:
        """Show the images and their counts as they are now."""
        self._timer.stop()
        study = self._current.study
        if study is None:
            return
        try:
            rows = image_counts(study)
        except CytoDiffusionError as error:
            self._say(str(error))
            return
        self.images.images.show(rows, self._current.open_names())
        self.state.setText(_state(rows))
        shown = self._current.image_of(self._session.current)
        if shown is not None:
            self.images.choose(shown)

    def _on_image(self, index: QModelIndex) -> None:
        name = self.images.name_at(index)
        if name in self._current.open_names() and name != self._current.image_of(
            self._session.current
        ):
            self._current.open_image(name)
            return
        if not name or name in self._current.open_names():
            return
        changed = [n for n in self._current.open_names() if self._current.changed_by_hand(n)]
        if changed:
            question = (
                f"Outlines of {changed[0]} were changed by hand, and the study does not have them "
                f"yet. Its layers stay beside {name} until you take the outlines over or remove "
                f"them.\n\nOpen {name}?"
            )
            if not ask(self, "Changed outlines", question):
                self.refresh()
                return
        self._say("")
        self.state.setText(f"Opening {name} ...")
        self._current.open_image(name)

    def _on_image_opened(self, _: str) -> None:
        if self._current.writable:
            self._say("")
        self.refresh()

    # -- who, and what went wrong -------------------------------------------------------------

    def _show_observer(self) -> None:
        if not self.observer.hasFocus():
            self.observer.setText(self._reviewing.observer)
        self.observer.setPlaceholderText(self._current.observer)

    def _on_observer(self) -> None:
        if self.observer.text().strip() != self._reviewing.observer:
            self._current.call_observer(self.observer.text())

    def _on_trouble(self, sentence: str) -> None:
        self.refresh()
        self._say(sentence)

    def _say(self, sentence: str) -> None:
        for label in (self.trouble, self.start_trouble):
            label.setText(sentence)
            label.setVisible(bool(sentence))
        self.moved.setVisible("no longer at" in sentence)


def _state(rows: list[ImageCounts]) -> str:
    """Say how far one is with the whole study."""
    if not rows:
        return _FIRST_IMAGES
    cells, labelled = sum(row.cells for row in rows), sum(row.labelled for row in rows)
    images = "1 image" if len(rows) == 1 else f"{len(rows):,} images"
    return f"{images}, {cells:,} cells: {labelled:,} labelled, {cells - labelled:,} to do."


def _folder_of(recent: list[str]) -> str:
    """Return the folder in which studies are looked for first."""
    return str(Path(recent[0]).parent) if recent else str(Path.home())
