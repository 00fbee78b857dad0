"""What a few corrected cells do for the cells of another laboratory.

    python benchmarks/corrections.py "$DATA" default

Cells of BCISC, of Chulalongkorn University and white cells of BCCD are classified, some of each
class are corrected (0, 1, 2, 5 and 10), and the others scored: balanced accuracy with all classes
of the model open, and with the five of most differential counts. The corrected cells are drawn at
random, or are those that the model is least sure of among the cells of their class. Cells of a
slide of Chulalongkorn are near copies, so they are corrected in half of its slides and scored in
the other half.

Beside that: coverage of the prediction sets and cells flagged as unusual; classes that nobody
corrected, where three cells of one class were (mistaken ones where there are so many); and what
slips do (one answer of five wrong). ``--segwbc`` adds a laboratory that is meant for the final
model only. ``--simulated`` scores validation cells of PBC in made-up laboratories instead, which is
what the constants of `cytodiffusion.classification.corrections` were chosen with.
"""

from __future__ import annotations

import argparse
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from laboratories import FIVE, PIXEL_SIZE_UM, cells_of, laboratories, to_bytes
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from cytodiffusion.cells.crops import centre_crop
from cytodiffusion.cells.single_cell import SingleCells
from cytodiffusion.classification.corrections import HumanLabel, correct
from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.slide_correction import adjust
from cytodiffusion.image.image import open_image
from cytodiffusion.image.stain import estimate_background
from cytodiffusion.metrics.scores import balanced_accuracy
from cytodiffusion.predict import load_classifier, predict

Ints = NDArray[np.int64]

#: Corrected cells of a class, draws of each, and the diameter of a red cell.
EACH, DRAWS, RED_UM = (0, 1, 2, 5, 10), 20, 7.5
#: Share of slips in the draws that have some, and cells of a class then.
SLIPS, WITH_SLIPS = 0.2, 5


@dataclass
class Laboratory:
    """Classified cells of known class; cells of one group are near copies of each other."""

    name: str
    alone: Classification
    together: Classification
    truth: Ints
    groups: NDArray[np.str_]


def single_cells(rows: pd.DataFrame, data: Path, model: Any) -> Classification:
    paths = [data / path for path in rows["path"]]
    folder = SingleCells(paths, None)
    cells = [folder.read(path) for path in paths]
    windows = np.stack([cell.crop(model.input_size, model.window_um) for cell in cells])
    return predict(model, windows, background=np.stack([cell.background for cell in cells]))


def bccd_cells(data: Path, model: Any) -> tuple[Classification, list[str]]:
    """White cells of BCCD's fields, the largest box each, at the scale of all red cells."""
    known = pd.read_csv(data / "bccd" / "white_cells.csv").set_index("image")["class"]
    images = {path.stem: path for path in (data / "bccd" / "images").iterdir()}
    found, sides = [], []
    for file in sorted((data / "bccd" / "boxes").glob("*.xml")):
        boxes: dict[str, list[list[int]]] = {}
        for one in ElementTree.parse(file).getroot().iter("object"):
            box = [int(one.findtext(f"bndbox/{k}") or 0) for k in ("ymin", "xmin", "ymax", "xmax")]
            boxes.setdefault(str(one.findtext("name")), []).append(box)
        sides += [np.sqrt((b[2] - b[0]) * (b[3] - b[1])) for b in boxes.get("RBC", [])]
        if file.stem in known.index and boxes.get("WBC"):
            box = max(boxes["WBC"], key=lambda b: (b[2] - b[0]) * (b[3] - b[1]))
            found.append((file.stem, ((box[0] + box[2] - 1) / 2, (box[1] + box[3] - 1) / 2)))
    pixel_size, crops, backgrounds = RED_UM / float(np.median(sides)), [], []
    for stem, centre in found:
        rgb = open_image(images[stem]).rgb()
        crops.append(centre_crop(rgb, pixel_size, model.input_size, model.window_um, centre=centre))
        backgrounds.append(estimate_background(rgb))
    classified = predict(model, np.stack(crops), background=np.stack(backgrounds))
    return classified, [str(known[stem]) for stem, _ in found]


def real(data: Path, model: Any, *, segwbc: bool) -> Iterator[Laboratory]:
    table = pd.read_csv(data / "manifest.csv", keep_default_na=False)
    names = list(model.class_names)
    of = {
        "bcisc": table[(table["dataset"] == "bcisc") & table["path"].str.contains("crops/images")],
        "chulawbc": table[table["dataset"] == "chulawbc"],
    }
    if segwbc:
        of["segwbc"] = table[(table["dataset"] == "segwbc") & table["path"].str.contains("images")]
    for name, rows in of.items():
        classified = single_cells(rows, data, model)
        truth = np.array([names.index(c) for c in rows["class"]])
        own = rows["subtype"] if name == "chulawbc" else rows["path"]
        yield Laboratory(name, classified, adjust(classified, model), truth, own.to_numpy(str))
    classified, said = bccd_cells(data, model)
    truth = np.array([names.index(c) for c in said])
    groups = np.arange(len(said)).astype(str)
    yield Laboratory("bccd", classified, adjust(classified, model), truth, groups)


def simulated(data: Path, model: Any, n: int) -> Iterator[Laboratory]:
    names = list(model.class_names)
    pictures, said = cells_of(data / "pbc", n)
    truth = np.array([names.index(c) for c in said])
    groups = np.arange(len(said)).astype(str)
    for name, changes in laboratories(pictures).items():
        crops, backgrounds = [], []
        for number, picture in enumerate(pictures):
            rng, changed = np.random.default_rng(number), picture
            for change in changes:
                changed = change(changed, rng)
            rgb = to_bytes(changed)
            crops.append(centre_crop(rgb, PIXEL_SIZE_UM, model.input_size, model.window_um))
            backgrounds.append(estimate_background(rgb))
        classified = predict(model, np.stack(crops), background=np.stack(backgrounds))
        yield Laboratory(name, classified, adjust(classified, model), truth, groups)


def halves(laboratory: Laboratory, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Return the cells to correct some of, and those to score."""
    groups = np.unique(laboratory.groups)
    everyone = np.arange(len(laboratory.truth))
    if len(groups) == len(everyone):
        return everyone, everyone
    for _ in range(200):
        here = np.isin(laboratory.groups, rng.permutation(groups)[: len(groups) // 2])
        if all(len(np.unique(laboratory.truth[h])) == 5 for h in (here, ~here)):
            return np.flatnonzero(here), np.flatnonzero(~here)
    raise SystemExit(f"{laboratory.name}: no half of the slides has all classes.")


def chosen(
    result: Classification, truth: Ints, pool: Ints, each: int, how: str, rng: np.random.Generator
) -> Ints:
    """Choose cells to correct, never more than half of those of a class."""
    rows = [np.zeros(0, np.int64)]
    for k in np.unique(truth[pool]):
        own = rng.permutation(pool[truth[pool] == k])
        if how == "unsure":
            own = own[np.argsort(-result.entropy[own], kind="stable")]
        rows.append(own[: min(each, len(own) // 2)])
    return np.concatenate(rows)


def curve(laboratory: Laboratory, base: Classification, model: Any, how: str) -> list[list[float]]:
    """Return accuracy, all and five open, coverage and flagged cells for each of `EACH`."""
    names, truth = model.class_names, laboratory.truth
    five = np.array([names.index(name) for name in FIVE])
    figures = []
    for each in EACH:
        found = []
        for draw in range(DRAWS):
            rng = np.random.default_rng(draw)
            pool, scored = halves(laboratory, rng)
            rows = chosen(base, truth, pool, each, how, rng)
            learned = correct(base, [HumanLabel(int(r), names[truth[r]]) for r in rows], model)
            rest = np.setdiff1d(scored, rows)
            among = rest[np.isin(truth[rest], five)]
            best = five[learned.posterior[among][:, five].argmax(axis=1)]
            found.append(
                (
                    balanced_accuracy(truth[rest], learned.predicted[rest]),
                    balanced_accuracy(truth[among], best),
                    learned.prediction_set[rest, truth[rest]].mean(),
                    learned.prediction_set[rest].sum(axis=1).mean(),
                    learned.anomaly[rest].mean(),
                )
            )
        figures.append([*np.mean(found, axis=0).tolist(), float(np.min(found, axis=0)[0])])
    return figures


def one_class(laboratory: Laboratory, model: Any) -> dict[str, float]:
    """Correct three cells of one class: what becomes of it, and of the others."""
    base, truth, names = laboratory.together, laboratory.truth, model.class_names
    own, others = [], []
    for k in np.unique(truth):
        here = np.flatnonzero(truth == k)
        wrong = here[base.predicted[here] != k]
        if len(here) < 6:
            continue
        for draw in range(DRAWS):
            pool = wrong if len(wrong) >= 3 else here
            rows = np.random.default_rng(draw).choice(pool, 3, replace=False)
            learned = correct(base, [HumanLabel(int(r), names[k]) for r in rows], model)
            rest, else_ = np.setdiff1d(here, rows), truth != k
            own.append((learned.predicted[rest] == k).mean() - (base.predicted[rest] == k).mean())
            now, before = (
                balanced_accuracy(truth[else_], r.predicted[else_]) for r in (learned, base)
            )
            others.append(now - before)
    return {
        "the class": float(np.mean(own)),
        "others, mean": float(np.mean(others)),
        "others, worst": float(np.min(others)),
    }


def slips(laboratory: Laboratory, model: Any) -> dict[str, float]:
    """Answers of which some are wrong, and a single wrong one: change of the accuracy."""
    base, truth, names = laboratory.together, laboratory.truth, model.class_names
    there, without = np.unique(truth), balanced_accuracy(truth, base.predicted)
    several, single = [], []
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        pool, scored = halves(laboratory, rng)
        rows = chosen(base, truth, pool, WITH_SLIPS, "random", rng)
        said = truth[rows].copy()
        for i in rng.choice(len(rows), max(1, round(SLIPS * len(rows))), replace=False):
            said[i] = rng.choice(there[there != said[i]])
        labels = [HumanLabel(int(r), names[k]) for r, k in zip(rows, said, strict=True)]
        rest = np.setdiff1d(scored, rows)
        learned = correct(base, labels, model)
        several.append(balanced_accuracy(truth[rest], learned.predicted[rest]) - without)
        row = rng.choice(np.flatnonzero(base.predicted == truth))
        wrong = names[rng.choice(there[there != truth[row]])]
        learned = correct(base, [HumanLabel(int(row), wrong)], model)
        single.append(balanced_accuracy(truth, learned.predicted) - without)
    return {
        "a fifth wrong, mean": float(np.mean(several)),
        "a fifth wrong, worst": float(np.min(several)),
        "one wrong, mean": float(np.mean(single)),
        "one wrong, worst": float(np.min(single)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the public images")
    parser.add_argument("model", nargs="?", default="default")
    parser.add_argument("--segwbc", action="store_true", help="score segwbc, too")
    parser.add_argument("--simulated", type=int, metavar="N", help="N cells a class of PBC instead")
    parser.add_argument("-o", "--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    model = load_classifier(options.model, device="cpu")
    console, found = Console(), {}
    if options.simulated:
        cells = simulated(options.data, model, options.simulated)
    else:
        cells = real(options.data, model, segwbc=options.segwbc)
    table = Table("laboratory", "cells corrected", *(f"{n} a class" for n in EACH))
    sides = Table("laboratory", "what", "change")
    for one in cells:
        curves = {
            "at random": curve(one, one.together, model, "random"),
            "at random, each cell alone before": curve(one, one.alone, model, "random"),
            "the unsure ones": curve(one, one.together, model, "unsure"),
        }
        more = one_class(one, model) | slips(one, model)
        found[one.name] = {"cells": len(one.truth), "curves": curves, "more": more}
        for how, rows in curves.items():
            table.add_row(one.name, how, *(f"{r[0]:.3f} / {r[1]:.3f}" for r in rows))
        rows = curves["at random"]
        table.add_row(one.name, "  coverage, size", *(f"{r[2]:.2f}, {r[3]:.2f}" for r in rows))
        table.add_row(one.name, "  flagged as unusual", *(f"{r[4]:.3f}" for r in rows))
        table.add_row(one.name, "  worst draw", *(f"{r[5]:.3f}" for r in rows))
        for what, value in more.items():
            sides.add_row(one.name, what, f"{value:+.3f}")
    if options.simulated:
        for how in ("at random", "at random, each cell alone before", "the unsure ones"):
            mean = np.mean([f["curves"][how] for f in found.values()], axis=0)
            table.add_row("mean", how, *(f"{r[0]:.3f} / {r[1]:.3f}" for r in mean))
    console.print(table)
    console.print(sides)
    if options.output:
        options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
