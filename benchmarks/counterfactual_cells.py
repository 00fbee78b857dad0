"""How often counterfactual cells are taken for their target, and how far they are from the cell.

    python benchmarks/counterfactual_cells.py [--denoiser] [--model MODEL] [--judge BASELINE]

Cells of a split of PBC that the model takes for what they are, several pairs of classes; each with
its mask and its neighbours, as the watershed finds them. The nearest version, inversion and plain
noising and denoising at fixed strengths. A judge is a second network, trained on real cells, that
had no part in making the pictures: what it says shows whether they are cells of the target class
or merely fool the model. Prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from real_cells import PIXEL_SIZE_UM, add_data_option

from cytodiffusion.baselines import Baseline
from cytodiffusion.cells.single_cell import SingleCell
from cytodiffusion.classification.classifier import classify
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.counterfactual.cells import (
    Counterfactuals,
    CounterfactualSettings,
    counterfactual_cells,
)
from cytodiffusion.counterfactual.morph import make_morph
from cytodiffusion.counterfactual.placement import Placement
from cytodiffusion.files.synthetic_mark import STATEMENT
from cytodiffusion.files.writers import write_png
from cytodiffusion.generation.sampler import drawn_size
from cytodiffusion.image.image import open_image
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.predict import load_classifier, predict

PAIRS = (
    ("eosinophil", "neutrophil"),
    ("neutrophil", "eosinophil"),
    ("neutrophil", "lymphocyte"),
    ("lymphocyte", "monocyte"),
    ("monocyte", "lymphocyte"),
    ("immature granulocyte", "neutrophil"),
    ("erythroblast", "lymphocyte"),
    ("basophil", "neutrophil"),
)
#: Smaller and larger targets: what was there must give way.
MORE_PAIRS = (
    ("eosinophil", "lymphocyte"),
    ("basophil", "lymphocyte"),
    ("lymphocyte", "platelet"),
    ("neutrophil", "platelet"),
    ("neutrophil", "basophil"),
    ("lymphocyte", "basophil"),
)
#: The nearest version is the first.
WAYS = (
    {},
    {"strength": 0.5},
    {"strength": 0.7},
    {"strength": 0.5, "method": "noise"},
    {"strength": 0.7, "method": "noise"},
)


@dataclass
class Sample:
    """Cells, at the sizes of the model and of the judge, and what they are to become."""

    crops: np.ndarray
    background: np.ndarray
    masks: np.ndarray
    neighbours: np.ndarray
    source: np.ndarray
    target: np.ndarray


def load(data: Path, model: ModelBundle, split: str, pairs: tuple, each: int, seed: int) -> Sample:
    """Draw ``each`` cells a pair that the model takes for what they are."""
    table = pd.read_csv(data / "manifest.csv", dtype=str, keep_default_na=False)
    table = table[(table["dataset"] == "pbc") & (table["split"] == split)]
    rng, names, size = np.random.default_rng(seed), list(model.class_names), drawn_size(model)
    rows = []
    for a, b in pairs:
        paths = sorted(table[table["class"] == a]["path"])
        drawn = rng.choice(paths, min(len(paths), 2 * each), replace=False)
        cells = [SingleCell.of(open_image(data / path).rgb(), PIXEL_SIZE_UM) for path in drawn]
        small = [cell.crop(model.input_size, model.window_um, centred=True) for cell in cells]
        ground = np.stack([cell.background for cell in cells])
        found = classify(np.stack(small), model, ClassifySettings(), background=ground).predicted
        right = np.flatnonzero(found == names.index(a))[:each]
        for cell in (cells[k] for k in right):
            crop = cell.crop(size, model.window_um, centred=True)
            place = Placement.of_cell(cell.middle, PIXEL_SIZE_UM, model.window_um, size)
            none = np.zeros(cell.rgb.shape[:2], bool)
            mask = place.from_image(none if cell.mask is None else cell.mask, False)
            beside = place.from_image(cell.neighbours, False)
            known = (crop, cell.background, mask, beside)
            rows.append((*known, names.index(a), names.index(b)))
    return Sample(*(np.stack(part) for part in zip(*rows, strict=True)))


def agrees(made: Counterfactuals, sample: Sample, judge: Baseline, names: list[str]) -> np.ndarray:
    """Whether the judge takes each picture for its target."""
    side = judge.input_size
    windows = [cv2.resize(p, (side, side), interpolation=cv2.INTER_CUBIC) for p in made.pixels]
    found = predict(judge, np.stack(windows), background=sample.background)
    return np.array(
        [
            found.class_names[p] == names[t]
            for p, t in zip(found.predicted, made.target, strict=True)
        ]
    )


def measure(
    sample: Sample, model: ModelBundle, judge: Baseline | None, way: dict, seed: int
) -> tuple[dict, pd.DataFrame, np.ndarray]:
    """Make the versions of all cells in one way."""
    settings = CounterfactualSettings(seed=seed, **way)
    started = time.perf_counter()
    made = counterfactual_cells(
        sample.crops,
        model,
        sample.target,
        predicted=sample.source,
        background=sample.background,
        masks=sample.masks,
        neighbours=sample.neighbours,
        settings=settings,
    )
    seconds = (time.perf_counter() - started) / len(made)
    cells = pd.DataFrame(
        {
            "cell": [model.class_names[i] for i in made.predicted],
            "target": [model.class_names[i] for i in made.target],
            "flipped": made.flipped,
            "probability": made.confidence,
            "distance": made.distance,
            "feature distance": made.feature_distance,
            "strength": made.strength,
        }
    )
    if judge is not None:
        cells["second network"] = agrees(made, sample, judge, list(model.class_names))
    strength = "least" if settings.strength is None else f"{settings.strength:g}"
    row = {"method": settings.method, "strength": strength} | means(cells)
    return row | {"seconds a cell": f"{seconds:.2f}"}, cells, made.pixels


def means(cells: pd.DataFrame) -> dict:
    row = {"cells": len(cells), "flipped": f"{cells['flipped'].mean():.2f}"}
    if "second network" in cells:
        row["second network"] = f"{cells['second network'].mean():.2f}"
    turned = cells[cells["flipped"]]
    return row | {
        "probability": f"{cells['probability'].mean():.2f}",
        "distance": f"{cells['distance'].mean():.4f}",
        "distance of flipped": f"{turned['distance'].mean():.4f}",
        "feature distance": f"{cells['feature distance'].mean():.2f}",
    }


def smoothness(sample: Sample, model: ModelBundle, cells: np.ndarray, seed: int) -> dict:
    """How the target's posterior and the picture go along morphs of some cells."""
    drops, jumps, rises = [], [], []
    for k in cells:
        film = make_morph(
            sample.crops[k],
            model,
            int(sample.target[k]),
            frames=9,
            predicted=int(sample.source[k]),
            background=sample.background[k],
            mask=sample.masks[k],
            neighbours=sample.neighbours[k],
            settings=CounterfactualSettings(seed=seed, strength=0.7),
        )
        side = (model.input_size,) * 2
        small = [cv2.resize(f, side, interpolation=cv2.INTER_AREA) for f in film.frames]
        found = classify(np.stack(small), model, background=sample.background[k])
        p = found.posterior[:, sample.target[k]]
        drops.append(max(0.0, float(-np.diff(p).min())))
        rises.append(float(p[-1] - p[0]))
        steps = np.abs(np.diff(film.frames.astype(float), axis=0)).mean(axis=(1, 2, 3))
        jumps.append(float(steps.max() / steps.sum()))
    return {
        "morphs": len(cells),
        "rise of the probability": f"{np.mean(rises):.2f}",
        "largest fall between frames, mean": f"{np.mean(drops):.3f}",
        "largest": f"{np.max(drops):.3f}",
        "largest step, share of the way (even: 0.125)": f"{np.mean(jumps):.3f}",
    }


def show(rows: list[dict]) -> None:
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(str(v) for v in row.values()) + " |")
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_option(parser)
    parser.add_argument("--model", default="default")
    parser.add_argument("--judge", help="folder of a baseline")
    parser.add_argument(
        "--denoiser", action="store_true", help="edit with the classifier's own network"
    )
    parser.add_argument("--cells", type=int, default=4, help="cells a pair of classes")
    parser.add_argument("--split", default="val", choices=("val", "test"))
    parser.add_argument("--more", action="store_true", help="other pairs of classes")
    parser.add_argument("--nearest", action="store_true", help="only the nearest version")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path, help="save originals and versions as a PNG")
    options = parser.parse_args()
    model = load_bundle(options.model)
    if options.denoiser:
        model.generator = None
    judge = load_classifier(options.judge) if options.judge else None
    if judge is not None and not isinstance(judge, Baseline):
        parser.error("the judge must be a baseline")
    pairs = MORE_PAIRS if options.more else PAIRS
    sample = load(options.data, model, options.split, pairs, options.cells, options.seed)
    ways = WAYS[:1] if options.nearest else WAYS
    made = [measure(sample, model, judge, way, options.seed) for way in ways]
    show([row for row, _, _ in made])
    if options.pictures:
        tiles = [sample.crops, *(pixels for _, _, pixels in made)]
        sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in tiles])
        write_png(options.pictures, sheet, {"Synthetic": "true", "Description": STATEMENT})
    by_pair = made[0][1].groupby(["cell", "target"], sort=False)
    show([{"cell": a, "target": b} | means(part) for (a, b), part in by_pair])
    by_target = made[0][1].groupby("target", sort=False)
    show([{"target": name} | means(part) for name, part in by_target])
    if options.nearest:
        return
    first = np.flatnonzero(np.diff(sample.source * 100 + sample.target, prepend=-1))
    show([smoothness(sample, model, first, options.seed)])


if __name__ == "__main__":
    main()
