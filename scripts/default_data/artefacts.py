"""Training images of what is on a smear and is no cell.

Made from photographs of real cells: the central cell is taken out, moved, smeared or
replaced by stain precipitate. Two more functions serve the red-cell class the same way.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from scripts.default_data.scene import (
    PX_UM,
    Scene,
    analyse,
    central_object,
    emptied,
    lift,
    lone_red_cells,
    render,
    scatter,
    white_cells,
)

from cytodiffusion.errors import InputError
from cytodiffusion.smear.background import AZURE, precipitate
from cytodiffusion.smear.patches import (
    ByteImage,
    FloatImage,
    Mask,
    Patch,
    blur,
    grown,
    lay,
    turn,
    waves,
)

#: What :func:`make_artefact` can make.
artefact_kinds: tuple[str, ...] = ("precipitate", "smudge", "empty", "fragment", "clump")

#: At most so many photographs lend red cells to one image, until there are enough of them.
_DONORS = 10

_ENOUGH = 5


def clear_centre(
    image: ByteImage, rng: np.random.Generator, donors: Sequence[ByteImage] = ()
) -> ByteImage:
    """Take the white cells out of a single-cell photograph.

    The central cell, all that touches it and any other nucleated cell are replaced by
    the empty slide, and the room is filled with copies of the lone red cells of the
    same photograph, and of the donors where it has too few.

    Parameters
    ----------
    image
        ``(H, W, 3)`` uint8, 10 pixels a micrometre, cell in the centre.
    rng
        Decides on places and rotations.
    donors
        Other photographs to borrow red cells from.

    Returns
    -------
    ByteImage
        ``(H, W, 3)`` uint8 without white cells.
    """
    scene = analyse(image)
    cells = _more_red_cells(lone_red_cells(scene), donors, rng)
    density = _refilled(scene, cells, rng, free_um=0.0)
    return render(scene.light, density, scene.grain, rng)


def make_artefact(images: Sequence[ByteImage], kind: str, rng: np.random.Generator) -> ByteImage:
    """Make one training image of the class "artefact".

    Parameters
    ----------
    images
        Photographs ``(H, W, 3)`` uint8 of single cells, 10 pixels a micrometre; a few are
        drawn at random as stage, as source of red cells and of the white cell.
    kind
        One of :data:`artefact_kinds`.
    rng
        The only source of chance: same state, same image.

    Returns
    -------
    ByteImage
        ``(H, W, 3)`` uint8, of the size of the photograph that served as stage.

    Raises
    ------
    InputError
        If there are no images or the kind is unknown.
    """
    _check(images, kind, artefact_kinds)
    scene, cells = _stage(images, rng)
    light = scene.light
    if kind == "precipitate":
        density = _refilled(scene, cells, rng, free_um=float(rng.choice([0.0, 3.0])))
        density = density + precipitate(scene.shape, PX_UM, rng)
    elif kind == "smudge":
        density = _refilled(scene, cells, rng, free_um=6.5)
        lay(density, _smudge(_white_cell(images, rng), rng), _middle(scene, rng, 1.0))
    elif kind == "empty":
        density = _refilled(scene, cells, rng, free_um=float(rng.uniform(4.2, 8.0)))
        light, density = _optics(light, density, rng)
    elif kind == "fragment":
        density = _fragment(scene, cells, _white_cell(images, rng), rng)
    else:
        density = _clump(scene, cells, rng)
    return render(light, density, scene.grain, rng)


def make_red_cell(images: Sequence[ByteImage], rng: np.random.Generator) -> ByteImage:
    """Make one training image with a real red cell in the centre and no white cell.

    Parameters and result as for :func:`make_artefact`.
    """
    _check(images, "red cell", ("red cell",))
    scene, cells = _stage(images, rng)
    for _ in range(8):
        if cells:
            break
        scene, cells = _stage(images, rng)
    if not cells:
        raise InputError("None of the photographs drawn shows a whole, single red cell.")
    # Neighbours may touch and overlap the cell a little, as they do on a smear.
    density = _refilled(scene, cells, rng, free_um=float(rng.uniform(2.6, 4.5)))
    cell = turn(cells[int(rng.integers(len(cells)))], rng)
    lay(density, cell, _middle(scene, rng, 0.4))
    return render(scene.light, density, scene.grain, rng)


def _check(images: Sequence[ByteImage], kind: str, known: tuple[str, ...]) -> None:
    if kind not in known:
        raise InputError(f"'{kind}' is no kind of artefact; choose one of {', '.join(known)}.")
    if not len(images):
        raise InputError("Artefacts are made from photographs of cells: give at least one.")


def _draw(images: Sequence[ByteImage], rng: np.random.Generator) -> Scene:
    return analyse(images[int(rng.integers(len(images)))])


def _stage(images: Sequence[ByteImage], rng: np.random.Generator) -> tuple[Scene, list[Patch]]:
    """Draw a photograph to work on, and red cells from it and a few others."""
    scene = _draw(images, rng)
    return scene, _more_red_cells(lone_red_cells(scene), images, rng)


def _more_red_cells(
    cells: list[Patch], images: Sequence[ByteImage], rng: np.random.Generator
) -> list[Patch]:
    """Borrow red cells from other photographs until there are enough."""
    for _ in range(_DONORS if len(images) else 0):
        if len(cells) >= _ENOUGH:
            break
        cells = cells + lone_red_cells(_draw(images, rng))
    return cells


def _refilled(
    scene: Scene, cells: list[Patch], rng: np.random.Generator, free_um: float
) -> FloatImage:
    """Density without white cells, refilled with red cells but for a free middle."""
    h, w = scene.shape
    yy, xx = np.indices(scene.shape)
    middle = np.hypot(yy - h / 2, xx - w / 2) < free_um * PX_UM
    density = emptied(scene, white_cells(scene) | middle)

    def allowed(y: float, x: float, cell: Patch) -> bool:
        reach = free_um * PX_UM + (cell.radius if free_um else 0)
        return float(np.hypot(y - h / 2, x - w / 2)) > reach

    scatter(density, cells, int(rng.integers(3, 13)), rng, allowed)
    return density


def _middle(scene: Scene, rng: np.random.Generator, spread_um: float) -> tuple[float, float]:
    """Return the middle of a scene, missed by a little."""
    dy, dx = rng.normal(0, spread_um * PX_UM / 2, 2)
    return scene.shape[0] / 2 + float(dy), scene.shape[1] / 2 + float(dx)


def _white_cell(images: Sequence[ByteImage], rng: np.random.Generator) -> Patch:
    """Lift a central cell that lies free, else only what is stained of it."""
    patch = None
    for _ in range(8):
        scene = _draw(images, rng)
        solid = scene.objects == central_object(scene)
        nucleus = solid & scene.stained
        if nucleus.sum() < 8 * PX_UM**2:  # a platelet makes neither fragment nor smudge
            continue
        free = not (
            solid[:3].any() or solid[-3:].any() or solid[:, :3].any() or solid[:, -3:].any()
        )
        if free and solid.sum() < 5 * nucleus.sum() and solid.sum() < 300 * PX_UM**2:
            return lift(scene, solid)
        patch = patch or lift(scene, grown(nucleus, 4))
    if patch is None:
        raise InputError("None of the photographs drawn shows a white cell in the centre.")
    return patch


def _smudge(cell: Patch, rng: np.random.Generator) -> Patch:
    """Smear a cell: stretched along one direction, swirled, blurred unevenly and paler."""
    pad = int(6 * PX_UM)
    density = _swirled(np.pad(cell.density, ((pad, pad), (pad, pad), (0, 0))), rng)
    shape = (density.shape[0], density.shape[1])
    sharp, soft = blur(density, rng.uniform(3, 6)), blur(density, rng.uniform(9, 16))
    torn = np.clip(0.5 + 0.5 * waves(shape, 2.0 * PX_UM, rng), 0, 1)[..., None]
    density = torn * sharp + (1 - torn) * soft
    # Bare nuclei take an even, reddish violet; faint strands run along the smear.
    amount = density.max(axis=-1, keepdims=True)
    colour = AZURE / AZURE.max() * np.array([rng.uniform(0.75, 1.0), 1.0, rng.uniform(0.8, 1.2)])
    density = 0.35 * density + 0.65 * amount * colour.astype(np.float32)
    noise = waves(shape, 2.5, rng)
    strands = np.asarray(cv2.GaussianBlur(noise, (0, 0), sigmaX=9.0, sigmaY=1.0), np.float32)
    texture = strands / max(float(strands.std()), 1e-6) * rng.uniform(0.0, 0.14)
    texture = texture + 0.18 * waves(shape, rng.uniform(3, 7), rng)
    fade = rng.uniform(0.4, 0.85) * np.clip(1 + texture, 0.3, 1.6)
    smeared = (density * fade[..., None]).astype(np.float32)
    return turn(Patch(smeared, smeared[..., 1] > 0.15), rng, stretch=0.0)


def _swirled(density: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Stretch along x and displace by smooth random waves of two sizes."""
    h, w = density.shape[:2]
    yy, xx = np.indices((h, w), dtype=np.float32)
    folds = [waves((h, w), s * PX_UM, rng) for s in (2.5, 2.5, 0.9, 0.9)]
    dy = rng.uniform(7, 18) * folds[0] + rng.uniform(2, 6) * folds[2]
    dx = rng.uniform(7, 18) * folds[1] + rng.uniform(2, 6) * folds[3]
    from_x = (xx - w / 2) / rng.uniform(1.0, 1.7) + w / 2 + dx
    from_y = (yy - h / 2) / rng.uniform(0.8, 1.1) + h / 2 + dy
    maps = from_x.astype(np.float32), from_y.astype(np.float32)
    return np.asarray(cv2.remap(density, *maps, cv2.INTER_LINEAR), np.float32)


def _optics(
    light: FloatImage, density: FloatImage, rng: np.random.Generator
) -> tuple[FloatImage, FloatImage]:
    """Uneven light, and at times a refractile spot, a speck of dust or a bubble."""
    h, w = density.shape[:2]
    yy, xx = np.indices((h, w), dtype=np.float32)
    slope = rng.normal(0, 0.06, 2)
    light = light * (1 + slope[0] * (yy / h - 0.5) + slope[1] * (xx / w - 0.5))[..., None]
    kind = rng.choice(["nothing", "spot", "dust", "bubble"], p=[0.3, 0.3, 0.2, 0.2])
    cy, cx = h / 2 + rng.normal(0, 5), w / 2 + rng.normal(0, 5)
    distance = np.hypot((yy - cy) * rng.uniform(0.85, 1.15), xx - cx) / PX_UM
    if kind == "spot":
        radius = rng.uniform(0.3, 0.9)
        core = np.exp(-0.5 * (distance / (0.6 * radius)) ** 2)
        ring = np.exp(-0.5 * ((distance - 1.5 * radius) / (0.4 * radius)) ** 2)
        extra = rng.uniform(0.25, 0.8) * ring - rng.uniform(0.1, 0.5) * core
        density = density + extra[..., None] * np.array([1.0, 1.05, 0.95], np.float32)
    elif kind == "dust":
        shape = _blot((h, w), (cy, cx), rng.uniform(0.6, 2.2), rng)
        tint = rng.uniform(0.5, 1.8) * np.array([0.9, 1.0, 1.15], np.float32)
        density = density + shape[..., None] * tint
    elif kind == "bubble":
        radius = rng.uniform(1.5, 5.5)
        width = rng.uniform(0.15, 0.4)
        rim = np.exp(-0.5 * ((distance - radius) / width) ** 2)
        inner = np.exp(-0.5 * ((distance - radius + 2.2 * width) / width) ** 2)
        extra = rng.uniform(0.2, 0.8) * rim - rng.uniform(0.03, 0.12) * inner
        density = density + extra[..., None]
    return np.clip(light, 0, 255).astype(np.float32), density.astype(np.float32)


def _blot(
    shape: tuple[int, int], centre: tuple[float, float], radius_um: float, rng: np.random.Generator
) -> FloatImage:
    """Draw an irregular speck, 0 to 1."""
    yy, xx = np.indices(shape, dtype=np.float32)
    angle = np.arctan2(yy - centre[0], xx - centre[1])
    outline = np.ones(shape, np.float32)
    for k in range(1, 6):
        outline += rng.normal(0, 0.35 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    distance = np.hypot(yy - centre[0], xx - centre[1])
    return blur(distance < np.maximum(outline, 0.3) * radius_um * PX_UM, rng.uniform(1.0, 3.0))


def _fragment(
    scene: Scene, cells: list[Patch], cell: Patch, rng: np.random.Generator
) -> FloatImage:
    """Put a white cell beside the centre: its rim, or the gap next to it, is in the middle."""
    h, w = scene.shape
    radius = cell.radius / PX_UM
    reach = float(np.clip(rng.uniform(max(5.0, 0.8 * radius), radius + 3.0), 5.0, 9.0))
    angle = rng.uniform(0, 2 * np.pi)
    cy, cx = h / 2 + reach * PX_UM * np.sin(angle), w / 2 + reach * PX_UM * np.cos(angle)
    density = emptied(scene, white_cells(scene) | _disc(scene.shape, (cy, cx), radius))

    def allowed(y: float, x: float, red: Patch) -> bool:
        off_cell = np.hypot(y - cy, x - cx) > radius * PX_UM + 0.8 * red.radius
        return bool(off_cell and np.hypot(y - h / 2, x - w / 2) > 3.0 * PX_UM)

    scatter(density, cells, int(rng.integers(3, 11)), rng, allowed)
    lay(density, turn(cell, rng), (float(cy), float(cx)))
    return density


def _clump(scene: Scene, cells: list[Patch], rng: np.random.Generator) -> FloatImage:
    """Red cells crowded around the centre, none of them in it."""
    h, w = scene.shape
    density = _refilled(scene, cells, rng, free_um=7.0)
    if not cells:
        return density
    n = int(rng.integers(3, 6))
    start = rng.uniform(0, 2 * np.pi)
    for k in range(n):
        cell = turn(cells[int(rng.integers(len(cells)))], rng)
        angle = start + 2 * np.pi * (k + rng.uniform(-0.2, 0.2)) / n
        reach = cell.radius * rng.uniform(0.95, 1.25)
        lay(density, cell, (h / 2 + reach * np.sin(angle), w / 2 + reach * np.cos(angle)))
    return density


def _disc(shape: tuple[int, int], centre: tuple[float, float], radius_um: float) -> Mask:
    yy, xx = np.indices(shape)
    inside: npt.NDArray[np.bool_] = np.hypot(yy - centre[0], xx - centre[1]) < radius_um * PX_UM
    return inside
