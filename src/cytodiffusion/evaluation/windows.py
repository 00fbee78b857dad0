"""The windows that classifiers see of single-cell images.

Finding the scale of an image and the cell in it takes longer than classifying it, so both are
done once for all classifiers that are asked about the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.datasets import Record
from cytodiffusion.datasets.fingerprints import Fingerprints, take_fingerprints
from cytodiffusion.errors import CytoDiffusionError, naming
from cytodiffusion.progress import Progress, silent
from cytodiffusion.training.data import folder_of, readers_of


@dataclass(frozen=True, eq=False)
class Windows:
    """Images cut out and resampled for a classifier.

    Attributes
    ----------
    records : list of Record
        Those that could be read.
    pixels : (N, S, S, 3) uint8 array
    backgrounds : (N, 3) float32 array
        Colour of the empty background, 0 to 255.
    skipped : list of str
        One sentence for each image that could not be read.
    """

    records: list[Record]
    pixels: NDArray[np.uint8]
    backgrounds: NDArray[np.float32]
    skipped: list[str]


class Frames:
    """Where the windows of the images of one set lie; measured once, cut for any classifier.

    Parameters
    ----------
    records : sequence of Record
        The whole set: images of one set have one microscope, and are measured together
        (`cytodiffusion.cells.single_cell.SingleCells`), those of each laboratory and pixel size
        by themselves where the records tell them.
    pixel_size_um : float, optional
        Of all of them that tell none.
    """

    def __init__(
        self,
        records: Sequence[Record],
        pixel_size_um: float | None = None,
        progress: Progress = silent,
    ) -> None:
        self._cells = readers_of(records, pixel_size_um, progress)
        self._prints: dict[Path, tuple[int, NDArray[np.uint64]]] = {}

    @property
    def prints(self) -> Fingerprints:
        """Fingerprints of the images that have been cut."""
        return Fingerprints.of(list(self._prints), list(self._prints.values()))

    def cut(
        self,
        records: Sequence[Record],
        size: int,
        window_um: float,
        progress: Progress = silent,
    ) -> Windows:
        """Cut the window around the cell in each image."""
        read, windows, backgrounds, skipped = [], [], [], []
        for number, record in enumerate(records):
            if number % 20 == 0:
                progress(number / len(records), f"reading {record.path.name}")
            try:
                cell = self._cells[folder_of(record)].read(record.path)
                if record.path not in self._prints:  # while it is open
                    self._prints[record.path] = take_fingerprints(cell.rgb)
                window = cell.crop(size, window_um, centred=record.centred)
            except CytoDiffusionError as error:
                skipped.append(naming(record.path, error))
                continue
            read.append(record)
            windows.append(window)
            backgrounds.append(cell.background)
        return Windows(
            read,
            np.stack(windows) if read else np.zeros((0, size, size, 3), np.uint8),
            np.stack(backgrounds) if read else np.zeros((0, 3), np.float32),
            skipped,
        )
