"""Images brought to the pixel size that the work is done at, and labels brought back."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Labels = NDArray[np.int32]


def resample(
    rgb: NDArray[np.uint8], pixel_um: float, working_um: float, at_most: float = 2.0
) -> tuple[NDArray[np.uint8], float]:
    """Bring an image to the working pixel size; the pixel size it really got comes along.

    It is enlarged ``at_most`` so many times.
    """
    height, width = rgb.shape[:2]
    scale = min(at_most, pixel_um / working_um)
    if 0.85 < scale < 1.15:
        return rgb, pixel_um
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(rgb, size, interpolation=how)
    return np.asarray(small, dtype=np.uint8), pixel_um * width / size[0]


def enlarge(labels: Labels, shape: tuple[int, ...]) -> Labels:
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


def finish(labels: Labels, kinds: NDArray[np.uint8]) -> tuple[Labels, NDArray[np.uint8]]:
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
