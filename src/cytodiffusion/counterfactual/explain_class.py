"""From images to the mean map of the cells of one class, and the heatmaps that it is made of."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion import __version__
from cytodiffusion.cells.crops import extract_crops
from cytodiffusion.cells.single_cell import SingleCells, labelled_scale, open_labels
from cytodiffusion.classification.classifier import classify
from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.counterfactual.canvas import shrunk
from cytodiffusion.counterfactual.explain import ChosenCell, Explanation, chosen_single
from cytodiffusion.counterfactual.files import save_mean_map
from cytodiffusion.counterfactual.heatmap import (
    HeatmapSettings,
    check_explains,
    class_number,
    iter_heatmaps,
    likeliest_other,
    map_size,
)
from cytodiffusion.counterfactual.mean_map import FEWEST, MeanMap, mean_map
from cytodiffusion.counterfactual.placement import Placement
from cytodiffusion.counterfactual.wording import describe
from cytodiffusion.errors import CytoDiffusionError, InputError
from cytodiffusion.files.record import provenance
from cytodiffusion.image.formats import find_images
from cytodiffusion.image.image import open_image
from cytodiffusion.image.pixels import Scale
from cytodiffusion.image.stain import estimate_background
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.progress import Progress, part_of, silent

#: Share of the time that cutting out and classifying the cells takes.
_CHOOSING = 0.2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class NamedCell:
    """A cell with the name of its folder in the results, and its image's size ``(Y, X)``."""

    name: str
    cell: ChosenCell
    shape: tuple[int, int]


@dataclass(frozen=True, eq=False)
class ClassExplanation:
    """What cells of one class would need to be taken for another.

    Attributes
    ----------
    mean : MeanMap
    cells : dict of str to Explanation
        The heatmap of each cell, by the name of its image or its number.
    record : dict
        How it came about.
    """

    mean: MeanMap
    cells: dict[str, Explanation]
    record: dict[str, Any]

    @property
    def sentence(self) -> str:
        """What the cells have in common, in words."""
        return self.mean.sentence

    def save(self, folder: str | Path) -> dict[str, Path]:
        """Write ``mean.tif``, ``mean.png`` and ``mean.json``, and a folder with each heatmap.

        Returns
        -------
        dict of str to Path
            The files of the mean map, and the folder of each cell by its name.
        """
        target = Path(folder)
        files = save_mean_map(target, self.mean, self.record)
        for name, one in self.cells.items():
            one.save(target / name)
            files[name] = target / name
        return files


def explain_class(
    cells: Sequence[NamedCell],
    model: ModelBundle,
    class_name: str,
    *,
    target: str | None = None,
    most: int = 20,
    settings: HeatmapSettings | None = None,
    progress: Progress = silent,
    **record: Any,
) -> ClassExplanation:
    """Make the heatmaps of the cells that are taken for a class, and their mean.

    Parameters
    ----------
    cells : sequence of NamedCell
        Of any class; see `cells_of_folder` and `cells_of_labels`.
    class_name : str
    target : str, optional
        Class to compare with; by default what is the likeliest other one for most of the cells.
    most : int
        At most so many cells, the surest.
    **record
        What the record says besides.
    """
    model = check_explains(model)
    settings = settings or HeatmapSettings()
    if settings.method != "edited":
        raise InputError("A mean map is made of edited heatmaps: leave out method published.")
    if most < FEWEST:
        raise InputError(f"A mean map needs at least {FEWEST} cells, not {most}.")
    wanted = class_number(class_name, model.class_names)
    other = None if target is None else class_number(target, model.class_names)
    if other == wanted:
        raise InputError("A class is compared with another one: choose another target.")
    found = _classified(cells, model, settings, part_of(progress, 0.0, _CHOOSING))
    order = np.argsort(-found.confidence, kind="stable")
    chosen = [int(i) for i in order if found.predicted[i] == wanted][:most]
    if len(chosen) < FEWEST:
        raise InputError(
            f"A mean map needs at least {FEWEST} cells; {len(chosen)} of {len(cells)} are taken "
            f"for {model.class_names[wanted]}."
        )
    if other is None:
        likely = likeliest_other(found.posterior[chosen], found.predicted[chosen], model)
        other = int(np.bincount(likely).argmax())
    some = [cells[i] for i in chosen]
    made = _explained(
        some,
        [float(found.posterior[i, wanted]) for i in chosen],
        (wanted, other),
        model,
        settings,
        part_of(progress, _CHOOSING, 1.0),
        record,
    )
    mean = mean_map([one.heatmap for one in made], [one.mask for one in made])
    about = _provenance(model, settings, record)
    return ClassExplanation(mean, {one.name: m for one, m in zip(some, made, strict=True)}, about)


def cells_of_folder(
    paths: Sequence[Path],
    model: ModelBundle,
    settings: HeatmapSettings | None = None,
    pixel_size_um: float | None = None,
    progress: Progress = silent,
) -> list[NamedCell]:
    """Read single-cell images, given as files or folders; those that cannot be read are told."""
    size = map_size(model, settings)
    found = find_images(paths)
    for note in found.notes:
        _log.warning(note)
    folder = SingleCells(found.paths, pixel_size_um, part_of(progress, 0.0, 0.5))
    report, n = part_of(progress, 0.5, 1.0), len(found.paths)
    cells: list[NamedCell] = []
    for number, (path, name) in enumerate(zip(found.paths, found.names, strict=True)):
        report(number / n, f"reading image {number + 1} of {n}")
        try:
            single = folder.read(path)
        except CytoDiffusionError as error:
            _log.warning("%s: %s", name, error)
            continue
        height, width = single.rgb.shape[:2]
        one = chosen_single(single, size, model.window_um)
        cells.append(NamedCell(_folder_name(name), one, (height, width)))
    return cells


def _folder_name(name: str) -> str:
    """Name of the folder of a cell, by that of its image; the ending of the file stays in it."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name).strip("-")


def cells_of_file(
    image: Path,
    labels: Path,
    model: ModelBundle,
    settings: HeatmapSettings | None = None,
    pixel_size_um: float | None = None,
    progress: Progress = silent,
) -> list[NamedCell]:
    """Cut out all cells of an image whose labels are in a file."""
    opened = open_image(image)
    found = open_labels(labels, opened)
    for note in found.notes:
        _log.warning(note)
    scale = labelled_scale(opened, labels, pixel_size_um)
    return cells_of_labels(opened.rgb(), found.labels, scale, model, settings, progress)


def cells_of_labels(
    rgb: NDArray[np.uint8],
    labels: NDArray[np.integer],
    scale: Scale,
    model: ModelBundle,
    settings: HeatmapSettings | None = None,
    progress: Progress = silent,
) -> list[NamedCell]:
    """Cut out all cells of a label image ``(Y, X)``."""
    size, um = map_size(model, settings), scale.pixel_size_um
    crops = extract_crops(rgb, labels, um, size, model.window_um, progress=progress)
    background = estimate_background(rgb)
    height, width = labels.shape
    cells = []
    for number, label in enumerate(crops.ids.tolist()):
        place = Placement.of_cell(crops.centroids[number], um, model.window_um, size)
        cell = ChosenCell(
            crops.pixels[number],
            background,
            place.from_image(labels, 0) == label,
            place,
            um,
            scale.source,
            bool(crops.touches_border[number]),
        )
        cells.append(NamedCell(f"cell-{label:06d}", cell, (height, width)))
    return cells


def _classified(
    cells: Sequence[NamedCell], model: ModelBundle, settings: HeatmapSettings, progress: Progress
) -> Classification:
    if not cells:
        raise InputError("There are no cells.")
    return classify(
        shrunk(np.stack([one.cell.pixels for one in cells]), model.input_size),
        model,
        ClassifySettings(seed=settings.seed),
        background=np.stack([one.cell.background for one in cells]),
        progress=progress,
    )


def _explained(
    cells: Sequence[NamedCell],
    probabilities: Sequence[float],
    pair: tuple[int, int],
    model: ModelBundle,
    settings: HeatmapSettings,
    progress: Progress,
    more: Mapping[str, Any],
) -> list[Explanation]:
    masks = [one.cell.outline() for one in cells]
    empty = np.zeros(cells[0].cell.pixels.shape[:2], bool)  # a mask that says nothing
    maps = iter_heatmaps(
        np.stack([one.cell.pixels for one in cells]),
        model,
        [pair[1]] * len(cells),
        predicted=[pair[0]] * len(cells),
        background=np.stack([one.cell.background for one in cells]),
        masks=np.stack([empty if mask is None else mask for mask in masks]),
        settings=settings,
        progress=progress,
    )
    made = []
    for one, mask, probability, heatmap in zip(cells, masks, probabilities, maps, strict=True):
        sentence = describe(heatmap, mask)
        record = _provenance(model, settings, more) | {
            "cell": one.name,
            "probability": probability,
            "pixel_size_um": one.cell.pixel_size_um,
            "pixel_size_source": one.cell.scale_source,
            "touches_border": one.cell.touches_border,
            "sentence": sentence,
        }
        made.append(
            Explanation(heatmap, [], one.cell, mask, one.shape, probability, sentence, record)
        )
    return made


def _provenance(
    model: ModelBundle, settings: HeatmapSettings, more: Mapping[str, Any]
) -> dict[str, Any]:
    """Return how a result came about; settings are those of the heatmap."""
    found = provenance(model, settings, program="cytodiffusion", version=__version__, **more)
    del found["settings"]
    return found
