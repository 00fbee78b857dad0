"""A counterfactual cell beside the cell it was made from, as a figure, and both as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cytodiffusion.export import write_run_json
from cytodiffusion.generation.provenance import STATEMENT, write_synthetic_png
from cytodiffusion.output import staged_folder

from .cells import Counterfactuals

_INK, _FAINT = "#2b2f36", "#5c6370"
_STEPS = 5  #: micrometres of the scale bar
DPI = 300


def counterfactual_figure(cells: Counterfactuals, cell: int = 0) -> Figure:
    """Draw a cell, its version of the target class, and the change of brightness between them.

    Parameters
    ----------
    cells : Counterfactuals
    cell : int
        Which of them.

    Returns
    -------
    matplotlib.figure.Figure
    """
    names = cells.class_names
    target = names[cells.target[cell]]
    original, made = cells.originals[cell], cells.pixels[cell]
    figure = Figure(figsize=(7.0, 2.85), layout="constrained", facecolor="white")
    axes = figure.subplots(1, 3)
    _show(axes[0], original, f"the cell: {names[cells.predicted[cell]]}")
    _scale_bar(axes[0], len(original), cells.window_um)
    said = f"synthetic version: {target}"
    if not cells.flipped[cell]:
        said += f"\n(still taken for {names[cells.taken_for[cell]]})"
    _show(axes[1], made, said)
    change = made.mean(axis=2) - original.mean(axis=2)
    limit = max(float(np.abs(change).max()), 1.0)
    drawn = axes[2].imshow(change, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="bilinear")
    _bare(axes[2], "what was changed")
    bar = figure.colorbar(drawn, ax=axes[2], shrink=0.75, aspect=22, pad=0.02)
    bar.ax.tick_params(labelsize=7, length=2, width=0.5)
    bar.set_label("darker | brighter", fontsize=7)
    figure.supxlabel(
        f"probability of {target}: {cells.confidence_before[cell]:.3f} → "
        f"{cells.confidence[cell]:.3f}; mean difference {cells.distance[cell]:.3f}; the picture in "
        "the middle is synthetic",
        fontsize=7,
        color=_FAINT,
    )
    return figure


def save_counterfactual(
    folder: str | Path,
    cells: Counterfactuals,
    cell: int = 0,
    record: dict[str, Any] | None = None,
) -> dict[str, Path]:
    """Write ``counterfactual.png``, ``figure.png`` and ``counterfactual.json`` into ``folder``.

    Parameters
    ----------
    folder : str or Path
        Created where missing; gets all files or none.
    cells : Counterfactuals
    cell : int
        Which of them.
    record : dict, optional
        What else the JSON says.

    Returns
    -------
    dict
        Path of each file by its name.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    target = Path(folder)
    said = dict(record or {}) | cells.record(cell)
    with staged_folder(target) as staging:
        pixel_size = cells.window_um / cells.pixels.shape[1]
        picture = staging / "counterfactual.png"
        write_synthetic_png(picture, cells.pixels[cell], said, pixel_size)
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
    _bare(axes, title)


def _bare(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=8.5, color=_INK)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_linewidth(0.5)


def _scale_bar(axes: Axes, size: int, window_um: float) -> None:
    length = _STEPS / window_um * size
    left, low = 0.05 * size, 0.94 * size
    axes.plot([left, left + length], [low, low], color="black", linewidth=2, solid_capstyle="butt")
    axes.text(
        left + length / 2, low - 0.02 * size, f"{_STEPS} µm", ha="center", va="bottom", fontsize=6.5
    )
