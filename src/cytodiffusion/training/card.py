"""The model card, in Markdown: what a model is, what it was trained on, and how good it is."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from cytodiffusion import __version__
from cytodiffusion.model.bundle import CellClass, ModelBundle
from cytodiffusion.training.data import UNLABELLED, CellSet
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.traits import Trait

#: Sections of a card that parts of a model have, by the part.
KEPT_HEADINGS = {
    "generator": "## Generator of synthetic cells",
    "segmenter": "## Smear network",
}


def write_card(
    model: ModelBundle,
    sets: dict[str, CellSet],
    settings: TrainSettings,
    history: list[dict[str, float]],
    measured: dict[str, dict[str, Any]],
    network: str = "U-Net denoiser with bilinear class heads",
) -> str:
    """Model card in Markdown."""
    versions = {p: version(p) for p in ("torch", "diffusers", "accelerate")}
    million = sum(p.numel() for p in model.denoiser.parameters()) / 1e6
    lines = [
        f"# {model.name}",
        "",
        "A diffusion classifier of single blood cells for research and teaching. "
        "Not a medical device; not for diagnosis.",
        "",
        f"- Input: {model.input_size} x {model.input_size} px, {model.window_um:g} um wide, RGB, "
        "the cell in the centre.",
        f"- Network: {network}, {million:.1f} million weights, stored in half precision.",
        f"- Training: {settings.steps} steps of {settings.batch_size} crops, seed {settings.seed}; "
        + ", ".join(f"{k} {v}" for k, v in versions.items())
        + f"; napari-cytodiffusion {__version__}.",
        *([f"- Started from the weights of {Path(settings.init).name}."] if settings.init else []),
        f"- Data and licence: {settings.attribution or 'not stated'}",
        f"- Trials go round the noise levels {', '.join(map(str, model.calibration.levels))}; "
        f"temperature {model.calibration.temperature:.3f}; anomaly threshold "
        f"{model.calibration.anomaly_threshold:.2f} "
        f"({model.calibration.false_alarms:.1%} of validation cells exceed it).",
        *images_table(model.classes, sets),
    ]
    lines += laboratories_table(model.classes, sets["train"])
    if model.traits:
        lines += traits_section(model.traits)
    for split, metrics in measured.items():
        also = ", which calibrated it" if split == "val" else ""
        lines += ["", f"## Measured on the {split} split{also}", "", *metrics_table(metrics)]
    if history:
        last = history[-1]["validation"]
        lines += ["", f"Balanced accuracy of two trials at the last step: {last:.4f} (validation)."]
    return "\n".join(lines) + "\n"


def images_table(classes: Sequence[CellClass], sets: dict[str, CellSet]) -> list[str]:
    """How many images each class has in each split, as the lines of a Markdown section."""
    lines = [
        "",
        "## Images",
        "",
        "| class | " + " | ".join(sets) + " |",
        "|---|" + "---:|" * len(sets),
    ]
    for index, cell_class in enumerate(classes):
        counts = [int((cells.labels == index).sum()) for cells in sets.values()]
        lines.append(f"| {cell_class.name} | " + " | ".join(map(str, counts)) + " |")
    unlabelled = [int((cells.labels < 0).sum()) for cells in sets.values()]
    if any(unlabelled):
        lines.append("| without a label | " + " | ".join(map(str, unlabelled)) + " |")
    return lines


def laboratories_table(classes: Sequence[CellClass], cells: CellSet) -> list[str]:
    """How many training images of each class each laboratory gave; nothing where it is one."""
    names = sorted(set(cells.laboratories or []))
    if len(names) < 2:
        return []
    of = np.array(cells.laboratories, object)
    labels = cells.labels.numpy()
    lines = [
        "",
        "## Training images of each laboratory",
        "",
        "| class | " + " | ".join(name or "not told" for name in names) + " |",
        "|---|" + "---:|" * len(names),
    ]
    wanted = [*enumerate(c.name for c in classes), (UNLABELLED, "without a label")]
    for index, title in wanted:
        counts = [int(((of == name) & (labels == index)).sum()) for name in names]
        if index != UNLABELLED or any(counts):
            lines.append(f"| {title} | " + " | ".join(map(str, counts)) + " |")
    return lines


def traits_section(traits: Sequence[Trait]) -> list[str]:
    """List what a model tells beside the class, as the lines of a Markdown section."""
    lines = ["", "## Beside the class", ""]
    for trait in traits:
        kind = f"finer classes of {trait.parent}" if trait.parent else f"attribute {trait.name}"
        of = f"; of {', '.join(trait.classes)}" if trait.classes and not trait.parent else ""
        lines.append(f"- {kind}: {', '.join(trait.values)}{of}")
    return lines


def section_of(card: str, heading: str) -> list[str]:
    """Lines of a section of a card; none where it has no such section."""
    _, found, rest = card.partition(heading + "\n")
    return rest.split("\n## ")[0].strip().splitlines() if found else []


def with_section(card: str, heading: str, lines: Sequence[str]) -> str:
    """Put a section into a card: in the place of an earlier one of that heading, or at the end."""
    before, found, rest = card.partition(heading + "\n")
    after = rest[rest.index("\n## ") + 1 :] if found and "\n## " in rest else ""
    parts = [before.rstrip(), "\n".join([heading, "", *lines]).rstrip(), after.rstrip()]
    return "\n\n".join(part for part in parts if part) + "\n"


def metrics_table(metrics: dict[str, Any]) -> list[str]:
    """Figures of merit as the lines of a Markdown table."""
    lines = ["| figure | value |", "|---|---:|"]
    for key, value in metrics.items():
        if key == "recall":
            lines += [f"| recall, {name} | {share:.3f} |" for name, share in value.items()]
        else:
            shown = value if isinstance(value, int) else f"{value:.4g}"
            lines.append(f"| {key.replace('_', ' ')} | {shown} |")
    return lines
