"""Where cells lie on the slide, and which pixel belongs to which of them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from cytodiffusion.smear.patches import FloatImage, Patch, largest_piece, lay, window
from cytodiffusion.smear.settings import OVERLAP as OVERLAP

_TRIES = 400


@dataclass(frozen=True)
class Spot:
    """A cell in its place: class, patch, centre (y, x) in pixels, and its rank on top."""

    name: str
    patch: Patch
    centre: tuple[float, float]
    on_top: bool


class Slide:
    """A field that fills up with cells.

    Parameters
    ----------
    shape
        Height and width in pixels.
    px_um
        Pixels a micrometre.
    rng
        The only source of chance.
    overlap
        Share of the cells that may overlap which are laid against another one; 0 for none.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        px_um: float,
        rng: np.random.Generator,
        overlap: float = OVERLAP,
    ) -> None:
        self.shape, self.px_um, self.rng, self.overlap = shape, px_um, rng, overlap
        self.spots: list[Spot] = []
        self._centres = np.zeros((0, 2))
        self._radii = np.zeros(0)
        self._soft = np.zeros(0, bool)

    def put(self, name: str, patch: Patch, *, inside: bool, overlaps: bool, on_top: bool) -> bool:
        """Find a place for a cell; False when there is none."""
        radius = patch.radius
        for attempt in range(_TRIES):
            # Crowding comes gradually: only when free places are rare do cells move together.
            squeeze = 1.0 if attempt < _TRIES // 2 else 0.9
            place = self._candidate(radius, inside, overlaps)
            if self._fits(place, radius, overlaps, squeeze) and self._visible(place, radius):
                self.spots.append(Spot(name, patch, (float(place[0]), float(place[1])), on_top))
                self._centres = np.vstack([self._centres, place])
                self._radii = np.append(self._radii, radius)
                self._soft = np.append(self._soft, overlaps)
                return True
        return False

    def _candidate(self, radius: float, inside: bool, overlaps: bool) -> npt.NDArray[np.float64]:
        """Draw a place: anywhere, or for some red cells leaning on another one."""
        soft = np.flatnonzero(self._soft)
        if overlaps and len(soft) and self.rng.random() < self.overlap:
            other = int(self.rng.choice(soft))
            angle = self.rng.uniform(0, 2 * np.pi)
            reach = (self._radii[other] + radius) * self.rng.uniform(0.66, 1.0)
            step = reach * np.array([np.sin(angle), np.cos(angle)])
            return np.asarray(self._centres[other] + step, np.float64)
        margin = radius * 1.15 if inside else -0.6 * radius
        low, high = np.full(2, margin), np.array(self.shape, float) - margin
        return np.asarray(self.rng.uniform(low, np.maximum(high, low + 1e-6)), np.float64)

    def _fits(
        self, place: npt.NDArray[np.float64], radius: float, overlaps: bool, squeeze: float
    ) -> bool:
        if not len(self._radii):
            return True
        distance = np.hypot(*(self._centres - place).T)
        reach = self._radii + radius
        gap = 0.25 * self.px_um
        free = distance > squeeze * (reach + gap)
        if not overlaps:
            return bool(np.all(free | (self._soft & (distance > reach))))
        # One or two partners may overlap, by less than half.
        partners = ~free & self._soft
        closest = distance[partners] / reach[partners]
        allowed = bool(np.all(closest > 0.64)) and int(partners.sum()) <= 2
        return bool(np.all(free | self._soft)) and allowed and self._wanted(int(partners.sum()))

    def _wanted(self, partners: int) -> bool:
        """Lone cells are kept always, overlapping ones now and then."""
        likely = min(1.0, self.overlap / OVERLAP) * (0.5 if partners == 1 else 0.2)
        return partners == 0 or self.rng.random() < likely

    def _visible(self, place: npt.NDArray[np.float64], radius: float) -> bool:
        """Whether at least about a third of the cell is on the field."""
        depth = np.minimum(place, np.array(self.shape) - place)
        return bool(depth.min() > -0.25 * radius)

    def density(self) -> FloatImage:
        """Density of all cells together, ``(H, W, 3)``."""
        field = np.zeros((*self.shape, 3), np.float32)
        for spot in sorted(self.spots, key=lambda spot: spot.on_top):
            if spot.on_top:
                self._make_room(field, spot)
            lay(field, spot.patch, spot.centre)
        return field

    def _make_room(self, field: FloatImage, spot: Spot) -> None:
        """Thin what lies under a white cell: it pushes red cells aside rather than cover them."""
        where = window(self.shape, spot.patch.solid.shape, spot.centre)
        if where is not None:
            cover = cv2.GaussianBlur(spot.patch.solid.astype(np.float32), (0, 0), 0.2 * self.px_um)
            field[where[0]] *= 1 - cover[where[1]][..., None]

    def labels(self) -> npt.NDArray[np.int32]:
        """Ground truth: ``(H, W)`` int32, label ``i + 1`` for ``spots[i]``.

        Where two cells overlap a pixel belongs to the one it lies deeper in, so that every
        label stays in one piece; cells on top keep all of theirs.
        """
        labels = np.zeros(self.shape, np.int32)
        depth = np.zeros(self.shape, np.float32)
        for index, spot in enumerate(self.spots, start=1):
            where = window(self.shape, spot.patch.solid.shape, spot.centre)
            if where is None:
                continue
            solid = np.pad(spot.patch.solid, 1).astype(np.uint8)
            inner = np.asarray(cv2.distanceTransform(solid, cv2.DIST_L2, 5), np.float32)[1:-1, 1:-1]
            inner = inner / max(float(inner.max()), 1e-6) + np.float32(10 if spot.on_top else 0)
            inner = np.where(spot.patch.solid, inner, np.float32(0))[where[1]]
            wins = inner > depth[where[0]]
            labels[where[0]][wins] = index
            depth[where[0]][wins] = inner[wins]
        return in_one_piece(labels, len(self.spots))


def in_one_piece(labels: npt.NDArray[np.int32], n: int) -> npt.NDArray[np.int32]:
    """Keep the largest piece of every label 1..n; slivers cut off by others become background."""
    result = labels.copy()
    for index, box in enumerate(ndi.find_objects(labels, max_label=n), start=1):
        if box is None:
            continue
        own = labels[box] == index
        result[box][own & ~largest_piece(own)] = 0
    return result
