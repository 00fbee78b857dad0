"""How classified cells are drawn: filled with their colours, or as outlines."""

from __future__ import annotations

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QWidget

from napari_cytodiffusion.layers.views import STYLES
from napari_cytodiffusion.session import HIDE_KEY, Session


class StyleChoice(QWidget):
    """Chooses the style, which is remembered, and names the key that hides the colours."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._session: Session | None = None
        self.choice = QComboBox(self)
        for value, text in STYLES:
            self.choice.addItem(text, value)
        self.choice.setToolTip("How the cells are coloured; remembered for the next time.")
        self.hint = QLabel(f"{HIDE_KEY} hides the colours", self)
        self.hint.setToolTip(f"Key {HIDE_KEY} hides the colours on the image, and shows them again")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.choice, 1)
        layout.addWidget(self.hint)
        self.choice.currentIndexChanged.connect(self._on_choice)

    def follow(self, session: Session) -> None:
        """Show and set the style of a session."""
        self._session = session
        session.view_changed.connect(self._show)
        self._show()

    def _show(self) -> None:
        session = self._session
        if session is None:
            return
        with QSignalBlocker(self.choice):
            self.choice.setCurrentIndex(self.choice.findData(session.style))
        views = session.current
        hidden = views is not None and views.hidden
        self.hint.setText(f"{HIDE_KEY} {'shows' if hidden else 'hides'} the colours")

    def _on_choice(self, _: int) -> None:
        if self._session is not None:
            self._session.set_style(self.choice.currentData())
