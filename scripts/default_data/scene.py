"""Take a single-cell photograph apart into light and stain, and put it together anew.

Everything is done in optical density (Beer-Lambert): a photograph is an even sheet of
light times what the cells let through, so cells can be lifted out, moved and laid over one
another by adding densities, without a seam.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from cytodiffusion.errors import InputError
from cytodiffusion.smear.patches import (
    ByteImage,
    FloatImage,
    Mask,
    Patch,
    blur,
    filled,
    grown,
    lay,
    turn,
)

#: Scale of the single-cell photographs (CellaVision DM96), pixels a micrometre.
PX_UM = 10.0


@dataclass(frozen=True)
class Scene:
    """A photograph taken apart.

    Attributes
    ----------
    light
        ``(H, W, 3)`` float32, what the photograph would be without any cell, 0 to 255.
    density
        ``(H, W, 3)`` float32 optical density (natural logarithm) of all that is there.
    objects
        ``(H, W)`` int32, connected foreground, 0 between the cells.
    stained
        ``(H, W)`` bool, nuclei and platelets: what took up the blue dye strongly.
    grain
        Standard deviation of the pixel noise, in grey levels.
    """

    light: FloatImage
    density: FloatImage
    objects: npt.NDArray[np.int32]
    stained: Mask
    grain: float

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.objects.shape[0], self.objects.shape[1]


def analyse(image: ByteImage) -> Scene:
    """Take a single-cell photograph apart.

    Parameters
    ----------
    image
        ``(H, W, 3)`` uint8 RGB, 10 pixels a micrometre.

    Raises
    ------
    InputError
        If the array is not an RGB photograph of at least 96 x 96 pixels.
    """
    if (
        image.ndim != 3
        or image.shape[2] != 3
        or image.dtype != np.uint8
        or min(image.shape[:2]) < 96
    ):
        raise InputError(
            "A single-cell photograph must be an 8-bit RGB array of at least 96 x 96 pixels, "
            f"not {image.dtype} {image.shape}."
        )
    pixels = image.astype(np.float32)
    rough = -np.log((pixels + 1) / (_paper(pixels) + 1))
    empty = ~grown(blur(rough, 1.0)[..., 1] > 0.06, 8)
    light = _light(pixels, empty)
    density = -np.log((pixels + 1) / (light + 1))
    smooth = blur(density, 1.5)
    solid = filled(smooth.max(axis=-1) > 0.075)
    solid = grown(~grown(~solid, 4), 4)
    _, objects = cv2.connectedComponents(solid.astype(np.uint8), connectivity=4)
    residual = (pixels - blur(pixels, 2.0))[empty]
    grain = float(np.clip(residual.std(), 0.3, 2.5)) if empty.sum() > 500 else 0.8
    return Scene(light, density, objects.astype(np.int32), smooth[..., 0] > 0.3, grain)


def _paper(pixels: FloatImage) -> FloatImage:
    """Colour of the empty slide: the brightest mode of the green channel."""
    green = blur(pixels, 1.5)[..., 1]
    counts = np.bincount(green.astype(np.uint8).ravel(), minlength=256).astype(float)
    counts = ndi.gaussian_filter1d(counts, 2.0)
    first = max(int(np.percentile(green, 99)) - 30, 0)
    peak = first + int(np.argmax(counts[first:]))
    near = np.abs(green - (peak + 0.5)) < 6
    return np.asarray(np.median(pixels[near], axis=0), np.float32)


def _light(pixels: FloatImage, empty: Mask) -> FloatImage:
    """Continue the empty slide smoothly under the cells (normalised convolution)."""
    if empty.sum() < 400:
        return np.broadcast_to(_paper(pixels), pixels.shape).astype(np.float32)
    weight = empty.astype(np.float32)
    mean = pixels[empty].mean(axis=0)
    # Light is smooth: a quarter of the size is enough.
    packed = np.dstack([(pixels - mean) * weight[..., None], weight])
    small = cv2.resize(packed, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    small = blur(small, 30.0 / 4)
    # The small constant leads back to the mean far away from any empty pixel.
    near = small[..., :3] / (small[..., 3:] + 0.02)
    size = (pixels.shape[1], pixels.shape[0])
    return np.asarray(mean + cv2.resize(near, size, interpolation=cv2.INTER_CUBIC), np.float32)


def central_object(scene: Scene) -> int:
    """Index of the object that holds the cell in the centre, 0 when there is none."""
    yy, xx = np.indices(scene.shape)
    distance = np.hypot(yy - scene.shape[0] / 2, xx - scene.shape[1] / 2)
    near = scene.stained & (distance < 6 * PX_UM) & (scene.objects > 0)
    if near.sum() < 30:
        near = (distance < 2 * PX_UM) & (scene.objects > 0)
    ids = scene.objects[near]
    return int(np.bincount(ids).argmax()) if ids.size else 0


def lift(scene: Scene, solid: Mask) -> Patch:
    """Lift out the cell given by a ``(H, W)`` mask, with a soft rim of 0.8 um."""
    reach = grown(solid, 8)
    rim = np.clip(blur(reach, 2.5) * 2 - 1, 0, 1)
    ys, xs = np.nonzero(reach)
    box = (slice(ys.min(), ys.max() + 1), slice(xs.min(), xs.max() + 1))
    return Patch((scene.density * rim[..., None])[box], solid[box])


def lone_red_cells(scene: Scene) -> list[Patch]:
    """Whole, single red cells of a photograph: round, 25 to 80 um2, not at the border."""
    found = []
    for index, box in enumerate(ndi.find_objects(scene.objects), start=1):
        if box is None or _touches_border(box, scene.shape):
            continue
        solid = scene.objects == index
        area = solid.sum() / PX_UM**2
        if not 25 < area < 80 or (solid & scene.stained).sum() > 20:
            continue
        hull = cv2.convexHull(np.argwhere(solid[box]).astype(np.int32))
        if solid.sum() / max(float(cv2.contourArea(hull)), 1.0) > 0.93:
            found.append(lift(scene, solid))
    return found


def _touches_border(box: tuple[slice, ...], shape: tuple[int, int], margin: int = 6) -> bool:
    return any(
        s.start < margin or s.stop > size - margin for s, size in zip(box, shape, strict=True)
    )


def emptied(scene: Scene, remove: Mask) -> FloatImage:
    """Density of the scene after the objects under ``remove`` were taken out, whole."""
    gone = np.unique(scene.objects[remove])
    mask = np.isin(scene.objects, gone[gone > 0])
    keep = 1 - np.clip(blur(grown(mask, 12), 3.0) * 2, 0, 1)
    return (scene.density * keep[..., None]).astype(np.float32)


def white_cells(scene: Scene) -> Mask:
    """Objects with a nucleus (more than 10 um2 strongly stained) or in the centre."""
    ids = np.unique(scene.objects[scene.stained])
    areas = ndi.sum_labels(scene.stained, scene.objects, ids)
    wanted = {int(i) for i, a in zip(ids, areas, strict=True) if i and a > 10 * PX_UM**2}
    wanted.add(central_object(scene))
    wanted.discard(0)
    return np.isin(scene.objects, list(wanted))


def scatter(
    density: FloatImage,
    cells: list[Patch],
    n: int,
    rng: np.random.Generator,
    allowed: Callable[[float, float, Patch], bool],
) -> None:
    """Lay up to ``n`` turned cells at random places where there is room, in place."""
    if not cells:
        return
    h, w = density.shape[:2]
    for _ in range(n):
        cell = turn(cells[int(rng.integers(len(cells)))], rng)
        for _attempt in range(12):
            y, x = rng.uniform(-20, h + 20), rng.uniform(-20, w + 20)
            if allowed(y, x, cell) and _room(density, y, x, cell):
                lay(density, cell, (y, x))
                break


def _room(density: FloatImage, y: float, x: float, cell: Patch) -> bool:
    """Whether at most a quarter of the cell would lie on something else."""
    h, w = density.shape[:2]
    radius = cell.radius
    y0, y1 = int(max(y - radius, 0)), int(min(y + radius, h))
    x0, x1 = int(max(x - radius, 0)), int(min(x + radius, w))
    if y0 >= y1 or x0 >= x1:
        return False
    return float((density[y0:y1, x0:x1, 1] > 0.08).mean()) < 0.25


def render(
    light: FloatImage, density: FloatImage, grain: float, rng: np.random.Generator
) -> ByteImage:
    """Photograph a scene: light times transmittance, sensor noise, mild JPEG compression."""
    pixels = (light + 1) * np.exp(-density) - 1
    noise = blur(rng.normal(0, 1, density.shape[:2]), 0.8)
    # The grain was measured in the photograph; half of it is still there outside the patches.
    pixels = pixels + 0.5 * grain * (noise / noise.std())[..., None]
    image = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    quality = int(rng.integers(88, 97))
    _, packed = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    unpacked = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(unpacked[..., ::-1])
