"""Where the cells of a test come from: labelled images, generated folders, the model itself."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.authenticity.standardise import PAPER
from cytodiffusion.cells.single_cell import SingleCells
from cytodiffusion.datasets import read_dataset
from cytodiffusion.errors import Cancelled, CytoDiffusionError, InputError, naming
from cytodiffusion.image.image import open_image
from cytodiffusion.progress import Progress, silent
from cytodiffusion.taxonomy import plain

if TYPE_CHECKING:
    from cytodiffusion.generation import GenerationSettings
    from cytodiffusion.model.bundle import ModelBundle


#: Images looked at beyond those needed: some will not do.
_SPARE, _SPARE_SHARE = 2, 0.15


def images_by_class(
    data: Path, split: str = "all", *, generated: bool = False
) -> dict[str, list[Path]]:
    """Labelled images of each class."""
    records = read_dataset(data, split="train" if generated else None).records
    found: dict[str, list[Path]] = defaultdict(list)
    for record in records:
        if record.label and split in ("all", record.split):
            found[record.label].append(record.path)
    if not found:
        part = "" if split == "all" else f" in the split {split}"
        raise InputError(f"{data} has no labelled images{part}.")
    return dict(found)


def shared_classes(
    real: Sequence[str], synthetic: Sequence[str], asked: Sequence[str] = ()
) -> list[str]:
    """Classes of which there are real and synthetic cells, in the spelling of the real ones."""
    made = {plain(name) for name in synthetic}
    known = {plain(name): name for name in real}
    for name in asked:
        for kind, names in (("real", known), ("synthetic", made)):
            if plain(name) not in names:
                there = ", ".join(sorted(real if kind == "real" else synthetic))
                raise InputError(f"There are no {kind} cells of the class {name!r}; {there}.")
    wanted = {plain(name) for name in asked} or set(known)
    found = sorted(known[key] for key in wanted & made)
    if not found:
        raise InputError(
            f"No class has both real and synthetic cells: real are {', '.join(sorted(real))}; "
            f"synthetic are {', '.join(sorted(synthetic))}."
        )
    return found


class RealCells:
    """Real cells of each class in random order, looked at a portion at a time.

    Parameters
    ----------
    images : mapping
        Paths of each class.
    pixel_size_um : float, optional
        Of all images.
    """

    def __init__(
        self, images: Mapping[str, Sequence[Path]], seed: int, pixel_size_um: float | None = None
    ) -> None:
        rng = np.random.default_rng([seed, 2])
        self._left = {
            name: [images[name][i] for i in rng.permutation(len(images[name]))]
            for name in sorted(images)
        }
        self._pixel_size_um = pixel_size_um
        self.skipped: list[str] = []

    def take(self, wanted: Mapping[str, int], progress: Progress = silent) -> list[Window]:
        """Look at some more images than the wanted ones; none where none are left."""
        paths: list[tuple[str, Path]] = []
        for name, n in wanted.items():
            portion = n and math.ceil(n * (1 + _SPARE_SHARE)) + _SPARE
            some, self._left[name] = self._left[name][:portion], self._left[name][portion:]
            paths += [(name, path) for path in some]
        return list(self._read(paths, progress))

    def _read(self, paths: Sequence[tuple[str, Path]], progress: Progress) -> Iterator[Window]:
        def measuring(share: float, message: str) -> None:
            progress(share / 2, message)

        cells = SingleCells([path for _, path in paths], self._pixel_size_um, measuring)
        for number, (name, path) in enumerate(paths):
            progress(0.5 + number / len(paths) / 2, f"looking at real cells, {number}")
            try:
                if says_synthetic(path):
                    raise InputError(f"{path.name} says that it is synthetic.")
                cell = cells.read(path)
            except CytoDiffusionError as error:
                self.skipped.append(naming(path, error))
                continue
            size = cell.scale.pixel_size_um
            yield Window(cell.rgb, size, cell.centre, cell.background, name, str(path))


def stored_cells(
    folder: Path, counts: Mapping[str, int], window_um: float, seed: int
) -> list[Window]:
    """Draw generated cells out of a folder, as many of each class as asked."""
    images = {plain(name): paths for name, paths in images_by_class(folder, generated=True).items()}
    rng = np.random.default_rng([seed, 3])
    found: list[Window] = []
    for name, n in counts.items():
        paths = images.get(plain(name), [])
        for index in rng.permutation(len(paths))[:n]:
            path = paths[index]
            image = open_image(path)
            rgb = image.rgb()
            side = len(found[0].pixels) if found else rgb.shape[0]
            if rgb.shape[:2] != (side, side):
                raise InputError(
                    f"The synthetic cells must be square and of one size; {path.name} has "
                    f"{rgb.shape[1]} x {rgb.shape[0]} pixels"
                    + (f", others {side} x {side}." if found else ".")
                )
            scale = image.pixel_size_um or window_um / side
            found.append(synthetic_window(rgb, scale, name, str(path)))
    return found


def sampled_cells(
    model: ModelBundle,
    counts: Mapping[str, int],
    settings: GenerationSettings,
    progress: Progress = silent,
) -> tuple[list[Window], list[str]]:
    """Generate cells by the model, as many of each class as asked."""
    from cytodiffusion.generation.generate import generate

    names = {plain(name): name for name in model.untaught.class_names}
    own = {names[plain(name)]: name for name in counts}
    wanted = {names[plain(name)]: n for name, n in counts.items() if n}
    parts = [generate(model, wanted, settings, progress=progress)]
    missing = dict(Counter(wanted) - Counter(parts[0].classes))
    notes = []
    if missing and parts[0].complete:
        said = ", ".join(f"{n} {name}" for name, n in missing.items())
        notes.append(f"Synthetic cells that the model's classifier does not accept: {said}.")
        again = settings.model_copy(update={"reject": False, "seed": settings.seed + 1})
        parts.append(generate(model, missing, again, progress=progress))
    if not all(part.complete for part in parts):
        raise Cancelled("Cancelled.")
    windows = [
        synthetic_window(
            pixels,
            part.pixel_size_um,
            own[part.classes[row]],
            f"{model.name} {model.version}, {part.classes[row]}, seed {part.seed}, "
            f"number {part.numbers[row]}",
        )
        for part in parts
        for row, pixels in enumerate(part.pixels)
    ]
    return windows, notes


def synthetic_window(
    pixels: NDArray[np.uint8], pixel_size_um: float, class_name: str, source: str
) -> Window:
    """Return a generated cell as a window; its empty slide has the colour of all samples."""
    middle = ((len(pixels) - 1) / 2,) * 2
    paper = np.full(3, PAPER, np.float32)
    return Window(pixels, pixel_size_um, middle, paper, class_name, source)


def says_synthetic(path: Path) -> bool:
    """Whether a file says of itself that it is synthetic."""
    from cytodiffusion.files.synthetic_mark import is_synthetic

    return is_synthetic(path)


@dataclass(frozen=True, eq=False)
class Window:
    """Pixels around a cell as they were found, before they are made alike.

    Attributes
    ----------
    pixels : (Y, X, 3) uint8
    pixel_size_um : float
    centre : (y, x)
        Of the cell, in pixels.
    background : (3,) float32
        Colour of the empty slide, 0 to 255.
    class_name : str
    source : str
        Where it comes from: a path, or the seed and the number of a sample.
    """

    pixels: NDArray[np.uint8]
    pixel_size_um: float
    centre: tuple[float, float]
    background: NDArray[np.float32]
    class_name: str
    source: str

    @property
    def reach_um(self) -> float:
        """Side of the largest window around the cell that lies within the image."""
        height, width = self.pixels.shape[:2]
        y, x = self.centre
        half = min(y + 0.5, x + 0.5, height - 0.5 - y, width - 0.5 - x)
        return float(2 * half * self.pixel_size_um)


@dataclass(frozen=True, eq=False)
class TestCell:
    """A cell as the file of a test keeps it.

    Attributes
    ----------
    image : bytes
        JPEG, see `presenting.present`.
    synthetic : bool
    class_name : str
    source : str
    confidence : float or None
        The model's posterior of ``class_name``: how clear the class is. None where no model was
        asked.
    """

    __test__ = False  # not a test of pytest's

    image: bytes
    synthetic: bool
    class_name: str
    source: str
    confidence: float | None = None
