"""Procedurally drawn smears with known cells, for the segmentation tests."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

#: Optical densities (red, green, blue) of what is drawn.
RED_CELL = (0.10, 0.45, 0.38)
CYTOPLASM = (0.15, 0.30, 0.10)
NUCLEUS = (0.80, 1.30, 0.50)
PLATELET = (0.40, 0.60, 0.25)


@dataclass
class Field:
    """A field being drawn: absorbed light on an empty slide.

    Attributes
    ----------
    pixel_um : float
        Micrometres per pixel.
    truth : (Y, X) int32
        Number of the cell drawn last at each place.
    """

    shape: tuple[int, int]
    pixel_um: float = 0.14
    truth: NDArray[np.int32] = field(init=False)
    absorbed: NDArray[np.float32] = field(init=False)
    cells: int = 0

    def __post_init__(self) -> None:
        self.truth = np.zeros(self.shape, np.int32)
        self.absorbed = np.zeros((*self.shape, 3), np.float32)

    def disc(
        self, y: float, x: float, diameter_um: float, stretch: float = 1.0
    ) -> NDArray[np.bool_]:
        """Pixels of a disc or ellipse; positions in pixels."""
        rows, columns = np.ogrid[: self.shape[0], : self.shape[1]]
        radius = diameter_um / 2 / self.pixel_um
        return ((rows - y) / stretch) ** 2 + ((columns - x) * stretch) ** 2 <= radius**2

    def stain(self, where: NDArray[np.bool_], density: tuple[float, float, float]) -> None:
        self.absorbed[where] = np.maximum(self.absorbed[where], np.array(density, np.float32))

    def red_cell(self, y: float, x: float, diameter_um: float = 7.5, stretch: float = 1.0) -> int:
        """A red cell with a paler centre; returns its number."""
        body = self.disc(y, x, diameter_um, stretch)
        self.stain(body, RED_CELL)
        pallor = self.disc(y, x, 0.35 * diameter_um)
        self.absorbed[pallor] *= 0.45
        return self._number(body)

    def white_cell(self, y: float, x: float, lobes: int = 1, diameter_um: float = 12.0) -> int:
        """A white cell with one round nucleus or several lobes in a ring."""
        body = self.disc(y, x, diameter_um)
        self.absorbed[body] = CYTOPLASM
        for turn in np.arange(lobes) * 2 * np.pi / max(lobes, 1):
            off = 0.0 if lobes == 1 else 3.0 / self.pixel_um
            size = 8.0 if lobes == 1 else 4.0
            lobe = self.disc(y + off * np.sin(turn), x + off * np.cos(turn), size)
            self.stain(lobe, NUCLEUS)
        return self._number(body)

    def platelet(self, y: float, x: float, diameter_um: float = 2.6) -> int:
        body = self.disc(y, x, diameter_um)
        self.absorbed[body] += np.array(PLATELET, np.float32)
        return self._number(body)

    def image(
        self, *, falloff: float = 0.0, glare: bool = False, noise: float = 1.5, seed: int = 0
    ) -> NDArray[np.uint8]:
        """The field as a camera sees it: light that falls off sideways, a glare spot, noise."""
        height, width = self.shape
        light = np.full((height, width, 3), (215, 215, 205), np.float32)
        light *= 1 - falloff * np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
        density = cv2.GaussianBlur(self.absorbed, (0, 0), 0.15 / self.pixel_um)
        seen = light * np.exp(-density)
        if glare:
            rows, columns = np.ogrid[:height, :width]
            spot = np.exp(-((rows - height * 0.6) ** 2 + (columns - width * 0.4) ** 2) / 40**2)
            seen += 60 * spot[..., None].astype(np.float32)
        seen += np.random.default_rng(seed).normal(0, noise, seen.shape)
        return np.clip(seen, 0, 255).astype(np.uint8)

    def _number(self, body: NDArray[np.bool_]) -> int:
        self.cells += 1
        self.truth[body] = self.cells
        return self.cells


def red_field(
    shape: tuple[int, int] = (400, 520), pixel_um: float = 0.14, diameter_um: float = 7.5
) -> Field:
    """A field of separate red cells on a jittered grid."""
    drawn = Field(shape, pixel_um)
    jitter = np.random.default_rng(1)
    step = int(1.5 * 7.5 / pixel_um)
    for y in range(step // 2, shape[0] - step // 3, step):
        for x in range(step // 2, shape[1] - step // 3, step):
            shift = jitter.uniform(-0.12, 0.12, 2) * step
            size = diameter_um * jitter.uniform(0.94, 1.06)
            drawn.red_cell(y + shift[0], x + shift[1], size)
    return drawn


def overlap(labels: NDArray[np.int32], mask: NDArray[np.bool_]) -> float:
    """Highest intersection over union of any label with a mask."""
    inner = np.bincount(labels[mask], minlength=int(labels.max()) + 1)
    areas = np.bincount(labels.ravel(), minlength=len(inner))
    inner[0] = 0
    return float(np.max(inner / (areas + mask.sum() - inner)))
