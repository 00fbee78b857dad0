"""Figures of heatmaps, for papers and for looking at once.

Matplotlib's object interface is used without pyplot: no global state, no window, any thread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from cytodiffusion import __version__
from cytodiffusion.counterfactual.captions import version_caption
from cytodiffusion.counterfactual.cells import Counterfactuals
from cytodiffusion.counterfactual.heatmap import Heatmap
from cytodiffusion.counterfactual.mean_map import MeanMap
from cytodiffusion.counterfactual.saliency import Saliency
from cytodiffusion.counterfactual.wording import STAINS, describe, stain_change, version_of
from cytodiffusion.drawing.style import FAINT, INK, STYLE
from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import atomic_file, staged_folder
from cytodiffusion.files.synthetic_mark import STATEMENT, write_synthetic_png
from cytodiffusion.files.writers import write_run_json

#: Diverging, even for colour-blind eyes: blue is darker in the target's version, red is brighter.
COLOURS = "RdBu_r"

#: Diverging: violet is more nuclear dye, pink is more eosin, green is less of either.
STAIN_COLOURS = ("PRGn_r", "PiYG_r")

#: Diverging: orange speaks for the class, violet against it.
SALIENCY_COLOURS = "PuOr_r"

#: What saliency cannot say.
SALIENCY_LIMITS = (
    "Saliency says which pixels the answer rests on, not what another class would need;\n"
    "what is as light as the empty slide never stands out, dark parts easily do."
)

#: Opacity of the heatmap on the picture.
OPACITY = 0.75

#: Share of the largest change from which on the heatmap has that opacity.
_FULL = 0.25

DPI = 300

#: Endings of the files that figures are saved as.
_KINDS = ("png", "tif", "tiff", "pdf", "svg")

_STYLE: Any = STYLE | {"font.size": 7.5, "axes.titlesize": 7, "axes.titlepad": 3}

_COLUMNS = 5

#: Letters of a title over a picture of three.
_TITLE = 36


def heatmap_figure(
    heatmap: Heatmap, *, mask: NDArray[Any] | None = None, sigmas: float | None = None
) -> Figure:
    """Draw what a map shows, beside the cell.

    Of an edited map: what changes in brightness beyond the threshold, in nuclear dye and in eosin,
    and the cell as it was drawn. Of a published one: the map, what is beyond the threshold, and the
    change exaggerated.

    Parameters
    ----------
    mask : (S, S) array, optional
        The cell, whose outline is drawn on the original and the heatmap.
    sigmas : float, optional
        Threshold; that of the heatmap's settings where None.
    """
    limit = heatmap.settings.sigmas if sigmas is None else sigmas
    with rc_context(_STYLE):
        if heatmap.settings.method == "edited":
            return _edited_figure(heatmap, mask, limit)
        return _published_figure(heatmap, mask, limit)


def _published_figure(heatmap: Heatmap, mask: NDArray[Any] | None, limit: float) -> Figure:
    figure = Figure(figsize=(7.2, 2.1), layout="constrained")
    axes = list(figure.subplots(1, 4))
    scale = _scale(heatmap.values)
    _picture(axes[0], heatmap.crop, f"taken for {heatmap.predicted_name}")
    _scale_bar(axes[0], len(heatmap.values), heatmap.window_um)
    drawn = _map(axes[1], heatmap.values, scale)
    axes[1].set_title(f"towards {heatmap.target_name}")
    _overlay(axes[2], heatmap, limit, scale)
    axes[2].set_title(f"beyond {limit:g} standard deviations")
    times, pixels = exaggerated(heatmap)
    _picture(axes[3], pixels, f"change {times:.2g} times as strong")
    for one in axes[:2]:
        _outline(one, mask)
    _bar(figure, drawn, axes[:3], heatmap.target_name)
    figure.supxlabel(_reliability(heatmap), fontsize=6.5, color=FAINT)
    return figure


def _edited_figure(heatmap: Heatmap, mask: NDArray[Any] | None, limit: float) -> Figure:
    """Draw what changes in brightness and in the stains, and the cell as it was drawn."""
    return _change_figure(
        heatmap,
        mask,
        limit,
        stain_change(heatmap, mask),
        (f"taken for {heatmap.predicted_name}", f"synthetic: drawn as\n{heatmap.target_name}"),
        describe(heatmap, mask),
        _reliability(heatmap),
    )


def mean_figure(mean: MeanMap, *, sigmas: float | None = None) -> Figure:
    """Draw the mean map of several cells: what is alike in them, beyond the threshold.

    Parameters
    ----------
    sigmas : float, optional
        Threshold; that of the heatmaps' settings where None.
    """
    heatmap = mean.heatmap
    limit = heatmap.settings.sigmas if sigmas is None else sigmas
    with rc_context(_STYLE):
        return _change_figure(
            heatmap,
            mean.mask,
            limit,
            mean.reliable_stains(limit),
            (
                f"mean of {mean.cells} cells\ntaken for {heatmap.predicted_name}",
                f"synthetic: their mean\nas {heatmap.target_name}",
            ),
            mean.sentence,
            f"agreement of two halves of the cells {heatmap.convergence:.3f}; what is within "
            f"{limit:g} standard errors over the cells is not shown",
        )


def _change_figure(
    heatmap: Heatmap,
    mask: NDArray[Any] | None,
    limit: float,
    stains: NDArray[np.float32],
    titles: tuple[str, str],
    sentence: str,
    below: str,
) -> Figure:
    """Draw a crop, what changes in it, and how it looks then, with titles of first and last."""
    figure = Figure(figsize=(9.0, 2.6), layout="constrained")
    axes = list(figure.subplots(1, 5))
    scale = _scale(heatmap.values)
    _picture(axes[0], heatmap.crop, titles[0])
    _scale_bar(axes[0], len(heatmap.values), heatmap.window_um)
    _overlay(axes[1], heatmap, limit, scale)
    axes[1].set_title(f"brightness, beyond {limit:g} SD")
    shade = ScalarMappable(Normalize(-scale, scale), COLOURS)
    _small_bar(figure, shade, axes[1], True)
    dyes = max(float(np.quantile(np.abs(stains[..., :2]), 0.998)), 0.05)
    for place, number, colours in zip(axes[2:4], (0, 1), STAIN_COLOURS, strict=True):
        drawn = place.imshow(
            stains[..., number], cmap=colours, vmin=-dyes, vmax=dyes, interpolation="bilinear"
        )
        _bare(place)
        _outline(place, mask)
        place.set_title(f"{STAINS[number]}, less or more")
        _small_bar(figure, drawn, place, False)
    _outline(axes[0], mask)
    version = np.clip(np.rint(version_of(heatmap)), 0, 255).astype(np.uint8)
    _picture(axes[4], version, titles[1])
    if sentence:
        # "(8 of 12)" stays on one line
        figure.suptitle(
            fill(sentence.replace(" of ", "\u00a0of\u00a0"), 110), fontsize=8, color=INK
        )
    figure.supxlabel(below, fontsize=6.5, color=FAINT)
    return figure


def saliency_figure(
    saliency: Saliency, *, mask: NDArray[Any] | None = None, sigmas: float = 3.0
) -> Figure:
    """Draw a cell, and on it what speaks for its class and what against.

    Parameters
    ----------
    mask : (S, S) array, optional
        The cell, whose outline is drawn.
    sigmas : float
        Standard errors that a place must exceed to be shown.
    """
    shown = saliency.thresholded(sigmas)
    scale = _scale(saliency.values)
    with rc_context(_STYLE):
        figure = Figure(figsize=(4.2, 2.6), layout="constrained")
        axes = list(figure.subplots(1, 2))
        _picture(axes[0], saliency.crop, f"taken for {saliency.predicted_name}")
        _scale_bar(axes[0], len(saliency.crop), saliency.window_um)
        _picture(axes[1], saliency.crop, f"saliency, beyond {sigmas:g} SD")
        over = overlay_rgba(shown, scale, colours=SALIENCY_COLOURS)
        axes[1].imshow(over, interpolation="nearest")
        for place in axes:
            _outline(place, mask)
        shade = ScalarMappable(Normalize(-1, 1), SALIENCY_COLOURS)
        bar = figure.colorbar(shade, ax=axes[1], location="bottom", shrink=0.7, aspect=20, pad=0.02)
        bar.set_ticks([-1, 1], labels=["against", "for the class"])
        bar.ax.tick_params(labelsize=6, length=2, width=0.5)
        figure.supxlabel(SALIENCY_LIMITS, fontsize=5.5, color=FAINT)
        return figure


def _small_bar(figure: Figure, drawn: Any, axes: Axes, percent: bool) -> None:
    bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.7, aspect=20, pad=0.02)
    bar.outline.set_linewidth(0.5)  # type: ignore[operator]
    bar.ax.tick_params(labelsize=5.5, length=2, width=0.5)
    bar.ax.xaxis.set_major_locator(MaxNLocator(3))
    if percent:
        bar.ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def exaggerated(heatmap: Heatmap) -> tuple[float, NDArray[np.uint8]]:
    """Add the change to the crop, so strongly that a quarter of the range is reached.

    Returns
    -------
    times : float
        How much stronger than it is.
    pixels : (S, S, 3) uint8
    """
    times = 0.25 / max(float(np.abs(heatmap.change).max()), 1e-6)
    changed = heatmap.crop / 255 + times * heatmap.change
    return times, np.asarray(np.clip(changed, 0, 1) * 255 + 0.5, np.uint8)


def grid_figure(heatmaps: Sequence[Heatmap], *, sigmas: float | None = None) -> Figure:
    """Draw one cell and its heatmaps towards several classes, all on one scale."""
    first = heatmaps[0]
    scale = max(_scale(h.values) for h in heatmaps)
    rows = math.ceil((len(heatmaps) + 1) / _COLUMNS)
    with rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 1.4 * rows + 0.25), layout="constrained")
        axes = figure.subplots(rows, _COLUMNS, squeeze=False)
        places = list(axes.flat)
        _picture(places[0], first.crop, f"taken for {first.predicted_name}")
        _scale_bar(places[0], len(first.values), first.window_um)
        for place, heatmap in zip(places[1:], heatmaps, strict=False):
            values = heatmap.values if sigmas is None else heatmap.thresholded(sigmas)
            drawn = _map(place, values, scale)
            place.set_title(heatmap.target_name)
        for place in places[len(heatmaps) + 1 :]:
            place.set_axis_off()
        _bar(figure, drawn, places, "the target")
        least = min(heatmaps, key=lambda h: h.convergence)
        figure.supxlabel(f"one scale; least {_reliability(least)}", fontsize=6.5, color=FAINT)
        return figure


def save_figure(figure: Figure, path: str | Path, dpi: int = DPI) -> Path:
    """Write a figure as PNG, TIFF, SVG or PDF, by the ending of ``path``."""
    target = Path(path)
    kind = target.suffix.lower().lstrip(".")
    if kind not in _KINDS:
        raise InputError(
            f"A figure is saved as PNG, TIFF, PDF or SVG: {target.name} should end in .png, .tif, "
            ".pdf or .svg."
        )
    said = {"Software": f"cytodiffusion {__version__}"} if kind == "png" else None
    with atomic_file(target) as partial, rc_context(_STYLE):
        figure.savefig(partial, dpi=dpi, format=kind, metadata=said)
    return target


def overlay_rgba(
    values: NDArray[np.floating], scale: float, opacity: float = OPACITY, colours: str = COLOURS
) -> Any:
    """Colours ``(..., 4)``, 0 to 1, of thresholded values; clear where they are 0."""
    from matplotlib import colormaps

    shade = np.clip(values / scale, -1, 1)
    coloured = colormaps[colours](shade / 2 + 0.5)
    # what changes little is pale: it would lie over the cell like paper
    coloured[..., 3] = opacity * np.clip(np.abs(shade) / _FULL, 0, 1)
    return coloured


def _scale(values: NDArray[np.floating]) -> float:
    return max(float(np.abs(values).max()), 1e-6)


def _reliability(heatmap: Heatmap) -> str:
    what = "versions" if heatmap.settings.method == "edited" else "trials"
    return f"convergence {heatmap.convergence:.3f}, {heatmap.settings.passes} {what}"


def _picture(axes: Axes, pixels: NDArray[np.uint8], title: str) -> None:
    axes.imshow(pixels, interpolation="lanczos")
    axes.set_title(title)
    _bare(axes)


def _map(axes: Axes, values: NDArray[np.floating], scale: float) -> Any:
    drawn = axes.imshow(values, cmap=COLOURS, vmin=-scale, vmax=scale, interpolation="bilinear")
    _bare(axes)
    return drawn


def _overlay(axes: Axes, heatmap: Heatmap, sigmas: float, scale: float) -> None:
    axes.imshow(heatmap.crop, interpolation="lanczos")
    axes.imshow(overlay_rgba(heatmap.thresholded(sigmas), scale), interpolation="nearest")
    _bare(axes)


def _outline(axes: Axes, mask: NDArray[Any] | None) -> None:
    if mask is not None and np.asarray(mask).any():
        axes.contour(np.asarray(mask, float), levels=[0.5], colors=[INK], linewidths=0.6)


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_linewidth(0.5)


def _scale_bar(axes: Axes, size: int, window_um: float) -> None:
    """Draw 5 um at the lower left of a picture of `size` pixels, where there is room for it."""
    length = _STEPS / window_um * size
    if length > size / 2:
        return
    left, low = 0.05 * size, 0.94 * size
    seen = [withStroke(linewidth=2.5, foreground="white", alpha=0.5)]  # on a dark slide too
    axes.plot(
        *([left, left + length], [low, low]),
        color="black",
        linewidth=2,
        solid_capstyle="butt",
        path_effects=seen,
    )
    text: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 6.5, "path_effects": seen}
    axes.text(left + length / 2, low - 0.02 * size, f"{_STEPS} µm", **text)


def _bar(figure: Figure, drawn: Any, axes: list[Axes], target: str) -> None:
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, aspect=18, pad=0.01)
    bar.outline.set_linewidth(0.5)  # type: ignore[operator]
    bar.ax.tick_params(labelsize=6, length=2, width=0.5)
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    bar.set_label(f"brightness as {target}", fontsize=6.5)


_STEPS = 5  #: micrometres of the scale bar


def counterfactual_figure(cells: Counterfactuals, cell: int = 0) -> Figure:
    """Draw a cell, its version of the target class, and the change of brightness between them."""
    names = cells.class_names
    target = names[cells.target[cell]]
    original, made = cells.originals[cell], cells.pixels[cell]
    figure = Figure(figsize=(7.0, 3.2), layout="constrained", facecolor="white")
    axes = figure.subplots(1, 3)
    _show(axes[0], original, f"the cell: {names[cells.predicted[cell]]}")
    _scale_bar(axes[0], len(original), cells.window_um)
    still = "" if cells.flipped[cell] else names[cells.taken_for[cell]]
    _show(axes[1], made, fill(version_caption(target, still), _TITLE))
    change = made.mean(axis=2) - original.mean(axis=2)
    limit = max(float(np.abs(change).max()), 1.0)
    drawn = axes[2].imshow(change, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="bilinear")
    axes[2].set_title("what was changed", fontsize=8.5, color=INK)
    _bare(axes[2])
    bar = figure.colorbar(drawn, ax=axes[2], shrink=0.75, aspect=22, pad=0.02)
    bar.ax.tick_params(labelsize=7, length=2, width=0.5)
    bar.set_label("darker | brighter", fontsize=7)
    figure.supxlabel(
        f"probability of {target}: {cells.confidence_before[cell]:.3f} → "
        f"{cells.confidence[cell]:.3f}; mean difference {cells.distance[cell]:.3f}; the picture in "
        "the middle is synthetic",
        fontsize=7,
        color=FAINT,
    )
    return figure


def save_counterfactual(
    folder: str | Path,
    cells: Counterfactuals,
    cell: int = 0,
    record: dict[str, Any] | None = None,
    in_image: NDArray[np.uint8] | None = None,
) -> dict[str, Path]:
    """Write ``counterfactual.png``, ``figure.png`` and ``counterfactual.json`` into ``folder``.

    Where it is given, the version ``in_image``, at the pixels of its image, is written too.
    """
    target = Path(folder)
    said = dict(record or {}) | cells.record(cell)
    with staged_folder(target) as staging:
        pixel_size = cells.window_um / cells.pixels.shape[1]
        picture = staging / "counterfactual.png"
        write_synthetic_png(picture, cells.pixels[cell], said, pixel_size)
        if in_image is not None:
            write_synthetic_png(staging / "in_image.png", in_image, said)
        counterfactual_figure(cells, cell).savefig(
            staging / "figure.png",
            dpi=DPI,
            metadata={"Synthetic": "true", "Description": STATEMENT, "Software": "cytodiffusion"},
        )
        write_run_json(staging / "counterfactual.json", said)
        names = sorted(path.name for path in staging.iterdir())
    return {name: target / name for name in names}


def _show(axes: Axes, pixels: NDArray[np.uint8], title: str) -> None:
    axes.imshow(pixels, interpolation="lanczos")
    axes.set_title(title, fontsize=8.5, color=INK)
    _bare(axes)
