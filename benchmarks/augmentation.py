"""Few labels, with and without synthetic cells of the same classes.

    python benchmarks/augmentation.py PBC -o results/augmentation --counts 10 --synthetic 30

The generator of the default model has seen all training images of PBC with their labels, so that
its cells bring in far more than the few labels: this is not what one would gain with a
generator trained on the few. Finished runs are stored in the folder and are not done again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from drawn_cells import as_cells

from cytodiffusion.evaluation.low_data import LowDataSettings, low_data_curve
from cytodiffusion.files.writers import write_run_json
from cytodiffusion.generation import GenerationSettings
from cytodiffusion.generation.generate import generate
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.training.sets import load_sets
from cytodiffusion.training.settings import TrainSettings


def main() -> None:
    options = arguments()
    settings = LowDataSettings(
        counts=options.counts, seeds=options.seeds, models=options.models, split=options.split
    )
    reading = TrainSettings(
        data=options.cells,
        output=options.output,
        input_size=settings.input_size,
        pixel_size_um=options.pixel_size,
        duplicates="drop",
    )
    names, sets = load_sets(reading, say, ("train", options.split))
    model = load_bundle(options.model, device=options.device)
    drawn = generate(
        model,
        dict.fromkeys(names, options.synthetic),
        GenerationSettings(seed=options.seed),
        progress=say,
        insist=True,
    )
    cells = as_cells(drawn, names, settings.input_size)
    result = {
        "drawn": drawn.record(),
        "without": low_data_curve(names, sets, options.output / "without", settings, say),
        "with": low_data_curve(names, sets, options.output / "with", settings, say, cells),
    }
    write_run_json(options.output / "augmentation.json", result)
    print_table(result, options.synthetic)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", type=Path, help="folder or table to train on")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--model", default="default", help="draws the synthetic cells")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--synthetic", type=int, default=30, help="synthetic cells a class")
    parser.add_argument("--counts", type=int, nargs="+", default=[10], help="labelled, a class")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--models", nargs="+", default=["diffusion", "resnet18"])
    parser.add_argument("--split", default="val", choices=["val", "test"])
    parser.add_argument("--pixel-size", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0, help="of the synthetic cells")
    return parser.parse_args()


def say(share: float, message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {100 * share:5.1f} % {message}", flush=True)


def print_table(result: dict, synthetic: int) -> None:
    curves = {key: result[key]["curves"] for key in ("without", "with")}
    print(f"| model | labelled, a class | without | with {synthetic} synthetic |")
    print("|---|---:|---:|---:|")
    for model, points in curves["without"].items():
        for plain, more in zip(points, curves["with"][model], strict=True):
            values = (f"{p['balanced_accuracy']:.3f} ± {p['sd']:.3f}" for p in (plain, more))
            print(f"| {model} | {plain['cells']} | " + " | ".join(values) + " |")


if __name__ == "__main__":
    main()
