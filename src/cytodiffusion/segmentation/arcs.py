"""Outlines taken apart into convex arcs, each of which belongs to one cell."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Points = NDArray[np.float64]

#: An arc that turns less than this (radians) says too little about its circle.
MIN_TURN = 1.9
#: A notch that turns back by more than this (radians) separates two cells.
NOTCH_TURN = 0.2
#: Root mean square deviation from the circle, relative to its radius, that is still round.
MAX_DEVIATION = 0.07


#: From this turn on (radians) an arc determines an ellipse.
ELLIPSE_TURN = 3.7
#: Shorter over longer axis of a cell that still says how large cells are.
MIN_AXES = 0.6
#: Points left out at each end, where the outline bends into the notch.
TRIM = 3


@dataclass(frozen=True)
class Arc:
    """A stretch of outline and the circle through it, in pixels.

    Attributes
    ----------
    y, x : float
        Centre of the circle.
    diameter : float
        Its diameter; of a whole outline, the diameter of the circle of the same area.
    share : float
        How much of the circle the arc covers, 0..1.
    """

    y: float
    x: float
    diameter: float
    share: float


def outline_arcs(mask: Mask, min_diameter: float = 6.0) -> list[Arc]:
    """Circles through the convex arcs of all outer outlines in ``mask``.

    Outlines are broken at notches, where two cells touch, and at the border of the image.

    Parameters
    ----------
    mask : (Y, X) bool
        Foreground.
    min_diameter : float
        Smaller circles, in pixels, are left out.
    """
    outlines, _ = cv2.findContours(
        np.pad(mask, 1).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    arcs: list[Arc] = []
    for outline in outlines:
        if len(outline) >= 3 * min_diameter:
            arcs += _arcs_of(outline[:, 0].astype(np.float64) - 1, mask.shape)
    return [arc for arc in arcs if arc.diameter >= min_diameter]


def _arcs_of(outline: Points, shape: tuple[int, ...]) -> list[Arc]:
    """Arcs of one closed outline of (x, y) points a pixel apart."""
    last = np.array([shape[1] - 1, shape[0] - 1])
    at_edge = ((outline <= 0) | (outline >= last)).any(axis=1)
    points = ndimage.gaussian_filter1d(outline, 1.5, axis=0, mode="wrap")
    turn = _turning(points)
    # Over a stretch of about 6 pixels, so that single steps of the pixel grid do not count
    bend = ndimage.uniform_filter1d(turn, 7, mode="wrap") * 7
    broken = (bend < -NOTCH_TURN) | at_edge
    if not broken.any():
        return [arc] if (arc := _whole(points)) else []
    found = []
    start = int(np.flatnonzero(broken)[0])
    order = np.roll(np.arange(len(points)), -start)
    runs, count = ndimage.label(~broken[order])
    for index in range(1, count + 1):
        chosen = order[runs == index]
        arc = _partial(points[chosen], float(turn[chosen].sum()))
        if arc:
            found.append(arc)
    return found


def _turning(points: Points) -> NDArray[np.float64]:
    """Change of direction at every point, positive where the outline is convex."""
    step = np.roll(points, -2, axis=0) - np.roll(points, 2, axis=0)
    angle = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
    turn = np.diff(angle, append=angle[:1])
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    area = float(np.sum(points[:, 0] * np.roll(points[:, 1], -1)))
    area -= float(np.sum(points[:, 1] * np.roll(points[:, 0], -1)))
    return np.asarray(turn if area > 0 else -turn)


def _whole(points: Points) -> Arc | None:
    """Return the circle of the area of a closed outline, when that is an ellipse."""
    flat = points.astype(np.float32)
    area = float(cv2.contourArea(flat))
    (x, y), (minor, major), _ = cv2.fitEllipse(flat)
    # Half a pixel all around lies between the outermost pixels' centres and their outer edge
    area += 0.5 * len(points)
    if minor < MIN_AXES * major or area < 0.85 * np.pi / 4 * minor * major:
        return None
    return Arc(float(y), float(x), 2.0 * float(np.sqrt(area / np.pi)), 1.0)


def _partial(points: Points, turn: float) -> Arc | None:
    """Fit a circle or, to more than half of one, an ellipse to an arc that is round enough."""
    if turn < MIN_TURN or len(points) < 8 + 2 * TRIM:
        return None
    length = float(len(points))
    points = points[TRIM:-TRIM]
    share = min(1.0, turn / (2 * np.pi))
    arc = _ellipse(points, share) if turn > ELLIPSE_TURN else _circle(points, share)
    # Length and turn of an arc give its radius as well: a fit far from that went astray
    if arc is None or not 0.6 < turn * arc.diameter / (2 * length) < 1.6:
        return None
    return arc


def _ellipse(points: Points, share: float) -> Arc | None:
    """Least-squares ellipse (Fitzgibbon's) through an arc, as the circle of its area."""
    (x, y), axes, angle = cv2.fitEllipseDirect(points.astype(np.float32))
    half = np.sort(np.asarray(axes)) / 2
    if not np.isfinite(half).all() or half[0] < MIN_AXES * half[1]:
        return None
    turned = np.deg2rad(angle)
    along = (points - [x, y]) @ np.array(
        [[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]]
    )
    off = np.hypot(along[:, 0] / (axes[0] / 2), along[:, 1] / (axes[1] / 2)) - 1
    if np.sqrt(np.mean(off**2)) > MAX_DEVIATION:
        return None
    return Arc(float(y), float(x), 2 * float(np.sqrt(half[0] * half[1])) + 1.0, share)


def _circle(points: Points, share: float) -> Arc | None:
    """Least-squares circle (Taubin's, which short arcs do not shrink) through an arc."""
    middle = points.mean(axis=0)
    x, y = (points - middle).T
    square = x**2 + y**2
    mean = float(square.mean())
    # Taubin's normalisation: the algebraic distance over its gradient
    design = np.stack([(square - mean) / (2 * np.sqrt(mean)), x, y], axis=1)
    _, _, rows = np.linalg.svd(design, full_matrices=False)
    first, second, third = rows[2]
    lead = first / (2 * np.sqrt(mean))
    if abs(lead) < 1e-9:
        return None
    cx, cy = -second / (2 * lead), -third / (2 * lead)
    radius = float(np.sqrt(cx**2 + cy**2 + mean))
    off = np.hypot(x - cx, y - cy) - radius
    if np.sqrt(np.mean(off**2)) > MAX_DEVIATION * radius:
        return None
    return Arc(float(cy + middle[1]), float(cx + middle[0]), 2 * radius + 1.0, share)
