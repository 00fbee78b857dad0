"""Segmentation by the smear network: flows by a small U-Net, masks by Cellpose's dynamics.

The network is a part of the model that ships with the package, so it needs no download. It was
trained on drawn fields with everything that real ones have; docs/segmentation.md has the figures.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from cytodiffusion.image.stain import DARKEST_BACKGROUND, estimate_background
from cytodiffusion.model.loading import load_segmenter_of
from cytodiffusion.model.segmenter import FLOW_SCALE, Segmenter
from cytodiffusion.progress import Progress, silent
from cytodiffusion.segmentation.resampling import enlarge, finish, resample
from cytodiffusion.segmentation.result import PLATELET, RED, UNKNOWN, WHITE, Segmentation
from cytodiffusion.segmentation.scale import DEFAULT_PIXEL_UM, ScaleEstimate, estimate_pixel_size
from cytodiffusion.segmentation.settings import NetworkSettings

Labels = NDArray[np.int32]

#: Side in working pixels of the blocks that large fields are read in, and what neighbours share.
BLOCK, SHARED = 1024, 96

#: Mirrored pixels beside the border, so that cut cells are seen like others.
MARGIN = 16

#: Coarse pictures are enlarged so many times, half as often from so many pixels on; the network
#: bears cells of two thirds of their size.
MOST_LARGER, LARGE_PIXELS = 4.0, 3_000_000

#: Pictures narrower than this, in working pixels, show no cell.
LEAST_SIDE = 8

#: Steps in which pixels follow the flows: more than the radius of the largest cell in pixels.
STEPS = 120


#: With fewer white cells than this in a field nothing is said about the many; larger cells than
#: this (a circle 9.5 um wide) are no red cells.
MANY, LARGEST_ALIKE_UM2 = 12, 71.0


@dataclass(frozen=True)
class FieldReading:
    """What the network says of a field at its own resolution.

    Attributes
    ----------
    flows : (2, H, W) float32
        Down and right, `FLOW_SCALE` times as long as they are.
    cells : (H, W) float32
        Logit of being of a cell.
    kinds : (3, H, W) float32
        Logits of red cell, white cell and platelet.
    """

    flows: NDArray[np.float32]
    cells: NDArray[np.float32]
    kinds: NDArray[np.float32]


@lru_cache(maxsize=2)
def smear_network(model: str | Path = "default") -> Segmenter:
    """Load the smear network of a model once."""
    return load_segmenter_of(model)


def network(
    rgb: NDArray[np.uint8],
    pixel_size_um: float | None = None,
    settings: NetworkSettings | None = None,
    progress: Progress = silent,
    *,
    segmenter: Segmenter | None = None,
) -> Segmentation:
    """Outline red cells, white cells and platelets of a stained smear.

    Parameters
    ----------
    rgb : (Y, X, 3) uint8
        A field of view or a single-cell crop.
    pixel_size_um : float or None
        Micrometres per pixel; None measures it by the red cells.
    settings : NetworkSettings or None
        None takes the defaults.
    progress : Progress
        Told the fraction done; may raise `Cancelled`.
    segmenter : Segmenter, optional
        The trained network; that of the default model where missing.
    """
    settings = settings or NetworkSettings()
    segmenter = segmenter or smear_network()
    if float(estimate_background(rgb).max()) < DARKEST_BACKGROUND:
        return _empty(rgb, pixel_size_um, settings)
    estimate, labels, kinds = None, None, None
    if pixel_size_um is None:
        progress(0.0, "estimating the scale")
        estimate, labels, kinds = _at_unknown_scale(rgb, segmenter, settings)
        pixel_size_um = estimate.pixel_size_um
    if labels is None or kinds is None:
        progress(0.4, "looking for cells")
        small, working_um = at_working_size(rgb, pixel_size_um, segmenter)
        labels, kinds = outline(small, working_um, segmenter, settings)
    progress(0.9, "tracing the outlines")
    labels, found = finish(enlarge(labels, rgb.shape[:2]), kinds)
    progress(1.0, f"{len(found)} cells")
    warnings = []
    if estimate is not None and estimate.source == "assumed":
        warnings.append(
            f"Too few red cells to measure the scale; {pixel_size_um:.3f} um a pixel was assumed."
        )
    elif not len(found):
        warnings.append("No cells were found.")
    return Segmentation(
        labels,
        pixel_size_um,
        "given" if estimate is None else estimate.source,
        "network",
        settings.model_dump(),
        tuple(warnings),
        found,
    )


def _empty(
    rgb: NDArray[np.uint8], pixel_size_um: float | None, settings: NetworkSettings
) -> Segmentation:
    """No cells, since there is no bright background to see them on."""
    return Segmentation(
        np.zeros(rgb.shape[:2], np.int32),
        pixel_size_um or DEFAULT_PIXEL_UM,
        "assumed" if pixel_size_um is None else "given",
        "network",
        settings.model_dump(),
        ("The image is dark: cells are looked for on a bright background.",),
        np.zeros(0, np.uint8),
    )


def _at_unknown_scale(
    rgb: NDArray[np.uint8], segmenter: Segmenter, settings: NetworkSettings
) -> tuple[ScaleEstimate, Labels | None, NDArray[np.uint8] | None]:
    """Measure the scale; labels and kinds come along where the first guess was good."""
    from cytodiffusion.segmentation.network_scale import red_cells, refined, search_scale

    guess = estimate_pixel_size(rgb)
    everything = settings.model_copy(update={"red_cells": True, "platelets": True})
    for _ in range(2):
        um = guess.pixel_size_um
        small, working_um = at_working_size(rgb, um, segmenter)
        labels, kinds = outline(small, working_um, segmenter, everything)
        seen = red_cells(labels, kinds, working_um)
        if not seen.fits:
            return search_scale(rgb, guess, segmenter, seen), None, None
        guess = refined(um, seen)
        if seen.close:
            break
    return guess, *_plausible(labels, kinds, working_um * seen.ratio, settings)


def at_working_size(
    rgb: NDArray[np.uint8], pixel_um: float, segmenter: Segmenter
) -> tuple[NDArray[np.uint8], float]:
    """Bring a field to the network's pixel size; a large one is not enlarged beyond memory."""
    at_most = MOST_LARGER if rgb.shape[0] * rgb.shape[1] < LARGE_PIXELS else MOST_LARGER / 2
    return resample(rgb, pixel_um, segmenter.working_um, at_most=at_most)


def outline(
    rgb: NDArray[np.uint8], pixel_um: float, segmenter: Segmenter, settings: NetworkSettings
) -> tuple[Labels, NDArray[np.uint8]]:
    """Labels of a field at the network's resolution, and the kind of each, label 0 included."""
    reading = read_field(rgb, segmenter)
    threshold = segmenter.threshold + settings.cell_threshold
    labels = follow(reading, threshold)
    areas = np.bincount(labels.ravel(), minlength=int(labels.max(initial=0)) + 1) * pixel_um**2
    kinds = the_many_are_red(kinds_of(labels, reading), areas)
    return _plausible(labels, kinds, pixel_um, settings)


@torch.inference_mode()
def read_field(rgb: NDArray[np.uint8], segmenter: Segmenter) -> FieldReading:
    """Show a field to the network, in blocks where it is large."""
    height, width = rgb.shape[:2]
    multiple = segmenter.network.multiple
    below, beside = (-height) % multiple + MARGIN, (-width) % multiple + MARGIN
    padded = cv2.copyMakeBorder(
        rgb, MARGIN, below, MARGIN, beside, cv2.BORDER_REFLECT_101 if min(height, width) > 1 else 1
    )
    pixels = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 127.5 - 1
    _, _, tall, wide = pixels.shape
    found = torch.zeros(6, tall, wide)
    shared = -(-SHARED // multiple) * multiple
    for top, upper, lower, bottom in _blocks(tall, BLOCK, shared):
        for left, first, last, right in _blocks(wide, BLOCK, shared):
            flows, kinds, cells = segmenter.network(pixels[..., top:bottom, left:right])
            fine = F.interpolate(
                torch.cat([flows, kinds], dim=1),
                scale_factor=segmenter.network.patch,
                mode="bilinear",
                align_corners=False,
            )
            both = torch.cat([fine, cells[:, None]], dim=1)[0]
            found[:, upper:lower, first:last] = both[
                :, upper - top : lower - top, first - left : last - left
            ]
    inner = found[:, MARGIN : MARGIN + height, MARGIN : MARGIN + width].numpy()
    return FieldReading(inner[:2], inner[5], inner[2:5])


def _blocks(length: int, block: int, shared: int) -> list[tuple[int, int, int, int]]:
    """Blocks of a side: where each is read from, kept from, kept to and read to."""
    if length <= block:
        return [(0, 0, length, length)]
    found, start = [], 0
    step = block - 2 * shared
    while start < length:
        end = min(start + step, length)
        found.append((max(start - shared, 0), start, end, min(end + shared, length)))
        start = end
    return found


def follow(reading: FieldReading, threshold: float) -> Labels:
    """Labels ``(H, W)`` of pixels whose flows meet in one place."""
    from cellpose.dynamics import compute_masks, dynamics_logger  # slow to import

    dynamics_logger.setLevel(logging.ERROR)  # that a picture holds no cell is said by us
    if min(reading.cells.shape) < LEAST_SIDE or not (reading.cells > threshold).any():
        return np.zeros(reading.cells.shape, np.int32)
    unchecked: Any = torch.sparse.check_sparse_tensor_invariants  # else PyTorch warns
    with unchecked(enable=False):
        masks = compute_masks(
            reading.flows * (5.0 / FLOW_SCALE),
            reading.cells,
            niter=STEPS,
            cellprob_threshold=threshold,
            flow_threshold=0.0,  # the check rejects cells that the border cuts
            min_size=-1,
            max_size_fraction=1.0,
            device=torch.device("cpu"),
        )
    return np.asarray(masks, np.int32)


def kinds_of(labels: Labels, reading: FieldReading) -> NDArray[np.uint8]:
    """Kind of every label, 0 included, by the mean over its pixels."""
    count = int(labels.max(initial=0)) + 1
    shares = torch.from_numpy(reading.kinds).softmax(dim=0).numpy()
    sums = [np.bincount(labels.ravel(), share.ravel(), minlength=count) for share in shares]
    kinds = np.array([RED, WHITE, PLATELET], np.uint8)[np.argmax(sums, axis=0)]
    kinds[0] = UNKNOWN
    return np.asarray(kinds, np.uint8)


def the_many_are_red(
    kinds: NDArray[np.uint8], areas_um2: NDArray[np.floating]
) -> NDArray[np.uint8]:
    """Take the many alike cells of a field for red cells, whatever their colour.

    In a stain or an infection that makes red cells dark and blue they look like nuclei. Blood has
    hundreds of red cells for each white one: where white cells outnumber red ones in a field, those
    of a red cell's size are red cells.
    """
    white, red = kinds == WHITE, kinds == RED
    if white.sum() < MANY or white.sum() <= red.sum():
        return kinds
    usual = float(np.median(areas_um2[white | red]))
    alike = (areas_um2 < LARGEST_ALIKE_UM2) & (areas_um2 < 2 * usual)
    return np.where(white & alike, RED, kinds).astype(np.uint8)


def _plausible(
    labels: Labels, kinds: NDArray[np.uint8], pixel_um: float, settings: NetworkSettings
) -> tuple[Labels, NDArray[np.uint8]]:
    """Drop specks, and call nothing a red cell that is too large for one."""
    areas = np.bincount(labels.ravel(), minlength=len(kinds)) * pixel_um**2
    kinds = np.where((kinds == RED) & (areas > settings.max_red_um2), UNKNOWN, kinds)
    cut = np.zeros(len(kinds), bool)
    cut[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = True
    small = (kinds == PLATELET) | cut
    least = np.where(small, settings.min_platelet_um2, settings.min_cell_um2)
    least = np.where(cut & (kinds != PLATELET), 2 * least, least)
    wanted = areas >= least
    wanted &= (kinds != RED) | settings.red_cells
    wanted &= (kinds != PLATELET) | settings.platelets
    wanted[0] = False
    numbers = np.where(wanted, np.cumsum(wanted), 0)
    return numbers[labels].astype(np.int32), np.concatenate([[0], kinds[wanted]]).astype(np.uint8)
