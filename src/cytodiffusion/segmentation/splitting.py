"""Red cells: clumps divided into cells, pallor filled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.segmentation import watershed as flood

from cytodiffusion.segmentation.arcs import outline_arcs
from cytodiffusion.segmentation.foreground import Mask, Plane, fill_holes, opened, smooth, solidity
from cytodiffusion.segmentation.settings import RedCellRules as RedCellRules

Labels = NDArray[np.int32]

#: Foreground without any background in sight is not one enormous cell.
MAX_DEPTH_UM = 20.0


@dataclass(frozen=True)
class _Circle:
    y: float
    x: float
    radius: float


def split_red_cells(mask: Mask, taken: Mask, pixel_um: float, rules: RedCellRules) -> Labels:
    """Label red cells in the foreground that no white cell has taken.

    A clump is divided among the circles of its outline's convex arcs and, where no arc leads, the
    circles that fit inside; each pixel goes to the circle it lies deepest in.

    Parameters
    ----------
    mask, taken : (Y, X) bool
        Foreground, and pixels of white cells.
    pixel_um : float
        Micrometres per pixel.
    rules : RedCellRules
        Sizes.

    Returns
    -------
    (Y, X) int32
        1..N.
    """
    cells = fill_holes(mask & ~taken, rules.pallor_um2 / pixel_um**2, 0.8) & ~taken
    cells = opened(cells, 0.6 / pixel_um)
    arcs = _arc_circles(cells, pixel_um, rules)
    cells = _fill_open_pallor(cells, [c for c, share in arcs if share > 0.5], taken, pixel_um)
    circles = _distinct([circle for circle, _ in arcs])
    circles += _inner_circles(cells, circles, pixel_um)
    circles = _lone_cells(cells, circles, pixel_um, rules)
    labels = _divide(cells, circles)
    return _keep_large(labels, rules.min_um2 / pixel_um**2)


def _arc_circles(cells: Mask, pixel_um: float, rules: RedCellRules) -> list[tuple[_Circle, float]]:
    """Circles of convex arcs, those seen most completely first, with the share seen."""
    low, high = (size / pixel_um for size in rules.diameter_um)
    arcs = [arc for arc in outline_arcs(cells) if low <= arc.diameter <= high]
    arcs.sort(key=lambda arc: -arc.share)
    return [(_Circle(arc.y, arc.x, arc.diameter / 2), arc.share) for arc in arcs]


def _distinct(circles: list[_Circle]) -> list[_Circle]:
    """Leave out circles whose centre lies well inside an earlier one."""
    kept: list[_Circle] = []
    for circle in circles:
        if not any(_inside(circle, other, 0.6) for other in kept):
            kept.append(circle)
    return kept


def _inside(circle: _Circle, other: _Circle, share: float) -> bool:
    reach = share * max(circle.radius, other.radius)
    return bool(np.hypot(circle.y - other.y, circle.x - other.x) < reach)


def _fill_open_pallor(cells: Mask, circles: list[_Circle], taken: Mask, pixel_um: float) -> Mask:
    """Close cells whose pale centre is open to the background: more than half a ring is a cell."""
    result = cells.copy()
    for circle in circles:
        rows, columns, inside = _window(circle, 0.95, cells.shape)
        covered = cells[rows, columns][inside]
        if covered.size and covered.mean() > 0.55:
            result[rows, columns] |= inside
    return opened(result & ~taken, 0.6 / pixel_um)


def _window(circle: _Circle, share: float, shape: tuple[int, ...]) -> tuple[slice, slice, Mask]:
    """Rows, columns and the pixels in them within ``share`` of a circle's radius."""
    reach = circle.radius * share
    rows = slice(max(0, int(circle.y - reach)), min(shape[0], int(circle.y + reach) + 2))
    columns = slice(max(0, int(circle.x - reach)), min(shape[1], int(circle.x + reach) + 2))
    y, x = np.ogrid[rows, columns]
    return rows, columns, (y - circle.y) ** 2 + (x - circle.x) ** 2 <= reach**2


def _inner_circles(cells: Mask, known: list[_Circle], pixel_um: float) -> list[_Circle]:
    """Largest circles inside the foreground where no known circle lies."""
    depth = _depth(cells, pixel_um)
    labels, _ = ndimage.label(cells)
    peaks = peak_local_max(
        depth,
        min_distance=max(1, round(2.2 / pixel_um)),
        threshold_abs=1.2,
        labels=labels,
        exclude_border=False,
    )
    found: list[_Circle] = []
    for y, x in sorted(peaks.tolist(), key=lambda at: -depth[at[0], at[1]]):
        circle = _Circle(y, x, float(depth[y, x]) / pixel_um)
        if not any(_inside(circle, other, 0.75) for other in known + found):
            found.append(circle)
    return found


def _depth(cells: Mask, pixel_um: float) -> Plane:
    """Distance in micrometres to the nearest pixel outside, the image border not counting."""
    wide = np.pad(cells, 1, mode="edge").astype(np.uint8)
    depth = cv2.distanceTransform(wide, cv2.DIST_L2, 5)[1:-1, 1:-1] * pixel_um
    depth = np.minimum(depth, MAX_DEPTH_UM)
    return smooth(np.asarray(depth, np.float32), 0.4 / pixel_um)


def _lone_cells(
    cells: Mask, circles: list[_Circle], pixel_um: float, rules: RedCellRules
) -> list[_Circle]:
    """One circle for every piece that is small and convex, however many led to it."""
    labels, count = ndimage.label(cells)
    height, width = cells.shape
    owner = [
        int(labels[min(max(int(c.y), 0), height - 1), min(max(int(c.x), 0), width - 1)])
        for c in circles
    ]
    per_piece = np.bincount(owner, minlength=count + 1)
    lone: dict[int, _Circle] = {}
    for index, region, where in _pieces(labels):
        area = float(region.sum()) * pixel_um**2
        if per_piece[index] == 1 or area > rules.single_um2:
            continue
        if per_piece[index] == 0 or solidity(region) > 0.94:
            y, x = ndimage.center_of_mass(region)
            radius = float(np.sqrt(region.sum() / np.pi))
            lone[index] = _Circle(y + where[0].start, x + where[1].start, radius)
    rest = [c for c, piece in zip(circles, owner, strict=True) if piece and piece not in lone]
    return rest + list(lone.values())


def _pieces(labels: Labels) -> Iterator[tuple[int, Mask, tuple[slice, slice]]]:
    """Yield number, pixels and place of every label."""
    for index, where in enumerate(ndimage.find_objects(labels), start=1):
        if where is not None:
            yield index, labels[where] == index, where


def _divide(cells: Mask, circles: list[_Circle]) -> Labels:
    """Give every pixel to the circle it lies deepest in, along connected paths."""
    nearest = np.full(cells.shape, 3.0, np.float32)
    markers = np.zeros(cells.shape, np.int32)
    for index, circle in enumerate(circles, start=1):
        rows, columns, _ = _window(circle, 1.6, cells.shape)
        y, x = np.ogrid[rows, columns]
        far = np.hypot(y - circle.y, x - circle.x).astype(np.float32) / circle.radius
        closer = far < nearest[rows, columns]
        nearest[rows, columns][closer] = far[closer]
        seed = closer & (far < 0.45)
        markers[rows, columns][seed] = index
    markers[~cells] = 0
    # Pieces without a circle are cells of their own
    pieces, count = ndimage.label(cells)
    led = np.zeros(count + 1, bool)
    led[np.unique(pieces[markers > 0])] = True
    alone = cells & ~led[pieces]
    markers[alone] = pieces[alone] + len(circles)
    return np.asarray(flood(nearest, markers, mask=cells), dtype=np.int32)


def _keep_large(labels: Labels, min_area: float) -> Labels:
    """Drop small labels, at the border of the image only those of less than half the area."""
    areas = np.bincount(labels.ravel())
    limit = np.full(len(areas), min_area)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    limit[np.unique(border)] = 0.5 * min_area
    keep = areas >= limit
    keep[0] = False
    numbers = np.where(keep, np.cumsum(keep), 0)
    return np.asarray(numbers[labels], dtype=np.int32)
