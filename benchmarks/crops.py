"""Time and memory of cutting 10,000 cells out of a 4096 x 4096 image.

Run: ``python benchmarks/crops.py [--cells 10000] [--side 4096] [--size 96]``.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.cells.crops import extract_crops, iter_crops


def make_field(side: int, cells: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return a noisy image and labels: a grid of discs."""
    image = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    columns = int(np.ceil(np.sqrt(cells)))
    pitch = side / columns
    y, x = np.indices((side, side), np.float32)
    row, column = (y // pitch).astype(np.int32), (x // pitch).astype(np.int32)
    away = np.hypot(y - (row + 0.5) * pitch, x - (column + 0.5) * pitch)
    labels = np.where(away < 0.45 * pitch, row * columns + column + 1, 0)
    return image, np.where(labels <= cells, labels, 0).astype(np.int32)


def peak_mb() -> float:
    """Return the largest memory this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--size", type=int, default=96)
    options = parser.parse_args()
    image, labels = make_field(options.side, options.cells)
    print("| pixel size (um) | how | seconds | crops/s | peak memory above the inputs (MB) |")
    print("|---|---|---|---|---|")
    # The peak only grows, so the frugal way is measured first.
    for how in ("iter_crops", "extract_crops"):
        for pixel_size in (0.1, 0.25):
            before, start = peak_mb(), time.perf_counter()
            if how == "iter_crops":
                n = sum(len(c) for c in iter_crops(image, labels, pixel_size, options.size))
            else:
                n = len(extract_crops(image, labels, pixel_size, options.size))
            took = time.perf_counter() - start
            print(
                f"| {pixel_size} | {how} | {took:.2f} | {n / took:.0f} | {peak_mb() - before:.0f} |"
            )


if __name__ == "__main__":
    main()
