"""What docks have in common in which people sit for something: first page, questions, results.

One file is open at a time. It is made in a thread, found again among those that were opened before,
and closed with the dock.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel
from qtpy.QtCore import QSize
from qtpy.QtWidgets import QFileDialog, QSizePolicy, QStackedWidget, QVBoxLayout, QWidget

from cytodiffusion.errors import CytoDiffusionError, DownloadNeeded
from napari_cytodiffusion.remembered import recent_files
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.common import Pace, TallArea, ask, tell
from napari_cytodiffusion.shared.sitting_start import SittingStart
from napari_cytodiffusion.workers import Body


class Closes(Protocol):
    """A file that is open."""

    def close(self) -> None:
        """Close it."""


class SittingDock(QWidget):
    """A dock with a first page, a page of questions and a page of results.

    Attributes
    ----------
    what, kinds, recent : str
        Such as ``lesson``; the filter of its file dialog; where opened files are remembered.
    keeper : dict
        Files that are open, by any name; their connections must not outlive the dock.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer it is docked in.
    """

    what: str
    kinds: str
    recent: str

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._session = Session.of(napari_viewer)
        self._session.attach(self)
        self._asked: Any = None
        self._pace = Pace()
        self.pages = QStackedWidget(self)
        # else napari leaves the lower half of the dock empty
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        layout = QVBoxLayout(self)
        layout.addWidget(self.pages)
        self.keeper: dict[str, Closes] = {}
        self.destroyed.connect(partial(close_all, self.keeper))

    def _add_pages(self, start: SittingStart, questions: QWidget, result: QWidget) -> None:
        self._start = start
        start.form.run_bar.follow(self._session)
        self.pages.addWidget(TallArea(start, self.pages))
        self.pages.addWidget(questions)
        self.pages.addWidget(result)
        start.browse.connect(self._on_browse)
        start.recent.aboutToShow.connect(self._offer_recent)
        start.form.asked.connect(self.make)
        start.form.cancelled.connect(self._session.cancel)
        start.begin.connect(self.begin)

    def sizeHint(self) -> QSize:
        """Wide enough for a cell and for a table."""
        return QSize(460, 760)

    def open(self, path: str | Path) -> None:
        """Open a file."""
        raise NotImplementedError

    def begin(self, name: str, mode: str) -> None:
        """Begin, or go on with what was begun."""
        raise NotImplementedError

    def export(self, folder: Path) -> None:
        """Write the results to a folder."""
        raise NotImplementedError

    def make_body(self, settings: Any) -> Body:
        """Return the body of a `Job` that makes a file and yields its path."""
        raise NotImplementedError

    def tell_maker(self) -> None:
        """Say what was noticed of a file that was just made and opened."""
        raise NotImplementedError

    def make(self, settings: BaseModel) -> None:
        """Make a file, and open it."""
        bar = self._start.form.run_bar
        job = self._session.start(
            self.make_body(settings),
            owner=self,
            on_progress=bar.advance,
            on_item=self.open,
            on_end=self._on_made,
        )
        if job is not None:
            self._asked, self._pace = settings, Pace()
            bar.begin("Starting ...")

    def _on_made(self, outcome: str, error: CytoDiffusionError | None) -> None:
        bar, asked = self._start.form.run_bar, self._asked
        if outcome == "done":
            bar.end(f"Made in {self._pace.seconds:.0f} s.")
            self.tell_maker()
            return
        cancelled = outcome == "cancelled"
        bar.end(f"Cancelled; no {self.what} was written." if cancelled else "Not made.")
        if isinstance(error, DownloadNeeded) and asked is not None and not asked.allow_download:
            if ask(self, "Download", f"{error}\n\nDownload it now?"):
                self.make(asked.model_copy(update={"allow_download": True}))
        elif error is not None:
            bar.end(str(error))
            tell(error)

    def _offer_recent(self) -> None:
        nothing = f"no {self.what} was opened yet"
        self._start.open_button.offer_recent(recent_files(self.recent), self.open, nothing)

    def _on_browse(self) -> None:
        found, _ = QFileDialog.getOpenFileName(self, self.kinds.partition(" (")[0], "", self.kinds)
        if found:
            self.open(found)

    def _on_export(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for the results")
        if folder:
            self.export(Path(folder))

    def _run(self, body: Body, on_item: Callable[[Any], None]) -> None:
        self._session.start(
            body,
            owner=self,
            on_progress=self._on_progress,
            on_item=on_item,
            on_end=self._on_end,
        )

    def _on_progress(self, fraction: float, text: str) -> None:
        """Show how far short work is; nothing is shown unless a dock has a place for it."""

    def _on_end(self, _: str, error: CytoDiffusionError | None) -> None:
        self._start.refresh()
        if error is not None:
            tell(error)


def close_all(keeper: dict[str, Closes], *_: Any) -> None:
    """Close the files that are open."""
    for one in keeper.values():
        one.close()
    keeper.clear()
