"""What stands in the place of a widget that would tell too much in blind mode."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QWidget

from napari_cytodiffusion.session import Session

#: How blind mode ends.
_OFF = "Review cells switches it off again."


class BlindNote(QLabel):
    """A sentence that is shown in blind mode instead of some widgets.

    Parameters
    ----------
    session : Session
    what : str
        What is hidden, such as ``what the model says of the cells``.
    hidden : QWidget
        Hidden in blind mode.
    """

    def __init__(self, session: Session, what: str, parent: QWidget, *hidden: QWidget) -> None:
        super().__init__(f"Blind mode: {what} is hidden. {_OFF}", parent)
        self.setWordWrap(True)
        self.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._hidden = hidden
        session.blind_changed.connect(self._on_blind)
        self._on_blind(session.blind)

    def _on_blind(self, blind: bool) -> None:
        self.setVisible(blind)
        for widget in self._hidden:
            widget.setVisible(not blind)
