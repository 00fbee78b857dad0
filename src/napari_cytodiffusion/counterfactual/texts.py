"""What is said and shown of heatmaps and counterfactual cells, without Qt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from cmap import Colormap

from napari_cytodiffusion.counterfactual.jobs import (
    CounterfactualResult,
    HeatmapResult,
    MeanResult,
    SaliencyResult,
)
from napari_cytodiffusion.layers.results import CellRecord, Results, percent
from napari_cytodiffusion.shared.table import NOTHING, Cell, Table, figure

#: A convergence below these is doubtful, and mostly chance.
DOUBTFUL, CHANCE = 0.8, 0.5

#: As in the figures that are saved (`cytodiffusion.counterfactual.figures.COLOURS`), and safe for
#: the colour-blind; and the share of the largest change from which on a colour covers the cell.
_COLORMAP, _FULL = "colorbrewer:RdBu_r", 0.25

#: As in the figures, too: orange speaks for the class, violet against it.
_SALIENCY_COLORMAP = "colorbrewer:PuOr_r"

#: As in the figures, too: violet is more nuclear dye, pink more eosin, green less of either.
_STAIN_COLORMAPS = ("colorbrewer:PRGn_r", "colorbrewer:PiYG_r")

#: A picture with its caption.
Picture = tuple[np.ndarray, str]

#: Captions of the pictures of the stains, here and in mean maps.
DYE_CAPTION = "Nuclear dye\nviolet more, green less"
EOSIN_CAPTION = "Eosin\npink more, green less"

#: Greys of the paper that a heatmap is shown on without its cell, and of the cell's outline.
_PAPER, _PENCIL = 245, 170


def convergence_text(mapped: HeatmapResult, more: int | None) -> str:
    """Say how far a map can be trusted, in HTML; with a link to ask for more if it is low."""
    value = mapped.heatmap.convergence
    what = "versions" if mapped.wish.method == "edited" else "passes"
    number = f"Convergence {value:.2f}"
    if value >= DOUBTFUL:
        return f"{number}: two halves of the {what} agree, more would change little."
    doubt = "only the strongest spots can be trusted" if value >= CHANCE else "mostly chance"
    link = "" if more is None else f" <a href='more'>Use {more:,} {what}</a>"
    return f"<b>{number}</b>: two halves of the {what} differ, {doubt}.{link}"


def inside_text(mapped: HeatmapResult) -> str:
    """Say where the change lies."""
    if np.isnan(mapped.inside):
        return ""
    return f"{100 * mapped.inside:.0f} % of the map's energy lies inside the cell."


def border_text(record: CellRecord) -> str:
    """Warn of a cell at the border of the image."""
    if not record.touches_border:
        return ""
    return (
        "The cell touches the border of the image: what is outside was mirrored, judge with care."
    )


def nothing_text(shown: np.ndarray, sigmas: float, method: str) -> str:
    """Say that nothing is beyond the threshold, where that is so."""
    if shown.any():
        return ""
    what = "versions" if method == "edited" else "passes"
    return f"Nothing stands out by {sigmas:.1f} SD: lower the threshold, or use more {what}."


def target_text(record: CellRecord, results: Results, target: int) -> str:
    """Name a class to compare with, and how likely it is for the cell."""
    share = float(record.posterior[target])
    likely = percent(share) if share >= 0.005 else "<1 %"
    return f"{results.class_names[target]} ({likely})"


def verdict_text(changed: CounterfactualResult) -> str:
    """Say what a counterfactual cell is taken for."""
    cells, at = changed.cells, changed.number
    name = cells.class_names[cells.taken_for[at]]
    if cells.flipped[at]:
        return f"{name} {percent(float(cells.confidence[at]))}"
    return f"still {name}"


def inside_figure(mapped: HeatmapResult) -> Cell:
    """Share of the energy inside the cell, as a cell of a table."""
    text, value = figure(100 * mapped.inside, 0)
    return (text if text == NOTHING else f"{text} %"), value


def summary_table(found: Sequence[HeatmapResult]) -> Table:
    """One row a heatmap."""
    rows = []
    for mapped in found:
        heatmap, label = mapped.heatmap, mapped.asked.label
        compared = f"{heatmap.predicted_name} \u2192 {heatmap.target_name}"
        agreement = figure(heatmap.convergence, 2)
        row = ((f"{label:,}", label), (compared, compared), agreement, inside_figure(mapped))
        rows.append(row)
    return Table(("cell", "compared", "conv.", "in cell"), tuple(rows))


def heat_colors() -> np.ndarray:
    """Colours (255, 4) of a heatmap from darker to brighter; what does not change is clear."""
    return _diverging(_COLORMAP)


def _diverging(name: str) -> np.ndarray:
    """Colours (255, 4) from one end to the other, clear in the middle and pale beside it."""
    shades = np.abs(np.linspace(-1, 1, 255))
    colors = np.array(Colormap(name)(np.linspace(0, 1, 255)))
    # a graphics card looks colours up between their places: the neighbours of 0 are clear too
    colors[:, 3] = np.where(shades < 1.5 / 127, 0.0, np.clip(shades / _FULL, 0, 1))
    return colors


def saliency_picture(salient: SaliencyResult, sigmas: float, opacity: float) -> np.ndarray:
    """Lay what speaks for the class, and against it, over the cell."""
    found = salient.saliency
    limit = max(float(np.abs(found.values).max()), 1e-9)
    colors = _diverging(_SALIENCY_COLORMAP)
    return overlay(found.thresholded(sigmas), limit, colors, opacity, found.crop)


def mean_tiles(found: MeanResult, sigmas: float, colors: np.ndarray, alpha: float) -> list[Picture]:
    """Pictures of a mean map with their captions, in the frame of a heatmap."""
    mean = found.mean
    heatmap = mean.heatmap
    shown = heatmap.thresholded(sigmas)
    limit = max(float(np.abs(heatmap.values).max()), 1e-9)
    dye, eosin = stain_pictures(mean.reliable_stains(sigmas), found.edge)
    return [
        (heatmap.crop, f"Mean of {mean.cells} cells\n{heatmap.predicted_name}"),
        (
            overlay(shown, limit, colors, alpha, heatmap.crop),
            f"Brightness\nup to {percent_of_brightness(limit)}",
        ),
        (dye, DYE_CAPTION),
        (eosin, EOSIN_CAPTION),
    ]


def mean_text(found: MeanResult) -> str:
    """Say how far a mean map can be trusted."""
    value = found.mean.heatmap.convergence
    agree = "agree" if value >= DOUBTFUL else "differ: more cells would make it clearer"
    return (
        f"Convergence {value:.2f}: two halves of the {found.mean.cells} cells {agree}. What "
        "differs from cell to cell is not shown. All are turned so that their nuclei lie alike."
    )


def tile_tip(mapped: HeatmapResult) -> str:
    """Say of a map in the grid what it asks for, and how sure it is."""
    lines = (mapped.sentence, f"Convergence {mapped.heatmap.convergence:.2f}. A click chooses it.")
    return "\n".join(filter(None, lines))


def stain_pictures(stains: np.ndarray | None, edge: np.ndarray) -> list[np.ndarray]:
    """Paint the change of nuclear dye and of eosin, on one scale, with the cell's outline."""
    if stains is None:
        return []
    dyes = stains[..., :2]
    limit = max(float(np.quantile(np.abs(dyes), 0.998)), 0.05)
    pictures = []
    for number, name in enumerate(_STAIN_COLORMAPS):
        shade = (np.clip(dyes[..., number] / limit, -1, 1) + 1) / 2
        colours = np.asarray(Colormap(name)(shade))[..., :3]
        picture = np.rint(255 * colours).astype(np.uint8)
        picture[edge] = _PENCIL
        pictures.append(picture)
    return pictures


def limit_of(found: Sequence[HeatmapResult]) -> float:
    """Largest change in some heatmaps: one scale of colours for all."""
    return max(mapped.piece.limit for mapped in found)


def painted(values: np.ndarray, limit: float, colors: np.ndarray) -> np.ndarray:
    """Colours (Y, X, 4) of values between ``-limit`` and ``limit``."""
    position = (np.clip(values / limit, -1, 1) + 1) / 2 * (len(colors) - 1)
    return colors[np.rint(position).astype(int)]


def overlay(
    values: np.ndarray, limit: float, colors: np.ndarray, opacity: float, under: np.ndarray
) -> np.ndarray:
    """Lay a heatmap over a picture."""
    rgba = painted(values, limit, colors)
    alpha = rgba[..., 3:] * opacity
    return np.rint(under * (1 - alpha) + 255 * rgba[..., :3] * alpha).astype(np.uint8)


def outline(edge: np.ndarray) -> np.ndarray:
    """Draw the outline (Y, X) of a cell on paper, (Y, X, 3) uint8."""
    return np.where(edge[..., None], np.uint8(_PENCIL), np.uint8(_PAPER)).repeat(3, axis=2)


def percent_of_brightness(share: float) -> str:
    """Write a small share of full brightness with two digits that mean something."""
    percent = 100 * share
    digits = 0 if percent >= 10 else 1 if percent >= 1 else 2
    return f"{percent:.{digits}f} %"
