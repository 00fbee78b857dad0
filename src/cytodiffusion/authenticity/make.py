"""Making a test: cells drawn, made alike, and written to one file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cytodiffusion import __version__
from cytodiffusion.authenticity.leaks import leaks
from cytodiffusion.authenticity.settings import AuthenticitySettings, check_enough, counts_of
from cytodiffusion.authenticity.sources import (
    RealCells,
    TestCell,
    Window,
    images_by_class,
    sampled_cells,
    shared_classes,
    stored_cells,
)
from cytodiffusion.authenticity.standardise import (
    LEAST_SIDE,
    PAPER,
    QUALITY,
    decode,
    present,
)
from cytodiffusion.authenticity.store import write_test
from cytodiffusion.cells.crops import WINDOW_UM, centre_crop
from cytodiffusion.datasets.public_cells import ATTRIBUTION, about, is_public, public_cells
from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import check_folder
from cytodiffusion.progress import Progress, silent
from cytodiffusion.taxonomy import plain

if TYPE_CHECKING:
    from cytodiffusion.model.bundle import ModelBundle

#: Share of the real images that may be left out for being small or coarse, before all cells are
#: shown smaller or coarser instead.
LEFT_OUT = 0.1
#: Narrower windows do not show a whole cell.
LEAST_WINDOW_UM = 8.0
#: Pixel sizes are rounded where they are written down.
ROUNDING = 1e-3


@dataclass(frozen=True)
class CellView:
    """What all images of a test have in common: micrometres and pixels of a side."""

    window_um: float
    side: int


def make_test(
    settings: AuthenticitySettings,
    progress: Progress = silent,
    *,
    model: ModelBundle | None = None,
) -> Path:
    """Draw the cells of a test and write its file."""
    check_folder(settings.output.parent)
    if settings.output.exists():
        raise InputError(f"{settings.output} exists already: choose another name for the test.")
    public = is_public(settings.real)
    folder = settings.real
    if public:
        folder = public_cells(settings.allow_download, _share(progress, 0.0, 0.05))
    real = images_by_class(folder, settings.split)
    model = model or _load(settings, progress)
    made = list(model.untaught.class_names)
    if settings.synthetic is not None:
        made = list(images_by_class(settings.synthetic, generated=True))
    classes = shared_classes(list(real), made, settings.classes)
    wanted = counts_of(settings.trials, classes, settings.seed)
    check_enough({name: len(paths) for name, paths in real.items()}, wanted, "real")
    synthetic, notes = _synthetic(settings, model, wanted, _share(progress, 0.05, 0.6))
    chosen, view, said = _real(settings, real, wanted, synthetic, _share(progress, 0.6, 0.85))
    cells = _alike(chosen, synthetic, view, settings.seed)
    progress(0.87, "asking the model how clear each cell is")
    cells = _with_confidence(cells, view, model, _share(progress, 0.87, 0.97))
    notes += said
    left_out = sorted({plain(n): n for n in (*real, *made)}.keys() - {plain(n) for n in classes})
    if left_out and not settings.classes:
        notes.append(f"Classes without real or without synthetic cells: {', '.join(left_out)}.")
    if public:
        notes.append(f"Real cells: {ATTRIBUTION}.")
    found = leaks([c.image for c in cells], np.array([c.synthetic for c in cells]))
    record = {
        "version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": settings.record(),
        "model": model.record(),
        "window_um": view.window_um,
        "side": view.side,
        "background": PAPER,
        "jpeg_quality": QUALITY,
        "real_cells": about() if public else None,
        "notes": notes,
        "leaks": found,
    }
    write_test(settings.output, cells, classes, record)
    progress(1.0, "the test is ready")
    return settings.output


def _load(settings: AuthenticitySettings, progress: Progress) -> ModelBundle:
    from cytodiffusion.model.loading import load_bundle

    progress(0.0, "loading the model")
    return load_bundle(
        settings.model, device=settings.device, allow_download=settings.allow_download
    )


def _share(progress: Progress, start: float, end: float) -> Progress:
    return lambda fraction, message: progress(start + fraction * (end - start), message)


def _synthetic(
    settings: AuthenticitySettings,
    model: ModelBundle,
    wanted: Mapping[str, int],
    progress: Progress,
) -> tuple[list[Window], list[str]]:
    if settings.synthetic is not None:
        found = stored_cells(settings.synthetic, wanted, WINDOW_UM, settings.seed)
        check_enough(Counter(w.class_name for w in found), wanted, "synthetic")
        return found, []
    from cytodiffusion.generation import GenerationSettings

    return sampled_cells(
        model,
        wanted,
        GenerationSettings(
            steps=settings.steps,
            guidance=settings.guidance,
            seed=settings.seed,
            reject=settings.reject,
        ),
        progress,
    )


def _real(
    settings: AuthenticitySettings,
    images: Mapping[str, Sequence[Path]],
    wanted: Mapping[str, int],
    synthetic: Sequence[Window],
    progress: Progress,
) -> tuple[list[Window], CellView, list[str]]:
    """Real cells that fill the window at its resolution, and what all cells will show."""
    source = RealCells({n: images[n] for n in wanted}, settings.seed, settings.pixel_size_um)
    found = source.take(wanted, progress)
    view = common_view(found, synthetic)
    kept: dict[str, list[Window]] = {name: [] for name in wanted}
    unfit = 0
    while found:
        for window in found:
            if fits(window, view):
                kept[window.class_name].append(window)
            else:
                unfit += 1
        short = {name: max(0, n - len(kept[name])) for name, n in wanted.items()}
        found = source.take(short, progress) if any(short.values()) else []
    why = _why(unfit, view, source.skipped)
    check_enough({n: len(w) for n, w in kept.items()}, wanted, "real", why and f" ({why})")
    chosen = [window for name, n in wanted.items() for window in kept[name][:n]]
    return chosen, view, [f"Real images left out: {why}."] if why else []


def _why(unfit: int, view: CellView, skipped: Sequence[str]) -> str:
    reasons = []
    if unfit:
        reasons.append(
            f"{unfit} do not show {view.window_um:.3g} um around the cell at {view.side} pixels"
        )
    if skipped:
        reasons.append(f"{len(skipped)} cannot be used, such as: {skipped[0].rstrip('.')}")
    return "; ".join(reasons)


def common_view(real: Sequence[Window], synthetic: Sequence[Window]) -> CellView:
    """Choose the largest window and the most pixels that no cell has to be enlarged for."""
    if not real:
        raise InputError("None of the real images can be read.")
    made_um = min(w.reach_um for w in synthetic)
    window = min(made_um, float(np.quantile([w.reach_um for w in real], LEFT_OUT)))
    if window < LEAST_WINDOW_UM:
        raise InputError(
            f"The real images show only {window:.3g} um around the cell, and {LEAST_WINDOW_UM:g} "
            "are the least: use images with more around the cells, or give the pixel size."
        )
    made = min(window / w.pixel_size_um for w in synthetic)
    fine = float(np.quantile([window / w.pixel_size_um for w in real], LEFT_OUT))
    side = int(min(made, fine) * (1 + ROUNDING))
    if side < LEAST_SIDE:
        raise InputError(
            f"{window:.3g} um around a cell are only {side} pixels, and {LEAST_SIDE} are the "
            "least: use finer images, or give the pixel size."
        )
    return CellView(window, side)


def fits(window: Window, view: CellView) -> bool:
    """Whether a cell fills the window without being mirrored at a border or enlarged."""
    enough = 1 + ROUNDING
    return (
        window.reach_um * enough >= view.window_um
        and view.window_um / window.pixel_size_um * enough >= view.side
    )


def _alike(
    real: Sequence[Window], synthetic: Sequence[Window], view: CellView, seed: int
) -> list[TestCell]:
    """Make images of all cells by the same steps, in an order that tells nothing."""
    both = [(w, False) for w in real] + [(w, True) for w in synthetic]
    rng = np.random.default_rng([seed, 4])
    turns = rng.integers(0, 8, len(both))
    cells = []
    for number in rng.permutation(len(both)):
        window, made = both[number]
        pixels = centre_crop(
            window.pixels, window.pixel_size_um, view.side, view.window_um, centre=window.centre
        )
        image = present(pixels, window.background, int(turns[number]))
        cells.append(TestCell(image, made, window.class_name, window.source))
    return cells


def _with_confidence(
    cells: Sequence[TestCell], view: CellView, model: ModelBundle, progress: Progress
) -> list[TestCell]:
    """Add the model's posterior of each cell's class, of the image as it is shown."""
    from cytodiffusion.classification.classifier import classify
    from cytodiffusion.classification.settings import ClassifySettings

    numbers = {plain(name): index for index, name in enumerate(model.class_names)}
    if not {plain(cell.class_name) for cell in cells} <= numbers.keys():
        return list(cells)  # another model's classes
    scale = view.window_um / view.side
    windows = [
        centre_crop(decode(c.image), scale, model.input_size, model.window_um) for c in cells
    ]
    result = classify(
        np.stack(windows),
        model,
        ClassifySettings(),
        background=np.full(3, PAPER),
        progress=progress,
    )
    shares = [
        float(row[numbers[plain(c.class_name)]])
        for row, c in zip(result.posterior, cells, strict=True)
    ]
    return [
        TestCell(c.image, c.synthetic, c.class_name, c.source, share)
        for c, share in zip(cells, shares, strict=True)
    ]


def summary(record: Mapping[str, Any], cells: int, classes: Sequence[str]) -> str:
    """Say in a sentence or two what a new test is."""
    worst = record["leaks"][0]
    return (
        f"{cells} trials, half real and half synthetic, {len(classes)} classes, "
        f"{record['side']} x {record['side']} pixels of {record['window_um']:.3g} um; of the "
        f"simple measures of an image {worst['measure']} tells most (AUC {worst['auc']:.2f}, 0.5 "
        "tells nothing)"
    )
