"""Make the training table of the default bundle: PBC, red cells and artefacts.

PBC has no red cells and no artefacts although a field is full of them, so both are made
from PBC's own photographs, split by split: no image of one split lends to another.

    python -m scripts.default_data.make PBC_FOLDER results/default-data

``make default-model PBC=PBC_FOLDER`` does this first, and then trains.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from rich.progress import track
from scripts.default_data.artefacts import make_artefact, make_red_cell

from cytodiffusion.errors import InputError
from cytodiffusion.image.image import open_image
from cytodiffusion.segmentation.result import RED
from cytodiffusion.segmentation.watershed import watershed

PIXEL_SIZE_UM = 0.1
RED_CELL, ARTEFACT = "red cell", "artefact"
#: Images per split: red cells set on a cleared field, red cells as photographed, artefacts.
COUNTS = {"train": (450, 450, 900), "val": (50, 50, 100), "test": (50, 50, 100)}
KINDS = ("precipitate", "smudge", "empty", "fragment", "clump")
KIND_SHARES = (0.25, 0.2, 0.25, 0.2, 0.1)
#: Each generated image borrows from this many photographs.
POOL = 40


def photographed_red_cell(image: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Move a whole red cell of a photograph to the centre, reflecting what is missing."""
    found = watershed(image, PIXEL_SIZE_UM)
    if found.kinds is None:
        return None
    side = image.shape[0]
    for label in rng.permutation(np.flatnonzero(found.kinds == RED) + 1):
        y, x = np.nonzero(found.labels == label)
        inside = min(y.min(), x.min()) > 1 and max(y.max(), x.max()) < side - 2
        if inside and 20 < len(y) * PIXEL_SIZE_UM**2 < 70:
            half = side // 2
            wide = cv2.copyMakeBorder(image, half, half, half, half, cv2.BORDER_REFLECT_101)
            cy, cx = int(y.mean()), int(x.mean())
            return wide[cy : cy + side, cx : cx + side]
    return None


def _make(kind: str, paths: list[Path], rng: np.random.Generator) -> np.ndarray | None:
    if kind == "red cell photographed":
        shown = (photographed_red_cell(open_image(path).rgb(), rng) for path in paths)
        return next((image for image in shown if image is not None), None)
    pool = [open_image(path).rgb() for path in paths[:12]]
    try:
        return make_red_cell(pool, rng) if "made" in kind else make_artefact(pool, kind, rng)
    except InputError:
        return None


def generate(pbc: Path, out: Path, split: str, seed: int) -> list[dict[str, str]]:
    rng = np.random.default_rng([seed, *split.encode()])
    paths = sorted((pbc / split).rglob("*.jpg"))
    if len(paths) < POOL:
        sys.exit(f"{pbc / split} has {len(paths)} .jpg images; at least {POOL} are needed.")
    rows = [
        {
            "path": str(p.resolve()),
            "class": p.parent.name,
            "split": split,
            "made": "",
            "centred": "",
        }
        for p in paths
    ]
    made, photographed, artefacts = COUNTS[split]
    plan = ["red cell made"] * made + ["red cell photographed"] * photographed
    plan += list(rng.choice(KINDS, artefacts, p=KIND_SHARES))
    for number, kind in enumerate(track(plan, description=split)):
        picked = rng.choice(len(paths), POOL, replace=False)
        image = _make(kind, [paths[i] for i in picked], rng)
        if image is None:  # none of these photographs shows a lone red cell
            continue
        name = RED_CELL if kind.startswith("red cell") else ARTEFACT
        target = out / split / name / f"{kind.replace(' ', '-')}-{number:05d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        rows.append(
            {
                "path": str(target.resolve()),
                "class": name,
                "split": split,
                "made": kind,
                "centred": "yes",
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pbc", type=Path, help="folder with train, val and test folders of PBC")
    parser.add_argument("out", type=Path, help="folder for the generated images and cells.csv")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = [r for split in COUNTS for r in generate(options.pbc, options.out, split, options.seed)]
    pd.DataFrame(rows).to_csv(options.out / "cells.csv", index=False)


if __name__ == "__main__":
    main()
