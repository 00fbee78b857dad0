"""Synthetic cells: how real, how varied, whether copies, of which class, how good to train on.

    python benchmarks/synthesis.py PBC --resnet results/resnet18 -o results/synthesis.json
    python benchmarks/synthesis.py results/default-data/cells.csv -n 60 -o results/synthesis.json

Cells are drawn without rejection; what the model's classifier accepts of them is what rejection
would have delivered, and is what all but the agreement is measured on. Real cells are of the split
that neither generator nor networks were trained on. Features: the last ones of the ResNet baseline,
which has never seen a synthetic cell but was trained on the same photographs as the generator and
to tell classes apart only; and hand-made descriptors, which were not trained at all.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from drawn_cells import as_cells
from fidelity import fidelity, memorisation, nearest_distances

from cytodiffusion.baselines import Baseline, load_baseline
from cytodiffusion.baselines.baseline import baseline_logits
from cytodiffusion.classification.classifier import normalised_crops
from cytodiffusion.datasets import find_records
from cytodiffusion.evaluation.low_data import RIVALS
from cytodiffusion.files.writers import write_run_json
from cytodiffusion.generation import GeneratedCells, GenerationSettings, generate
from cytodiffusion.generation.generate import BACKGROUND, as_crops
from cytodiffusion.metrics.scores import balanced_accuracy
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.training.baseline import BaselineTrainer
from cytodiffusion.training.calibrate import plain_views
from cytodiffusion.training.data import CONTEXT, CellSet, load_cells
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.visual_words import describe_cells

#: Side of the crops in pixels: what the ResNet takes, what memorisation compares, what is trained.
SIDE, SMALL, TRAINED = 96, 32, 32


@dataclass
class Sets:
    """Synthetic cells that would have been delivered, held-out and training cells."""

    synthetic: CellSet
    held_out: CellSet
    training: CellSet


def main() -> None:
    options = arguments()
    started = time.perf_counter()
    model, resnet = (
        load_bundle(options.model, device=options.device),
        load_baseline(options.resnet, options.device),
    )
    records = find_records(options.cells)
    names = sorted({r.label for r in records if r.label} & set(model.class_names))
    settings = GenerationSettings(**given(options), seed=options.seed, reject=False)
    say(f"drawing {options.number * len(names)} cells")
    begun = time.perf_counter()
    drawn = generate(model, dict.fromkeys(names, options.number), settings, insist=True)
    per_cell = (time.perf_counter() - begun) / len(drawn)
    everything = as_cells(drawn, names, SIDE)
    result: dict[str, Any] = {
        "drawn": drawn.record(),
        "seconds_per_cell": per_cell,
        "resnet": resnet.record(),
        "agreement": agreement(drawn, everything, resnet, names),
    }
    kept = np.flatnonzero(drawn.accepted)
    say("reading real cells")
    sets = Sets(
        everything.take(kept.tolist()),
        read(records, names, options.split, options.held_out, options.pixel_size),
        read(records, names, "train", options.training, options.pixel_size),
    )
    result["cells"] = {key: len(value) for key, value in vars(sets).items()}
    say("comparing")
    spaces = {name: space(sets) for name, space in spaces_of(resnet).items()}
    result["fidelity"] = {name: compared(points, sets) for name, points in spaces.items()}
    result["fidelity_by_class"] = by_class(spaces["resnet"], sets, names)
    spaces["pixels"] = pixels_of(sets)
    result["memorisation"] = {name: copies(points) for name, points in spaces.items()}
    if not options.no_training:
        result["trained_on"] = trained(sets, names, options)
    result["seconds"] = time.perf_counter() - started
    report(result, names)
    if options.output:
        print(write_run_json(options.output, result))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", type=Path, help="real cells: a folder or a table with splits")
    parser.add_argument("--model", default="default")
    parser.add_argument("--resnet", type=Path, default=Path("results/resnet18"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("-n", "--number", type=int, default=40, help="synthetic cells a class")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", default="test", choices=["val", "test"], help="held out")
    parser.add_argument("--held-out", type=int, help="cells a class; by default as many as drawn")
    parser.add_argument("--training", type=int, default=0, help="cells a class; 0 for all")
    parser.add_argument("--pixel-size", type=float, default=0.1)
    parser.add_argument("--train-steps", type=int, default=400)
    parser.add_argument("--no-training", action="store_true", help="leave out training on them")
    parser.add_argument("-o", "--output", type=Path, help="JSON")
    options = parser.parse_args()
    options.held_out = options.number if options.held_out is None else options.held_out
    return options


def given(options: argparse.Namespace) -> dict[str, Any]:
    found = {"steps": options.steps, "guidance": options.guidance}
    return {key: value for key, value in found.items() if value is not None}


def say(message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {message}", flush=True)


def read(
    records: list[Any], names: list[str], split: str, number: int, pixel_size: float
) -> CellSet:
    """Read so many real cells of each class, drawn at random; 0 for all."""
    rng = np.random.default_rng(0)
    chosen = []
    for name in names:
        own = [r for r in records if r.split == split and r.label == name]
        if number and number < len(own):
            own = [own[i] for i in rng.choice(len(own), number, replace=False)]
        chosen += own
    cells, _ = load_cells(chosen, names, size=SIDE, window_um=20.0, pixel_size_um=pixel_size)
    return cells


def agreement(
    drawn: GeneratedCells, cells: CellSet, resnet: Baseline, names: list[str]
) -> dict[str, Any]:
    """Share of the cells that the classifier and the ResNet take for the asked class."""
    asked, own = np.array(drawn.classes), np.array(drawn.predicted)
    windows = as_crops(cells.windows(SIDE), resnet.input_size)
    logits = baseline_logits(windows, resnet, 64, np.tile(BACKGROUND, (len(windows), 1)))
    other = np.array(resnet.class_names)[logits.argmax(axis=1)]
    found = {}
    for name in [*names, None]:
        rows = np.ones(len(asked), bool) if name is None else asked == name
        kept = rows & drawn.accepted
        found[name or "all"] = {
            "cells": int(rows.sum()),
            "classifier": float((own == asked)[rows].mean()),
            "resnet": float((other == asked)[rows].mean()),
            "accepted": int(kept.sum()),
            "resnet_of_accepted": float((other == asked)[kept].mean()) if kept.any() else None,
        }
    return found


def spaces_of(resnet: Baseline) -> dict[str, Any]:
    return {
        "resnet": lambda sets: on_each(sets, lambda cells: last_features(cells, resnet)),
        "descriptors": standardised_descriptors,
    }


def on_each(sets: Sets, describe: Any) -> dict[str, np.ndarray]:
    return {key: describe(cells) for key, cells in vars(sets).items()}


@torch.inference_mode()
def last_features(cells: CellSet, resnet: Baseline) -> np.ndarray:
    """Return what the ResNet's last layer sees, ``(N, 512)``."""
    windows = as_crops(cells.windows(SIDE), resnet.input_size)
    unit = normalised_crops(windows, resnet, cells.backgrounds.numpy())
    network, parts = resnet.network, []
    for batch in unit.to(resnet.device).split(128):
        x = (batch - network.mean) / network.std
        parts.append(network.body.forward_head(network.body.forward_features(x), pre_logits=True))
    return torch.cat(parts).float().cpu().numpy()


def standardised_descriptors(sets: Sets) -> dict[str, np.ndarray]:
    found = on_each(sets, lambda cells: describe_cells(cells, SIDE))
    mean, sd = found["training"].mean(0), found["training"].std(0) + 1e-6
    # a cubic kernel would see nothing but what lies far outside
    return {key: np.clip((value - mean) / sd, -5, 5) for key, value in found.items()}


def pixels_of(sets: Sets) -> dict[str, np.ndarray]:
    """Small pictures with the background at one white, turned and mirrored in all 8 ways.

    The training cells are as they are: the nearest of the 8 is found by `copies`.
    """

    def small(cells: CellSet) -> np.ndarray:
        gain = 235 / np.maximum(cells.backgrounds.numpy()[:, None, None], 40)
        windows = np.clip(as_crops(cells.windows(SIDE), SMALL) * gain, 0, 255)
        return windows.astype(np.float32)

    def turned(pictures: np.ndarray) -> np.ndarray:
        both = (pictures, pictures[:, :, ::-1])
        ways = [np.rot90(p, turn, axes=(1, 2)) for p in both for turn in range(4)]
        return np.stack(ways, axis=1).reshape(len(pictures), 8, -1)

    return {
        "synthetic": turned(small(sets.synthetic)),
        "held_out": turned(small(sets.held_out)),
        "training": small(sets.training).reshape(len(sets.training), -1),
    }


def compared(points: dict[str, np.ndarray], sets: Sets) -> dict[str, Any]:
    """Fidelity of synthetic cells, and of as many training cells of the same classes."""
    alike = like_for_like(sets)
    return {
        "synthetic": fidelity(points["held_out"], points["synthetic"]).record(),
        "training": fidelity(points["held_out"], points["training"][alike]).record(),
    }


def like_for_like(sets: Sets) -> np.ndarray:
    """Rows of as many training cells of each class as there are synthetic ones."""
    rng = np.random.default_rng(1)
    rows = []
    for label in sets.synthetic.labels.unique():
        own = np.flatnonzero((sets.training.labels == label).numpy())
        wanted = int((sets.synthetic.labels == label).sum())
        rows.append(rng.choice(own, min(wanted, len(own)), replace=False))
    return np.concatenate(rows)


def by_class(points: dict[str, np.ndarray], sets: Sets, names: list[str]) -> dict[str, Any]:
    found = {}
    for label, name in enumerate(names):
        real = points["held_out"][(sets.held_out.labels == label).numpy()]
        made = points["synthetic"][(sets.synthetic.labels == label).numpy()]
        if min(len(real), len(made)) > 5:
            found[name] = fidelity(real, made).record()
    return found


def copies(points: dict[str, np.ndarray]) -> dict[str, Any]:
    def nearest(cells: np.ndarray) -> np.ndarray:
        if cells.ndim == 2:
            return nearest_distances(cells, points["training"])
        ways = nearest_distances(cells.reshape(-1, cells.shape[-1]), points["training"])
        return ways.reshape(cells.shape[:2]).min(axis=1)

    return memorisation(nearest(points["synthetic"]), nearest(points["held_out"]))


def trained(sets: Sets, names: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Balanced accuracy on real cells after training on synthetic or on as many real ones."""
    real = sets.training.take(like_for_like(sets).tolist())
    tests = smaller(sets.held_out)
    views = plain_views(tests, TRAINED)
    found: dict[str, Any] = {"cells": len(sets.synthetic), "steps": options.train_steps}
    for key, cells in (("synthetic", sets.synthetic), ("real", real)):
        say(f"training on {len(cells)} {key} cells")
        folder = Path(tempfile.mkdtemp())
        settings = TrainSettings(
            data=folder,
            output=folder / "run",
            kind="resnet18",
            input_size=TRAINED,
            checkpoint_every=options.train_steps,
            validate_every=options.train_steps,
            seed=options.seed,
            **{**RIVALS, "steps": options.train_steps},
        )
        run = BaselineTrainer(settings, cells=(names, {"train": smaller(cells), "val": tests}))
        run.fit()
        logits = baseline_logits(views.windows, run.baseline(), 256, views.backgrounds)
        found[key] = balanced_accuracy(views.labels, logits.argmax(axis=1))
        shutil.rmtree(folder)
    return found


def smaller(cells: CellSet) -> CellSet:
    """Shrink crops and their context for a quick training."""
    side = round(TRAINED * CONTEXT)
    pictures = cells.pixels.permute(0, 2, 3, 1).numpy()
    small = [cv2.resize(p, (side, side), interpolation=cv2.INTER_AREA) for p in pictures]
    planes = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).contiguous()
    return replace(cells, pixels=planes)


def report(result: dict[str, Any], names: list[str]) -> None:
    print(f"\n{result['seconds_per_cell']:.2f} s a cell; cells compared: {result['cells']}\n")
    print("| class | drawn | classifier agrees | ResNet agrees | ResNet, of accepted | coverage |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in [*names, "all"]:
        row = result["agreement"][name]
        of_accepted = row["resnet_of_accepted"]
        told = "-" if of_accepted is None else f"{of_accepted:.3f}"
        own = result["fidelity_by_class"].get(name, {}).get("coverage")
        covered = "-" if own is None else f"{own:.2f}"
        print(
            f"| {name} | {row['cells']} | {row['classifier']:.3f} | {row['resnet']:.3f} | {told} "
            f"| {covered} |"
        )
    print("\n| features | cells | precision | recall | density | coverage | kernel distance |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for space, both in result["fidelity"].items():
        for kind, x in both.items():
            print(
                f"| {space} | {kind} | {x['precision']:.3f} | {x['recall']:.3f} "
                f"| {x['density']:.2f} | {x['coverage']:.3f} | {x['kernel_distance']:.4f} "
                f"± {x['kernel_distance_sd']:.4f} |"
            )
    print("\n| nearest training cell in | median, synthetic : held out | nearer than 1 % | 5 % |")
    print("|---|---:|---:|---:|")
    for space, x in result["memorisation"].items():
        print(
            f"| {space} | {x['ratio']:.2f} | {x['nearer_than_1_percent']:.3f} "
            f"| {x['nearer_than_5_percent']:.3f} |"
        )
    if "trained_on" in result:
        print(f"\nbalanced accuracy on real cells: {json.dumps(result['trained_on'])}")
    print(f"\n{result['seconds']:.0f} s")


if __name__ == "__main__":
    main()
