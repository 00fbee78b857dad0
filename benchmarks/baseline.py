"""A ResNet-18 trained from scratch on the same crops with the same augmentation.

python benchmarks/baseline.py results/default-data/cells.csv --steps 4000 --output resnet.json
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from real_cells import SHARED, add_data_option, load_sample
from torch.nn import functional as F
from torchvision.models import resnet18

from cytodiffusion.crops import WINDOW_UM
from cytodiffusion.device import half_precision_pays, pick_device
from cytodiffusion.evaluation.metrics import balanced_accuracy
from cytodiffusion.model.codec import to_network, to_unit
from cytodiffusion.training.augment import augment
from cytodiffusion.training.data import (
    BalancedSampler,
    class_names,
    find_records,
    generator_for,
    load_cells,
)


def train(options: argparse.Namespace, names: list[str], records: list) -> torch.nn.Module:
    device = pick_device(options.device)
    half = half_precision_pays(device)
    chosen = [r for r in records if r.split == "train" and r.label]
    cells, _ = load_cells(
        chosen, names, size=options.size, window_um=WINDOW_UM, pixel_size_um=options.pixel_size
    )
    torch.manual_seed(options.seed)
    net = resnet18(num_classes=len(names)).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, options.steps, pct_start=0.1)
    sampler = BalancedSampler(cells.labels, options.batch_size, options.seed)
    start = time.monotonic()
    for step in range(options.steps):
        index = sampler(step)
        unit = to_unit(cells.pixels[index], cells.backgrounds[index])
        window, _ = augment(unit, options.size, generator_for(options.seed, step, "augment"))
        x = to_network(window).to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
            logits = net(x)
        loss = F.cross_entropy(logits.float(), cells.labels[index].to(device), label_smoothing=0.02)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}, loss {loss:.3f}, {time.monotonic() - start:.0f} s", flush=True)
    return net.eval()


@torch.inference_mode()
def logits_of(net: torch.nn.Module, windows: np.ndarray, backgrounds: np.ndarray) -> np.ndarray:
    device = next(net.parameters()).device
    half = half_precision_pays(device)
    parts = []
    for start in range(0, len(windows), 64):
        pixels = torch.from_numpy(windows[start : start + 64]).permute(0, 3, 1, 2)
        unit = to_unit(pixels, torch.from_numpy(backgrounds[start : start + 64]))
        x = to_network(unit).to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
            parts.append(net(x).float().cpu().numpy())
    return np.concatenate(parts)


def evaluate(net: torch.nn.Module, names: list[str], options: argparse.Namespace) -> dict:
    found = {}
    keep = np.array([names.index(n) for n in SHARED])
    for name in ("pbc", "bcisc", "segwbc"):
        cells = load_sample(name, options.data, options.size, WINDOW_UM, options.limit)
        labels = np.array([names.index(n) for n in cells.labels])
        start = time.perf_counter()
        logits = logits_of(net, cells.windows, cells.backgrounds)
        seconds = time.perf_counter() - start
        found[name] = {
            "n": len(labels),
            "balanced_accuracy": balanced_accuracy(labels, logits.argmax(1)),
            "ms_per_cell": 1000 * seconds / len(labels),
        }
        if name != "pbc":
            predicted = keep[logits[:, keep].argmax(1)]
            found[name]["balanced_accuracy_shared"] = balanced_accuracy(labels, predicted)
        print(name, found[name], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", type=Path, help="the table the default bundle is trained on")
    parser.add_argument("--pixel-size", type=float, default=0.1)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    add_data_option(parser)
    options = parser.parse_args()
    records = find_records(options.cells)
    names = class_names(records)
    net = train(options, names, records)
    found = {"steps": options.steps, "batch_size": options.batch_size, "seed": options.seed}
    found |= evaluate(net, names, options)
    if options.output:
        options.output.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
