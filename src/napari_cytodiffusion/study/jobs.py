"""What the window does with a study in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.drawing.maps import CellMaps, features_table
from cytodiffusion.progress import Progress
from napari_cytodiffusion.classify.jobs import outline_width
from napari_cytodiffusion.engine import Engine
from napari_cytodiffusion.layers.views import CellViews, put_batches

if TYPE_CHECKING:
    import pandas as pd

    from cytodiffusion.study.opening import OpenedImage


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """An image of a study, with all that its layers show.

    ``maps`` and ``table`` are None where no model has said anything of its cells.
    """

    opened: OpenedImage
    maps: CellMaps | None
    table: pd.DataFrame | None


def open_image_body(
    engine: Engine, folder: Path, name: str, writable: bool
) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields one `PreparedImage`."""

    def body(report: Progress) -> Iterator[Any]:
        report(0.0, f"Opening {name} ...")
        opened = engine.read_study_image(folder, name, writable)
        maps = table = None
        if opened.batch is not None:
            thick = outline_width(opened.image.pixel_size_um)
            maps = CellMaps(opened.labels, len(opened.classes), thick)
            put_batches(maps, [opened.batch])
            maps.paint()
            frame = engine.cells_frame([opened.batch])
            table = features_table(frame, int(np.max(opened.labels)))
        yield PreparedImage(opened, maps, table)

    return body


def keep_classified_body(
    engine: Engine, folder: Path, name: str, views: CellViews
) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that keeps what a model said of all cells of an image; yields its name."""
    batches = list(views.results.uncorrected.batches)
    settings, source = views.settings or ClassifySettings(), views.model

    def body(report: Progress) -> Iterator[Any]:
        report(0.0, f"Keeping the classes of {name} ...")
        engine.keep_classified(folder, name, batches, source, settings)
        yield name

    return body
