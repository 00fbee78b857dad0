"""*Review cells*: a gallery of cells in which a person gives them their classes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from napari.utils import notifications
from qtpy.QtCore import QSignalBlocker, Qt, QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QMenu,
    QPushButton,
    QSizePolicy,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from cytodiffusion.progress import Progress
from cytodiffusion.review.cells import NOBODY, PeopleSaid, ReviewCells
from cytodiffusion.review.counts import count_cells
from cytodiffusion.review.ordering import BLIND_ORDERS, Order, order_cells
from napari_cytodiffusion.classify.reviewing import CLASS_KEYS, Reviewing
from napari_cytodiffusion.remembered import remember, remembered
from napari_cytodiffusion.review.class_buttons import ClassArea, ClassButtons
from napari_cytodiffusion.review.filters import ReviewFilters, narrow_box
from napari_cytodiffusion.review.gallery import CellGallery, TileLook
from napari_cytodiffusion.review.source import CellSource, Ints, SlideSource
from napari_cytodiffusion.review.study_source import StudySource
from napari_cytodiffusion.review.texts import ORDER_TIPS, ORDERS, changed_text, counts_text
from napari_cytodiffusion.review.thumbnails import Thumbnails
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.common import ask, note, tell
from napari_cytodiffusion.study.current import CurrentStudy
from napari_cytodiffusion.workers import Job

#: Sides of pictures in pixels, and the size that those that are made have at least.
_LEAST, _USUAL, _MOST = 48, 88, 192
_MADE = (96, 192)

#: Milliseconds of quiet before the slide follows, and before pictures are wanted.
_FOLLOW_MS, _WANT_MS = 40, 15

_SIDE = "review/side"

#: Cells that are put in the learner's order in the window's thread at most.
_SORTED_AT_ONCE = 2000


class ReviewWidget(QWidget):
    """Dock widget *Review cells*.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer it is docked in.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._session = Session.of(napari_viewer)
        self._reviewing = Reviewing.of(self._session)
        self._current = CurrentStudy.of(self._session)
        self._source: CellSource | None = None
        self._numbers = np.zeros(0, np.int64)
        self._since = time.monotonic()
        self._opens = self._sort_again = False
        self._sorting: Job | None = None
        self._people = PeopleSaid(0)
        self._build()
        self._connect()
        self._session.attach(self)
        self._session.watch(self)
        self._reviewing.watch(self)
        self._reviewing.lead(self)
        kept = remembered(_SIDE, str(_USUAL))
        self.zoom.setValue(int(kept) if kept.isdecimal() else _USUAL)
        self._on_size(self.zoom.value())
        self._fill_orders()
        self._on_study()

    # -- layout -------------------------------------------------------------------------------

    def _build(self) -> None:
        self.whose, self.order = narrow_box(self), narrow_box(self)
        self.again = QPushButton("Sort again", self)
        self.again.setToolTip(
            "While you work the cells stay where they are. This puts them in order by what is "
            "known now."
        )
        self.filters = ReviewFilters(self)
        self.gallery = CellGallery(self)
        self.gallery.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.thumbnails = Thumbnails(self)
        self.zoom = QSlider(Qt.Orientation.Horizontal, self)
        self.zoom.setRange(_LEAST, _MOST)
        self.zoom.setToolTip("How large the cells are shown")
        self.zoom.setAccessibleName("Size of the pictures")
        self.blind = QCheckBox("Blind", self)
        self.blind.setToolTip(
            "Hides everywhere what the model says, and the orders that tell it: for a judgement "
            "of your own."
        )
        self.before = QPushButton("Before", self)
        self.before.setCheckable(True)
        self.before.setToolTip("Press to see the classes as they were before anybody corrected.")
        self.classes = ClassButtons(self)
        self.right = QPushButton("Right", self)
        self.right.setToolTip("The model is right about the selected cells (Enter)")
        self.skip_button = QPushButton("Skip", self)
        self.skip_button.setToolTip("Go to the next cell without a word (Space)")
        self.undo_button = QPushButton("Undo", self)
        self.undo_button.setToolTip("Take back what you said last (Ctrl+Z; Ctrl+Shift+Z again)")
        self.accept = QPushButton("Accept", self)
        self.accept.setToolTip("Say of many cells at once that the model is right")
        menu = QMenu(self.accept)
        self.accept_shown = menu.addAction("")
        self.accept_sure = menu.addAction("")
        self.accept.setMenu(menu)
        self.counts, self.changed = note("", self), note("", self)
        for button in (self.right, self.skip_button, self.undo_button, self.accept):
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        layout = QVBoxLayout(self)
        layout.setSpacing(5)
        top = QHBoxLayout()
        top.setSpacing(4)
        top.addWidget(self.whose, 2)
        top.addWidget(self.order, 3)
        top.addWidget(self.again)
        layout.addLayout(top)
        layout.addWidget(self.filters)
        layout.addWidget(self.gallery, 1)
        tools = QHBoxLayout()
        tools.addWidget(self.zoom, 1)
        tools.addWidget(self.blind)
        layout.addLayout(tools)
        layout.addWidget(ClassArea(self.classes, self))
        buttons = QHBoxLayout()
        buttons.setSpacing(4)
        for button in (self.right, self.skip_button, self.undo_button, self.accept):
            buttons.addWidget(button, 1)
        layout.addLayout(buttons)
        layout.addWidget(self.counts)
        changes = QHBoxLayout()
        changes.addWidget(self.changed, 1)
        changes.addWidget(self.before)
        layout.addLayout(changes)
        self.before.hide()

    def _connect(self) -> None:
        gallery = self.gallery
        gallery.picture_of, gallery.look_of, gallery.tip_of = (
            self.thumbnails.get,
            self._look_of,
            self._tip_of,
        )
        gallery.current_changed.connect(self._on_current)
        gallery.clicked.connect(self._on_clicked)
        gallery.selection_changed.connect(self._show_buttons)
        self._follow, self._want = QTimer(self), QTimer(self)
        for timer, pause, does in (
            (self._follow, _FOLLOW_MS, self._show_in_slide),
            (self._want, _WANT_MS, self._want_pictures),
        ):
            timer.setSingleShot(True)
            timer.setInterval(pause)
            timer.timeout.connect(does)
        gallery.scrolled.connect(self._want.start)
        self.thumbnails.ready.connect(gallery.viewport().update)
        self.thumbnails.failed.connect(_warn)
        self.zoom.valueChanged.connect(self._on_size)
        self.whose.currentIndexChanged.connect(self._on_whose)
        self.again.clicked.connect(self.sort)
        self.order.currentIndexChanged.connect(self.sort)
        self.filters.changed.connect(self.sort)
        self.blind.toggled.connect(self._session.set_blind)
        self.before.toggled.connect(self._on_before)
        self._session.blind_changed.connect(self._on_blind)
        self.classes.given.connect(self.give_name)
        self.right.clicked.connect(self.confirm)
        self.skip_button.clicked.connect(self.skip)
        self.undo_button.clicked.connect(self.undo)
        self.accept_shown.triggered.connect(lambda: self.accept_many(sure=False))
        self.accept_sure.triggered.connect(lambda: self.accept_many(sure=True))
        self._reviewing.changed.connect(self._show_changes)
        self._reviewing.next_wanted.connect(self._on_next_wanted)
        self._session.stepped.connect(self._on_stepped)
        self._current.opened.connect(self._on_study)
        self._current.closed.connect(self._on_study)
        # in the gallery only: elsewhere Space and Enter press buttons
        for index, key in enumerate(CLASS_KEYS):
            gallery.bind(key, partial(self.give, index))
        for key, does in (
            *(("Return", self.confirm), ("Enter", self.confirm), ("Space", self.skip)),
            *(("Ctrl+Z", self.undo), ("Ctrl+Shift+Z", self.redo)),
        ):
            gallery.bind(key, does)
        for chosen in (
            *(box.activated for box in (self.whose, self.order, *self.filters.boxes)),
            *(self.again.clicked, self.blind.clicked, self.before.clicked),
            self.zoom.sliderReleased,
        ):
            chosen.connect(self._to_gallery)

    def _to_gallery(self, *_: Any) -> None:
        """Let keys be about cells again."""
        self.gallery.setFocus()

    # -- where the cells come from ------------------------------------------------------------

    def _on_study(self) -> None:
        """Offer the cells of the study while one is open, and take them."""
        is_open = self._current.study is not None
        with QSignalBlocker(self.whose):
            self.whose.clear()
            self.whose.addItem("This image", False)
            if is_open:
                self.whose.addItem("Whole study", True)
                self.whose.setCurrentIndex(1)
        self.whose.setVisible(is_open)
        self._on_whose()

    def _on_whose(self, _: int = 0) -> None:
        old, whole = self._source, bool(self.whose.currentData())
        if old is not None:
            old.setParent(None)
            old.deleteLater()
            old.blockSignals(True)
        source: CellSource
        if whole:
            source = StudySource(self._session, self._current, self)
        else:
            source = SlideSource(self._session, self)
        self._source = source
        source.reloaded.connect(self._on_reloaded)
        source.said.connect(self._on_said)
        source.picked.connect(self._on_picked)
        source.troubled.connect(_warn)
        self._numbers = np.full(1, -1, np.int64)
        self._on_reloaded()

    @property
    def source(self) -> CellSource:
        """Where the cells come from."""
        assert self._source is not None
        return self._source

    def _on_reloaded(self) -> None:
        """Show other cells, or what is said now of the same ones, which stay where they are."""
        cells = self.source.cells
        self.gallery.empty_text = self.source.empty_text
        self._fill_filters()
        if np.array_equal(cells.numbers, self._numbers):
            self._on_said()
            return
        self._numbers = cells.numbers
        self.thumbnails.set_source(self.source.cut())
        self.sort()

    def _fill_orders(self) -> None:
        chosen = self.order.currentData()
        with QSignalBlocker(self.order):
            self.order.clear()
            for value, text in ORDERS:
                if not self._session.blind or value in BLIND_ORDERS:
                    self.order.addItem(text, value)
                    tip = ORDER_TIPS.get(value, "")
                    at = self.order.count() - 1
                    self.order.setItemData(at, tip, Qt.ItemDataRole.ToolTipRole)
            wanted = "chance" if self._session.blind else chosen
            self.order.setCurrentIndex(max(0, self.order.findData(wanted)))

    def _fill_filters(self) -> None:
        cells = self.source.cells
        self.filters.fill(cells, self.source.visible(self._session.blind))
        self.classes.set_classes(cells.class_names, cells.colors)

    # -- order --------------------------------------------------------------------------------

    def sort(self, _: Any = None) -> None:
        """Put the cells that the filters let through in order."""
        cells, people = self.source.cells, self.source.visible(self._session.blind)
        chosen = self.gallery.current_row
        current = chosen if 0 <= chosen < len(cells) else None
        by: Order = self.order.currentData()
        if by != "learner" or len(cells) <= _SORTED_AT_ONCE:
            self._arrange(order_cells(cells, people, by, like=current))
        elif self._sorting is None:  # takes a second
            self._sorting = Job(sort_body(cells, people, by), self)
            self._sorting.yielded.connect(self._on_sorted)
            self._sorting.failed.connect(tell)
            self._sorting.ended.connect(self._on_sorting_ended)
            self._sorting.start()
        else:
            self._sort_again = True

    def _on_sorted(self, found: Any) -> None:
        cells, rows = found
        if cells.numbers is self.source.cells.numbers and self.order.currentData() == "learner":
            self._arrange(rows)
        else:  # there are others by now
            self._sort_again = True

    def _on_sorting_ended(self, _: str) -> None:
        self._sorting = None
        if self._sort_again:
            self._sort_again = False
            self.sort()

    def _arrange(self, rows: Ints) -> None:
        """Show the cells that the filters let through, of all rows in their order."""
        cells, people = self.source.cells, self.source.visible(self._session.blind)
        chosen, by = self.gallery.current_row, self.order.currentData()
        current = chosen if 0 <= chosen < len(cells) else None
        shown = self.filters.chosen(self._session.blind).shown(cells, people)
        rows = rows[shown[rows]]
        if len(cells) and not len(rows):
            self.gallery.empty_text = "None of the cells is of this choice."
        self.gallery.set_order(rows, self._first_of(rows, current, by))
        self._want.start()
        self._on_said()

    def _first_of(self, rows: Ints, current: int | None, by: Order) -> int | None:
        """Return the cell to begin with: the chosen one where others are compared with it."""
        if by == "similar" and current is not None:
            return current
        free = rows[self.source.mine()[rows] == NOBODY]
        return int(free[0]) if len(free) else (int(rows[0]) if len(rows) else None)

    # -- what is shown of cells ---------------------------------------------------------------

    def _look_of(self, row: int) -> TileLook:
        source, blind = self.source, self._session.blind
        cells, human = source.cells, int(self._people.human[row])
        number = human if human >= 0 else (NOBODY if blind else int(cells.predicted[row]))
        if number < 0:
            return TileLook(labelled=human != NOBODY)
        return TileLook(cells.class_names[number], cells.colors[number], human != NOBODY)

    def _tip_of(self, row: int) -> str:
        source = self.source
        cells = source.cells
        said = source.tell_people(row, self._people)
        told = "" if self._session.blind else source.tell_model(row)
        where = f"Cell {cells.labels[row]:,} of {cells.images[int(cells.image[row])]}"
        return "\n".join(filter(None, (where, told, said)))

    def _want_pictures(self) -> None:
        self.thumbnails.want(self.gallery.seen(more=6).tolist())

    def _on_size(self, side: int) -> None:
        made = next((size for size in _MADE if size >= side), _MADE[-1])
        self.thumbnails.set_side(made)
        self.gallery.set_side(side)
        remember(_SIDE, str(side))
        self._want.start()

    # -- the slide ----------------------------------------------------------------------------

    def _on_current(self, _: int) -> None:
        self._since = time.monotonic()
        self._follow.start()

    def _on_clicked(self, row: int) -> None:
        """Show the cell in the slide, also where its image is not open yet."""
        self._opens = True
        self._follow.start()

    def _show_in_slide(self) -> None:
        row, opens = self.gallery.current_row, self._opens
        self._opens = False
        if 0 <= row < len(self.source.cells):
            self.source.show(row, open_image=opens)

    def _on_picked(self, row: int) -> None:
        """Choose the cell that was clicked in the slide."""
        if row == self.gallery.current_row:
            return
        with QSignalBlocker(self.gallery):  # the slide shows it already
            self.gallery.choose_row(row)
        self._since = time.monotonic()
        self._show_buttons()

    # -- what is said -------------------------------------------------------------------------

    def give(self, index: int) -> None:
        """Give the selected cells the class of a key."""
        names = self.source.cells.class_names
        if index < len(names):
            self.give_name(names[index])

    def give_name(self, name: str) -> None:
        """Give the selected cells a class, and go to the next one."""
        rows = self.gallery.selected_rows()
        if len(rows) and self.source.give(rows, name, self._seconds(rows)):
            self._go_on(rows)

    def confirm(self) -> None:
        """Say that the model is right about the selected cells, and go to the next one.

        What the person has said already stands.
        """
        rows = self.gallery.selected_rows()
        if not len(rows):
            return
        if self._session.blind:
            notifications.show_info("Nobody shows you what the model says: give a class by key.")
            return
        free = rows[self.source.mine()[rows] == NOBODY]
        if not len(free) or self.source.confirm(free, self._seconds(free)):
            self._go_on(rows)

    def _on_next_wanted(self) -> None:
        if self._reviewing.guide is self:
            self.skip()

    def _on_stepped(self, by: int) -> None:
        if self._reviewing.guide is self:
            self.step(by)

    def skip(self) -> None:
        """Go to the next cell that the person has not labelled."""
        rows = self.gallery.selected_rows()
        if len(rows):
            self._go_on(rows)

    def step(self, by: int) -> None:
        """Go to the next (1) or previous (-1) cell."""
        if len(self.gallery.order):
            self.gallery.step_by(by)

    def undo(self) -> None:
        """Take back what was said last, and go to that cell."""
        self._go_to(self.source.turn_back(again=False))

    def redo(self) -> None:
        """Say again what was taken back last, and go to that cell."""
        self._go_to(self.source.turn_back(again=True))

    def _seconds(self, rows: Ints) -> float:
        """Seconds that a cell took since it was shown."""
        return (time.monotonic() - self._since) / max(1, len(rows))

    def _go_to(self, rows: Ints) -> None:
        found = self.gallery.positions_of(rows)
        if len(found):
            self.gallery.choose(int(found.min()))

    def _go_on(self, rows: Ints) -> None:
        """Choose the next cell behind these that this person has not labelled."""
        places = self.gallery.positions_of(rows)
        free = self.source.mine()[self.gallery.order] == NOBODY
        free[places] = False
        last = int(places.max(initial=-1))
        behind, before = np.flatnonzero(free[last + 1 :]), np.flatnonzero(free[: last + 1])
        if len(behind):
            self.gallery.choose(last + 1 + int(behind[0]))
        elif len(before):
            self.gallery.choose(int(before[0]))
        else:
            notifications.show_info("You have looked at all cells of this choice.")

    def _acceptable(self, sure: bool) -> Ints:
        """Return the shown cells that nobody labelled and of which the model says something."""
        cells, rows = self.source.cells, self.gallery.order
        free = (self.source.people.human[rows] == NOBODY) & (cells.predicted[rows] != NOBODY)
        return rows[free & cells.sure[rows]] if sure else rows[free]

    def accept_many(self, sure: bool) -> None:
        """Say that the model is right about all shown cells, or those that pass its error rate."""
        rows = self._acceptable(sure)
        if not len(rows):
            return
        which = "that pass the error rate" if sure else "that are shown"
        question = (
            f"Say of {len(rows):,} cells {which} that the model is right? Cells that you or others "
            "labelled stay as they are, and one Undo takes all of it back."
        )
        if ask(self, "Accept cells", question):
            self.source.confirm(rows)

    # -- counts -------------------------------------------------------------------------------

    def _on_said(self) -> None:
        blind = self._session.blind
        self._people = self.source.visible(blind)
        counts = count_cells(self.source.cells, self._people)
        shown = counts.given if blind else counts.classes
        self.classes.set_counts(shown.tolist(), counts.given.tolist())
        self.counts.setText(counts_text(counts, blind))
        self.filters.fill(self.source.cells, self._people)
        self._show_buttons()
        self._show_changes()
        self.gallery.viewport().update()

    def _show_buttons(self) -> None:
        blind, some = self._session.blind, bool(self.gallery.selected_count)
        self.right.setEnabled(some and not blind)
        self.right.setVisible(not blind)
        self.skip_button.setEnabled(some)
        self.accept.setVisible(not blind)
        cells = self.source.cells
        promised = bool(cells.sure.any())
        shown, sure = len(self._acceptable(False)), len(self._acceptable(True))
        self.accept.setEnabled(shown > 0 and not blind)
        self.accept_shown.setText(f"All that are shown ({shown:,})")
        self.accept_sure.setText(f"Those that pass the error rate of Classify ({sure:,})")
        self.accept_sure.setEnabled(promised and sure > 0)

    def _show_changes(self) -> None:
        """Say how many other cells changed their class by what was said."""
        views = self._session.current
        known = views is not None and views.results.base is not None and not self._session.blind
        self.before.setVisible(known)
        self.changed.setText(changed_text(*self._reviewing.changed_class) if known else "")

    def _on_before(self, before: bool) -> None:
        self._session.show_corrected(not before)
        self.before.setText("After" if before else "Before")

    def _on_blind(self, blind: bool) -> None:
        with QSignalBlocker(self.blind):
            self.blind.setChecked(blind)
        self._fill_orders()
        self.sort()


def _warn(text: str) -> None:
    notifications.show_warning(text)


def sort_body(
    cells: ReviewCells, people: PeopleSaid, by: Order
) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields the cells and their order."""

    def body(report: Progress) -> Iterator[Any]:
        report(0.0, "Sorting ...")
        yield cells, order_cells(cells, people, by)

    return body
