"""Pages of heatmaps: one class with the counterfactual cell beside it, and all classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_cytodiffusion.counterfactual import texts as words
from napari_cytodiffusion.counterfactual.jobs import (
    CounterfactualResult,
    HeatmapResult,
    SaliencyResult,
)
from napari_cytodiffusion.counterfactual.look import HeatLook
from napari_cytodiffusion.layers.results import CellRecord, Results, percent
from napari_cytodiffusion.shared.common import TallArea, note
from napari_cytodiffusion.shared.tiles import PictureTile, TileBoard

#: Sides in pixels below which little can be made out, and above which nothing more.
_SMALL, _LARGE = 120, 300

_SALIENCY_TIP = (
    "Integrated gradients: which pixels the answer rests on. Orange speaks for the class, violet "
    "against it.\nIt knows no target. What is as light as the empty slide never stands out, dark "
    "parts easily do."
)

_EMPTY = "Click a cell in the image."


class HeatmapPage(QWidget):
    """Original, heatmap, overlay and counterfactual cell side by side.

    Signals
    -------
    more_asked ()
        More trials are wanted.
    """

    more_asked = Signal()

    def __init__(self, colors: np.ndarray, parent: QWidget) -> None:
        super().__init__(parent)
        self._colors = colors
        self.board = TileBoard(2, self, least=_SMALL)
        self.sentence = QLabel("", self)
        self.sentence.setWordWrap(True)
        self.sentence.setVisible(False)
        self.remark = note("", self)
        self.remark.setTextFormat(Qt.TextFormat.RichText)
        self.remark.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        self.remark.setOpenExternalLinks(False)
        # so that the pictures keep their size when words come
        self.remark.setMinimumHeight(3 * self.fontMetrics().lineSpacing() + 4)
        self.remark.setAlignment(Qt.AlignmentFlag.AlignTop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 6, 0, 0)
        layout.addWidget(self.sentence)
        layout.addWidget(TallArea(self.board, self), 1)
        layout.addWidget(self.remark)
        self.remark.linkActivated.connect(lambda _: self.more_asked.emit())

    def show_nothing(self, text: str = _EMPTY) -> None:
        """Say why there is nothing to see."""
        self.board.set_tiles([PictureTile(None, "", text)])
        self.remark.setText("")
        self.sentence.setVisible(False)

    def show_maps(
        self,
        record: CellRecord,
        results: Results,
        mapped: HeatmapResult | None,
        changed: CounterfactualResult | None,
        salient: SaliencyResult | None,
        look: HeatLook,
        more: int | None,
    ) -> None:
        """Show what there is of one cell and one target."""
        now = f"{results.class_names[record.predicted]} {percent(record.confidence)}"
        if mapped is None:
            self.board.set_tiles([PictureTile(None, "", "No heatmap of this cell and target yet.")])
            self.remark.setText("")
            self.sentence.setVisible(False)
            return
        heatmap, limit = mapped.heatmap, mapped.piece.limit
        shown = heatmap.thresholded(look.sigmas)
        target = heatmap.target_name
        over = words.overlay(shown, limit, self._colors, look.alpha, heatmap.crop)
        made = None if changed is None else changed.cells.pixels[changed.number]
        verdict = "" if changed is None else words.verdict_text(changed)
        tiles = [PictureTile(heatmap.crop, f"As it is\n{now}")]
        if mapped.wish.method == "edited":
            dye, eosin = words.stain_pictures(mapped.stains, mapped.edge)
            tiles += [
                PictureTile(over, f"Brightness\nbeyond {look.sigmas:.1f} SD"),
                PictureTile(made, f"Synthetic\n{verdict}", "no counterfactual cell yet"),
                PictureTile(dye, words.DYE_CAPTION),
                PictureTile(eosin, words.EOSIN_CAPTION),
            ]
        else:
            bare = words.overlay(shown, limit, self._colors, 1.0, words.outline(mapped.edge))
            tiles += [
                PictureTile(bare, f"Heatmap\n{target}"),
                PictureTile(over, f"Overlay\nbeyond {look.sigmas:.1f} SD"),
                PictureTile(made, f"Synthetic\n{verdict}", "no counterfactual cell yet"),
            ]
        if salient is not None:
            picture = words.saliency_picture(salient, look.sigmas, look.alpha)
            caption = "Saliency\norange for, violet against"
            tiles.append(PictureTile(picture, caption, tip=_SALIENCY_TIP))
        self.board.set_tiles(tiles, heatmap.window_um)
        self.sentence.setText(mapped.sentence)
        self.sentence.setVisible(bool(mapped.sentence))
        said = (
            words.nothing_text(shown, look.sigmas, mapped.wish.method),
            words.convergence_text(mapped, more),
            words.inside_text(mapped),
            words.border_text(record),
        )
        self.remark.setText("<br>".join(filter(None, said)))


class ClassGrid(QWidget):
    """What would have to change for each class; a click chooses that class.

    Signals
    -------
    chosen (int)
        Index of a class.
    """

    chosen = Signal(int)

    def __init__(self, colors: np.ndarray, parent: QWidget) -> None:
        super().__init__(parent)
        self._colors = colors
        self.board = TileBoard(1, self, least=_SMALL, most=_LARGE)
        self.remark = note("", self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 6, 0, 0)
        layout.addWidget(TallArea(self.board, self), 1)
        layout.addWidget(self.remark)
        self.board.chosen.connect(lambda key: self.chosen.emit(int(key)))

    def show_nothing(self, text: str = _EMPTY) -> None:
        """Say why there is nothing to see."""
        self.board.set_tiles([PictureTile(None, "", text)])
        self.remark.setText("")

    def show_maps(
        self,
        order: Sequence[int],
        found: Sequence[HeatmapResult],
        look: HeatLook,
        target: int | None,
    ) -> None:
        """Show the cell, then the overlay of each class in this order; one scale for all."""
        if not found:
            self.show_nothing("Compare all classes: what would have to change for each of them.")
            return
        first, limit = found[0].heatmap, words.limit_of(found)
        tiles = [PictureTile(first.crop, "as it is")]
        for mapped in sorted(found, key=lambda m: order.index(m.asked.target)):
            heatmap = mapped.heatmap
            shown = heatmap.thresholded(look.sigmas)
            over = words.overlay(shown, limit, self._colors, look.alpha, heatmap.crop)
            tip = words.tile_tip(mapped)
            tiles.append(PictureTile(over, heatmap.target_name, "", mapped.asked.target, tip))
        self.board.set_tiles(tiles, first.window_um, current=target)
        low = [m.heatmap.target_name for m in found if m.heatmap.convergence < words.DOUBTFUL]
        what = "versions" if found[0].wish.method == "edited" else "passes"
        doubt = f" Not converged, use more {what}: {', '.join(low)}." if low else ""
        most = words.percent_of_brightness(limit)
        self.remark.setText(
            f"One scale of colours for all, up to {most} of the brightness. Hold the pointer over "
            f"a picture to read what its class asks for; a click chooses it.{doubt}"
        )
