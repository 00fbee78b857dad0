"""The people of the open study: how far they agree, and which labels want a second look."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QPushButton, QTabWidget, QVBoxLayout, QWidget

from cytodiffusion.errors import CytoDiffusionError
from cytodiffusion.progress import Progress
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.blind import BlindNote
from napari_cytodiffusion.shared.common import RunBar, note, plain_note, tell
from napari_cytodiffusion.shared.save_dialog import ask_where
from napari_cytodiffusion.shared.table import Cell, FigureTable, Table, ranged, short
from napari_cytodiffusion.study.current import CurrentStudy
from napari_cytodiffusion.study.jump import CellJump
from napari_cytodiffusion.workers import Job

if TYPE_CHECKING:
    from cytodiffusion.study.agreement import ObserverAgreement
    from cytodiffusion.study.suspects import Suspect

#: Milliseconds of quiet after which agreement is computed again.
_QUIET_MS = 400

_NO_STUDY = "Open a study in Study: who labelled its cells, and how far they agree, stands here."
_STALE = "Labels have changed since: look again."


def agreement_body(folder: Path) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields an `ObserverAgreement`."""

    def body(report: Progress) -> Iterator[Any]:
        from cytodiffusion.study import Study
        from cytodiffusion.study.agreement import observer_agreement

        with Study(folder, writable=False) as study:
            yield observer_agreement(study)

    return body


def suspects_body(folder: Path) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields the list of suspect labels."""

    def body(report: Progress) -> Iterator[Any]:
        from cytodiffusion.study import Study
        from cytodiffusion.study.suspects import suspect_labels

        with Study(folder, writable=False) as study:
            yield suspect_labels(study, progress=report)

    return body


# -- tables ---------------------------------------------------------------------------------------


def people_table(found: ObserverAgreement) -> Table:
    """Return who labelled how many cells."""
    rows = tuple(((name, name), (f"{n:,}", n)) for name, n in found.observers.items())
    return Table(("Observer", "Cells"), rows)


def pairs_table(found: ObserverAgreement) -> Table:
    """Return the kappas of every two, and of all."""
    rows = [(f"{short(a, 12)}, {short(b, 12)}", one) for a, b, one in found.pairs]
    if len(rows) > 1 and found.together is not None:
        rows.append(("all (Fleiss)", found.together))
    return Table(
        ("Observers", "Kappa (95 %)", "Agree", "Cells"),
        tuple(
            (
                *((name, name), ranged(one.kappa, one.kappa_interval, 2)),
                *((f"{one.share:.0%}", one.share), (f"{one.cells:,}", one.cells)),
            )
            for name, one in rows
        ),
        (len(rows) - 1,) if len(rows) > 1 else (),
    )


def class_table(found: ObserverAgreement) -> Table:
    """Return agreement about each class."""
    return Table(
        ("Class", "Agree (95 %)", "Cells"),
        tuple(
            ((name, name), ranged(one.share, one.interval, 2), (f"{one.cells:,}", one.cells))
            for name, one in found.classes.items()
        ),
    )


def disputed_table(found: ObserverAgreement) -> Table:
    """Return the cells that were given several classes, the most disputed first."""
    rows: list[tuple[Cell, ...]] = []
    for cell in found.disputed:
        votes = ", ".join(f"{n} {name}" for name, n in cell.votes)
        said = ", ".join(f"{name}: {given}" for name, given in cell.classes.items())
        texts = (_place(cell.image, cell.label), votes, said)
        rows.append(tuple((text, text) for text in texts))
    return Table(("Cell", "Votes", "Each says"), tuple(rows))


def suspects_table(found: Sequence[Suspect]) -> Table:
    """Return labels for a second look, the worst first."""
    rows: list[tuple[Cell, ...]] = []
    for one in found:
        place = _place(one.image, one.label)
        texts = (place, one.human, one.predicted, one.similar, one.observer)
        rows.append(tuple((text, text) for text in texts))
    return Table(("Cell", "Human", "Model", "Similar", "Observer"), tuple(rows))


def _place(image: str, label: int) -> str:
    """Return where a cell is, without the folder of its image."""
    return f"{short(PurePosixPath(image).name, 18)}, {label}"


# -- the page -------------------------------------------------------------------------------------


class ObserversPage(QWidget):
    """Dock widget *Observers of a study*: kappas, disputed cells, and suspect labels.

    Agreement is computed when the page is seen, and again a moment after labels changed; suspect
    labels when they are asked for.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer it is docked in.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        session = Session.of(napari_viewer)
        self._current = CurrentStudy.of(session)
        self._jump = CellJump(session, self._current, self)
        self.found: ObserverAgreement | None = None
        self.suspects: list[Suspect] = []
        self._stale = True
        self._job: Job | None = None
        self._search: Job | None = None
        self.line = plain_note("", self)
        self.tabs = QTabWidget(self)
        self._make_agreement()
        self._make_disputed()
        self._make_suspects()
        layout = QVBoxLayout(self)
        self.blind = BlindNote(
            session, "what the model and other people say of the cells", self, self.line, self.tabs
        )
        layout.addWidget(self.blind)
        layout.addWidget(self.line)
        layout.addWidget(self.tabs, 1)
        self._quiet = QTimer(self)
        self._quiet.setSingleShot(True)
        self._quiet.setInterval(_QUIET_MS)
        self._quiet.timeout.connect(self.refresh)
        self._current.opened.connect(self._on_study)
        self._current.closed.connect(self._on_study)
        self._current.annotated.connect(self._on_labels)
        self._current.classes_changed.connect(self._on_labels)
        self._current.predictions_changed.connect(self._on_labels)
        session.attach(self)
        session.closing.connect(self._stop)
        self._on_study()

    def _make_agreement(self) -> None:
        page = QWidget(self.tabs)
        self.people, self.pairs, self.classes = (FigureTable(False, page) for _ in range(3))
        layout = QVBoxLayout(page)
        layout.setContentsMargins(0, 4, 0, 0)
        for table, stretch in ((self.people, 2), (self.pairs, 3), (self.classes, 4)):
            layout.addWidget(table, stretch)
        self.tabs.addTab(page, "Agreement")

    def _make_disputed(self) -> None:
        page = QWidget(self.tabs)
        self.disputed = FigureTable(False, page)
        self.save_button = QPushButton("Save as table ...", page)
        self.save_button.setToolTip("CSV of the cells with several labels, and their majority")
        layout = QVBoxLayout(page)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addWidget(note("Click a cell to see it in its slide.", page))
        layout.addWidget(self.disputed, 1)
        layout.addWidget(self.save_button)
        self.tabs.addTab(page, "Disputed")
        self.disputed.cellClicked.connect(self._on_disputed)
        self.disputed.cellActivated.connect(self._on_disputed)
        self.save_button.clicked.connect(self.save)

    def _make_suspects(self) -> None:
        page = QWidget(self.tabs)
        self.suspect_table = FigureTable(False, page)
        self.run_bar = RunBar("Look for suspect labels", page)
        text = (
            "Labels that both the model and similar cells contradict. Click one to see the cell, "
            "and look again; nothing is changed by itself."
        )
        layout = QVBoxLayout(page)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addWidget(note(text, page))
        layout.addWidget(self.suspect_table, 1)
        layout.addWidget(self.run_bar)
        self.tabs.addTab(page, "Suspect")
        self.suspect_table.cellClicked.connect(self._on_suspect)
        self.suspect_table.cellActivated.connect(self._on_suspect)
        self.run_bar.run.connect(self.search)
        self.run_bar.cancel.connect(self._cancel)

    # -- agreement ----------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent | None) -> None:
        """Compute what is shown, where labels changed while it was not."""
        super().showEvent(event)
        if self._stale:
            self._quiet.start()

    def _on_study(self) -> None:
        """Forget what was known of another study."""
        self._stop()
        self.found, self.suspects = None, []
        self.run_bar.end(" ")
        self.run_bar.offer(self._current.study is not None)
        self._show_found()
        self._show_suspects()
        self._on_labels()

    def _stop(self) -> None:
        """Let go of work that nobody waits for any more."""
        for job in (self._job, self._search):
            if job is not None:
                job.abandon()
        self._job = self._search = None

    def _on_labels(self, *_: Any) -> None:
        self._stale = True
        if self.suspects:
            self.run_bar.line.setText(_STALE)
        if self.isVisible():
            self._quiet.start()

    def refresh(self) -> None:
        """Compute agreement in a thread."""
        folder = self._current.folder
        if folder is None:
            self._stale = False
            return
        if self._job is not None:  # its end comes back here
            return
        self._stale = False
        job = self._job = Job(agreement_body(folder), self)
        job.yielded.connect(self._on_found)
        job.failed.connect(self._on_failed)
        job.ended.connect(self._on_ended)
        job.start()

    def _on_found(self, found: ObserverAgreement) -> None:
        self.found = found
        self._show_found()

    def _on_failed(self, error: CytoDiffusionError) -> None:
        self.line.setText(str(error))

    def _on_ended(self, _: str) -> None:
        self._job = None
        if self._stale and self.isVisible():
            self._quiet.start()

    def _show_found(self) -> None:
        found = self.found
        study = self._current.study
        colors = {} if study is None else {one.name: one.color for one in study.classes()}
        for table, make, names in (
            (self.people, people_table, 1),
            (self.pairs, pairs_table, 1),
            (self.classes, class_table, 1),
            (self.disputed, disputed_table, 3),
        ):
            table.set_table(Table((), ()) if found is None else make(found), colors, names)
            table.setVisible(found is not None and table.rowCount() > 0)
        count = 0 if found is None else len(found.disputed)
        self.tabs.setTabText(1, f"Disputed ({count:,})" if count else "Disputed")
        self.save_button.setEnabled(found is not None and bool(found.cells))
        self.line.setText(_NO_STUDY if found is None else found.sentences[0])

    def _on_disputed(self, row: int, _: int) -> None:
        if self.found is not None and row < len(self.found.disputed):
            cell = self.found.disputed[row]
            self._jump.to(cell.image, cell.label)

    def save(self) -> None:
        """Save the cells that several people labelled, with what each says."""
        from cytodiffusion.study.agreement import write_shared_cells

        study, found = self._current.study, self.found
        if study is None or found is None:
            return
        path = ask_where(self, "Save as table", f"{study.name} observers", "CSV (*.csv)")
        if path is None:
            return
        try:
            write_shared_cells(path, found.cells)
        except CytoDiffusionError as error:
            tell(error)

    # -- suspect labels -----------------------------------------------------------------------

    def search(self) -> None:
        """Look for suspect labels in a thread."""
        folder = self._current.folder
        if folder is None or self._search is not None:
            return
        self.run_bar.begin("Comparing cells ...")
        job = self._search = Job(suspects_body(folder), self)
        job.progressed.connect(self.run_bar.advance)
        job.yielded.connect(self._on_suspects)
        job.failed.connect(tell)
        job.ended.connect(self._on_searched)
        job.start()

    def _cancel(self) -> None:
        if self._search is not None:
            self._search.cancel()

    def _on_suspects(self, found: list[Suspect]) -> None:
        self.suspects = found
        self._show_suspects()

    def _on_searched(self, outcome: str) -> None:
        self._search = None
        count = len(self.suspects)
        number = f"{count:,}" if count else "No"
        found = f"{number} {'labels are' if count > 1 else 'label is'}"
        words = {"done": f"{found} contradicted by both.", "cancelled": "Cancelled."}
        self.run_bar.end(words.get(outcome, "That did not work."))

    def _show_suspects(self) -> None:
        self.suspect_table.set_table(suspects_table(self.suspects), text_columns=5)
        self.suspect_table.setVisible(bool(self.suspects))
        count = len(self.suspects)
        self.tabs.setTabText(2, f"Suspect ({count:,})" if count else "Suspect")

    def _on_suspect(self, row: int, _: int) -> None:
        if row < len(self.suspects):
            self._jump.to(self.suspects[row].image, self.suspects[row].label)
