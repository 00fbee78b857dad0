"""From an image to the heatmap of one of its cells and its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion import __version__
from cytodiffusion.classify import ClassifySettings, classify
from cytodiffusion.errors import InputError
from cytodiffusion.image import open_image
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.pipeline import provenance
from cytodiffusion.progress import Progress, silent

from .chosen import ChosenCell, choose_cell
from .heatmap import Heatmap, HeatmapSettings, all_class_heatmaps, class_number, heatmaps
from .heatmap_files import save_heatmap

#: In the place of a target: the runner-up, and a grid of all classes besides.
EVERY_CLASS = "all"


@dataclass(frozen=True, eq=False)
class Explained:
    """The heatmap of a cell of an image.

    Attributes
    ----------
    heatmap : Heatmap
    every_class : list of Heatmap
        Of all other classes, where they were asked for.
    cell : ChosenCell
    mask : (S, S) bool or None
        Where the cell is in the crop; found by the watershed in a single-cell image.
    shape : (Y, X)
        Of the image.
    probability : float
        Of the predicted class.
    record : dict
        How it came about.
    """

    heatmap: Heatmap
    every_class: list[Heatmap]
    cell: ChosenCell
    mask: NDArray[np.bool_] | None
    shape: tuple[int, int]
    probability: float
    record: dict[str, Any]

    def save(self, folder: str | Path) -> dict[str, Path]:
        """Write the files, see `cytodiffusion.counterfactual.heatmap_files.save_heatmap`."""
        return save_heatmap(
            folder,
            self.heatmap,
            placement=self.cell.placement,
            shape=self.shape,
            mask=self.mask,
            every_class=self.every_class,
            record=self.record,
        )


def explain_cell(
    source: Path,
    model: ModelBundle,
    *,
    labels: Path | None = None,
    cell: int | None = None,
    target: str | None = None,
    settings: HeatmapSettings | None = None,
    pixel_size_um: float | None = None,
    progress: Progress = silent,
) -> Explained:
    """Make the heatmap of one cell of an image.

    Parameters
    ----------
    source : Path
        An image; one of a single cell where there are no ``labels``.
    model : ModelBundle
    labels : Path, optional
        Label image.
    cell : int, optional
        Label of the cell.
    target : str, optional
        Class to compare with; the runner-up where None, that and all others if ``"all"``.
    settings : HeatmapSettings, optional
    pixel_size_um : float, optional
        Of the image, where it is known.
    progress : callable

    Raises
    ------
    InputError
        If a file cannot be read, there is no such cell or class, or the target is the class that
        the cell is taken for.
    OutOfMemoryError
        If the device runs out of memory even for one pass at a time.
    """
    settings = settings or HeatmapSettings()
    every = target is not None and target.casefold() == EVERY_CLASS
    wanted = None if target is None or every else class_number(target, model.class_names)
    one = choose_cell(source, labels, cell, model.input_size, model.window_um, pixel_size_um)
    rgb = open_image(source).rgb()
    found = classify(
        one.pixels[None], model, ClassifySettings(seed=settings.seed), background=one.background
    )
    predicted = int(found.predicted[0])
    order = np.argsort(-found.posterior[0], kind="stable")
    other = int(order[order != predicted][0]) if wanted is None else wanted
    maps: list[Heatmap] = []
    if every:
        maps = all_class_heatmaps(
            one.pixels,
            model,
            predicted=predicted,
            background=one.background,
            settings=settings,
            progress=progress,
        )
        heatmap = next(m for m in maps if m.target == other)
    else:
        (heatmap,) = heatmaps(
            one.pixels[None],
            model,
            [other],
            predicted=[predicted],
            background=one.background,
            settings=settings,
            progress=progress,
        )
    probability = float(found.posterior[0, predicted])
    record = provenance(
        model,
        settings,
        program="cytodiffusion",
        version=__version__,
        image=source,
        labels=labels,
        cell=cell,
        probability=probability,
        pixel_size_um=one.pixel_size_um,
        pixel_size_source=one.scale_source,
        touches_border=one.touches_border,
    )
    del record["settings"]  # those of the heatmap say how many trials were really made
    mask = _central_mask(rgb, one) if one.mask is None else one.mask
    return Explained(heatmap, maps, one, mask, rgb.shape[:2], probability, record)


def _central_mask(rgb: NDArray[np.uint8], cell: ChosenCell) -> NDArray[np.bool_] | None:
    """Mask in the crop of the cell that the watershed finds in its middle; None of none."""
    from cytodiffusion.segmentation.watershed import watershed

    try:
        labels = watershed(rgb, cell.pixel_size_um).labels
    except InputError:  # too small an image to find cells in
        return None
    inside = cell.placement.from_image(labels)
    here = inside[len(inside) // 2, len(inside) // 2]
    return None if here == 0 else np.asarray(inside == here)
