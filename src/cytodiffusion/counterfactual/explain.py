"""From an image to the heatmap of one of its cells and its files."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion import __version__
from cytodiffusion.cells.crops import extract_crops
from cytodiffusion.cells.single_cell import SingleCell, SingleCells, labelled_scale, open_labels
from cytodiffusion.classification.classifier import classify
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.counterfactual.canvas import shrunk
from cytodiffusion.counterfactual.files import save_heatmap
from cytodiffusion.counterfactual.heatmap import (
    Heatmap,
    HeatmapSettings,
    all_class_heatmaps,
    check_explains,
    class_number,
    iter_heatmaps,
    likeliest_other,
    map_size,
)
from cytodiffusion.counterfactual.placement import Placement
from cytodiffusion.counterfactual.saliency import Saliency, saliency_map
from cytodiffusion.counterfactual.wording import describe
from cytodiffusion.errors import InputError
from cytodiffusion.files.record import provenance
from cytodiffusion.image.image import open_image
from cytodiffusion.image.pixels import check_pixel_size
from cytodiffusion.image.stain import estimate_background
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.progress import Progress, part_of, silent

#: In the place of a target: the runner-up, and a grid of all classes besides.
EVERY_CLASS = "all"

#: Share of the time that the heatmap takes where the saliency is made too.
_MAPPING = 0.5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Explanation:
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
    sentence : str
        What an edited map asks for, in words (`cytodiffusion.counterfactual.wording`).
    record : dict
        How it came about.
    saliency : Saliency or None
        Which pixels the classifier's answer rests on, where that was asked for.
    """

    heatmap: Heatmap
    every_class: list[Heatmap]
    cell: ChosenCell
    mask: NDArray[np.bool_] | None
    shape: tuple[int, int]
    probability: float
    sentence: str
    record: dict[str, Any]
    saliency: Saliency | None = None

    def save(self, folder: str | Path) -> dict[str, Path]:
        """Write the files, see `cytodiffusion.counterfactual.files.save_heatmap`."""
        return save_heatmap(
            folder,
            self.heatmap,
            placement=self.cell.placement,
            shape=self.shape,
            mask=self.mask,
            every_class=self.every_class,
            record=self.record,
            saliency=self.saliency,
        )


def explain_cell(
    source: Path,
    model: ModelBundle,
    *,
    labels: Path | None = None,
    cell: int | None = None,
    target: str | None = None,
    settings: HeatmapSettings | None = None,
    saliency: bool = False,
    pixel_size_um: float | None = None,
    progress: Progress = silent,
) -> Explanation:
    """Make the heatmap of one cell of an image, and its saliency if that is asked for."""
    model = check_explains(model)
    wanted = _Target.of(target, model)
    size = map_size(model, settings)
    one = choose_cell(source, labels, cell, size, model.window_um, pixel_size_um)
    record = {"image": source, "labels": labels, "cell": cell}
    rgb = open_image(source).rgb()
    how = settings or HeatmapSettings()
    return _explain(one, rgb, model, wanted, how, saliency, progress, record)


def explain_chosen(
    one: ChosenCell,
    rgb: NDArray[np.uint8],
    model: ModelBundle,
    *,
    target: str | None = None,
    settings: HeatmapSettings | None = None,
    saliency: bool = False,
    progress: Progress = silent,
    **record: Any,
) -> Explanation:
    """Make the heatmap of a cell that was cut out of `rgb`; see `explain_cell`."""
    model = check_explains(model)
    wanted = _Target.of(target, model)
    how = settings or HeatmapSettings()
    return _explain(one, rgb, model, wanted, how, saliency, progress, record)


@dataclass(frozen=True)
class _Target:
    """Class to compare with; the runner-up where None, and every other class besides."""

    number: int | None
    every: bool

    @classmethod
    def of(cls, name: str | None, model: ModelBundle) -> _Target:
        every = name is not None and name.casefold() == EVERY_CLASS
        number = None if name is None or every else class_number(name, model.class_names)
        return cls(number, every)


def _explain(
    one: ChosenCell,
    rgb: NDArray[np.uint8],
    model: ModelBundle,
    target: _Target,
    settings: HeatmapSettings,
    saliency: bool,
    progress: Progress,
    more: Mapping[str, Any],
) -> Explanation:
    mapping = part_of(progress, 0.0, _MAPPING) if saliency else progress
    seen = shrunk(one.pixels[None], model.input_size)
    found = classify(seen, model, ClassifySettings(seed=settings.seed), background=one.background)
    predicted = int(found.predicted[0])
    mask = one.outline()
    other = target.number
    if other is None:
        other = int(likeliest_other(found.posterior, found.predicted, model)[0])
    maps: list[Heatmap] = []
    if target.every:
        maps = all_class_heatmaps(
            one.pixels,
            model,
            predicted=predicted,
            background=one.background,
            mask=mask,
            settings=settings,
            progress=mapping,
        )
        heatmap = next(m for m in maps if m.target == other)
    else:
        (heatmap,) = iter_heatmaps(
            one.pixels[None],
            model,
            [other],
            predicted=[predicted],
            background=one.background,
            masks=None if mask is None else mask[None],
            settings=settings,
            progress=mapping,
        )
    probability = float(found.posterior[0, predicted])
    record = provenance(
        model,
        settings,
        program="cytodiffusion",
        version=__version__,
        **more,
        probability=probability,
        pixel_size_um=one.pixel_size_um,
        pixel_size_source=one.scale_source,
        touches_border=one.touches_border,
    )
    sentence = describe(heatmap, mask)
    record["sentence"] = sentence
    del record["settings"]  # those of the heatmap say how many trials were really made
    speaks = None
    if saliency:
        speaks = saliency_map(
            one.pixels,
            model,
            predicted,
            background=one.background,
            seed=settings.seed,
            progress=part_of(progress, _MAPPING, 1.0),
        )
    shape = rgb.shape[:2]
    return Explanation(heatmap, maps, one, mask, shape, probability, sentence, record, speaks)


#: Sources of a scale that need no warning.
CERTAIN = ("given", "file", "labels")


@dataclass(frozen=True, eq=False)
class CellField:
    """An image ``(Y, X, 3)``, its label image ``(Y, X)``, and the label of a cell."""

    rgb: NDArray[np.uint8]
    labels: NDArray[np.integer]
    cell: int


@dataclass(frozen=True, eq=False)
class ChosenCell:
    """A cell, cut out.

    Attributes
    ----------
    pixels : (S, S, 3) uint8
    background : (3,) float32
        Colour of the empty background, 0 to 255.
    mask : (S, S) bool or None
        Where the cell is, if that is known.
    placement : Placement
        Of the crop in its image.
    pixel_size_um : float
        Of the image.
    scale_source : str
        What the pixel size rests on.
    touches_border : bool
        What lies beyond the image's border is mirrored.
    single : SingleCell, optional
        The image, where it is of a single cell.
    field : CellField, optional
        The image and its cells, where there is a label image.
    """

    pixels: NDArray[np.uint8]
    background: NDArray[np.float32]
    mask: NDArray[np.bool_] | None
    placement: Placement
    pixel_size_um: float
    scale_source: str
    touches_border: bool
    single: SingleCell | None = None
    field: CellField | None = None

    def outline(self) -> NDArray[np.bool_] | None:
        """Mask in the crop, which is found by the watershed in a single-cell image; or None."""
        if self.single is None or (mask := self.single.mask) is None:
            return self.mask
        return self.placement.from_image(mask, False)

    def neighbours(self) -> NDArray[np.bool_] | None:
        """Where other cells are in the crop, as far as that is known."""
        others = self._others()
        return None if others is None else self.placement.from_image(others, False)

    def in_image(self, version: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        """Return a version ``(S, S, 3)`` of the cell at the pixels of its image.

        Around the cell they are exactly those of the image; None where the image is not known.
        """
        known = self.single or self.field
        if known is None:
            return None
        pixels, _ = self.placement.paint(known.rgb, self.pixels, version, self._others())
        return pixels

    def _others(self) -> NDArray[np.bool_] | None:
        """Pixels of the image that are other cells'."""
        if self.single is not None:
            return self.single.neighbours
        if self.field is None:
            return None
        labels = self.field.labels
        return np.asarray((labels > 0) & (labels != self.field.cell))

    def warnings(self) -> list[str]:
        """Sentences that the user should read."""
        said = []
        if self.scale_source not in CERTAIN:
            said.append(
                f"The pixel size is {self.scale_source}: {self.pixel_size_um:.4g} um. Give "
                "--pixel-size if you know it."
            )
        if self.touches_border:
            said.append(
                "The cell touches the border of the image: what lies beyond is mirrored, and the "
                "result says little of the part that is missing."
            )
        return said


def choose_cell(
    source: Path,
    labels: Path | None,
    cell: int | None,
    size: int,
    window_um: float,
    pixel_size_um: float | None = None,
) -> ChosenCell:
    """Cut a cell out of an image."""
    if pixel_size_um is not None:
        check_pixel_size(pixel_size_um)
    if not source.exists():
        raise InputError(f"{source} does not exist.")
    if source.is_dir():
        raise InputError(
            f"{source} is a folder: give one image, or the cells of a class with --class."
        )
    if labels is None:
        if cell is not None:
            raise InputError(f"Cell {cell} cannot be found without --labels.")
        return _single(source, size, window_um, pixel_size_um)
    return _labelled(source, labels, cell, size, window_um, pixel_size_um)


def _single(source: Path, size: int, window_um: float, pixel_size_um: float | None) -> ChosenCell:
    return chosen_single(SingleCells([source], pixel_size_um).read(source), size, window_um)


def chosen_single(cell: SingleCell, size: int, window_um: float) -> ChosenCell:
    """Cut out the cell of a single-cell image."""
    scale = cell.scale
    return ChosenCell(
        cell.crop(size, window_um),
        cell.background,
        None,
        Placement.of_cell(cell.centre, scale.pixel_size_um, window_um, size),
        scale.pixel_size_um,
        scale.source,
        False,
        cell,
    )


def _labelled(
    source: Path,
    labels: Path,
    cell: int | None,
    size: int,
    window_um: float,
    pixel_size_um: float | None,
) -> ChosenCell:
    image = open_image(source)
    opened = open_labels(labels, image)
    for note in opened.notes:
        _log.warning(note)
    found = opened.labels
    number = which_cell(found, cell, labels.name, "--cell")
    scale = labelled_scale(image, labels, pixel_size_um)
    return cut_cell(image.rgb(), found, number, size, window_um, scale.pixel_size_um, scale.source)


def which_cell(labels: NDArray[np.integer], cell: int | None, name: str, how: str) -> int:
    """Return the label that is meant: the only one where None."""
    ids = np.unique(labels[labels > 0])
    if not len(ids):
        raise InputError(f"There are no cells in {name}: every label is 0.")
    if cell is None:
        if len(ids) > 1:
            raise InputError(f"{name} has {len(ids)} cells: say which one with {how}.")
        cell = int(ids[0])
    if cell not in ids:
        raise InputError(
            f"There is no cell {cell} in {name}; its labels are {ids[0]} to {ids[-1]}."
        )
    return cell


def cut_cell(
    rgb: NDArray[np.uint8],
    labels: NDArray[np.integer],
    cell: int,
    size: int,
    window_um: float,
    pixel_size_um: float,
    scale_source: str,
) -> ChosenCell:
    """Cut one cell of a label image ``(Y, X)`` out of its image ``(Y, X, 3)``."""
    crops = extract_crops(rgb, labels, pixel_size_um, size, window_um, ids=[cell])
    placement = Placement.of_cell(crops.centroids[0], pixel_size_um, window_um, size)
    return ChosenCell(
        crops.pixels[0],
        estimate_background(rgb),
        placement.from_image(labels == cell, False),
        placement,
        pixel_size_um,
        scale_source,
        bool(crops.touches_border[0]),
        field=CellField(rgb, labels, cell),
    )
