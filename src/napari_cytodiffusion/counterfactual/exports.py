"""Heatmaps, figures, counterfactual cells and morphs as files: calls of the engine, without Qt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cytodiffusion.errors import InputError
from cytodiffusion.progress import Progress
from napari_cytodiffusion.counterfactual.jobs import (
    Body,
    CounterfactualResult,
    HeatmapResult,
    MeanResult,
    MorphResult,
    SaliencyResult,
)
from napari_cytodiffusion.counterfactual.store import CounterfactualStore
from napari_cytodiffusion.counterfactual.targets import TargetChoice
from napari_cytodiffusion.layers.placement import full_size
from napari_cytodiffusion.layers.results import CellRecord
from napari_cytodiffusion.layers.views import CellViews

#: A heatmap, and what there is of its cell: counterfactual, saliency, and the table's row.
_Made = tuple[HeatmapResult, CounterfactualResult | None, SaliencyResult | None, CellRecord | None]


@dataclass(frozen=True)
class SavedFiles:
    """Files were written: ``path`` is the file or the folder of them."""

    path: Path


@dataclass(frozen=True)
class Origin:
    """Where cells come from, for the records beside the files.

    Attributes
    ----------
    image, labels : str
        Names of the layers.
    shape : (Y, X)
        Of the image.
    pixel_size_um : float
    """

    image: str
    labels: str
    shape: tuple[int, int]
    pixel_size_um: float

    @classmethod
    def of(cls, views: CellViews) -> Origin:
        """Note where the cells of an image come from."""
        height, width = full_size(views.labels).shape[:2]
        size = views.pixel_size_um
        return cls(views.image.name, views.labels.name, (height, width), size)

    def record(self, record: CellRecord | None) -> dict[str, Any]:
        """Return what the record of a cell says besides."""
        from cytodiffusion import __version__
        from cytodiffusion.files.record import circumstances

        said = {
            "program": "napari-cytodiffusion",
            "version": __version__,
            "image": self.image,
            "labels": self.labels,
            "pixel_size_um": self.pixel_size_um,
            **circumstances(),
        }
        if record is not None:
            probability = float(record.posterior[record.predicted])
            said |= {
                "cell": record.label,
                "probability": probability,
                "touches_border": record.touches_border,
            }
        return said


def save_body(
    key: str,
    path: Path,
    found: CounterfactualStore,
    asked: TargetChoice | None,
    views: CellViews,
    sigmas: float,
) -> Body:
    """Body of a `Job` that saves one of `CounterfactualStore.saveable` and yields `SavedFiles`."""
    origin, record = Origin.of(views), views.coarse.record
    if key == "mean":
        return heatmaps_body(path, [], origin, found.means())
    if key == "all" or asked is None:
        made = [
            (m, found.version(m.asked), found.saliency(m.asked.label), record(m.asked.label))
            for m in found.every_map()
        ]
        return heatmaps_body(path, made, origin, found.means())
    mapped, changed, morphed = found.map(asked), found.version(asked), found.morph(asked)
    cell = record(asked.label)
    if key == "grid":
        return grid_body(path, found.all_classes(asked.label), sigmas)
    if key == "version" and changed is not None:
        return version_body(path, changed, cell, origin)
    if key == "morph" and morphed is not None:
        return morph_body(path, morphed, cell, origin)
    if key == "figure" and mapped is not None:
        return figure_body(path, mapped, sigmas)
    if key == "heatmap" and mapped is not None:
        return heatmaps_body(path, [(mapped, None, found.saliency(asked.label), cell)], origin)
    raise InputError("There is nothing of this cell to save yet.")


def heatmaps_body(
    folder: Path,
    made: Sequence[_Made],
    origin: Origin,
    means: Sequence[MeanResult] = (),
) -> Body:
    """Body of a `Job` that writes a folder a heatmap, and one a mean map, into a folder."""

    def body(report: Progress) -> Iterator[Any]:
        from cytodiffusion.counterfactual.files import name_in_files, save_heatmap, save_mean_map

        total = len(made) + len(means)
        target = folder
        for number, (mapped, changed, salient, record) in enumerate(made):
            report(number / total, f"writing {number + 1} of {total}")
            target = folder / folder_name(mapped)
            said = origin.record(record)
            save_heatmap(
                target,
                mapped.heatmap,
                placement=mapped.placement,
                shape=origin.shape,
                mask=mapped.mask,
                record=said,
                saliency=None if salient is None else salient.saliency,
            )
            if changed is not None:
                _save_version(target / "synthetic", changed, said)
        for number, one in enumerate(means, len(made)):
            report(number / total, f"writing {number + 1} of {total}")
            heatmap = one.mean.heatmap
            names = [name_in_files(n) for n in (heatmap.predicted_name, heatmap.target_name)]
            target = folder / "-".join(("mean", *names))
            save_mean_map(target, one.mean, origin.record(None) | {"labels_of_cells": one.labels})
        yield SavedFiles(target if total == 1 else folder)

    return body


def folder_name(mapped: HeatmapResult) -> str:
    """Name of the folder of a heatmap."""
    from cytodiffusion.counterfactual.files import name_in_files

    return f"cell-{mapped.asked.label:06d}-{name_in_files(mapped.heatmap.target_name)}"


def figure_body(path: Path, mapped: HeatmapResult, sigmas: float) -> Body:
    """Body of a `Job` that draws the figure of one heatmap."""

    def body(report: Progress) -> Iterator[Any]:
        report(0.0, "drawing the figure")
        from cytodiffusion.counterfactual.figures import heatmap_figure, save_figure

        figure = heatmap_figure(mapped.heatmap, mask=mapped.mask, sigmas=sigmas)
        yield SavedFiles(save_figure(figure, path))

    return body


def grid_body(path: Path, found: Sequence[HeatmapResult], sigmas: float) -> Body:
    """Body of a `Job` that draws the heatmaps of all classes."""

    def body(report: Progress) -> Iterator[Any]:
        report(0.0, "drawing the figure")
        from cytodiffusion.counterfactual.figures import grid_figure, save_figure

        figure = grid_figure([mapped.heatmap for mapped in found], sigmas=sigmas)
        yield SavedFiles(save_figure(figure, path))

    return body


def version_body(
    folder: Path, changed: CounterfactualResult, record: CellRecord | None, origin: Origin
) -> Body:
    """Body of a `Job` that writes a counterfactual cell, its figure and its record."""

    def body(report: Progress) -> Iterator[Any]:
        report(0.0, "writing the counterfactual cell")
        target = folder / f"cell-{changed.asked.label:06d}-synthetic"
        _save_version(target, changed, origin.record(record))
        yield SavedFiles(target)

    return body


def _save_version(folder: Path, changed: CounterfactualResult, said: dict[str, Any]) -> None:
    from cytodiffusion.counterfactual.figures import save_counterfactual

    save_counterfactual(folder, changed.cells, changed.number, said, changed.on_image)


def morph_body(path: Path, morphed: MorphResult, record: CellRecord | None, origin: Origin) -> Body:
    """Body of a `Job` that writes a morph, as its ending says: GIF, animated PNG or TIFF."""

    def body(report: Progress) -> Iterator[Any]:
        report(0.0, "writing the morph")
        from cytodiffusion.counterfactual.files import save_morph

        film = morphed.film
        said = origin.record(record) | film.record()
        size = film.last.window_um / film.frames.shape[1]
        yield SavedFiles(save_morph(film.frames, path, said, pixel_size_um=size))

    return body
