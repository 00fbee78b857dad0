"""The button under which heatmaps, figures and morphs are saved."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

_FIGURES = "PNG (*.png);;TIFF (*.tif);;PDF (*.pdf);;SVG (*.svg)"

_FILMS = "GIF (*.gif);;Animated PNG (*.png);;TIFF stack (*.tif)"

#: What can be saved: key, text, and the kinds of file, or None for a folder.
KINDS: tuple[tuple[str, str, str | None], ...] = (
    ("heatmap", "Heatmap, figure and record into a folder ...", None),
    ("figure", "Figure for a paper ...", _FIGURES),
    ("grid", "Figure of all classes ...", _FIGURES),
    ("version", "Counterfactual cell into a folder ...", None),
    ("morph", "Morph as a film or a stack ...", _FILMS),
    ("mean", "Mean maps of classes into a folder ...", None),
    ("all", "All heatmaps made so far into a folder ...", None),
)


class SaveButton(QPushButton):
    """Asks what to save and where.

    Signals
    -------
    asked (str, object)
        Key of what is to be saved, and the path of the file or folder.

    Parameters
    ----------
    available : callable
        Returns the keys of what can be saved now.
    """

    asked = Signal(str, object)

    def __init__(self, available: Callable[[], Collection[str]], parent: QWidget) -> None:
        super().__init__(parent)
        self._available = available
        self.setText("Save ...")
        self.setToolTip("Save heatmaps, figures, counterfactual cells and morphs")
        menu = QMenu(self)
        self.actions_by_key = {key: menu.addAction(text) for key, text, _ in KINDS}
        for key, _, filters in KINDS:
            self.actions_by_key[key].triggered.connect(partial(self._on_action, key, filters))
        menu.aboutToShow.connect(self.update_actions)
        self.setMenu(menu)

    def update_actions(self) -> None:
        """Offer what there is."""
        available = self._available()
        for key, action in self.actions_by_key.items():
            action.setEnabled(key in available)

    def _on_action(self, key: str, filters: str | None, _: bool = False) -> None:
        if filters is None:
            path = QFileDialog.getExistingDirectory(self, "Folder to save into")
        else:
            path, kind = QFileDialog.getSaveFileName(self, "Save as", "", filters)
            path = with_ending(path, kind)
        if path:
            self.asked.emit(key, Path(path))


def with_ending(path: str, kind: str) -> str:
    """Give a file without an ending that of the chosen kind, such as ``PNG (*.png)``."""
    ending = kind.partition("*")[2].rstrip(")")
    return path if not path or Path(path).suffix else path + ending
