"""Whether counterfactual heatmaps point at the right thing.

    python benchmarks/heatmaps.py --resnet results/resnet18              # both parts
    python benchmarks/heatmaps.py --parts where --set segwbc -n 20
    python benchmarks/heatmaps.py --parts where targets --set pbc-val

Where: share of each map's energy in nucleus, cytoplasm and beside the cell, over the share of the
area that these have (1: no better than chance). Eosinophils and neutrophils differ in their
granules, so their maps should fall on the cytoplasm; segmented and round nuclei differ in the
nucleus and in what lies between its lobes (its convex hull). SegWBC has masks of nuclei and cells,
BCISC of cells; what is missing is made by our watershed and by colour. Of edited maps the nuclear
dye and the eosin are told beside the change of all colours.

Targets: how alike the maps of one cell towards all white classes are inside the cell (mean
correlation of pairs, over pixels and colours), and how much each is like what the counterfactual
cell of that class really changed (correlation).

Deletion: the pixels where a map is strongest are replaced by the mean of their surroundings, more
and more of them, until the cell is taken for another class. The better the map, the sooner.
Insertion: the cell's strongest pixels are put back into its blurred picture; the better the map,
the sooner it is taken for its class again. Two judges: the diffusion classifier and, with
``--resnet``, the ResNet-18.

Rivals: integrated gradients (Sundararajan et al. 2017) of the ResNet-18's logits, target less
predicted, from an empty crop, smoothed as our map is and averaged over four turns; a smooth
random map; the same in the cell only. Settings of the heatmap are chosen on pbc-val; SegWBC and
PBC's test split are for reporting.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from real_cells import PIXEL_SIZE_UM, default_data
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import convex_hull_image

from cytodiffusion.baselines import Baseline, load_baseline
from cytodiffusion.cells.single_cell import SingleCells
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.counterfactual.cells import counterfactual_cells
from cytodiffusion.counterfactual.heatmap import (
    HeatmapSettings,
    all_class_heatmaps,
    iter_heatmaps,
)
from cytodiffusion.counterfactual.placement import Placement
from cytodiffusion.counterfactual.saliency import integrated_gradients
from cytodiffusion.counterfactual.wording import STAINS, stain_change
from cytodiffusion.image.image import open_image
from cytodiffusion.image.stain import estimate_background
from cytodiffusion.model import ModelBundle, load_bundle
from cytodiffusion.predict import Classifier, predict
from cytodiffusion.segmentation.foreground import opened
from cytodiffusion.segmentation.watershed import watershed
from cytodiffusion.taxonomy import white_classes

PAIRS = (
    ("eosinophil", "neutrophil", "cytoplasm"),
    ("neutrophil", "eosinophil", "cytoplasm"),
    ("neutrophil", "lymphocyte", "nucleus"),
    ("neutrophil", "monocyte", "nucleus"),
)
WHITE_CELLS = ("neutrophil", "eosinophil", "basophil", "lymphocyte", "monocyte")
#: The watershed outlines the cells of PBC; BCISC has masks of cells, SegWBC of nuclei too.
OUTLINED_HERE, CELLS_OUTLINED = "pbc", "bcisc"
NUCLEUS, CYTOPLASM = 2, 1
AREAS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
SURROUNDINGS_UM = 2.0


@dataclass
class Cell:
    """A crop ``(S, S, 3)``, its background, and its parts ``(S, S)``: 0, CYTOPLASM, NUCLEUS."""

    window: np.ndarray
    background: np.ndarray
    parts: np.ndarray


#: Makes the strengths of maps of a cell, by their names, from one class to another.
Mapper = Callable[[Cell, int, int], dict[str, np.ndarray]]


def outlined(rgb: np.ndarray, centre: tuple[float, float], pixel_um: float) -> np.ndarray:
    """Mask of the cell at a place, by the watershed."""
    labels = watershed(rgb, pixel_um).labels
    here = labels[round(centre[0]), round(centre[1])]
    return (labels == here) & (here > 0)


def parted(rgb: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Nucleus and cytoplasm of a cell, by the red light that nuclei absorb."""
    if not cell.any():
        return np.zeros(cell.shape, np.uint8)
    red = ndimage.gaussian_filter(rgb[..., 0].astype(float), 1.0)  # eosin lets it pass
    nucleus = opened(red < threshold_otsu(red[cell]), 3.0)
    return np.where(cell, np.where(nucleus, NUCLEUS, CYTOPLASM), 0).astype(np.uint8)


def read_cells(data: Path, which: str, name: str, n: int, model: ModelBundle) -> list[Cell]:
    """Read some cells of a class; those whose parts cannot be told are left out."""
    dataset, _, split = which.partition("-")
    table = pd.read_csv(data / "manifest.csv", dtype=str, keep_default_na=False)
    wanted = (table["dataset"] == dataset) & (table["class"] == name)
    if split:
        wanted &= table["split"] == split
    elif dataset != OUTLINED_HERE:
        wanted &= table["path"].str.contains("/images/")
    paths = table[wanted].sort_values("path")["path"]
    chosen = [data / p for p in paths.sample(min(n, len(paths)), random_state=0)]
    folder = SingleCells(chosen, PIXEL_SIZE_UM if split else None)
    cells = []
    for path in chosen:
        cell = folder.read(path)
        scale = cell.scale.pixel_size_um
        placement = Placement.of_cell(cell.centre, scale, model.window_um, model.input_size)
        if dataset == OUTLINED_HERE:
            parts = parted(cell.rgb, outlined(cell.rgb, cell.centre, scale))
        else:
            mask = open_image(next((path.parents[1] / "masks").glob(f"{path.stem}.*"))).rgb()
            if dataset == CELLS_OUTLINED:
                parts = parted(cell.rgb, mask[..., 0] > 127)
            else:
                parts = np.digitize(mask[..., 0], (64, 192)).astype(np.uint8)
        inside = placement.from_image(parts)
        if not ((inside == NUCLEUS).any() and (inside == CYTOPLASM).any()):
            continue
        window = cell.crop(model.input_size, model.window_um)
        background = cell.background if not split else estimate_background(cell.rgb)
        cells.append(Cell(window, background, inside))
    return cells


def our_map(model: ModelBundle, settings: HeatmapSettings, stains: bool) -> Mapper:
    """Strength of the heatmap over all colours; of an edited one that of the stains besides."""

    def make(cell: Cell, predicted: int, target: int) -> dict[str, np.ndarray]:
        (found,) = iter_heatmaps(
            cell.window[None],
            model,
            [target],
            predicted=[predicted],
            background=cell.background,
            masks=(cell.parts > 0)[None],
            settings=settings,
        )
        made = {settings.method: np.sqrt((found.change.astype(float) ** 2).sum(axis=2))}
        if stains and settings.method == "edited":
            dyes = np.abs(stain_change(found, cell.parts > 0))
            made |= {f"edited, {name}": dyes[..., k] for k, name in enumerate(STAINS[:2])}
        return made

    return make


def alike(one: np.ndarray, other: np.ndarray, mask: np.ndarray) -> float:
    """Correlation of two changes ``(S, S, 3)`` inside a cell."""
    return float(np.corrcoef(one[mask].ravel(), other[mask].ravel())[0, 1])


def targets_apart(
    cell: Cell, model: ModelBundle, predicted: int, settings: HeatmapSettings
) -> dict[str, float]:
    """How alike maps of several targets are, and how like what counterfactual cells changed."""
    is_white = white_classes(model.class_names)
    white = [k for k in np.flatnonzero(is_white).tolist() if k != predicted]
    mask = cell.parts > 0
    grid = all_class_heatmaps(
        cell.window,
        model,
        predicted=predicted,
        background=cell.background,
        mask=mask,
        settings=settings,
    )
    maps = {h.target: h.change for h in grid if h.target in white}
    made = counterfactual_cells(
        np.repeat(cell.window[None], len(white), 0),
        model,
        white,
        predicted=[predicted] * len(white),
        background=np.repeat(cell.background[None], len(white), 0),
        masks=np.repeat(mask[None], len(white), 0),
    )
    changed = made.pixels.astype(float) - made.originals
    return {
        "between targets": float(
            np.mean([alike(*p, mask) for p in combinations(maps.values(), 2)])
        ),
        "with the change": float(
            np.mean([alike(maps[k], c, mask) for k, c in zip(white, changed, strict=True)])
        ),
        "convergence": float(np.mean([h.convergence for h in grid])),
    }


def gradient_map(rival: Baseline, names: tuple[str, ...], blur: float) -> Mapper:
    """Strength of integrated gradients, target less predicted; numbers are those of ``names``."""

    def make(cell: Cell, predicted: int, target: int) -> dict[str, np.ndarray]:
        weights = np.zeros(len(rival.classes))
        weights[rival.class_names.index(names[target])] = 1
        weights[rival.class_names.index(names[predicted])] = -1
        turns = integrated_gradients(cell.window, rival, weights, background=cell.background)
        strength = np.abs(ndimage.gaussian_filter(turns.mean(axis=0), blur))
        return {"integrated gradients": strength}

    return make


def random_map(blur: float) -> Mapper:
    """Strength of smooth noise, its grain about that of our maps."""
    rng = np.random.default_rng(0)

    def make(cell: Cell, predicted: int, target: int) -> dict[str, np.ndarray]:
        noise = np.abs(ndimage.gaussian_filter(rng.normal(size=cell.parts.shape), 3 * blur))
        return {"random": noise, "random in cell": np.where(cell.parts > 0, noise, 0)}

    return make


def where(cell: Cell, strength: np.ndarray) -> dict[str, float]:
    """Share of the energy in each part over its share of the area, and the share in the cell."""
    energy = strength**2 / (strength**2).sum()
    regions = {
        "nucleus": cell.parts == NUCLEUS,
        "nucleus and notch": convex_hull_image(cell.parts == NUCLEUS),
        "cytoplasm": cell.parts == CYTOPLASM,
        "beside": cell.parts == 0,
    }
    found = {k: float(energy[m].sum() / max(m.mean(), 1e-9)) for k, m in regions.items()}
    return found | {"in cell": float(energy[cell.parts > 0].sum())}


def edited(cell: Cell, strength: np.ndarray, pixel_um: float) -> np.ndarray:
    """Crops with more and more of the strongest pixels replaced by their surroundings."""
    sigma = SURROUNDINGS_UM / pixel_um
    mean = ndimage.gaussian_filter(cell.window.astype(float), (sigma, sigma, 0))
    rank = np.argsort(np.argsort(-strength, axis=None, kind="stable")).reshape(strength.shape)
    crops = []
    for area in AREAS:
        mask = ndimage.gaussian_filter((rank < area * rank.size).astype(float), 1.0)[..., None]
        crops.append(np.round(cell.window * (1 - mask) + mean * mask))
    return np.stack(crops).astype(np.uint8)


def inserted(cell: Cell, strength: np.ndarray, pixel_um: float) -> np.ndarray:
    """Blurred crops into which more and more of the strongest pixels are put back."""
    sigma = SURROUNDINGS_UM / pixel_um
    mean = ndimage.gaussian_filter(cell.window.astype(float), (sigma, sigma, 0))
    rank = np.argsort(np.argsort(-strength, axis=None, kind="stable")).reshape(strength.shape)
    crops = []
    for area in AREAS:
        mask = ndimage.gaussian_filter((rank < area * rank.size).astype(float), 1.0)[..., None]
        crops.append(np.round(mean * (1 - mask) + cell.window * mask))
    return np.stack(crops).astype(np.uint8)


def insertion(cell: Cell, crops: np.ndarray, judge: Classifier, name: str) -> dict[str, float]:
    """Area after which the cell is taken for its class again, and its mean probability."""
    found = predict(
        judge, crops, ClassifySettings(trials=4, min_trials=4), background=cell.background
    )
    k = judge.class_names.index(name)
    back = np.flatnonzero(found.predicted == k)
    return {
        "area to return": AREAS[back[0]] if back.size else 1.0,
        "returned": float(back.size > 0),
        "probability": float(found.posterior[:, k].mean()),
    }


def deletion(cell: Cell, crops: np.ndarray, judge: Classifier, name: str) -> dict[str, float]:
    """Area that had to be edited (1 where nothing helped), and mean probability left."""
    found = predict(
        judge, crops, ClassifySettings(trials=4, min_trials=4), background=cell.background
    )
    k = judge.class_names.index(name)
    gone = np.flatnonzero(found.predicted != k)
    return {
        "area to flip": AREAS[gone[0]] if gone.size else 1.0,
        "flipped": float(gone.size > 0),
        "probability left": float(found.posterior[:, k].mean()),
    }


def right(cell: Cell, judge: Classifier, name: str) -> bool:
    """Whether the judge takes the unedited cell for what it is."""
    found = predict(judge, cell.window[None], background=cell.background)
    return judge.class_names[int(found.predicted[0])] == name


def summarise(rows: list[dict], by: list[str]) -> None:
    """Print means and standard errors."""
    table = pd.DataFrame(rows).groupby(by, sort=False)
    mean, error = table.mean(numeric_only=True), table.sem(numeric_only=True)
    text = mean.map("{:.2f}".format) + " ± " + error.map("{:.2f}".format)
    text.insert(0, "cells", table.size())
    print(text.to_string(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=default_data(), help="folder of manifest.csv")
    parser.add_argument("--model", default="default")
    parser.add_argument("--resnet", type=Path, help="baseline for gradients and second opinion")
    parser.add_argument("--parts", nargs="+", default=["where", "targets", "deletion", "insertion"])
    parser.add_argument("--methods", nargs="+", default=["edited", "published"])
    parser.add_argument(
        "--set", default="segwbc", help="of where and targets: segwbc, pbc-val, pbc-test, bcisc"
    )
    parser.add_argument("--deletion-set", default="pbc-test")
    parser.add_argument("-n", type=int, default=6, help="cells a pair of classes")
    parser.add_argument("--noise", type=float, nargs="+")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--views", type=int)
    parser.add_argument("--versions", type=int)
    parser.add_argument("--strength", type=float)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_bundle(args.model, device=args.device)
    given = {"noise": args.noise, "trials": args.trials, "views": args.views}
    given |= {"versions": args.versions, "strength": args.strength}
    chosen = {k: v for k, v in given.items() if v is not None}
    ways = {method: HeatmapSettings(method=method, **chosen) for method in args.methods}
    blur = HeatmapSettings().blur * model.input_size / model.codec.grid
    judges: dict[str, Classifier] = {model.name: model}
    rivals: list[Mapper] = []
    if args.resnet:
        rival = load_baseline(args.resnet, device="cpu")
        rivals.append(gradient_map(rival, model.class_names, blur))
        judges["ResNet-18"] = rival
    rivals.append(random_map(blur))
    for part in args.parts:
        chosen = args.set if part in ("where", "targets") else args.deletion_set
        print(f"\n{part}, {chosen}")
        rows = []
        if part == "targets":
            for name in WHITE_CELLS:
                for cell in read_cells(args.data, chosen, name, args.n, model):
                    k = model.class_names.index(name)
                    rows += [
                        {"map": m} | targets_apart(cell, model, k, way) for m, way in ways.items()
                    ]
            summarise(rows, ["map"])
            continue
        ours = [our_map(model, settings, part == "where") for settings in ways.values()]
        change, test = (edited, deletion) if part == "deletion" else (inserted, insertion)
        for name, target, expected in PAIRS:
            pair = (model.class_names.index(name), model.class_names.index(target))
            for cell in read_cells(args.data, chosen, name, args.n, model):
                head = {"from": name, "to": target}
                made = [make(cell, *pair) for make in (*ours, *rivals)]
                strengths = {m: strength for some in made for m, strength in some.items()}
                if part == "where":
                    head["expected"] = expected
                    rows += [head | {"map": m} | where(cell, s) for m, s in strengths.items()]
                    continue
                for judge, classifier in judges.items():
                    if right(cell, classifier, name):
                        pixel_um = model.window_um / model.input_size
                        rows += [
                            {"judge": judge, "map": m, **head}
                            | test(cell, change(cell, s, pixel_um), classifier, name)
                            for m, s in strengths.items()
                        ]
        if part == "where":
            summarise(rows, ["from", "to", "expected", "map"])
        else:
            summarise(rows, ["judge", "map"])


if __name__ == "__main__":
    main()
