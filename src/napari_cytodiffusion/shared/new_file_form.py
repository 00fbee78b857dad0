"""A form that makes a file which people sit for: the fields of some settings, and a bar."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from cytodiffusion.errors import InputError
from napari_cytodiffusion.shared.choosers import PathEdit
from napari_cytodiffusion.shared.common import RunBar, note
from napari_cytodiffusion.shared.defaults import defaults
from napari_cytodiffusion.shared.settings_form import SettingsForm

#: Which images of a data set cells are taken from, in words.
SPLITS = {
    "choices": {
        "all": "All images",
        "test": "Test split",
        "val": "Validation split",
        "train": "Training split",
    }
}


class NewFile(PathEdit):
    """A line for a new file, which gets its ending where it has none.

    Parameters
    ----------
    what : str
        What the file is of, such as ``test``.
    kinds : str
        Filter of the file dialog.
    ending : callable
        Gives a path its ending.
    """

    def __init__(self, what: str, kinds: str, ending: Callable[[Path], Path]) -> None:
        self._ending = ending
        super().__init__(
            f"File of the new {what}",
            f"file of the {what}",
            "w",
            filter=kinds,
            name="output",
            label=f"File of the {what}",
        )

    def get_value(self) -> Path | None:
        """Return the file."""
        path = super().get_value()
        return None if path is None else self._ending(path)


class NewFileForm(QWidget):
    """Fields, and a bar that runs; it neither computes nor knows of workers.

    Signals
    -------
    asked (object)
        The settings.
    cancelled ()

    Parameters
    ----------
    settings : type of BaseModel
    rows, words, more
        As of `SettingsForm`.
    output : NewFile
    intro : str
        What is made, in a sentence.
    button : str
        Words of the bar's button.
    source : str
        Field of where the cells are from, beside which a file is proposed.
    above : sequence of widget
        Shown above the fields.
    """

    asked = Signal(object)
    cancelled = Signal()

    def __init__(
        self,
        parent: QWidget,
        settings: type[BaseModel],
        rows: Sequence[Any],
        words: Mapping[str, Mapping[str, Any]],
        *,
        output: NewFile,
        intro: str,
        button: str,
        source: str,
        more: Sequence[str] = (),
        above: Sequence[QWidget] = (),
    ) -> None:
        super().__init__(parent)
        self.fields = SettingsForm(
            settings,
            rows,
            widgets={"output": output},
            words=words,
            start=defaults("classification", "model", "device"),
            more=more,
        )
        self.run_bar = RunBar(button, self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addWidget(note(intro, self))
        for widget in above:
            layout.addWidget(widget)
        layout.addWidget(self.fields.native)
        layout.addWidget(self.run_bar)
        layout.addStretch(1)
        self.fields[source].changed.connect(self.propose)
        self.run_bar.run.connect(self._on_run)
        self.run_bar.cancel.connect(self.cancelled)

    def missing(self) -> str:
        """Say what is to be chosen first; empty where nothing is."""
        raise NotImplementedError

    def propose(self, _: Any = None) -> None:
        """Propose a file beside the source."""
        raise NotImplementedError

    def settings(self) -> Any:
        """Return what is asked for; InputError where something is missing."""
        if missing := self.missing():
            raise InputError(missing)
        return self.fields.settings(model=self.fields.values()["model"] or "default")

    def _on_run(self, _: Any = None) -> None:
        try:
            self.asked.emit(self.settings())
        except InputError as error:
            self.run_bar.line.setText(str(error))
