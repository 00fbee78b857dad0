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
    """A counterfactual cell is made: cell ``number`` of what the engine answered."""

    asked: TargetChoice
    wish: CounterfactualRequest
    cells: Any
    number: int


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
    """A morph is made: the engine's ``film`` with its frames."""

    asked: TargetChoice
    wish: CounterfactualRequest
    film: Any


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
            settings=_cell_settings(wish),
            progress=report,
        )
        yield MorphResult(cell, wish, film)

    return body


@dataclass(frozen=True, eq=False)
class _Crops:
    """Crops (N, S, S, 3) uint8, where they lie, and masks (N, S, S) of their cells."""

    pixels: np.ndarray
    placements: list[Any]
    masks: np.ndarray
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
    masks = [_mask(slide.labels, c.label, p) for c, p in zip(cells, placements, strict=True)]
    return model, _Crops(np.stack(pixels), placements, np.stack(masks), background)


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
            settings=_cell_settings(wish),
            progress=part_of(report, part.start / len(cells), part.stop / len(cells)),
        )
        for number, cell in enumerate(cells[part]):
            yield CounterfactualResult(cell, wish, made, number)


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


def _mask(labels: Any, label: int, placement: Any) -> np.ndarray:
    """Where the cell is in its crop, (S, S) bool; reads its surroundings only."""
    top, left = (max(0, math.floor(start)) for start in (placement.top, placement.left))
    bottom, right = (math.ceil(s + placement.side) for s in (placement.top, placement.left))
    part = np.asarray(labels[top:bottom, left:right])
    here = dataclasses.replace(placement, top=placement.top - top, left=placement.left - left)
    return here.from_image(part) == label


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
