"""Made-up laboratories: how a model bears stains, lamps, focus and cameras it was not trained on.

    python benchmarks/laboratories.py "$DATA/pbc" default results/other -n 25

Validation cells of PBC are changed as another laboratory might show them, one change at a time and
several together, and classified by each model. Meant for choosing between models without looking at
the data of true other laboratories. Scale and centre are given; framing is measured elsewhere. A
model that corrects the cells of a laboratory for what they have in common is measured with and
without that, in a laboratory with the mixture of normal blood, and beside what one number a class
would do, fitted to the true classes of half of the cells and measured on the other half.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.optimize import minimize

from cytodiffusion.cells.crops import centre_crop
from cytodiffusion.classification.result import Classification, join
from cytodiffusion.classification.scores import softmax
from cytodiffusion.classification.slide_correction import adjust
from cytodiffusion.datasets import find_records
from cytodiffusion.image.image import open_image
from cytodiffusion.image.stain import estimate_background
from cytodiffusion.metrics.scores import balanced_accuracy
from cytodiffusion.predict import load_classifier, predict
from cytodiffusion.training.augmentation.augment import DYES
from cytodiffusion.training.augmentation.outlines import cell_mask

PIXEL_SIZE_UM = 0.1
#: A differential count of normal blood, with a few platelets, and the cells that are drawn so.
BLOOD = {
    "neutrophil": 0.57,
    "lymphocyte": 0.28,
    "monocyte": 0.07,
    "eosinophil": 0.03,
    "basophil": 0.01,
    "platelet": 0.04,
}
COMPANIONS = 60
#: Classes that are left open in the second column, those of most differential counts.
FIVE = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")

Picture = NDArray[np.float32]  # (H, W, 3), 0 to 1
Change = Callable[[Picture, np.random.Generator], Picture]


def density(picture: Picture) -> Picture:
    return -np.log(np.clip(picture / 0.92, 0.01, 1.2))


def shown(density_: Picture) -> Picture:
    return np.clip(0.92 * np.exp(-density_), 0, 1).astype(np.float32)


def soft(sigma: float) -> Change:
    """Out of focus; sigma in pixels of 0.1 um."""
    return lambda p, rng: cv2.GaussianBlur(p, (0, 0), sigma)


def coarse(factor: float) -> Change:
    """Enlarge the pixels of the camera."""

    def change(p: Picture, rng: np.random.Generator) -> Picture:
        small = cv2.resize(p, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
        return cv2.resize(small, p.shape[1::-1], interpolation=cv2.INTER_CUBIC)

    return change


def outlined(strength: float) -> Change:
    """Dark rims, as a closed condenser draws them."""

    def change(p: Picture, rng: np.random.Generator) -> Picture:
        d = cv2.GaussianBlur(density(p), (0, 0), 2)
        grey = d.mean(axis=2)
        slope = np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1))
        rim = cv2.GaussianBlur(slope, (0, 0), 1.5)
        return shown(density(p) + strength * rim[..., None])

    return change


def dyed(azure: float, eosin: float) -> Change:
    """Other strengths of the two dyes."""
    dyes = np.array(DYES, np.float32).T
    matrix = dyes @ np.diag([azure, eosin, 1.0]).astype(np.float32) @ np.linalg.inv(dyes)
    return lambda p, rng: shown(density(p) @ matrix.T)


def faded(gain: float, grey: float) -> Change:
    def change(p: Picture, rng: np.random.Generator) -> Picture:
        d = gain * density(p)
        return shown((1 - grey) * d + grey * d.mean(axis=2, keepdims=True))

    return change


def lamp(colour: tuple[float, float, float], gamma: float) -> Change:
    """Take another lamp, and a camera that is not linear."""
    return lambda p, rng: np.clip(p * np.array(colour, np.float32), 0, 1) ** np.float32(gamma)


def deepened(exponent: float) -> Change:
    """Pale parts, cytoplasm above all, take up nearly as much dye as nuclei."""
    return lambda p, rng: shown(1.4 * (np.maximum(density(p), 0) / 1.4) ** np.float32(exponent))


def lysed(kept: float) -> Change:
    """Red cells dissolved, all but a share of their density; the cell in the middle stays."""

    def change(p: Picture, rng: np.random.Generator) -> Picture:
        inside = (cell_mask(to_bytes(p), PIXEL_SIZE_UM) / np.float32(255))[..., None]
        return shown(density(p) * (inside + (1 - inside) * kept))

    return change


def drawn(nucleus: float, rest: float, sigma: float = 6.0) -> Change:
    """Chromatin, and granules outside of it, drawn with other contrast; outlines stay sharp."""

    def change(p: Picture, rng: np.random.Generator) -> Picture:
        d = density(p)
        kept = cv2.bilateralFilter(d.mean(axis=2), -1, 0.5, 4)
        dark = kept > 0.5 * np.quantile(kept, 0.97)
        result = d.copy()
        for region, gain in ((dark, nucleus), (~dark, rest)):
            weight = cv2.GaussianBlur(region.astype(np.float32), (0, 0), sigma)
            inside = cv2.GaussianBlur(d * region[..., None], (0, 0), sigma)
            level = inside / np.maximum(weight, 0.05)[..., None]
            result[region] = (level + gain * (d - level))[region]
        return shown(result)

    return change


def fringed(pixels: float) -> Change:
    """Red and blue displaced against each other, in pixels of 0.1 um."""

    def change(p: Picture, rng: np.random.Generator) -> Picture:
        angle = rng.uniform(0, 2 * np.pi)
        result = p.copy()
        for channel, sign in ((0, 1), (2, -1)):
            by = sign * pixels / 2 * np.array([np.cos(angle), np.sin(angle)])
            matrix = np.array([[1, 0, by[0]], [0, 1, by[1]]])
            result[..., channel] = cv2.warpAffine(
                p[..., channel], matrix, p.shape[1::-1], borderMode=cv2.BORDER_REFLECT
            )
        return result

    return change


def apart(p: Picture) -> tuple[Picture, Picture, Picture]:
    """Optical density, the cell's mask and the colour of the empty slide."""
    slide = (estimate_background(to_bytes(p)) / 255).astype(np.float32)
    inside = (cell_mask(to_bytes(p), PIXEL_SIZE_UM) / np.float32(255))[..., None]
    return -np.log(np.clip(p / slide, 0.01, 1.2)), inside, slide


def among_others(others: list[Picture]) -> Change:
    """Set the cell among the red cells of another smear."""

    def change(p: Picture, rng: np.random.Generator) -> Picture:
        (cell, inside, slide), (other, theirs, _) = (
            apart(p),
            apart(others[rng.integers(len(others))]),
        )
        around = np.rot90(other * (1 - theirs), rng.integers(1, 4))
        return np.clip(slide * np.exp(-inside * cell - (1 - inside) * around), 0, 1)

    return change


def dried(factor: float, power: float = 1.0) -> Change:
    """Cells of another diameter among red cells that keep theirs; the dye goes with its power."""

    def change(p: Picture, rng: np.random.Generator) -> Picture:
        d, inside, slide = apart(p)
        height, width = p.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), 0, factor)
        cell = cv2.warpAffine(d * inside, matrix, (width, height))
        moved = cv2.warpAffine(inside[..., 0], matrix, (width, height))[..., None]
        density_ = cell * factor**-power + d * (1 - inside) * (1 - moved)
        return np.clip(slide * np.exp(-density_), 0, 1).astype(np.float32)

    return change


def bent(pixels: float, sigma: float) -> Change:
    """Outlines bent smoothly; both in pixels of 0.1 um."""

    def change(p: Picture, rng: np.random.Generator) -> Picture:
        y, x = np.mgrid[: p.shape[0], : p.shape[1]].astype(np.float32)
        noise = rng.standard_normal((2, *p.shape[:2])).astype(np.float32)
        smooth = [cv2.GaussianBlur(n, (0, 0), sigma) for n in noise]
        dy, dx = (pixels * s / s.std() for s in smooth)
        return cv2.remap(p, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)

    return change


def clipped(colour: tuple[float, float, float]) -> Change:
    """Overexposed: each colour brighter by a factor, and cut where the empty slide is."""
    return lambda p, rng: np.minimum(p * np.array(colour, np.float32), np.float32(0.92))


def pressed(quality: int) -> Change:
    """Strong JPEG compression."""

    def change(p: Picture, rng: np.random.Generator) -> Picture:
        _, data = cv2.imencode(".jpg", to_bytes(p), [cv2.IMWRITE_JPEG_QUALITY, quality])
        return (cv2.imdecode(data, cv2.IMREAD_COLOR) / 255).astype(np.float32)

    return change


def grain(sigma: float) -> Change:
    return lambda p, rng: (p + sigma * rng.standard_normal(p.shape)).astype(np.float32).clip(0, 1)


def to_bytes(picture: Picture) -> NDArray[np.uint8]:
    return np.rint(picture.clip(0, 1) * 255).astype(np.uint8)


def laboratories(pictures: list[Picture]) -> dict[str, tuple[Change, ...]]:
    """Return the changes of each laboratory; ``pictures`` lend each other their red cells."""
    return {
        "as photographed": (),
        "soft": (soft(3),),
        "very soft": (soft(6),),
        "coarse pixels": (coarse(5),),
        "dark rims": (outlined(0.8),),
        "pink": (dyed(0.75, 1.7),),
        "blue": (dyed(1.5, 0.6),),
        "pale and grey": (faded(0.55, 0.5),),
        "overstained": (faded(1.7, 0.0),),
        "yellow lamp": (lamp((1.0, 0.93, 0.7), 0.7),),
        "deep cytoplasm": (deepened(0.55),),
        "lysed red cells": (lysed(0.15),),
        "overexposed": (clipped((1.1, 1.3, 1.2)),),
        "compressed": (pressed(15),),
        "grainy": (grain(0.06),),
        "smeared chromatin": (drawn(0.25, 1.0),),
        "crisp chromatin": (drawn(2.0, 1.0),),
        "granules hidden": (drawn(1.0, 0.25),),
        "granules bold": (drawn(1.0, 2.2),),
        "colour fringes": (fringed(4),),
        "other surroundings": (among_others(pictures),),
        "shrunken": (dried(0.75),),
        "very shrunken": (dried(0.65),),
        "spread": (dried(1.25),),
        "bent outlines": (bent(8, 20),),
        "A: soft, rims, pink, yellow": (
            dyed(0.85, 1.4),
            outlined(0.6),
            soft(4),
            lamp((1.0, 0.93, 0.75), 0.85),
            pressed(40),
        ),
        "B: pale, coarse, blue, grain": (
            dyed(1.3, 0.7),
            faded(0.7, 0.3),
            coarse(4),
            lamp((0.93, 0.97, 1.0), 1.25),
            grain(0.03),
        ),
        "C: lysed, deep, pink, soft, clipped": (
            lysed(0.2),
            deepened(0.65),
            dyed(0.9, 1.3),
            outlined(0.3),
            soft(3),
            clipped((1.1, 1.15, 1.1)),
        ),
        "D: other surroundings, smeared, soft": (
            among_others(pictures),
            drawn(0.4, 0.5),
            deepened(0.8),
            soft(2),
            pressed(40),
        ),
        "E: shrunken, dark, soft": (dried(0.75, 1.5), soft(3)),
        "F: spread, pale, lysed": (lysed(0.2), dried(1.2, 2.0), faded(0.8, 0.2)),
    }


def cells_of(pbc: Path, n: int) -> tuple[list[Picture], list[str]]:
    """``n`` validation cells of each class, drawn once for all time."""
    records = [r for r in find_records(pbc) if r.split == "val" and r.label]
    rng, pictures, labels = np.random.default_rng(7), [], []
    for name in sorted({str(r.label) for r in records}):
        of_class = [r for r in records if r.label == name]
        for i in rng.permutation(len(of_class))[:n]:
            pictures.append((open_image(of_class[i].path).rgb() / 255).astype(np.float32))
            labels.append(name)
    return pictures, labels


def measure(
    model: Any, pictures: list[Picture], labels: list[str]
) -> dict[str, dict[str, list[float]]]:
    """Balanced accuracy in each laboratory: all classes open, and the five.

    By the way cells are looked at: ``alone``; and where the model corrects them, ``together`` with
    all others, and ``in blood``, with others as they are mixed in normal blood; ``bias fitted`` is
    not the model but a bound.
    """
    names = list(model.class_names)
    ways = ["alone"] + ["together", "in blood", "bias fitted"] * (
        getattr(model, "laboratory", None) is not None
    )
    found: dict[str, dict[str, list[float]]] = {way: {} for way in ways}
    truth = np.array([names.index(label) for label in labels])
    five = [names.index(name) for name in FIVE]
    among = np.isin(truth, five)
    for laboratory, changes in laboratories(pictures).items():
        crops, backgrounds = [], []
        for number, picture in enumerate(pictures):
            rng, changed = np.random.default_rng(number), picture
            for change in changes:
                changed = change(changed, rng)
            rgb = to_bytes(changed)
            crops.append(centre_crop(rgb, PIXEL_SIZE_UM, model.input_size, model.window_um))
            backgrounds.append(estimate_background(rgb))
        result = predict(model, np.stack(crops), background=np.stack(backgrounds))
        seen = {"alone": result, "together": adjust(result, model)}
        if "in blood" in ways:
            seen["in blood"] = in_blood(result, model, labels)
            seen["bias fitted"] = bias_fitted(result, truth)
        for way in ways:
            posterior = seen[way].posterior
            open_five = np.array(five)[posterior[:, five].argmax(axis=1)]
            found[way][laboratory] = [
                balanced_accuracy(truth, seen[way].predicted),
                balanced_accuracy(truth[among], open_five[among]),
            ]
    return found


def in_blood(result: Classification, model: Any, labels: list[str]) -> Classification:
    """Correct each cell as one more among others that are mixed as in normal blood."""
    shares = np.array([BLOOD.get(label, 0.0) for label in labels])
    companions = np.random.default_rng(0).choice(
        len(labels), COMPANIONS, p=shares / shares.sum(), replace=True
    )
    parts = []
    for i in range(len(labels)):
        parts.append(adjust(result[np.append(companions, i)], model)[-1:])
    return join(parts)


def bias_fitted(result: Classification, truth: NDArray[np.int64]) -> Classification:
    """Add a number a class to the logits: each half of the cells gets that of the other."""
    logits = np.log(result.posterior + 1e-12)
    half = np.random.default_rng(0).permutation(len(truth)) % 2 == 0
    posterior = np.empty_like(logits)
    for part in (half, ~half):
        given, true = logits[~part], truth[~part]

        def loss(bias: NDArray[np.float64], given: Any = given, true: Any = true) -> float:
            chance = softmax(given + bias)[np.arange(len(true)), true]
            return float(-np.log(chance + 1e-12).sum() + 0.15 * np.square(bias).sum())

        bias = minimize(loss, np.zeros(logits.shape[1]), method="L-BFGS-B").x
        posterior[part] = softmax(logits[part] + bias)
    return replace(result, posterior=posterior, predicted=posterior.argmax(axis=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pbc", type=Path, help="folder with the split folders of PBC")
    parser.add_argument("models", nargs="+")
    parser.add_argument("-n", type=int, default=25, help="cells of each class")
    parser.add_argument("-o", "--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    pictures, labels = cells_of(options.pbc, options.n)
    found = {}
    for name in options.models:
        for way, figures in measure(load_classifier(name, device="cpu"), pictures, labels).items():
            found[name if way == "alone" else f"{name}, {way}"] = figures
    table = Table("laboratory", *(f"{name}, all / five open" for name in options.models))
    for laboratory in next(iter(found.values())):
        table.add_row(
            laboratory, *("{:.3f} / {:.3f}".format(*f[laboratory]) for f in found.values())
        )
    means = [np.mean(list(f.values())[1:], axis=0) for f in found.values()]
    table.add_section()
    table.add_row("mean of the made-up ones", *("{:.3f} / {:.3f}".format(*m) for m in means))
    Console().print(table)
    if options.output:
        options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
