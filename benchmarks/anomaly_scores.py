"""Which anomaly scores tell a class that the model has never seen, on validation cells.

    python benchmarks/anomaly_scores.py results/noery "$DATA/pbc" erythroblast

Area under the ROC curve of each score, of their combination, and of the combination less each of
its parts. The parts were chosen by such tables; the test split is not touched.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from cytodiffusion.classify import ClassifySettings
from cytodiffusion.datasets import find_records
from cytodiffusion.evaluation.cells import choose_records, score
from cytodiffusion.evaluation.windows import Frames
from cytodiffusion.model.bundle import load_bundle
from cytodiffusion.model.typical import COMBINED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="trained without the class")
    parser.add_argument("data", type=Path)
    parser.add_argument("unknown", help="the class")
    parser.add_argument("--pixel-size", type=float, default=0.1)
    options = parser.parse_args()
    model = load_bundle(options.model, device="cpu")
    if options.unknown in model.class_names:
        parser.error(f"the model knows the class {options.unknown}")
    settings = ClassifySettings()
    records = choose_records(find_records(options.data), options.data, "val")
    frames = Frames(records, options.pixel_size)
    found = score(model, records, settings, frames=frames)
    unknown = np.array([r.label == options.unknown for r in found.records])
    scores = dict(found.result.anomaly_scores)
    scores["1 - confidence"] = 1 - found.result.confidence
    typical = model.calibration.typical
    assert typical is not None, "the model has no combined score"
    row = typical.row(settings.min_trials)
    parts = {
        name: (scores[name] - float(centre)) / float(scale)
        for name, centre, scale in zip(
            COMBINED, typical.centres[row], typical.scales[row], strict=True
        )
    }
    for left_out in COMBINED:
        rest = [part for name, part in parts.items() if name != left_out]
        scores[f"combined without {left_out}"] = np.mean(rest, axis=0)
    table = Table("score", f"AUC, {unknown.sum()} of {options.unknown}, {(~unknown).sum()} known")
    for name, values in scores.items():
        table.add_row(name, f"{roc_auc_score(unknown, values):.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
