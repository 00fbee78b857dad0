"""Few labels: 10, 20 and 50 labelled cells a class, the rest of the training cells unlabelled.

    python benchmarks/low_data.py PBC -o results/low-data --counts 10 20
    python benchmarks/low_data.py PBC -o results/low-data --counts 10 20 --split test

Finished runs are stored in the folder and are not done again; settings are chosen on val.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from cytodiffusion.evaluation.low_data import LowDataSettings, low_data_curve
from cytodiffusion.training.sets import load_sets
from cytodiffusion.training.settings import TrainSettings


def main() -> None:
    usual = LowDataSettings()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", type=Path, help="folder or table to train on")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--counts", type=int, nargs="+", default=usual.counts)
    parser.add_argument("--seeds", type=int, default=usual.seeds)
    parser.add_argument("--models", nargs="+", default=usual.models)
    parser.add_argument("--split", default="val", choices=["val", "test"])
    parser.add_argument("--pixel-size", type=float, default=0.1)
    parser.add_argument("--ours", type=json.loads, default={}, help="settings as JSON")
    parser.add_argument("--rivals", type=json.loads, default={}, help="settings as JSON")
    options = parser.parse_args()
    settings = LowDataSettings(
        counts=options.counts,
        seeds=options.seeds,
        models=options.models,
        split=options.split,
        ours=options.ours,
        rivals=options.rivals,
    )
    reading = TrainSettings(
        data=options.cells,
        output=options.output,
        input_size=settings.input_size,
        pixel_size_um=options.pixel_size,
        duplicates="drop",
    )
    names, sets = load_sets(reading, say)
    result = low_data_curve(names, sets, options.output, settings, say)
    print_table(result)


def say(share: float, message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {100 * share:5.1f} % {message}", flush=True)


def print_table(result: dict) -> None:
    curves = result["curves"]
    counts = sorted({point["cells"] for points in curves.values() for point in points})
    print("| labelled cells a class | " + " | ".join(map(str, counts)) + " |")
    print("|---|" + "---:|" * len(counts))
    for model, points in curves.items():
        at = {p["cells"]: f"{p['balanced_accuracy']:.3f} ± {p['sd']:.3f}" for p in points}
        print(f"| {model} | " + " | ".join(at.get(n, "-") for n in counts) + " |")


if __name__ == "__main__":
    main()
