"""A morph in the window: from a cell to another class's version of it, played or by a slider."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import QSignalBlocker, Qt, QTimer, Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QSlider, QVBoxLayout, QWidget

from cytodiffusion.counterfactual.captions import frame_caption
from napari_cytodiffusion.counterfactual.form import WindowSettings
from napari_cytodiffusion.shared.settings_form import SettingsForm
from napari_cytodiffusion.shared.tiles import PictureTile, TileBoard

#: Milliseconds a frame stays, and how many times longer the first and the last.
_FRAME_MS, _HOLD = 90, 6

_EMPTY = "The morph of this cell appears here."


class MorphPage(QWidget):
    """Player of a morph.

    Signals
    -------
    layer_asked ()
        The frames are wanted as a layer.
    """

    layer_asked = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._frames: np.ndarray | None = None
        self._ends, self._still = ("", ""), ""
        self._window_um = 0.0
        self._held, self._step = 0, 1
        self.form = SettingsForm(WindowSettings, ("frames",))
        # three lines: nothing of "still taken for" is cut off in a narrow window
        self.board = TileBoard(2, self)
        self.play = QPushButton("\u25b6", self)
        self.play.setCheckable(True)
        self.play.setToolTip("Play to and fro")
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.layer_button = QPushButton("As layer", self)
        self.layer_button.setToolTip(
            "Add the frames as a layer over the cell; the slider under the canvas goes through them"
        )
        controls = QHBoxLayout()
        controls.addWidget(self.play)
        controls.addWidget(self.slider, 1)
        controls.addWidget(self.layer_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 6, 0, 0)
        layout.addWidget(self.form.native)
        layout.addWidget(self.board, 1)
        layout.addLayout(controls)
        self._timer = QTimer(self)
        self._timer.setInterval(_FRAME_MS)
        self._timer.timeout.connect(self._advance)
        self.play.toggled.connect(self._on_play)
        self.slider.valueChanged.connect(self._show)
        self.layer_button.clicked.connect(self.layer_asked)
        self.set_frames(None)

    def frames(self) -> np.ndarray | None:
        """Return the frames (F, S, S, 3) that are shown, None where there are none."""
        return self._frames

    def towards(self) -> str:
        """Say which class the frames end in, or only go towards."""
        return f"{'towards' if self._still else 'as'} {self._ends[1]}"

    def set_frames(
        self,
        frames: np.ndarray | None,
        ends: tuple[str, str] = ("", ""),
        window_um: float = 0.0,
        instead: str = _EMPTY,
        still: str = "",
    ) -> None:
        """Show a morph, or say why there is none.

        ``still`` is the class that its end is taken for, where that is not the target.
        """
        self._frames, self._ends, self._window_um = frames, ends, window_um
        self._still = still
        there = frames is not None
        for widget in (self.play, self.slider, self.layer_button):
            widget.setEnabled(there)
        if frames is None:
            self.play.setChecked(False)
            self.board.set_tiles([PictureTile(None, "", instead)])
            return
        with QSignalBlocker(self.slider):
            self.slider.setRange(0, len(frames) - 1)
            self.slider.setValue(len(frames) - 1)
        self._step, self._held = -1, 0
        self._show()

    def _show(self, _: Any = None) -> None:
        if self._frames is None:
            return
        at, last = self.slider.value(), len(self._frames) - 1
        caption = frame_caption(at / last, *self._ends, self._still)
        self.board.set_tiles([PictureTile(self._frames[at], caption)], self._window_um)

    def _on_play(self, playing: bool) -> None:
        self.play.setText("\u23f8" if playing else "\u25b6")
        if playing:
            self._timer.start()
        else:
            self._timer.stop()

    def _advance(self) -> None:
        """Go one frame on; stay a while at both ends, then turn back."""
        last, at = self.slider.maximum(), self.slider.value()
        turning = at == (last if self._step > 0 else 0)
        if turning and self._held < _HOLD:
            self._held += 1
            return
        self._held = 0
        self._step = -self._step if turning else self._step
        self.slider.setValue(at + self._step)

    def hideEvent(self, event: Any) -> None:
        """Stop playing for nobody."""
        super().hideEvent(event)
        self.play.setChecked(False)
