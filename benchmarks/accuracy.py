"""Accuracy of a model on real single cells: PBC's test split and two other laboratories.

    python benchmarks/accuracy.py [--model default] [--trials 12]

The posterior is over all classes of the model. "shared open" keeps the five classes that the
sets have in common, "all open" keeps every class.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
from real_cells import SHARED, add_data_option, load_sample

from cytodiffusion.classify import ClassifySettings, classify
from cytodiffusion.evaluation.metrics import balanced_accuracy, summarise
from cytodiffusion.model import load_bundle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="default")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", default="test", help="of PBC")
    parser.add_argument("--sets", nargs="+", default=["pbc", "bcisc", "segwbc"])
    parser.add_argument("--output", help="JSON file for all figures")
    add_data_option(parser)
    options = parser.parse_args()
    model = load_bundle(options.model, device=options.device)
    settings = ClassifySettings(seed=options.seed)
    if options.trials:
        settings = settings.model_copy(update={"trials": options.trials})
    names = list(model.class_names)
    everything = {}
    for name in options.sets:
        cells = load_sample(
            name, options.data, model.input_size, model.window_um, options.limit, options.split
        )
        labels = np.array([names.index(n) for n in cells.labels])
        start = time.perf_counter()
        result = classify(cells.windows, model, settings, background=cells.backgrounds)
        seconds = time.perf_counter() - start
        found = summarise(result, labels)
        found["ms_per_cell"] = 1000 * seconds / len(labels)
        if name != "pbc":
            keep = np.array([names.index(n) for n in SHARED])
            predicted = keep[result.posterior[:, keep].argmax(axis=1)]
            found["balanced_accuracy_shared"] = balanced_accuracy(labels, predicted)
        everything[name] = found
        print_table(name, found)
    if options.output:
        with open(options.output, "w", encoding="utf-8") as stream:
            json.dump(everything, stream, indent=1)


def print_table(name: str, found: dict) -> None:
    shared = found.get("balanced_accuracy_shared")
    more = f", shared open {shared:.4f}" if shared is not None else ""
    print(
        f"{name}: n {found['n']}, balanced accuracy {found['balanced_accuracy']:.4f}{more}, "
        f"accuracy {found['accuracy']:.4f}, ECE {found['ece']:.4f}, "
        f"coverage {found['coverage']:.3f}, set size {found['set_size']:.2f}, "
        f"trials {found['trials_mean']:.2f}, anomalies {found['anomaly_rate']:.3f}, "
        f"{found['ms_per_cell']:.1f} ms a cell"
    )
    print("  recall: " + ", ".join(f"{k} {v:.3f}" for k, v in found["recall"].items()))


if __name__ == "__main__":
    main()
