"""The classes of the open study: added, renamed, recoloured, grouped, merged, deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, QTimer
from qtpy.QtGui import QColor, QShowEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QHBoxLayout,
    QInputDialog,
    QLineEdit,
    QPushButton,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from cytodiffusion.errors import CytoDiffusionError
from cytodiffusion.study import Study
from cytodiffusion.study.classes import StudyClass, label_counts
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.common import plain_note
from napari_cytodiffusion.shared.table import FigureTable, Table
from napari_cytodiffusion.study.current import CurrentStudy

#: Milliseconds of quiet after which labels are counted.
_QUIET_MS = 400

_HELP = "Double-click a name to change it. All labels, colours and lists follow at once."
_NO_STUDY = "Open a study in Study: its classes are changed here."
_ONLY_LOOK = "This study was opened only to look at it: its classes cannot be changed."


class ClassesPage(QWidget):
    """Dock widget *Classes of a study*: a table, and what can be done with selected classes.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer it is docked in.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        session = Session.of(napari_viewer)
        self._current = CurrentStudy.of(session)
        self._classes: list[StudyClass] = []
        self.help = plain_note("", self)
        self.table = FigureTable(False, self)
        self.table.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked
            | QAbstractItemView.EditTrigger.EditKeyPressed
        )
        self.new_name = QLineEdit(self)
        self.new_name.setPlaceholderText("name of a new class")
        self.add_button = QPushButton("Add", self)
        self.color_button = QPushButton("Colour ...", self)
        self.group_button = QPushButton("Group ...", self)
        self.group_button.setToolTip("Family of the selected classes, such as granulocyte")
        self.merge_button = QPushButton("Merge ...", self)
        self.merge_button.setToolTip("Let the selected classes mean another one from now on")
        self.delete_button = QPushButton("Delete", self)
        self.delete_button.setToolTip("Only a class that nobody gave to a cell")
        self.line = plain_note("", self)
        self._lay_out()
        self.table.itemChanged.connect(self._on_edited)
        self.table.itemSelectionChanged.connect(self._offer)
        self.new_name.returnPressed.connect(self.add)
        self.new_name.textChanged.connect(self._offer)
        self.add_button.clicked.connect(self.add)
        self.color_button.clicked.connect(self.choose_color)
        self.group_button.clicked.connect(self.choose_group)
        self.merge_button.clicked.connect(self.choose_merge)
        self.delete_button.clicked.connect(self.delete)
        self._quiet = QTimer(self)
        self._quiet.setSingleShot(True)
        self._quiet.setInterval(_QUIET_MS)
        self._quiet.timeout.connect(self.refresh)
        for event in (
            *(self._current.opened, self._current.closed),
            *(self._current.classes_changed, self._current.predictions_changed),
        ):
            event.connect(self.refresh)
        self._current.annotated.connect(self._on_labels)
        session.attach(self)
        self.refresh()

    def _lay_out(self) -> None:
        adding, doing = QHBoxLayout(), QHBoxLayout()
        adding.addWidget(self.new_name, 1)
        adding.addWidget(self.add_button)
        for button in (
            *(self.color_button, self.group_button),
            *(self.merge_button, self.delete_button),
        ):
            doing.addWidget(button)
        layout = QVBoxLayout(self)
        layout.addWidget(self.help)
        layout.addWidget(self.table, 1)
        layout.addLayout(doing)
        layout.addLayout(adding)
        layout.addWidget(self.line)

    # -- what is shown ------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent | None) -> None:
        """Count labels that were given while nobody saw the counts."""
        super().showEvent(event)
        self._quiet.start()

    def _on_labels(self, _: object) -> None:
        """Count labels, once nobody gives any for a moment: keys come first."""
        if self.isVisible():
            self._quiet.start()

    def refresh(self, *_: Any) -> None:
        """Show the classes as the study has them now."""
        self._quiet.stop()
        study = self._current.study
        chosen = {one.id for one in self.selected()}
        counts: dict[str, int] = {}
        try:
            self._classes = [] if study is None else study.classes()
            counts = {} if study is None else label_counts(study.database)
        except CytoDiffusionError as error:
            self.line.setText(str(error))
        rows = tuple(
            ((c.name, c.name), (c.group, c.group), (f"{(n := counts.get(c.name, 0)):,}", n))
            for c in self._classes
        )
        colors = {c.name: c.color for c in self._classes}
        with QSignalBlocker(self.table):
            self.table.set_table(Table(("Class", "Group", "Labels"), rows), colors, text_columns=2)
            for row in range(self.table.rowCount()):
                self._set_flags(row)
            for row, one in enumerate(self._classes):
                if one.id in chosen:
                    for column in range(self.table.columnCount()):
                        self.table.item(row, column).setSelected(True)
        if study is None:
            self.help.setText(_NO_STUDY)
        else:
            self.help.setText(_HELP if self._current.writable else _ONLY_LOOK)
        self._offer()

    def _set_flags(self, row: int) -> None:
        usual = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        for column in range(self.table.columnCount()):
            editable = column == 0 and self._current.writable
            extra = Qt.ItemFlag.ItemIsEditable if editable else Qt.ItemFlag.NoItemFlags
            self.table.item(row, column).setFlags(usual | extra)

    def _offer(self, *_: Any) -> None:
        able = self._current.writable
        chosen = len(self.selected())
        self.new_name.setEnabled(able)
        self.add_button.setEnabled(able and bool(self.new_name.text().strip()))
        for button in (self.color_button, self.group_button, self.delete_button):
            button.setEnabled(able and chosen > 0)
        self.merge_button.setEnabled(able and 0 < chosen < len(self._classes))

    def selected(self) -> list[StudyClass]:
        """Return the classes whose rows are selected."""
        rows = sorted({index.row() for index in self.table.selectedIndexes()})
        return [self._classes[row] for row in rows if row < len(self._classes)]

    # -- what is done -------------------------------------------------------------------------

    def _change(self, do: Callable[[Study], object], said: str) -> bool:
        """Change classes; return whether that was possible, and say in a line what came of it."""
        study = self._current.study
        if study is None:
            return False
        try:
            do(study)
        except CytoDiffusionError as error:
            self.line.setText(str(error))
            self.refresh()
            return False
        self.line.setText(said)
        self._current.classes_changed.emit()
        return True

    def add(self) -> None:
        """Add a class of the name that was typed."""
        name = self.new_name.text()
        known = {one.id for one in self._classes}
        made: list[StudyClass] = []
        if self._change(lambda study: made.append(study.add_class(name)), ""):
            self.new_name.clear()
            there = made[0].id in known
            said = f"{name.strip()} means {made[0].name}, which is there already."
            self.line.setText(said if there else f"The class {made[0].name} was added.")

    def _on_edited(self, item: QTableWidgetItem) -> None:
        if item.column() == 0 and item.row() < len(self._classes):
            self.rename(self._classes[item.row()].name, item.text())

    def rename(self, name: str, new_name: str) -> None:
        """Give a class another name."""
        if new_name == name:
            return
        self._change(
            lambda study: study.change_class(name, new_name=new_name),
            f"{name} is called {' '.join(new_name.split())} now.",
        )

    def choose_color(self) -> None:
        """Ask for a colour of the selected classes."""
        chosen = self.selected()
        color = QColorDialog.getColor(QColor(chosen[0].color), self, "Colour of the class")
        if color.isValid():
            self._change_all(chosen, color=color.name())

    def choose_group(self) -> None:
        """Ask for the group of the selected classes."""
        chosen = self.selected()
        groups = sorted({one.group for one in self._classes} | {""})
        group, accepted = QInputDialog.getItem(
            self, "Group", "Family of the classes, such as granulocyte:", groups,
            groups.index(chosen[0].group), True,
        )  # fmt: skip
        if accepted:
            self._change_all(chosen, group=" ".join(group.split()))

    def _change_all(self, chosen: list[StudyClass], **how: str) -> None:
        def do(study: Study) -> None:
            with study.database.transaction():  # all of them, or none
                for one in chosen:
                    study.change_class(one.name, **how)

        names = ", ".join(one.name for one in chosen)
        (what,) = how
        words = {"color": "another colour", "group": f"the group {how.get('group') or '(none)'}"}
        self._change(do, f"{names}: {words[what]}.")

    def choose_merge(self) -> None:
        """Ask into which class the selected ones are merged."""
        chosen = self.selected()
        others = [one.name for one in self._classes if one not in chosen]
        names = ", ".join(one.name for one in chosen)
        into, accepted = QInputDialog.getItem(
            self, "Merge classes", f"All labels of {names} become labels of:", others, 0, False
        )
        if accepted:
            self.merge([one.name for one in chosen], into)

    def merge(self, names: list[str], into: str) -> None:
        """Let classes mean another one."""

        def do(study: Study) -> None:
            with study.database.transaction():
                for name in names:
                    study.merge_classes(name, into)

        self._change(do, f"Labels of {', '.join(names)} are labels of {into} now.")

    def delete(self) -> None:
        """Delete the selected classes; one that people gave to cells stays, with a sentence."""
        chosen = self.selected()

        def do(study: Study) -> None:
            with study.database.transaction():
                for one in chosen:
                    study.delete_class(one.name)

        self._change(do, f"Deleted: {', '.join(one.name for one in chosen)}.")
