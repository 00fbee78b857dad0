"""Can synthetic cells be told from real ones? Two judges, on cells that they were not fitted on.

    python benchmarks/tell_apart.py results/default-data/cells.csv -o results/tell-apart.json
    python benchmarks/tell_apart.py PBC -n 30 --save results/tell-apart

As many real cells of a class as synthetic ones, all cut at the generator's scale, laid on the same
background and saved as JPEG of the same quality. Half of each class teaches a small convolutional
network and a linear probe on statistics of texture; they are tested on the other half. 0.5 is
chance, 1 is a difference that is seen in every cell. No judge has any part in the training of the
generator. ``--coarse real`` lets the generator draw the detail on the coarse picture of real
cells, which says how much of the difference is that of the detail alone.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional as F

from cytodiffusion.cells.crops import centre_crop
from cytodiffusion.datasets import find_records
from cytodiffusion.files.writers import write_run_json
from cytodiffusion.generation import GenerationSettings
from cytodiffusion.generation.generate import generate
from cytodiffusion.generation.sampler import (
    Guidance,
    cell_noise,
    draw_detail,
    from_pictures,
    picture,
)
from cytodiffusion.image.image import open_image
from cytodiffusion.image.stain import estimate_background
from cytodiffusion.metrics.intervals import wilson_interval
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.codec import to_network, to_uint8, to_unit
from cytodiffusion.model.loading import load_bundle

Pixels = NDArray[np.uint8]

#: Octaves of spatial frequency that the power of a cell is measured in.
BANDS = 5


def main() -> None:
    options = arguments()
    started = time.perf_counter()
    model = load_bundle(options.model, device="cpu")
    real, classes = real_cells(options, model)
    names = sorted(set(classes.tolist()))
    print(f"{len(real)} real cells of {len(names)} classes", flush=True)
    if options.coarse == "real":
        made = with_drawn_detail(model, real, classes, options)
    else:
        made = drawn(model, classes, options)
    real, made = as_jpeg(real, options.quality), as_jpeg(made, options.quality)
    if options.save:
        options.save.mkdir(parents=True, exist_ok=True)
        np.savez(options.save / "cells.npz", real=real, synthetic=made, classes=classes)
    print(f"compared after {time.perf_counter() - started:.0f} s", flush=True)
    result = {
        "model": model.record(),
        "cells": len(real),
        "quality": options.quality,
        "coarse": options.coarse,
        "seed": options.seed,
        "judges": compared(real, made, classes, options.seed, options.epochs),
    }
    report(result["judges"])
    if options.output:
        print(write_run_json(options.output, result))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", type=Path, help="real cells: a folder or a table with splits")
    parser.add_argument("--model", default="default")
    parser.add_argument("-n", "--number", type=int, default=60, help="cells a class, each kind")
    parser.add_argument("--split", default="test", choices=["val", "test"])
    parser.add_argument("--guidance", type=float, default=GenerationSettings().guidance)
    parser.add_argument("--steps", type=int, default=GenerationSettings().steps)
    parser.add_argument("--coarse", default="drawn", choices=["drawn", "real"])
    parser.add_argument("--quality", type=int, default=95, help="of the JPEG files")
    parser.add_argument("--pixel-size", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=120, help="of the network that judges")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="folder for the cells that were compared")
    parser.add_argument("-o", "--output", type=Path, help="JSON")
    return parser.parse_args()


def real_cells(options: argparse.Namespace, model: ModelBundle) -> tuple[Pixels, NDArray[np.str_]]:
    """Cut real cells as the generator draws them, and name their classes."""
    assert model.generator is not None
    records = [r for r in find_records(options.cells) if r.split == options.split and r.label]
    rng = np.random.default_rng(options.seed)
    cells, classes = [], []
    for name in sorted({str(r.label) for r in records} & set(model.class_names)):
        own = [r for r in records if r.label == name]
        for i in rng.permutation(len(own))[: options.number]:
            rgb = open_image(own[i].path).rgb()
            crop = centre_crop(rgb, options.pixel_size, model.generator.size, model.window_um)
            unit = to_unit(
                torch.from_numpy(crop).permute(2, 0, 1)[None],
                torch.from_numpy(np.asarray(estimate_background(rgb))),
            )
            cells.append(to_uint8(to_network(unit))[0].permute(1, 2, 0).numpy())
            classes.append(name)
    return np.stack(cells), np.array(classes)


def drawn(model: ModelBundle, classes: NDArray[np.str_], options: argparse.Namespace) -> Pixels:
    """Draw as many cells of each class, in the same order, none of them rejected."""
    settings = GenerationSettings(
        seed=options.seed, guidance=options.guidance, steps=options.steps, reject=False
    )
    names, counts = np.unique(classes, return_counts=True)
    found = generate(
        model, dict(zip(names.tolist(), counts.tolist(), strict=True)), settings, insist=True
    )
    of = np.array(found.classes)
    return np.concatenate([found.pixels[of == name] for name in names])


def with_drawn_detail(
    model: ModelBundle, real: Pixels, classes: NDArray[np.str_], options: argparse.Namespace
) -> Pixels:
    """Draw the detail of real cells anew, on their coarse pictures."""
    g = model.generator
    assert g is not None
    index = torch.tensor([model.class_names.index(str(name)) for name in classes])
    cells = []
    with torch.inference_mode():
        for part in torch.split(torch.arange(len(real)), 32):
            own, n = index[part], len(part)
            guidance = Guidance(own, own, torch.ones(n), torch.ones(n))
            coarse = g.shrink(from_pictures(torch.from_numpy(real[part.numpy()])))
            noise = cell_noise(part.tolist(), options.seed, model.device)
            whole = draw_detail(model, g, coarse, guidance, noise, options.steps, lambda *_: None)
            cells.append(picture(whole).numpy())
    return np.concatenate(cells)


def as_jpeg(cells: Pixels, quality: int) -> Pixels:
    """Save and read every cell."""
    read = []
    for cell in cells:
        file = io.BytesIO()
        Image.fromarray(cell).save(file, "JPEG", quality=quality, subsampling=0)
        read.append(np.asarray(Image.open(file).convert("RGB")))
    return np.stack(read)


def compared(
    real: Pixels, made: Pixels, classes: NDArray[np.str_], seed: int, epochs: int
) -> dict[str, Any]:
    """Balanced accuracy of both judges on the half that they were not fitted on."""
    rng = np.random.default_rng(seed)
    fitted = np.zeros(len(classes), dtype=bool)
    for name in np.unique(classes):
        own = rng.permutation(np.flatnonzero(classes == name))
        fitted[own[: len(own) // 2]] = True
    cells = np.concatenate([real, made])
    synthetic = np.r_[np.zeros(len(real), int), np.ones(len(made), int)]
    fitted, of = np.r_[fitted, fitted], np.r_[classes, classes]
    judges: dict[str, Callable[[Pixels, NDArray[np.int64], Pixels], NDArray[np.bool_]]] = {
        "network": lambda x, y, new: network_judge(x, y, new, seed, epochs),
        "texture": texture_judge,
    }
    result: dict[str, Any] = {}
    for name, judge in judges.items():
        said = judge(cells[fitted], synthetic[fitted], cells[~fitted])
        right = said == synthetic[~fitted].astype(bool)
        low, high = wilson_interval(int(right.sum()), len(right))
        result[name] = {
            "accuracy": float(right.mean()),
            "interval": [low, high],
            "of real cells": float(right[synthetic[~fitted] == 0].mean()),
            "of synthetic cells": float(right[synthetic[~fitted] == 1].mean()),
            "by class": {str(c): float(right[of[~fitted] == c].mean()) for c in np.unique(classes)},
        }
    return result


def texture_judge(cells: Pixels, synthetic: NDArray[np.int64], new: Pixels) -> NDArray[np.bool_]:
    """Fit a logistic regression on `texture`; its strength is chosen by cross-validation."""
    probe = make_pipeline(
        StandardScaler(),
        GridSearchCV(LogisticRegression(max_iter=2000), {"C": np.logspace(-3, 2, 6)}, cv=5),
    )
    probe.fit(np.stack([texture(cell) for cell in cells]), synthetic)
    return np.asarray(probe.predict(np.stack([texture(cell) for cell in new])) == 1)


def texture(cell: Pixels) -> NDArray[np.float64]:
    """Statistics of texture, by region and colour.

    Bands of spatial frequency (differences of Gaussians an octave apart): their power and tails
    in the dark, the middle and the pale part of the cell; and how colours go together.
    """
    values = cell.astype(float) / 255
    grey = values.mean(axis=2)
    limits = np.quantile(grey, [0.15, 0.5])
    regions = [grey <= limits[0], (grey > limits[0]) & (grey <= limits[1]), grey > limits[1]]
    found: list[float] = []
    for c in range(3):
        blurred = [values[..., c]]
        blurred += [ndimage.gaussian_filter(values[..., c], 0.5 * 2**k) for k in range(BANDS)]
        for fine, broad in pairwise(blurred):
            band = fine - broad
            for region in regions:
                inside = band[region]
                power = inside.var() + 1e-9
                found += [np.log(power), ((inside - inside.mean()) ** 4).mean() / power**2]
        found += [float(values[..., c][region].mean()) for region in regions]
    fine = values - ndimage.gaussian_filter(values, (1, 1, 0))
    found += np.corrcoef(fine.reshape(-1, 3).T)[np.triu_indices(3, 1)].tolist()
    return np.array(found)


class JudgeNetwork(nn.Sequential):
    """A small convolutional network that says real (below 0) or synthetic."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for before, after in ((3, 24), (24, 48), (48, 64), (64, 96)):
            layers += [
                nn.Conv2d(before, after, 3, padding=1, stride=2 if before > 3 else 1),
                nn.GroupNorm(8, after),
                nn.LeakyReLU(0.1),
            ]
        super().__init__(
            *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(96, 1)
        )


def network_judge(
    cells: Pixels, synthetic: NDArray[np.int64], new: Pixels, seed: int, epochs: int
) -> NDArray[np.bool_]:
    """Train a network on parts of cells, mirrored and turned; it judges whole ones."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = JudgeNetwork().to(memory_format=torch.channels_last)
    inputs, labels = as_input(cells), torch.from_numpy(synthetic).float()
    steps = epochs * len(inputs) // 32
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for _ in range(steps):
        index = torch.randint(len(inputs), (32,), generator=generator)
        batch = varied(inputs[index], generator)
        loss = F.binary_cross_entropy_with_logits(network(batch)[:, 0], labels[index])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    network.eval()
    with torch.inference_mode():
        views = [network(x)[:, 0] for x in torch.split(as_input(new), 64)]
    return (torch.cat(views) > 0).numpy()


def as_input(cells: Pixels) -> Tensor:
    return to_network(torch.from_numpy(cells).permute(0, 3, 1, 2).float() / 255)


def varied(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Take the same random part of all cells, mirrored and turned together."""
    side = batch.shape[-1] * 3 // 4
    i, j = torch.randint(batch.shape[-1] - side + 1, (2,), generator=generator).tolist()
    part = batch[..., i : i + side, j : j + side]
    turns, flip = torch.randint(4, (2,), generator=generator).tolist()
    part = torch.rot90(part, turns, (2, 3))
    return (part.flip(3) if flip % 2 else part).contiguous(memory_format=torch.channels_last)


def report(judges: dict[str, Any]) -> None:
    print("\n| judge | accuracy | of real | of synthetic |\n|---|---:|---:|---:|")
    for name, row in judges.items():
        low, high = row["interval"]
        print(
            f"| {name} | {row['accuracy']:.3f} ({low:.2f} to {high:.2f}) "
            f"| {row['of real cells']:.3f} | {row['of synthetic cells']:.3f} |"
        )
    print("\n| class | " + " | ".join(judges) + " |\n|---|" + "---:|" * len(judges))
    for name in next(iter(judges.values()))["by class"]:
        print(f"| {name} | " + " | ".join(f"{r['by class'][name]:.2f}" for r in judges.values()))


if __name__ == "__main__":
    main()
