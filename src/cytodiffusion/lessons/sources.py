"""Where the cells of a lesson come from: a study, labelled images, the model itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.authenticity.sources import images_by_class, says_synthetic
from cytodiffusion.cells.crops import extract_crops
from cytodiffusion.cells.single_cell import SingleCell, SingleCells
from cytodiffusion.counterfactual.placement import Placement
from cytodiffusion.errors import CytoDiffusionError, InputError, naming
from cytodiffusion.generation.generate import BACKGROUND, generate
from cytodiffusion.generation.order import class_of
from cytodiffusion.generation.settings import GenerationSettings
from cytodiffusion.image.image import open_image
from cytodiffusion.image.stain import estimate_background
from cytodiffusion.lessons.content import Truth
from cytodiffusion.lessons.settings import LessonSettings, check_classes
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.progress import Progress, part_of
from cytodiffusion.study import Study
from cytodiffusion.study.database import FILE as STUDY_FILE
from cytodiffusion.study.table import HUMAN
from cytodiffusion.taxonomy import plain, white_classes

if TYPE_CHECKING:
    import pandas as pd

#: Images looked at beyond those needed: some cannot be used.
SPARE = 2

#: Sides of the pictures of a lesson, in pixels: as fine as the image, within these.
LEAST_SIDE, MOST_SIDE = 96, 240


@dataclass(frozen=True, eq=False)
class SourceCell:
    """A cell that may go into a lesson.

    Attributes
    ----------
    picture : (P, P, 3) uint8
        As people see it; the window of the model.
    crop : (S, S, 3) uint8
        The same, as large as the model draws cells.
    mask : (S, S) bool
        Where the cell is in the crop; everywhere where that is not known.
    background : (3,) float32
        Colour of the empty slide, 0 to 255.
    class_name : str
    truth : Truth
    synthetic : bool
    source : str
        Name of the file, or the seed and number of a drawing.
    """

    picture: NDArray[np.uint8]
    crop: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    background: NDArray[np.float32]
    class_name: str
    truth: Truth
    synthetic: bool
    source: str


@dataclass(frozen=True, eq=False)
class Found:
    """Cells of a source, and what there is to say about them."""

    classes: tuple[str, ...]
    cells: list[SourceCell]
    notes: list[str] = field(default_factory=list)


def find_cells(
    settings: LessonSettings, model: ModelBundle, size: int, progress: Progress
) -> Found:
    """Draw the cells of a lesson out of its source, some of each class.

    Parameters
    ----------
    size : int
        Side of the crops in pixels.
    """
    if settings.source is None:
        return _drawn(settings, model, size, progress)
    if is_study(settings.source):
        return _reviewed(settings, model, size, progress)
    return _labelled(settings, model, size, progress)


def is_study(source: Path) -> bool:
    """Tell whether a folder is one of a study."""
    return (source / STUDY_FILE).is_file()


def chosen_classes(asked: Sequence[str], there: Sequence[str], source: str) -> tuple[str, ...]:
    """Return the classes of a lesson in the spelling of its source."""
    known = {plain(name): name for name in there}
    for name in asked:
        if plain(name) not in known:
            raise InputError(f"{source} has no cells of the class {name!r}: {', '.join(there)}.")
    wanted = [known[plain(name)] for name in asked] or list(there)
    chosen = tuple(dict.fromkeys(wanted))
    check_classes(chosen)
    return chosen


def _side(pixel_size_um: float, window_um: float) -> int:
    return int(np.clip(round(window_um / pixel_size_um), LEAST_SIDE, MOST_SIDE))


def _wanted(settings: LessonSettings) -> int:
    return settings.per_class + settings.references


def _short(cells: Sequence[SourceCell], names: Sequence[str], wanted: int) -> list[str]:
    """Say of which classes there are fewer cells than asked for; InputError where there is none."""
    there = Counter(cell.class_name for cell in cells)
    if without := [name for name in names if not there[name]]:
        raise InputError(f"No cell of the class {without[0]} could be used.")
    few = [f"{there[name]} {name}" for name in names if there[name] < wanted]
    return [f"There are fewer cells than asked for: {', '.join(few)}."] if few else []


# --- synthetic cells -----------------------------------------------------------------------------


def _drawn(settings: LessonSettings, model: ModelBundle, size: int, progress: Progress) -> Found:
    drawing = model.untaught
    white = white_classes(drawing.class_names, [one.group for one in drawing.classes])
    there = [name for name, is_white in zip(drawing.class_names, white, strict=True) if is_white]
    if settings.classes:
        there = [class_of(model, name) for name in settings.classes]
    names = chosen_classes((), there, model.name)
    made = generate(
        model,
        dict.fromkeys(names, _wanted(settings)),
        GenerationSettings(seed=settings.seed),
        progress=progress,
    )
    said = f"{model.name} {model.version}"
    cells = [
        SourceCell(
            picture=pixels,
            crop=pixels,
            mask=np.ones(pixels.shape[:2], bool),
            background=BACKGROUND,
            class_name=made.classes[row],
            truth=Truth(kind="synthetic", text=f"drawn as {made.classes[row]} by {said}"),
            synthetic=True,
            source=f"{said}, seed {made.seed}, number {made.numbers[row]}",
        )
        for row, pixels in enumerate(made.pixels)
    ]
    return Found(names, cells, list(made.warnings) or _short(cells, names, _wanted(settings)))


# --- labelled images -----------------------------------------------------------------------------


def _labelled(settings: LessonSettings, model: ModelBundle, size: int, progress: Progress) -> Found:
    assert settings.source is not None
    images = images_by_class(settings.source, settings.split)
    names = chosen_classes(settings.classes, sorted(images), settings.source.name)
    wanted = _wanted(settings)
    rng = np.random.default_rng([settings.seed, 11])
    chosen: list[tuple[str, Path]] = []
    for name in names:
        paths = [images[name][i] for i in rng.permutation(len(images[name]))[: wanted + SPARE]]
        chosen += [(name, path) for path in paths]
    reader = SingleCells(
        [path for _, path in chosen], settings.pixel_size_um, part_of(progress, 0.0, 0.5)
    )
    cells: list[SourceCell] = []
    skipped: list[str] = []
    taken: Counter[str] = Counter()
    for number, (name, path) in enumerate(chosen):
        progress(0.5 + number / len(chosen) / 2, f"cutting out cells, {number} of {len(chosen)}")
        if taken[name] >= wanted:
            continue
        try:
            cells.append(_from_image(reader.read(path), model, size, name, path))
        except CytoDiffusionError as error:
            skipped.append(naming(path, error))
            continue
        taken[name] += 1
    notes = _short(cells, names, wanted)
    if skipped:
        notes.append(f"{len(skipped)} images cannot be used, such as: {skipped[0]}")
    return Found(names, cells, notes)


def _from_image(
    cell: SingleCell, model: ModelBundle, size: int, name: str, path: Path
) -> SourceCell:
    """Cut the cell out of a single-cell image whose folder or table says its class."""
    scale, window = cell.scale.pixel_size_um, model.window_um
    mask = np.ones((size, size), bool)
    if cell.mask is not None:
        place = Placement.of_cell(cell.centre, scale, window, size)
        mask = place.from_image(cell.mask, False)
    synthetic = says_synthetic(path)
    label = Truth(kind="label", text=f"image {path.parent.name}/{path.name}")
    drawn = Truth(kind="synthetic", text=f"drawn as {name} by a program")
    return SourceCell(
        picture=cell.crop(_side(scale, window), window),
        crop=cell.crop(size, window),
        mask=mask,
        background=cell.background,
        class_name=name,
        truth=drawn if synthetic else label,
        synthetic=synthetic,
        source=path.name,
    )


# --- studies -------------------------------------------------------------------------------------


def _reviewed(settings: LessonSettings, model: ModelBundle, size: int, progress: Progress) -> Found:
    """Draw out of the cells to which people gave a class."""
    assert settings.source is not None
    with Study.open(settings.source, writable=False) as study:
        frame = study.cells()
        frame = frame[frame["effective_source"] == HUMAN]
        if not len(frame):
            raise InputError(
                "No cell of the study has a class from a person yet: give some cells one, as a "
                "lesson must not teach what only a model says."
            )
        there = sorted(set(frame["effective"]))
        names = chosen_classes(settings.classes, there, f"The study {settings.source.name}")
        rng = np.random.default_rng([settings.seed, 12])
        wanted = _wanted(settings)
        rows: list[int] = []
        for name in names:
            own = frame.index[frame["effective"] == name].to_numpy()
            rows += own[rng.permutation(len(own))[:wanted]].tolist()
        cells: list[SourceCell] = []
        notes: list[str] = []
        chosen = frame.loc[rows]
        images = list(dict.fromkeys(chosen["image"]))
        for number, image in enumerate(images):
            progress(number / len(images), image)
            try:
                part = chosen[chosen["image"] == image]
                cells += _of_study_image(study, image, part, model, size)
            except CytoDiffusionError as error:
                notes.append(str(error))
        return Found(names, cells, [*notes, *_short(cells, names, wanted)])


def _of_study_image(
    study: Study, name: str, frame: pd.DataFrame, model: ModelBundle, size: int
) -> list[SourceCell]:
    image, path = study.image(name), study.image_path(name)
    said: Mapping[int, tuple[str, str]] = {
        int(label): (str(given), str(observer))
        for label, given, observer in zip(
            frame["label"], frame["effective"], frame["observer"], strict=True
        )
    }
    synthetic = says_synthetic(path)
    if image.single_cell:
        one = SingleCells([path], image.pixel_size_um).read(path)
        given, observer = said[1]
        cell = _from_image(one, model, size, given, path)
        return [replace(cell, truth=_reviewed_by(observer), synthetic=synthetic)]
    labels, scale = study.labels(name), image.pixel_size_um
    pixels = open_image(path)
    ids, window = list(said), model.window_um
    shown = extract_crops(pixels, labels, scale, _side(scale, window), window, ids=ids)
    crops = extract_crops(pixels, labels, scale, size, window, ids=ids)
    found = []
    for row, label in enumerate(crops.ids.tolist()):
        given, observer = said[label]
        place = Placement.of_cell(crops.centroids[row], scale, window, size)
        found.append(
            SourceCell(
                picture=shown.pixels[row],
                crop=crops.pixels[row],
                mask=place.from_image(labels == label, False),
                background=estimate_background(crops.pixels[row]),
                class_name=given,
                truth=_reviewed_by(observer),
                synthetic=synthetic,
                source=f"{name}, cell {label}",
            )
        )
    return found


def _reviewed_by(observer: str) -> Truth:
    return Truth(kind="people", text=f"class given by {', '.join(observer.split('|'))}")
