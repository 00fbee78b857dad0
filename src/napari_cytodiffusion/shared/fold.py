"""Something that shows when asked for, and an area that scrolls once there is too little room."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QSizePolicy, QToolButton, QWidget

from napari_cytodiffusion.shared.common import EDGE, TallArea

#: Pixels in height that an area that scrolls wants at least.
_LEAST = 220


class FoldButton(QToolButton):
    """A line with an arrow that points down while it is checked."""

    def __init__(self, title: str, parent: QWidget, opened: bool = False) -> None:
        super().__init__(parent)
        self.setText(title)
        self.setCheckable(True)
        self.setAutoRaise(True)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.toggled.connect(self._point)
        self.setChecked(opened)
        self._point(opened)

    def _point(self, opened: bool) -> None:
        self.setArrowType(Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow)


class FormArea(TallArea):
    """As tall as what is in it; scrolls where the dock is not."""

    def __init__(self, inside: QWidget, parent: QWidget) -> None:
        super().__init__(inside, parent)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    def sizeHint(self) -> QSize:
        """Size of the content at the width there is, for text that goes over several lines."""
        inside = self.widget()
        if inside is None:
            return super().sizeHint()
        hint = inside.sizeHint()
        height = max(hint.height(), inside.heightForWidth(self.width()))
        return QSize(hint.width(), height + EDGE)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Ask for another height at another width."""
        super().resizeEvent(event)
        self.updateGeometry()


class RestArea(TallArea):
    """Takes the room that is left, and scrolls where that is too little for what is in it."""

    def __init__(self, inside: QWidget, parent: QWidget) -> None:
        super().__init__(inside, parent)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def sizeHint(self) -> QSize:
        """As wide as the content, and tall enough to be of use."""
        inside = self.widget()
        width = super().sizeHint().width() if inside is None else inside.sizeHint().width()
        return QSize(width, _LEAST)
