"""Segmentation of stained smears without any trained weights.

The field is corrected for uneven light and turned into stain maps; white cells are nuclei with the
cytoplasm around them, platelets are small purple bodies, and what else absorbs is divided into red
cells by a watershed. All sizes are micrometres.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from cytodiffusion.image.stain import DARKEST_BACKGROUND, estimate_background
from cytodiffusion.progress import Progress, silent
from cytodiffusion.segmentation.foreground import Mask, Stains, foreground, smooth, stain_maps
from cytodiffusion.segmentation.nuclei import find_nuclei, grow_cytoplasm
from cytodiffusion.segmentation.platelets import find_platelets
from cytodiffusion.segmentation.resampling import enlarge, finish, resample
from cytodiffusion.segmentation.result import PLATELET, RED, WHITE, Segmentation
from cytodiffusion.segmentation.scale import estimate_pixel_size
from cytodiffusion.segmentation.settings import WatershedSettings as WatershedSettings
from cytodiffusion.segmentation.splitting import split_red_cells

Labels = NDArray[np.int32]


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
    small, working_um = resample(rgb, pixel_size_um, settings.working_um)
    if background is not None:
        size = (small.shape[1], small.shape[0])
        light = cv2.resize(background, size, interpolation=cv2.INTER_LINEAR)
        background = np.asarray(light, np.float32)
    labels, kinds = _outline(stain_maps(small, background), working_um, settings, progress)
    progress(0.9, "tracing the outlines")
    labels, kinds = finish(enlarge(labels, rgb.shape[:2]), kinds)
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
