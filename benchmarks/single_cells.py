"""Milliseconds a cell of a folder of single-cell images, on one thread, and where they go.

    python benchmarks/single_cells.py [--cells 96] [--repeats 3] [--compare cells.csv]

Processor time of the one thread, the least of the repeats: other programs only add to it.
``--compare`` takes the table that ``cytodiffusion classify`` of another version gave.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import cv2
import numpy as np
import pandas as pd
import torch
from real_cells import add_data_option

from cytodiffusion.cells.single_cell import SingleCells
from cytodiffusion.image.image import open_image
from cytodiffusion.predict import Classifier, load_classifier, predict
from cytodiffusion.single_cells import classify_images

#: Most milliseconds a cell of 264 x 264 pixels may take.
LIMIT = 60.0


def seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def parts(paths: Sequence[Path], model: Classifier) -> dict[str, float]:
    """Seconds of the whole, and of its parts one after the other."""
    folder: list[SingleCells] = []
    crops: list[tuple[np.ndarray, np.ndarray]] = []

    def cut() -> None:
        for path in paths:
            cell = folder[0].read(path)
            crops.append((cell.crop(model.input_size, model.window_um), cell.background))

    def outline() -> None:
        for path in paths:
            _ = folder[0].read(path).mask

    def classify() -> None:
        windows, backgrounds = (np.stack(part) for part in zip(*crops, strict=True))
        predict(model, windows, background=backgrounds)

    return {
        "the whole": seconds(lambda: classify_images(paths, model)),
        "opening": seconds(lambda: [open_image(path).rgb() for path in paths]),
        "opening, light and scale": seconds(lambda: folder.append(SingleCells(paths))),
        "centre and crop": seconds(cut),
        "outline": seconds(outline),
        "network": seconds(classify),
    }


def compare(paths: Sequence[Path], model: Classifier, older: Path) -> None:
    frame, _ = classify_images(paths, model)
    before = pd.read_csv(older).set_index("path").loc[frame["path"]]
    same = (before["predicted"].to_numpy() == frame["predicted"].to_numpy()).mean()
    # A scale shows in the areas, by its square
    scale = float(np.nanmedian(np.sqrt(frame["area_um2"].to_numpy() / before["area_um2"])))
    print(f"{100 * same:.2f} % of {len(frame)} cells have the same class; scale x {scale:.4f}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="default")
    parser.add_argument("--cells", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--compare", type=Path, help="with this table of an older version")
    add_data_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    model = load_classifier(options.model, device="cpu")
    paths = sorted((options.data / "pbc" / "test").rglob("*.jpg"))
    order = np.random.default_rng(0).permutation(len(paths))[: options.cells]
    sample = [paths[n] for n in order]
    classify_images(sample[:8], model)  # first use
    runs = [parts(sample, model) for _ in range(options.repeats)]
    least = {name: 1000 * min(run[name] for run in runs) / len(sample) for name in runs[0]}
    print("| part | ms a cell | share |")
    print("|---|---:|---:|")
    for name, value in least.items():
        print(f"| {name} | {value:.1f} | {100 * value / least['the whole']:.0f} % |")
    if options.compare:
        compare(paths, model, options.compare)
    return int(least["the whole"] > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
