"""Heatmaps, counterfactual cells and morphs for the window: calls of the engine, without Qt."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from cytodiffusion.progress import Progress, part_of
from napari_cytodiffusion.counterfactual.layers import Piece
from napari_cytodiffusion.counterfactual.targets import TargetChoice
from napari_cytodiffusion.engine import Engine
from napari_cytodiffusion.layers.placement import full_size
from napari_cytodiffusion.layers.views import CellViews

Body = Callable[[Progress], Iterator[Any]]

#: Counterfactual cells made at once.
_TOGETHER = 16


@dataclass(frozen=True)
class CounterfactualRequest:
    """What a run makes.

    Attributes
    ----------
    maps : bool
        Heatmaps.
    versions : bool
        Counterfactual cells.
    method : str
        Of a heatmap: ``edited`` or ``published``.
    turns, trials : int
        Versions of an edited heatmap; passes of a published one.
    seed : int
    strength : float or None
        Of a counterfactual cell; None for the least that turns it.
    saliency : bool
        Saliency maps.
    """

    maps: bool
    versions: bool
    method: str
    turns: int
    trials: int
    seed: int
    strength: float | None
    saliency: bool = False

    def same_map(self, other: CounterfactualRequest) -> bool:
        """Whether another wish gives the same heatmaps."""
        mine, theirs = (
            (w.method, w.turns if w.method == "edited" else w.trials, w.seed) for w in (self, other)
        )
        return mine == theirs

    def same_version(self, other: CounterfactualRequest) -> bool:
        """Whether another wish gives the same counterfactual cells."""
        return (self.strength, self.seed) == (other.strength, other.seed)


@dataclass(frozen=True, eq=False)
class SlideSource:
    """What the engine needs to know of the classified cells of one image."""

    image: Any
    labels: Any
    pixel_size_um: float
    window_um: float
    model: tuple[str, str]
    background: np.ndarray | None
    engine: Engine


@dataclass(frozen=True)
class Background:
    """The colour of the empty slide was measured, (3,)."""

    colour: np.ndarray


@dataclass(frozen=True, eq=False)
class HeatmapResult:
    """A heatmap is made.

    Attributes
    ----------
    asked : TargetChoice
    wish : CounterfactualRequest
    heatmap : Heatmap
    piece : Piece
        The same at the pixels of the image.
    inside : float
        Share of the map's energy inside the cell; nan where there is none.
    placement : Placement
        Of the crop in the image.
    mask, edge : (S, S) bool
        The cell in its crop, and its outline.
    sentence : str
        What an edited map asks for; empty for others.
    stains : (S, S, 3) float32 or None
        How the stains of an edited map change; see `cytodiffusion.counterfactual.wording`.
    """

    asked: TargetChoice
    wish: CounterfactualRequest
    heatmap: Any
    piece: Piece
    inside: float
    placement: Any
    mask: np.ndarray
    edge: np.ndarray
    sentence: str = ""
    stains: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class CounterfactualResult:
    """A counterfactual cell is made: cell ``number`` of what the engine answered.

    ``on_image`` (y, x, 3) shows it at the pixels of the image.
    """

    asked: TargetChoice
    wish: CounterfactualRequest
    cells: Any
    number: int
    on_image: np.ndarray


@dataclass(frozen=True, eq=False)
class SaliencyResult:
    """A saliency map is made; it is of a cell, whatever the target."""

    asked: TargetChoice
    wish: CounterfactualRequest
    saliency: Any


@dataclass(frozen=True, eq=False)
class MeanResult:
    """The mean map of some cells of one class towards one target is made.

    Attributes
    ----------
    predicted, target : int
    labels : tuple of int
        Of the cells.
    mean : MeanMap
    edge : (S, S) bool
        Outline of the mean cell.
    """

    predicted: int
    target: int
    labels: tuple[int, ...]
    mean: Any
    edge: np.ndarray


@dataclass(frozen=True, eq=False)
class MorphResult:
    """A morph is made.

    Attributes
    ----------
    asked : TargetChoice
    wish : CounterfactualRequest
    film : Morph
        Of the engine.
    on_image : (F, y, x, 3) uint8
        Its frames at the pixels of the image; around the cell they are those of the image.
    origin : (y, x)
        First pixel, in pixels of the image.
    """

    asked: TargetChoice
    wish: CounterfactualRequest
    film: Any
    on_image: np.ndarray
    origin: tuple[int, int]


def slide_of(views: CellViews, engine: Engine) -> SlideSource:
    """Gather what the engine needs to know."""
    return SlideSource(
        image=full_size(views.image),
        labels=full_size(views.labels),
        pixel_size_um=views.pixel_size_um,
        window_um=views.window_um,
        model=views.model,
        background=views.background,
        engine=engine,
    )


def cells_body(
    slide: SlideSource, cells: Sequence[TargetChoice], wish: CounterfactualRequest
) -> Body:
    """Body of a `Job` that yields `Background`, then the results of every cell.

    Of several cells the mean maps follow their heatmaps.
    """

    def body(report: Progress) -> Iterator[Any]:
        model, crops = yield from _prepared(slide, cells, wish, report)
        wanted = [w for w in (wish.maps, wish.saliency, wish.versions) if w]
        parts = iter(
            part_of(report, k / len(wanted), (k + 1) / len(wanted)) for k in range(len(wanted))
        )
        if wish.maps:
            made = []
            for one in _mapped(slide, cells, wish, model, crops, next(parts)):
                made.append(one)
                yield one
            yield from _averaged(slide, made)
        if wish.saliency:
            yield from _salient(slide, cells, wish, model, crops, next(parts))
        if wish.versions:
            yield from _changed(slide, cells, wish, model, crops, next(parts))

    return body


def all_classes_body(slide: SlideSource, cell: TargetChoice, wish: CounterfactualRequest) -> Body:
    """Body of a `Job` that yields `Background`, then `HeatmapResult` for every other class."""

    def body(report: Progress) -> Iterator[Any]:
        model, crops = yield from _prepared(slide, [cell], wish, report)
        for heatmap in slide.engine.all_class_heatmaps(
            crops.pixels[0],
            model,
            predicted=cell.predicted,
            background=crops.background,
            mask=crops.masks[0],
            settings=_map_settings(wish),
            progress=report,
        ):
            asked = dataclasses.replace(cell, target=heatmap.target)
            yield _on_slide(slide, asked, wish, heatmap, crops.placements[0], crops.masks[0])

    return body


def morph_body(
    slide: SlideSource, cell: TargetChoice, wish: CounterfactualRequest, frames: int
) -> Body:
    """Body of a `Job` that yields `Background`, then one `MorphResult`."""

    def body(report: Progress) -> Iterator[Any]:
        model, crops = yield from _prepared(slide, [cell], wish, report)
        film = slide.engine.make_morph(
            crops.pixels[0],
            model,
            cell.target,
            frames=frames,
            predicted=cell.predicted,
            background=crops.background,
            mask=crops.masks[0],
            neighbours=crops.neighbours[0],
            settings=_cell_settings(wish),
            progress=report,
        )
        yield MorphResult(cell, wish, film, *_on_image(slide, cell, crops, 0, film.frames))

    return body


@dataclass(frozen=True, eq=False)
class _Crops:
    """Crops (N, S, S, 3) uint8 of an image, where they lie, and masks of their cells and others."""

    image: Any
    pixels: np.ndarray
    placements: list[Any]
    masks: np.ndarray
    neighbours: np.ndarray
    background: np.ndarray


def _prepared(
    slide: SlideSource, cells: Sequence[TargetChoice], wish: CounterfactualRequest, report: Progress
) -> Generator[Background, None, tuple[Any, _Crops]]:
    """Load the model and cut out the cells; yields the background, returns both."""
    report(0.0, "Loading the model ...")
    engine = slide.engine
    model = engine.load_model(*slide.model)
    report(0.0, "Cutting out the cells ...")
    from cytodiffusion.counterfactual.placement import Placement

    background = slide.background
    whole = slide.image
    # the range of 16-bit pixels is that of the whole image
    if background is None or np.dtype(whole.dtype) != np.uint8:
        whole = engine.as_rgb8(whole)
    if background is None:
        background = engine.background(whole)
    yield Background(background)
    scale = (slide.pixel_size_um, slide.window_um)
    size = engine.map_size(model, _map_settings(wish))
    pixels = [engine.crop(whole, slide.labels, c.label, (c.y, c.x), *scale, size) for c in cells]
    placements = [Placement.of_cell((c.y, c.x), *scale, size) for c in cells]
    labels = np.stack([_labels(slide.labels, place) for place in placements])
    masks = labels == np.array([cell.label for cell in cells])[:, None, None]
    neighbours = (labels > 0) & ~masks
    return model, _Crops(whole, np.stack(pixels), placements, masks, neighbours, background)


def _mapped(
    slide: SlideSource,
    cells: Sequence[TargetChoice],
    wish: CounterfactualRequest,
    model: Any,
    crops: _Crops,
    report: Progress,
) -> Iterator[HeatmapResult]:
    made = slide.engine.iter_heatmaps(
        crops.pixels,
        model,
        [cell.target for cell in cells],
        predicted=[cell.predicted for cell in cells],
        background=crops.background,
        masks=crops.masks,
        settings=_map_settings(wish),
        progress=report,
    )
    with closing(made):
        for number, (cell, heatmap) in enumerate(zip(cells, made, strict=True)):
            place, mask = crops.placements[number], crops.masks[number]
            yield _on_slide(slide, cell, wish, heatmap, place, mask)


def _averaged(slide: SlideSource, made: Sequence[HeatmapResult]) -> Iterator[MeanResult]:
    from cytodiffusion.drawing.maps import cell_edges

    means = slide.engine.mean_maps([m.heatmap for m in made], [m.mask for m in made])
    for places, mean in means:
        first = made[places[0]].asked
        edge = cell_edges(mean.mask.astype(np.uint8), 1) > 0
        labels = tuple(made[place].asked.label for place in places)
        yield MeanResult(first.predicted, first.target, labels, mean, edge)


def _salient(
    slide: SlideSource,
    cells: Sequence[TargetChoice],
    wish: CounterfactualRequest,
    model: Any,
    crops: _Crops,
    report: Progress,
) -> Iterator[SaliencyResult]:
    for number, cell in enumerate(cells):
        found = slide.engine.saliency_map(
            crops.pixels[number],
            model,
            cell.predicted,
            background=crops.background,
            seed=wish.seed,
            progress=part_of(report, number / len(cells), (number + 1) / len(cells)),
        )
        yield SaliencyResult(cell, wish, found)


def _changed(
    slide: SlideSource,
    cells: Sequence[TargetChoice],
    wish: CounterfactualRequest,
    model: Any,
    crops: _Crops,
    report: Progress,
) -> Iterator[CounterfactualResult]:
    for start in range(0, len(cells), _TOGETHER):
        part = slice(start, min(start + _TOGETHER, len(cells)))
        made = slide.engine.counterfactual_cells(
            crops.pixels[part],
            model,
            [cell.target for cell in cells[part]],
            predicted=[cell.predicted for cell in cells[part]],
            background=crops.background,
            masks=crops.masks[part],
            neighbours=crops.neighbours[part],
            settings=_cell_settings(wish),
            progress=part_of(report, part.start / len(cells), part.stop / len(cells)),
        )
        for number, cell in enumerate(cells[part]):
            version = made.pixels[number : number + 1]
            painted, _ = _on_image(slide, cell, crops, start + number, version)
            yield CounterfactualResult(cell, wish, made, number, painted[0])


def _on_slide(
    slide: SlideSource,
    cell: TargetChoice,
    wish: CounterfactualRequest,
    heatmap: Any,
    placement: Any,
    mask: np.ndarray,
) -> HeatmapResult:
    from cytodiffusion.counterfactual.placement import heatmap_on_image
    from cytodiffusion.drawing.maps import cell_edges

    shape = slide.labels.shape[:2]
    values, origin = heatmap_on_image(heatmap, placement, shape)
    strength, _ = placement.to_image(heatmap.significance(), shape)
    edited = wish.method == "edited"
    return HeatmapResult(
        asked=cell,
        wish=wish,
        heatmap=heatmap,
        piece=Piece(values, strength, origin),
        inside=heatmap.energy_share(mask),
        placement=placement,
        mask=mask,
        edge=cell_edges(mask.astype(np.uint8), 1) > 0,
        sentence=slide.engine.describe(heatmap, mask),
        stains=slide.engine.stain_change(heatmap, mask) if edited else None,
    )


def _labels(labels: Any, placement: Any) -> np.ndarray:
    """Labels of the cells in a crop, (S, S); reads its surroundings only."""
    part, here, _ = _surroundings(labels, placement)
    return here.from_image(part)


def _surroundings(image: Any, placement: Any) -> tuple[np.ndarray, Any, tuple[int, int]]:
    """Read the part of an image around a crop: it, the crop's place in it, and its first pixel."""
    top, left = (max(0, math.floor(start)) for start in (placement.top, placement.left))
    bottom, right = (math.ceil(s + placement.side) for s in (placement.top, placement.left))
    here = dataclasses.replace(placement, top=placement.top - top, left=placement.left - left)
    return np.asarray(image[top:bottom, left:right]), here, (top, left)


def _on_image(
    slide: SlideSource, cell: TargetChoice, crops: _Crops, number: int, frames: np.ndarray
) -> tuple[np.ndarray, tuple[int, int]]:
    """Versions of a crop at the pixels of the image, (F, y, x, 3), and the first pixel."""
    place, crop = crops.placements[number], crops.pixels[number]
    part, here, (top, left) = _surroundings(crops.image, place)
    labels, _, _ = _surroundings(slide.labels, place)
    rgb, others = slide.engine.as_rgb8(part), (labels > 0) & (labels != cell.label)
    painted = [here.paint(rgb, crop, frame, others) for frame in frames]
    y, x = painted[0][1]
    return np.stack([pixels for pixels, _ in painted]), (top + y, left + x)


def _map_settings(wish: CounterfactualRequest) -> Any:
    from cytodiffusion.counterfactual.settings import HeatmapSettings

    return HeatmapSettings.model_validate(
        {
            "method": wish.method,
            "versions": wish.turns,
            "trials": wish.trials,
            "seed": wish.seed,
        }
    )


def _cell_settings(wish: CounterfactualRequest) -> Any:
    from cytodiffusion.counterfactual.cells import CounterfactualSettings

    return CounterfactualSettings(strength=wish.strength, seed=wish.seed)
