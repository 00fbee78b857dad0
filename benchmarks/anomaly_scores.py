"""Which anomaly scores tell a class that the model has never seen, on validation cells.

    python benchmarks/anomaly_scores.py "$DATA/pbc" results/noery:erythroblast
    python benchmarks/anomaly_scores.py "$DATA/pbc" --train basophil monocyte -o results/left-out

Area under the ROC curve of each score, of their combination, and of the combination less each of
its parts; with ``--train``, by small models that are trained without each of the classes first.
The parts were chosen by such tables; the test split is not touched.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.datasets import find_records
from cytodiffusion.evaluation.cells import choose_records, score
from cytodiffusion.evaluation.windows import Frames
from cytodiffusion.model.class_statistics import COMBINED
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.training.augmentation.settings import AugmentSettings, nothing_but
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.train import train

#: Small models see cells hardly varied: after so short a training that serves them best.
GENTLE = AugmentSettings(
    **nothing_but(
        **dict.fromkeys(("mixing", "dyes", "density", "thickness", "contrast", "hue"), 0.05),
        **{"scale": 0.35, "aspect": 0.07, "shift": 0.08, "tint": 0.05},
        **{"blur": 1.8, "chromatic": 0.4, "noise": 0.03, "plain_share": 0.2},
    )
)


def areas(model_folder: Path, data: Path, unknown: str, pixel_size: float) -> dict[str, float]:
    """Areas by score for one model and the class that it was trained without."""
    model = load_bundle(model_folder, device="cpu")
    if unknown in model.class_names:
        raise SystemExit(f"{model_folder} knows the class {unknown}")
    settings = ClassifySettings()
    records = choose_records(find_records(data), data, "val")
    found = score(model, records, settings, frames=Frames(records, pixel_size))
    unseen = np.array([r.label == unknown for r in found.records])
    scores = dict(found.result.anomaly_scores)
    scores["1 - confidence"] = 1 - found.result.confidence
    statistics = model.calibration.class_statistics
    if statistics is None:
        raise SystemExit(f"{model_folder} has no combined score; train it again")
    row = statistics.row(settings.min_trials)
    centres, scales = statistics.centres[row].tolist(), statistics.scales[row].tolist()
    for left_out in COMBINED:
        rest: list[NDArray[np.float64]] = [
            (scores[name] - centre) / scale
            for name, centre, scale in zip(COMBINED, centres, scales, strict=True)
            if name != left_out
        ]
        scores[f"combined without {left_out}"] = np.mean(rest, axis=0)
    return {name: float(roc_auc_score(unseen, values)) for name, values in scores.items()}


def train_without(data: Path, unknown: str, out: Path, steps: int, pixel_size: float) -> Path:
    """Train a small model without a class, unless it is there; return its folder."""
    folder = out / unknown.replace(" ", "-")
    if (folder / "checksums.json").exists():
        return folder
    table = out / f"without-{folder.name}.csv"
    out.mkdir(parents=True, exist_ok=True)
    known = [r for r in find_records(data) if r.label != unknown and r.split in ("train", "val")]
    rows = [{"path": r.path.resolve(), "class": r.label, "split": r.split} for r in known]
    pd.DataFrame(rows).to_csv(table, index=False)
    settings = TrainSettings(
        data=table,
        output=folder,
        input_size=32,
        widths=(32, 64, 128),
        blocks=(1, 1, 2),
        steps=steps,
        warmup=20,
        ema_decay=0.98,
        learning_rate=2e-3,
        class_loss=1.0,
        augment=GENTLE,
        pixel_size_um=pixel_size,
        duplicates="drop",
        resume=True,
    )
    return train(settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="*", help="MODEL:CLASS, trained without the class")
    parser.add_argument("--train", nargs="*", default=[], help="classes to leave out")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/left-out"))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--pixel-size", type=float, default=0.1)
    options = parser.parse_args()
    if not options.models and not options.train:
        parser.error("name models, or classes to train without")
    if odd := [given for given in options.models if ":" not in given]:
        parser.error(f"{odd[0]} is not MODEL:CLASS")
    found: dict[str, dict[str, float]] = {}
    for given in options.models:
        folder, _, unknown = given.rpartition(":")
        found[given] = areas(Path(folder), options.data, unknown, options.pixel_size)
    for unknown in options.train:
        folder = train_without(
            options.data, unknown, options.output, options.steps, options.pixel_size
        )
        found[f"small, no {unknown}"] = areas(folder, options.data, unknown, options.pixel_size)
    table = Table("score", *found, "mean")
    for name in next(iter(found.values())):
        values = [figures[name] for figures in found.values()]
        table.add_row(name, *(f"{v:.3f}" for v in values), f"{np.mean(values):.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
