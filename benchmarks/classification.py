"""Cells a second, trials a cell and memory of the classifier for 5, 10 and 21 classes.

    python benchmarks/classification.py [--device cpu] [--cells 300]

The network is the model's own. With fewer classes its class table is cut; with more it is
continued by rows drawn near the trained ones, so that elimination meets close rivals. Cells are
those of PBC's test split where the real images are at hand, else generated ones.
"""

from __future__ import annotations

import argparse
import copy
import time
from dataclasses import replace

import numpy as np
import psutil
import torch
from real_cells import add_data_option, load_sample

from cytodiffusion.classification.classifier import classify
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.generation.synthesis import sample_cells
from cytodiffusion.model import CellClass, ModelBundle, load_bundle


def with_classes(model: ModelBundle, k: int, seed: int = 0) -> ModelBundle:
    """Return the model with its class table cut or continued to ``k`` rows."""
    generator = torch.Generator().manual_seed(seed)
    table = model.denoiser.class_table.detach().cpu()
    rows = torch.arange(k) % len(table)
    fresh = (torch.arange(k) >= len(table))[:, None]
    noise = 0.5 * table.std() * torch.randn(k, table.shape[1], generator=generator)
    denoiser = copy.deepcopy(model.denoiser)
    denoiser.class_table = torch.nn.Parameter((table[rows] + fresh * noise).to(model.device))
    means = model.calibration.class_means[rows]
    calibration = replace(model.calibration, class_means=means, class_statistics=None)
    classes = tuple(CellClass(f"class {i}", "#000000") for i in range(k))
    return replace(model, denoiser=denoiser, calibration=calibration, classes=classes)


def cells_for(
    options: argparse.Namespace, model: ModelBundle
) -> tuple[np.ndarray, np.ndarray | None]:
    if (options.data / "manifest.csv").is_file():
        sample = load_sample(options.data, model.input_size, model.window_um, options.cells)
        return sample.windows, sample.backgrounds
    index = np.arange(options.cells) % len(model.classes)
    return sample_cells(model, index, steps=20), None


def measure(
    model: ModelBundle, windows: np.ndarray, colours: np.ndarray | None, settings: ClassifySettings
) -> dict[str, float]:
    classify(windows[:32], model, settings, background=None if colours is None else colours[:32])
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    result = classify(windows, model, settings, background=colours)
    seconds = time.perf_counter() - start
    gpu = torch.cuda.max_memory_allocated() if model.device.type == "cuda" else 0
    return {
        "cells a second": len(windows) / seconds,
        "ms a cell": 1000 * seconds / len(windows),
        "trials a cell": float(result.trials.mean()),
        "ms a trial": 1000 * seconds / float(result.trials.sum()),
        "memory, MB": (gpu or psutil.Process().memory_info().rss) / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="default")
    parser.add_argument("--devices", nargs="+", help="cpu and, where there is one, cuda")
    parser.add_argument("--cells", type=int, default=300)
    parser.add_argument("--trials", type=int, help="budget; the default's when left out")
    parser.add_argument("--classes", type=int, nargs="+", default=[5, 10, 21])
    add_data_option(parser)
    options = parser.parse_args()
    devices = options.devices or ["cpu"] + ["cuda"] * torch.cuda.is_available()
    settings = ClassifySettings()
    if options.trials:
        settings = settings.model_copy(update={"trials": options.trials})
    print(f"{torch.get_num_threads()} threads, budget {settings.trials} trials")
    header = None
    for device in devices:
        model = load_bundle(options.model, device=device)
        windows, colours = cells_for(options, model)
        for k in options.classes:
            row = measure(with_classes(model, k), windows, colours, settings)
            if header is None:
                header = list(row)
                print("| device | classes | " + " | ".join(header) + " |")
                print("|---|---:|" + "---:|" * len(header))
            print(
                f"| {device} | {k} | " + " | ".join(f"{v:.2f}" for v in row.values()) + " |",
                flush=True,
            )


if __name__ == "__main__":
    main()
