"""Synthetic fields with everything that real ones have, to train the segmentation on.

They need not please the eye as the synthetic smear does: they hold what makes a cell hard to
outline. Crowds, overlaps, stacks, thick plasma, pale and dense stain, ghosts of red cells,
platelets alone, in clumps and on red cells, dirt and smudges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi
from scipy.special import expit
from skimage.segmentation import find_boundaries

from cytodiffusion.smear.background import haze, photograph, precipitate, restained, uneven_light
from cytodiffusion.smear.patches import (
    ByteImage,
    FloatImage,
    Patch,
    blur,
    lay,
    resized,
    turn,
    waves,
    window,
)
from cytodiffusion.smear.placement import Slide, Spot
from cytodiffusion.smear.procedural import SKETCHES, sketched
from cytodiffusion.smear.red_cells import RedCellStyle, polar, red_cell

RED, WHITE, PLATELET = "red cell", "white cell", "platelet"

#: Micrometres a pixel, and side in pixels, of a field.
PIXEL_UM, SIDE = 0.18, 352

#: Least and largest share of a field under red cells, and how often; more than 1 lies in layers.
_COVERS = ((0.0, 0.3, 0.2), (0.3, 0.8, 0.45), (0.8, 1.15, 0.35))
_RED_AREA_UM2 = 43.0


@dataclass(frozen=True, eq=False)
class TrainingField:
    """A field and what is known of it.

    Attributes
    ----------
    rgb : (Y, X, 3) uint8
    labels : (Y, X) int32
        0 background, cells 1..N; -1 where nobody knows what is there.
    kinds : (N,) uint8
        Kind of label ``i + 1``: 1 red cell, 2 white cell, 3 platelet; 0 unknown.
    """

    rgb: ByteImage
    labels: npt.NDArray[np.int32]
    kinds: npt.NDArray[np.uint8]


def training_field(
    seed: int,
    real: Mapping[str, Sequence[Patch]] | None = None,
    side: int = SIDE,
    pixel_um: float = PIXEL_UM,
) -> TrainingField:
    """Draw a field.

    Parameters
    ----------
    seed : int
    real : mapping of patches, optional
        White cells and platelets cut out of photographs, to stand among drawn ones.
    side : int
        Height and width in pixels.
    pixel_um : float
        Micrometres a pixel.
    """
    rng = np.random.default_rng([seed, 0xF1E1D])
    slide = Slide((side, side), 1 / pixel_um, rng)
    _red_cells(slide)
    _white_cells(slide, real or {})
    _platelets(slide, real or {})
    labels = slide.labels()
    lying = rng.choice(["layers", "side by side", "see-through"], p=[0.4, 0.3, 0.3])
    if lying == "layers":
        density = slide.density()
    else:
        density = (_side_by_side if lying == "side by side" else _see_through)(slide, labels)
    for add in (_ghosts, _dirt, _smudges):
        density += add(slide)
    density = np.clip(density * _thickness(slide), 0, None) + _plasma(slide)
    density = restained(density, rng, rng.uniform(0, 1.2))
    light = uneven_light(slide.shape, rng, rng.uniform(0, 2.5))
    rgb = photograph(light, density, slide.px_um, rng)
    names = np.array([spot.name for spot in slide.spots])
    kinds = np.select([names == RED, names == WHITE, names == PLATELET], [1, 2, 3])
    return TrainingField(rgb, labels, kinds.astype(np.uint8))


def _add(slide: Slide, name: str, patch: Patch, place: npt.NDArray[np.float64]) -> None:
    on_top = name != RED
    slide.spots.append(Spot(name, patch, (float(place[0]), float(place[1])), on_top))


def _red_cells(slide: Slide) -> None:
    """Red cells alone, crowded, in hills and in stacks."""
    rng, side_um = slide.rng, slide.shape[0] / slide.px_um
    low, high, _ = _COVERS[rng.choice(len(_COVERS), p=[share for *_, share in _COVERS])]
    count = int(rng.uniform(low, high) * side_um**2 / _RED_AREA_UM2)
    style = _style(rng)
    size, spread = rng.uniform(0.9, 1.12), rng.uniform(0.02, 0.14)
    stretch = rng.choice([0.05, 0.15, 0.3], p=[0.6, 0.25, 0.15])
    hills = np.exp(rng.uniform(0, 1.8) * waves(slide.shape, rng.uniform(8, 25) * slide.px_um, rng))
    keep_apart = int(rng.integers(2, 12))
    places = np.zeros((0, 2))
    while len(places) < count:
        places = np.vstack([places, _apart(slide, hills, places, keep_apart)[None]])
    if rng.random() < 0.25:
        places = np.vstack([places, *(_stack(slide) for _ in range(rng.integers(1, 8)))])
    for place in places:
        patch = turn(red_cell(slide.px_um, style, rng), rng, stretch)
        factor = float(np.clip(size * np.exp(spread * rng.normal()), 0.6, 1.5))
        _add(slide, RED, resized(patch, factor), place)


def _side_by_side(slide: Slide, labels: npt.NDArray[np.int32]) -> FloatImage:
    """Density of cells that are pressed against each other rather than lying in layers."""
    field = np.zeros((*slide.shape, 3), np.float32)
    hidden = np.float32(slide.rng.uniform(0, 0.9))
    for label, spot in enumerate(slide.spots, start=1):
        where = window(slide.shape, spot.patch.solid.shape, spot.centre)
        if where is not None:
            under = (labels[where[0]] != label) & (labels[where[0]] != 0)
            share = blur(np.where(under, hidden, np.float32(1)), 0.1 * slide.px_um)
            field[where[0]] += spot.patch.density[where[1]] * share[..., None]
    touching = find_boundaries(labels, connectivity=2) & (ndi.minimum_filter(labels, 3) > 0)
    gap = blur(touching, slide.rng.uniform(0.12, 0.3) * slide.px_um)
    seam = 1 - slide.rng.uniform(-0.2, 0.8) * gap / max(float(gap.max()), 1e-6)
    return np.asarray(field * seam[..., None].astype(np.float32), np.float32)


def _see_through(slide: Slide, labels: npt.NDArray[np.int32]) -> FloatImage:
    """Density of cells that lie over one another and look no denser there: rims show through."""
    field = np.zeros((*slide.shape, 3), np.float32)
    rims = np.zeros(slide.shape, np.float32)
    width = float(slide.rng.uniform(0.12, 0.3)) * slide.px_um
    for spot in sorted(slide.spots, key=lambda spot: spot.on_top):
        where = window(slide.shape, spot.patch.solid.shape, spot.centre)
        if where is None:
            continue
        patch, solid = spot.patch.density[where[1]], spot.patch.solid[where[1]]
        if spot.on_top:
            cover = blur(solid, 0.2 * slide.px_um)[..., None]
            field[where[0]] = field[where[0]] * (1 - cover) + patch
            rims[where[0]] *= 1 - cover[..., 0]
        else:
            field[where[0]] = np.maximum(field[where[0]], patch)
            inner = np.asarray(
                cv2.distanceTransform(np.pad(solid, 1).astype(np.uint8), cv2.DIST_L2, 3)
            )[1:-1, 1:-1]
            band = np.exp(-(((inner - width) / width) ** 2)) * solid
            rims[where[0]] = np.maximum(rims[where[0]], band)
    shade = slide.rng.uniform(-0.15, 0.5)
    return np.asarray(field * (1 - shade * rims[..., None]), np.float32)


def _pale(patch: Patch, rng: np.random.Generator) -> Patch:
    """Take the stain out of a white cell's cytoplasm, down to next to nothing."""
    depth = patch.density.mean(axis=2)
    inside = depth[patch.solid]
    if not inside.size:
        return patch
    low, high = np.percentile(inside, [20, 85])
    nucleus = expit((depth - 0.5 * (low + high)) / max(0.08 * (high - low), 1e-3))
    keep = rng.uniform(0.02, 0.6)
    factor = keep + (1 - keep) * nucleus
    return replace(patch, density=np.asarray(patch.density * factor[..., None], np.float32))


def _style(rng: np.random.Generator) -> RedCellStyle:
    """Draw red cells of one field: pale to dense, with much pallor or none, some crenated."""
    usual = RedCellStyle.draw(rng)
    strength = float(np.clip(rng.lognormal(0, 0.35), 0.35, 2.2))
    tint = rng.uniform(0.85, 1.15, 3)
    crenated = rng.uniform(0, 1) if rng.random() < 0.1 else usual.crenated
    return replace(
        usual,
        density=(usual.density * strength * tint).astype(np.float32),
        pallor=rng.uniform(0, 0.9),
        crenated=crenated,
    )


def _apart(
    slide: Slide, hills: FloatImage, places: npt.NDArray[np.float64], candidates: int
) -> npt.NDArray[np.float64]:
    """Draw a place that is the farthest from others among a few, by preference on a hill."""
    rng = slide.rng
    margin = 3 * slide.px_um
    drawn = rng.uniform(-margin, np.array(slide.shape) + margin, (candidates, 2))
    inside = np.clip(drawn, 0, np.array(slide.shape) - 1).astype(int)
    merit = hills[inside[:, 0], inside[:, 1]]
    if len(places):
        distance = np.hypot(*(drawn[:, None] - places[None]).transpose(2, 0, 1)).min(axis=1)
        merit = merit * np.minimum(distance, 8.5 * slide.px_um) ** 2
    return np.asarray(drawn[int(merit.argmax())], np.float64)


def _stack(slide: Slide) -> npt.NDArray[np.float64]:
    """Draw the places ``(n, 2)`` of red cells that lie like coins in a roll."""
    rng = slide.rng
    place = rng.uniform(0, np.array(slide.shape))
    angle, step = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.4) * 3.7 * slide.px_um
    places = []
    for _ in range(int(rng.integers(2, 9))):
        places.append(place)
        angle += rng.normal(0, 0.2)
        place = place + step * np.array([np.sin(angle), np.cos(angle)])
    return np.array(places)


def _white_cells(slide: Slide, real: Mapping[str, Sequence[Patch]]) -> None:
    """White cells from photographs and drawn ones, some at the border, some side by side."""
    rng = slide.rng
    count = int(rng.integers(5, 12)) if rng.random() < 0.12 else int(rng.integers(0, 5))
    cut = real.get(WHITE, ())
    placed: list[tuple[npt.NDArray[np.float64], float]] = []
    for _ in range(count):
        if len(cut) and rng.random() < 0.7:
            patch = cut[int(rng.integers(len(cut)))]
        else:
            patch = sketched(str(rng.choice(list(SKETCHES))), slide.px_um, rng)
        patch = resized(turn(patch, rng, 0.1), float(np.clip(rng.normal(1, 0.1), 0.75, 1.3)))
        if rng.random() < 0.4:
            patch = _pale(patch, rng)
        strength = float(np.clip(rng.lognormal(0, 0.2), 0.6, 1.6))
        patch = replace(patch, density=patch.density * np.float32(strength))
        for _ in range(12):
            place = rng.uniform(0, np.array(slide.shape))
            if placed and rng.random() < 0.15:  # beside another one
                other, radius = placed[-1]
                angle = rng.uniform(0, 2 * np.pi)
                reach = (radius + patch.radius) * rng.uniform(0.9, 1.15)
                place = other + reach * np.array([np.sin(angle), np.cos(angle)])
            if all(
                np.hypot(*(place - other)) > 0.85 * (radius + patch.radius)
                for other, radius in placed
            ):
                placed.append((place, patch.radius))
                _add(slide, WHITE, patch, place)
                break


def _platelets(slide: Slide, real: Mapping[str, Sequence[Patch]]) -> None:
    """Platelets alone, on red cells, and in clumps."""
    rng = slide.rng
    cut = real.get(PLATELET, ())
    reds = [np.array(spot.centre) for spot in slide.spots if spot.name == RED]
    places = []
    for _ in range(int(rng.poisson(5))):
        place = rng.uniform(0, np.array(slide.shape))
        if reds and rng.random() < 0.3:
            place = reds[int(rng.integers(len(reds)))] + rng.normal(0, 1.5 * slide.px_um, 2)
        places.append(place)
    if rng.random() < 0.15:
        middle = rng.uniform(0, np.array(slide.shape))
        places += list(middle + rng.normal(0, 3.5 * slide.px_um, (int(rng.integers(3, 14)), 2)))
    taken: list[npt.NDArray[np.float64]] = []
    for place in places:
        patch = sketched(PLATELET, slide.px_um, rng)
        if len(cut) and rng.random() < 0.6:
            patch = cut[int(rng.integers(len(cut)))]
        target = float(np.clip(rng.lognormal(np.log(1.35), 0.25), 0.7, 2.3)) * slide.px_um
        patch = turn(resized(patch, target / max(patch.radius, 1.0)), rng, 0.15)
        patch = replace(patch, density=patch.density * np.float32(rng.lognormal(0, 0.2)))
        if all(np.hypot(*(place - other)) > 1.7 * target for other in taken):
            taken.append(place)
            _add(slide, PLATELET, patch, place)


def _ghosts(slide: Slide) -> FloatImage:
    """Density of lysed red cells: a faint rim that is no cell any more."""
    rng = slide.rng
    field = np.zeros((*slide.shape, 3), np.float32)
    if rng.random() < 0.85:
        return field
    tint = RedCellStyle.draw(rng).density * rng.uniform(0.1, 0.3)
    for _ in range(int(rng.integers(2, 40))):
        radius = rng.uniform(3.2, 4.2)
        distance, _ = polar(int(2.6 * radius * slide.px_um) | 1, slide.px_um)
        rim = 0.6 * expit((radius - distance) / 0.25) + np.exp(
            -0.5 * ((distance - radius) / 0.25) ** 2
        )
        patch = Patch((rim[..., None] * tint).astype(np.float32), distance < radius)
        place = rng.uniform(0, np.array(slide.shape))
        lay(field, patch, (float(place[0]), float(place[1])))
    return field


def _dirt(slide: Slide) -> FloatImage:
    """Density of precipitate, threads and scratches, none of which is a cell."""
    rng = slide.rng
    field = np.zeros((*slide.shape, 3), np.float32)
    side = int(26 * slide.px_um)
    for _ in range(int(rng.poisson(0.6))):
        grains = precipitate((side, side), slide.px_um, rng, spread=rng.uniform(0.2, 1.0))
        place = rng.uniform(0, np.array(slide.shape))
        lay(field, Patch(grains, grains[..., 1] > 0.1), (float(place[0]), float(place[1])))
    if rng.random() < 0.12:
        lines = np.zeros(slide.shape, np.float32)
        for _ in range(int(rng.integers(1, 4))):
            first, last = rng.integers(0, slide.shape[0], (2, 2)).tolist()
            cv2.line(lines, first, last, 1.0, int(rng.integers(1, 4)), cv2.LINE_AA)
        field += blur(lines, 0.7)[..., None] * rng.uniform(-0.4, 0.9, 3).astype(np.float32)
    return field


def _smudges(slide: Slide) -> FloatImage:
    """Density of crushed nuclei: violet smears without an outline."""
    rng = slide.rng
    field = np.zeros((*slide.shape, 3), np.float32)
    if rng.random() < 0.88:
        return field
    for _ in range(int(rng.integers(1, 4))):
        radius = rng.uniform(4, 10)
        side = int(4 * radius * slide.px_um) | 1
        distance, _ = polar(side, slide.px_um)
        cloud = expit((radius - distance) / (0.18 * radius))
        cloud = cloud * np.clip(0.6 + 0.5 * waves((side, side), slide.px_um, rng), 0, None)
        tint = np.array([0.35, 0.55, 0.2]) * rng.uniform(0.4, 1.2)
        place = rng.uniform(0, np.array(slide.shape))
        patch = Patch((cloud[..., None] * tint).astype(np.float32), cloud > 0.5)
        lay(field, patch, (float(place[0]), float(place[1])))
    return field


def _thickness(slide: Slide) -> FloatImage:
    """Factor ``(Y, X, 1)`` of the density: smears are thicker here than there."""
    rng = slide.rng
    hills = waves(slide.shape, rng.uniform(10, 40) * slide.px_um, rng)
    return np.asarray(np.exp(rng.uniform(0, 0.25) * hills)[..., None], np.float32)


def _plasma(slide: Slide) -> FloatImage:
    """Density of the plasma between the cells: hardly any to a coloured film with ripples."""
    rng = slide.rng
    field = haze(slide.shape, slide.px_um, rng)
    if rng.random() < 0.4:
        film = np.clip(1 + 0.5 * waves(slide.shape, rng.uniform(2, 20) * slide.px_um, rng), 0, None)
        tint = rng.uniform(0.02, 0.14) * rng.uniform([0.5, 0.9, 0.5], [1.1, 1.2, 1.1])
        field = field + film[..., None] * tint.astype(np.float32)
    return np.asarray(field, np.float32)
