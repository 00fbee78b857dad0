"""Segmentation of stained smears without any trained weights.

The field is corrected for uneven light and turned into stain maps; white cells are nuclei with the
cytoplasm around them, platelets are small purple bodies, and what else absorbs is divided into red
cells by a watershed. All sizes are micrometres.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytodiffusion.image.stain import estimate_background
from cytodiffusion.progress import Progress, silent
from cytodiffusion.segmentation.foreground import Mask, Stains, foreground, smooth, stain_maps
from cytodiffusion.segmentation.nuclei import find_nuclei, grow_cytoplasm
from cytodiffusion.segmentation.platelets import find_platelets
from cytodiffusion.segmentation.result import PLATELET, RED, WHITE, Segmentation
from cytodiffusion.segmentation.scale import estimate_pixel_size
from cytodiffusion.segmentation.settings import WatershedSettings as WatershedSettings
from cytodiffusion.segmentation.splitting import split_red_cells

Labels = NDArray[np.int32]

#: A background of which no channel reaches this (0..255) is not that of a transmitted-light image.
DARKEST_BACKGROUND = 40.0


def watershed(
    rgb: NDArray[np.uint8],
    pixel_size_um: float | None = None,
    settings: WatershedSettings | None = None,
    progress: Progress = silent,
    *,
    background: NDArray[np.float32] | None = None,
) -> Segmentation:
    """Outline red cells, white cells and platelets of a stained smear.

    Parameters
    ----------
    rgb : (Y, X, 3) uint8
        A field of view or a single-cell crop, bright background.
    pixel_size_um : float or None
        Micrometres per pixel; None estimates it from the red cells.
    settings : WatershedSettings or None
        None takes the defaults.
    progress : Progress
        Told the fraction done; may raise `Cancelled`.
    background : (Y, X, 3) float32, optional
        Its `background_map`, where that is known already.
    """
    settings = settings or WatershedSettings()
    brightest = estimate_background(rgb) if background is None else background
    dark = float(brightest.max()) < DARKEST_BACKGROUND
    source, warnings = "given", []
    if pixel_size_um is None:
        progress(0.0, "estimating the scale")
        estimate = estimate_pixel_size(rgb)
        pixel_size_um, source = estimate.pixel_size_um, estimate.source
        if source == "assumed":
            warnings.append(
                "Too few red cells to measure the scale; "
                f"{pixel_size_um:.3f} um a pixel was assumed."
            )
    if dark:
        warnings.append("The image is dark: cells are looked for on a bright background.")
        empty = np.zeros(rgb.shape[:2], np.int32)
        kinds = np.zeros(0, np.uint8)
        return _result(empty, kinds, pixel_size_um, source, settings, warnings)
    progress(0.1, "separating the stains")
    small, working_um = _resample(rgb, pixel_size_um, settings.working_um)
    if background is not None:
        size = (small.shape[1], small.shape[0])
        light = cv2.resize(background, size, interpolation=cv2.INTER_LINEAR)
        background = np.asarray(light, np.float32)
    labels, kinds = _outline(stain_maps(small, background), working_um, settings, progress)
    progress(0.9, "tracing the outlines")
    labels, kinds = _finish(_enlarge(labels, rgb.shape[:2]), kinds)
    progress(1.0, f"{len(kinds)} cells")
    return _result(labels, kinds, pixel_size_um, source, settings, warnings)


def _result(
    labels: Labels,
    kinds: NDArray[np.uint8],
    pixel_um: float,
    source: str,
    settings: WatershedSettings,
    warnings: list[str],
) -> Segmentation:
    """Wrap up; an image without cells is worth a warning."""
    if len(kinds) == 0 and not warnings:
        warnings = ["No cells were found."]
    return Segmentation(
        labels, pixel_um, source, "watershed", settings.model_dump(), tuple(warnings), kinds
    )


def _outline(
    stains: Stains, pixel_um: float, settings: WatershedSettings, progress: Progress
) -> tuple[Labels, NDArray[np.uint8]]:
    """Labels at working size and the kind of each, label 0 included."""
    mask: Mask = foreground(smooth(stains.density, 0.2 / pixel_um))
    progress(0.3, "looking for nuclei")
    nuclei = find_nuclei(stains, mask, pixel_um, settings.nucleus)
    labels = grow_cytoplasm(stains, mask, nuclei, pixel_um, settings.nucleus)
    kinds = [0] + [WHITE] * int(labels.max(initial=0))
    taken = labels > 0
    red = small = np.zeros_like(labels)
    if settings.platelets:
        progress(0.5, "looking for platelets")
        small = find_platelets(stains, mask, taken, pixel_um, settings.platelet)
    if settings.red_cells:
        progress(0.6, "dividing red cells")
        red = split_red_cells(mask, taken, pixel_um, settings.red_cell)
        red, small = _settle(red, small, settings.platelet.area_um2[1] / pixel_um**2)
    for layer, kind in ((red, RED), (small, PLATELET)):
        labels = np.where(layer > 0, layer + len(kinds) - 1, labels)
        kinds += [kind] * int(layer.max(initial=0))
    return labels.astype(np.int32), np.array(kinds, np.uint8)


def _settle(red: Labels, small: Labels, largest: float) -> tuple[Labels, Labels]:
    """Give the rim left of a red cell that a platelet fills to the platelet: it was none.

    ``largest`` is the area of the largest platelet, in pixels; a larger rim is dropped.
    """
    both = (red > 0) & (small > 0)
    areas = np.bincount(red.ravel())
    covered = np.bincount(red[both], minlength=len(areas))
    filled = covered > 0.3 * areas
    filled[0] = False
    if not filled.any():
        return red, small
    inside = np.zeros(len(areas), np.int32)
    inside[red[both]] = small[both]
    inside[~filled | (areas > largest)] = 0
    small = np.where((small == 0) & (inside[red] > 0), inside[red], small)
    numbers = np.where(filled, 0, np.cumsum(~filled) - 1)
    return numbers[red].astype(np.int32), small.astype(np.int32)


def _resample(
    rgb: NDArray[np.uint8], pixel_um: float, working_um: float
) -> tuple[NDArray[np.uint8], float]:
    """Bring an image to the working pixel size; the pixel size it really got comes along."""
    height, width = rgb.shape[:2]
    scale = min(2.0, pixel_um / working_um)
    if 0.85 < scale < 1.15:
        return rgb, pixel_um
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(rgb, size, interpolation=how)
    return np.asarray(small, dtype=np.uint8), pixel_um * width / size[0]


def _enlarge(labels: Labels, shape: tuple[int, ...]) -> Labels:
    """Bring labels to the size of the image with smooth outlines."""
    height, width = shape[:2]
    if labels.shape == (height, width):
        return labels
    nearest = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
    ratio = width / labels.shape[1]
    if ratio <= 1.0:
        return np.asarray(nearest, dtype=np.int32)
    result = np.zeros((height, width), np.int32)
    pad = 2
    for index, where in enumerate(ndimage.find_objects(labels), start=1):
        if where is None:
            continue
        rows, columns = (slice(max(0, p.start - pad), p.stop + pad) for p in where)
        top, left = round(rows.start * ratio), round(columns.start * ratio)
        part = (labels[rows, columns] == index).astype(np.float32)
        size = (round(part.shape[1] * ratio), round(part.shape[0] * ratio))
        large = cv2.resize(part, size, interpolation=cv2.INTER_LINEAR) > 0.5
        large = large[: height - top, : width - left]
        view = result[top : top + large.shape[0], left : left + large.shape[1]]
        view[large] = index
    return result


def _finish(labels: Labels, kinds: NDArray[np.uint8]) -> tuple[Labels, NDArray[np.uint8]]:
    """Keep the largest piece of every label and number them without gaps."""
    pieces = np.zeros_like(labels)
    kept: list[int] = []
    for index, where in enumerate(ndimage.find_objects(labels), start=1):
        if where is None:
            continue
        region = labels[where] == index
        parts, count = ndimage.label(region)
        if count > 1:
            region = parts == 1 + int(np.bincount(parts.ravel())[1:].argmax())
        kept.append(int(kinds[index]))
        pieces[where][region] = len(kept)
    return pieces, np.array(kept, np.uint8)
