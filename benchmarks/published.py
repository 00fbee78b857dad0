"""The published algorithm beside ours: time, and the accuracy of its rule.

    python benchmarks/published.py                                 # both parts, on pbc/val
    python benchmarks/published.py --parts time --devices cpu cuda
    python benchmarks/published.py --parts accuracy --plain MODEL --split test

Time: Stable Diffusion 1.5's U-Net and VAE at full size with random weights (time does not depend
on them), one 360 px crop and all classes in a batch. No class can be out before the 21st trial, so
a cell takes 21 such trials or more; what is measured is some of them (``--sd-trials``), and the
rest is arithmetic. Ours is ``classify`` at its default budget; the ResNet-18 has random weights.

Accuracy: the published rule (its noise levels, weights, disc of errors, test and budget) on our
network: on the bundle, and on ``--plain``, a bundle that was trained with ``--class-loss 0``. A
pass is what one class costs Stable Diffusion; ours gives all classes in one. Where it departs from
the rule, and why: docs/published.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from real_cells import CellSample, add_data_option, load_sample

from cytodiffusion.baselines.baseline import Baseline
from cytodiffusion.baselines.network import build_network
from cytodiffusion.cells.crops import extract_crops
from cytodiffusion.classification.classifier import classify
from cytodiffusion.classification.published_rule import (
    NoiseErrors,
    PublishedSettings,
    classify_published,
)
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.device import half_precision_pays
from cytodiffusion.image.image import open_image
from cytodiffusion.image.stain import estimate_background
from cytodiffusion.metrics.curves import confusion
from cytodiffusion.metrics.intervals import confusion_intervals
from cytodiffusion.metrics.scores import balanced_accuracy
from cytodiffusion.model import ModelBundle, load_bundle
from cytodiffusion.model.stable_diffusion import (
    DISC_RADIUS,
    SIZE,
    StableDiffusionCodec,
    StableDiffusionDenoiser,
    StableDiffusionSchedule,
    full_size_unet,
    full_size_vae,
)
from cytodiffusion.model.stable_diffusion_files import uncalibrated
from cytodiffusion.model.validation_record import ValidationRecord
from cytodiffusion.predict import predict
from cytodiffusion.segmentation import segment

#: Trials before the published rule can end.
LEAST_TRIALS = 21


def table(rows: Iterable[dict[str, Any]]) -> None:
    """Print rows as a Markdown table."""
    rows = list(rows)
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "|".join("---" if isinstance(v, str) else "---:" for v in rows[0].values()) + "|")
    for row in rows:
        print("| " + " | ".join(map(written, row.values())) + " |")
    print(flush=True)


def written(value: Any) -> str:
    """Write an entry of a table: whole numbers with commas, else four digits."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def seconds_of(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds that ``work`` takes on a device that has nothing else to do."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


# --- time --------------------------------------------------------------------------------------


def random_network(kind: Any, config: dict[str, Any], dtype: torch.dtype, device: Any) -> Any:
    """Make a network of small random weights without ever holding it in float32."""
    with torch.device("meta"):
        network = kind(**config)
    network = torch.nn.Module.to(network, dtype).to_empty(device=device)  # diffusers' own warns
    with torch.no_grad():
        for weight in network.parameters():
            weight.uniform_(-0.02, 0.02)
    return network


def full_size(like: ModelBundle) -> ModelBundle:
    """Stable Diffusion 1.5 with random weights for the classes of ``like``."""
    device = like.device
    half = torch.bfloat16 if half_precision_pays(device) else torch.float32
    unet = random_network(UNet2DConditionModel, full_size_unet(), half, device)
    vae = random_network(AutoencoderKL, full_size_vae(), half, device)
    denoiser = StableDiffusionDenoiser(unet, len(like.classes)).to(device).eval()
    codec = StableDiffusionCodec(vae, SIZE)
    return ModelBundle(
        name="Stable Diffusion 1.5, random weights",
        version="",
        classes=like.classes,
        input_size=SIZE,
        window_um=like.window_um,
        disc_radius=DISC_RADIUS,
        denoiser=denoiser,
        codec=codec,
        schedule=StableDiffusionSchedule(),
        calibration=uncalibrated(len(like.classes), denoiser.embedding_width, codec),
        device=device,
    )


def seconds_a_trial(model: ModelBundle, trials: int, cells: int) -> float:
    """Seconds of one published trial of ``cells`` cells: views, VAE, a pass for every class."""
    ask = NoiseErrors(model, PublishedSettings())
    unit = torch.rand(cells, 3, SIZE, SIZE)
    classes = np.tile(np.arange(len(model.classes)), cells)
    which = np.repeat(np.arange(cells), len(model.classes))
    ask(unit[:1], 0, which[:1], classes[:1])  # first use: memory, choice of kernels
    took = [
        seconds_of(lambda n=n: ask(unit, n, which, classes), model.device) for n in range(trials)
    ]
    return statistics.median(took)


def random_resnet(like: ModelBundle) -> Baseline:
    network = build_network("resnet18", len(like.classes), like.input_size)
    return Baseline(
        name="ResNet-18",
        version="",
        kind="resnet18",
        classes=like.classes,
        input_size=like.input_size,
        window_um=like.window_um,
        network=network.to(like.device).to(memory_format=torch.channels_last).eval(),
        validation=ValidationRecord(torch.linspace(0, 1, 100)),
        anomaly_threshold=1.0,
        false_alarms=0.0,
        device=like.device,
    )


def time_part(options: argparse.Namespace) -> None:
    rows = []
    for name in options.devices or ["cpu"] + ["cuda"] * torch.cuda.is_available():
        rows += time_on(name, options)
    table(rows)


def time_on(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    ours = load_bundle(options.model, device=name)
    cells = field_sample(ours, options) if options.fields else sample_for(ours, options)
    resnet = random_resnet(ours)
    took: dict[str, list[float]] = {"ours": [], "ResNet-18": []}
    trials = 0.0
    for repeat in range(options.repeats + 1):  # in turn, so that both meet the same disturbances
        for key, model in (("ours", ours), ("ResNet-18", resnet)):
            found: list[Any] = []
            seconds = seconds_of(
                lambda m=model, f=found: f.append(
                    predict(m, cells.windows, background=cells.backgrounds)
                ),
                ours.device,
            )
            if repeat:  # the first warms up
                took[key].append(seconds / len(cells.windows))
            if key == "ours":
                trials = float(found[0].trials.mean())
    per_cell = {key: statistics.median(values) for key, values in took.items()}
    published = full_size(ours)
    k, sd_trials = len(ours.classes), options.sd_trials or (2 if name == "cpu" else LEAST_TRIALS)
    alone = seconds_a_trial(published, sd_trials, 1)
    rows = {
        f"published, one cell x {k} classes, {LEAST_TRIALS} trials": LEAST_TRIALS * alone,
        f"ours, default budget ({trials:.2f} trials)": per_cell["ours"],
        "ResNet-18": per_cell["ResNet-18"],
    }
    if name != "cpu":
        together = seconds_a_trial(published, 5, options.together) / options.together
        rows[f"published, {options.together} cells together"] = LEAST_TRIALS * together
    precision = str(published.denoiser.unet.dtype).removeprefix("torch.")
    print(
        f"{name}: {alone:.3f} s a published trial of one cell (median of {sd_trials}, {precision})"
    )
    ratio = per_cell["ours"] / per_cell["ResNet-18"]
    print(f"{name}: ours takes {ratio:.2f} times the ResNet-18's time a cell\n", flush=True)
    return [
        {
            "device": device_name(ours.device),
            "what": what,
            "ms a cell": 1000 * seconds,
            "cells a second": 1 / seconds,
            "times ours": seconds / per_cell["ours"],
        }
        for what, seconds in rows.items()
    ]


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


# --- accuracy ----------------------------------------------------------------------------------


def field_sample(model: ModelBundle, options: argparse.Namespace) -> CellSample:
    """Cells of whole fields, found by the watershed; their classes are not known."""
    windows, backgrounds = [], []
    for path in sorted(p for p in options.fields.iterdir() if p.suffix in (".jpg", ".png", ".tif")):
        rgb = open_image(path).rgb()
        found = segment(rgb, "watershed")
        crops = extract_crops(
            rgb, found.labels, found.pixel_size_um, model.input_size, model.window_um
        )
        windows.append(crops.pixels)
        backgrounds += [estimate_background(rgb)] * len(crops)
    labels = np.full(len(backgrounds), "")
    return CellSample(np.concatenate(windows), np.stack(backgrounds), labels)


def sample_for(model: ModelBundle, options: argparse.Namespace) -> CellSample:
    return load_sample(
        options.data, model.input_size, model.window_um, options.limit, options.split
    )


def accuracy_part(options: argparse.Namespace) -> None:
    ours = load_bundle(options.model, device=options.device)
    cells = sample_for(ours, options)
    usual = ClassifySettings()
    rows = [own_rule(ours, cells, "ours", usual)]
    ours_trials = rows[0]["passes"]  # one pass a trial
    plain = load_bundle(options.plain, device=options.device) if options.plain else None
    rules: list[dict[str, Any]] = []
    for model, name in ((plain, "no hybrid loss"), (ours, "ours")):
        if model is None:
            continue
        kind = f"published rule, network: {name}"
        whole = PublishedSettings(trials=options.max_trials, **view(options))
        rules.append(its_rule(model, cells, f"{kind}, up to {options.max_trials} trials", whole))
        same = whole.model_copy(update={"trials": usual.trials})
        rules.append(its_rule(model, cells, f"{kind}, our budget of {usual.trials} trials", same))
        one = max(1, round(ours_trials / len(model.classes)))
        wild = {"trials": options.unbounded_trials, "snr_limit": math.inf}
        unbounded = whole.model_copy(update=wild)
        told = f"{kind}, errors not bounded, up to {options.unbounded_trials} trials"
        rules.append(its_rule(model, cells, told, unbounded))
        short = whole.model_copy(update={"trials": one})
        rules.append(its_rule(model, cells, f"{kind}, our time", short))
    if plain is not None:
        rows.append(own_rule(plain, cells, "our rule, network: no hybrid loss", usual))
    many = round(rules[0]["trials"])
    patient = usual.model_copy(update={"trials": many, "min_trials": many})
    rows.append(own_rule(ours, cells, f"ours, its {many} trials, none saved", patient))
    print(f"{len(cells.labels)} cells of pbc/{options.split}, {len(ours.classes)} classes open\n")
    found = rows + rules
    for row in found:
        row["passes, times ours"] = row["passes"] / ours_trials
    table(found)
    if options.output:
        options.output.write_text(json.dumps(found, indent=1), encoding="utf-8")


def view(options: argparse.Namespace) -> dict[str, Any]:
    """How the emulated rule varies a crop; quarter turns bring in no black corners."""
    return {
        "jitter": options.jitter,
        "rotation": options.rotation,
        "snr_limit": options.snr_limit,
        "cells_at_once": 64,
    }


def own_rule(
    model: ModelBundle, cells: CellSample, name: str, settings: ClassifySettings
) -> dict[str, Any]:
    start = time.perf_counter()
    found = classify(cells.windows, model, settings, background=cells.backgrounds)
    seconds = time.perf_counter() - start
    trials = float(found.trials.mean())
    return figures(name, model, cells, found.predicted, trials, trials, seconds)


def its_rule(
    model: ModelBundle, cells: CellSample, name: str, settings: PublishedSettings
) -> dict[str, Any]:
    start = time.perf_counter()
    found = classify_published(cells.windows, model, settings, background=cells.backgrounds)
    seconds = time.perf_counter() - start
    trials, passes = float(found.trials.mean()), float(found.passes.mean())
    return figures(name, model, cells, found.predicted, trials, passes, seconds)


def figures(
    name: str,
    model: ModelBundle,
    cells: CellSample,
    predicted: np.ndarray,
    trials: float,
    passes: float,
    seconds: float,
) -> dict[str, Any]:
    labels = np.array([model.class_names.index(n) for n in cells.labels])
    counts = confusion(labels, predicted, len(model.classes))
    low, high = confusion_intervals(counts)["balanced_accuracy"]
    return {
        "rule": name,
        "balanced accuracy": balanced_accuracy(labels, predicted),
        "95 %": f"{low:.3f} to {high:.3f}",
        "trials": trials,
        "passes": passes,
        "ms a cell, classes sharing the trunk": 1000 * seconds / len(labels),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", default=["time", "accuracy"])
    parser.add_argument("--model", default="default")
    parser.add_argument("--plain", help="model trained with --class-loss 0")
    parser.add_argument("--split", default="val", choices=["val", "test"], help="of PBC")
    parser.add_argument("--fields", type=Path, help="time the cells of the images in this folder")
    parser.add_argument("--devices", nargs="+", help="to time on; cpu and, if any, cuda")
    parser.add_argument("--device", default="auto", help="for the accuracy")
    parser.add_argument("--repeats", type=int, default=3, help="of the times of the quick two")
    parser.add_argument("--sd-trials", type=int, help="published trials timed; CPU 2, GPU 21")
    parser.add_argument("--together", type=int, default=8, help="cells a batch, GPU only")
    parser.add_argument("--max-trials", type=int, default=2000, help="budget of the rule")
    parser.add_argument("--unbounded-trials", type=int, default=100, help="see --snr-limit")
    parser.add_argument(
        "--snr-limit", type=float, default=5.0, help="bound of the emulated errors of the noise"
    )
    parser.add_argument("--jitter", type=float, default=0.0, help="0.25 as published")
    parser.add_argument("--rotation", default="quarter", choices=["quarter", "any"])
    parser.add_argument("--output", type=Path, help="JSON file for the accuracies")
    add_data_option(parser)
    options = parser.parse_args()
    load = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"{torch.get_num_threads()} threads of {os.cpu_count()} cores{load}\n", flush=True)
    if "time" in options.parts:
        time_part(options)
    if "accuracy" in options.parts:
        accuracy_part(options)


if __name__ == "__main__":
    main()
