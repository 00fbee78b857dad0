"""Training of the slide correction: simulated domains, and what all cells of one have in common.

A simulated domain stands for the slides of another laboratory. It is one draw of the variations
that the denoiser was trained with (stain, focus, camera, how cells dry), shared by all its cells.
What the denoiser makes of them is kept, and small networks learn from it how the logits of a cell
are to be corrected, given those of the other cells.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from cytodiffusion.cells.single_cell import at_start
from cytodiffusion.classification.classifier import classify, gather_evidence
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.classification.slide_correction import LEAST_CELLS
from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import atomic_file
from cytodiffusion.metrics.scores import balanced_accuracy
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.bundle_files import FILES
from cytodiffusion.model.codec import WHITE, to_unit
from cytodiffusion.model.denoiser import UNetDenoiser, embedding_width
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.saving import check_target
from cytodiffusion.model.slide_correction import SlideCorrection, SlideCorrectionNetwork
from cytodiffusion.model.slide_distance import SlideDistance
from cytodiffusion.model.validation_record import ValidationRecord
from cytodiffusion.progress import Progress, part_of, silent
from cytodiffusion.training.augmentation.augment import augment
from cytodiffusion.training.augmentation.outlines import Outlines
from cytodiffusion.training.calibrate import plain_views, validation_record
from cytodiffusion.training.data import CellSet, generator_for
from cytodiffusion.training.finish import save_with
from cytodiffusion.training.sets import like_model, load_sets
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.training_log import TrainingLog

#: Classes that are not corrected: no stain makes white cells of them, and fields are full of them.
UNCORRECTED = ("red cell",)

#: Slides drawn from validation cells to calibrate on, and the most cells that one has.
SLIDES, LARGEST = 80, 200

#: Simulated domains of validation cells in which the correction is measured.
VALIDATION_DOMAINS = 30

#: Principal components of the embedding that the networks see.
FEATURES = 32

#: Share of the slides with one class only; share of the loss in which a cell counts as often as its
#: slide has it.
PURE_SHARE, OWN_SHARE = 0.25, 0.2

#: Simulated domains in a batch of training.
BATCH = 25

#: Heading of the section in the model card (the same since the first models).
HEADING = "## Correction of a slide"

#: Files in the folder of the run: what the denoiser made of the domains, and the settings.
DOMAINS_FILE, SETTINGS_FILE = "laboratories.safetensors", "settings.json"

#: Settings that may differ between a run and its resumption.
MAY_CHANGE = {
    *("resume", "device", "output", "data", "layout", "init", "duplicates", "name", "attribution"),
    *("steps", "learning_rate", "weight_decay", "coverage", "checkpoint_every", "laboratories"),
    "calibration_laboratory",
    *(
        "rare",
        "rare_weight",
        "allow_download",
        "mixed_precision",
        "batch_size",
        "log_every",
        "tracker",
    ),
}


def train_slide_correction(settings: TrainSettings, progress: Progress = silent) -> Path:
    """Train a correction for the model ``settings.init`` and save both as one bundle."""
    model, settings = model_to_extend(settings, "a slide correction is")
    _check_run(settings)
    names, sets = load_sets(settings, at_start(progress), ("train", "val"))
    like_model(names, sets, model.class_names, "A slide correction")
    home = sets["val"].of_laboratory(settings.calibration_laboratory)
    run = _begin(settings, model, sets["train"])

    made = _simulated(model, sets["train"], settings, run, part_of(progress, 0.0, 0.8))
    network = fit_network(made, settings, part_of(progress, 0.8, 0.9), TrainingLog(run))
    correction, measured = measure_correction(
        model, network, home, settings, part_of(progress, 0.9, 0.95)
    )
    from cytodiffusion.training.slide_distance import measure_distance  # imports this module

    model = replace(model, slide_correction=correction)
    distance = measure_distance(model, sets, settings, part_of(progress, 0.95, 1.0))
    return _attach(model, correction, distance, measured, settings)


def model_to_extend(settings: TrainSettings, what: str) -> tuple[ModelBundle, TrainSettings]:
    """Load the model ``settings.init``, and fit the settings to its crops.

    InputError before the work if nothing can be added to it, or the result cannot be saved.
    """
    model = load_bundle(str(settings.init), device=settings.device)
    if not isinstance(model.denoiser, UNetDenoiser):
        raise InputError(
            f"{model.name} is a Stable Diffusion checkpoint: {what} for models of the kind "
            "diffusion."
        )
    if model.head is not None:
        raise InputError(
            f"{model.name} {model.version} was taught on top of its network: extend the model that "
            "it was made from, then teach that."
        )
    check_target(settings.output, FILES)
    own = {"window_um": model.window_um, "input_size": model.input_size}
    return model, settings.model_copy(update=own)


def _run_of(settings: TrainSettings) -> Path:
    return settings.output.with_name(f"{settings.output.name}.run")


def _check_run(settings: TrainSettings) -> None:
    """InputError, before images are read, if an earlier run would be overwritten."""
    run = _run_of(settings)
    if (run / DOMAINS_FILE).is_file() and not settings.resume:
        raise InputError(
            f"{run} holds an earlier run; add --resume to go on with it, or remove it."
        )


def _begin(settings: TrainSettings, model: ModelBundle, cells: CellSet) -> Path:
    """Return the folder of the run, made or found."""
    run = _run_of(settings)
    wanted = json.loads(settings.model_dump_json(exclude=MAY_CHANGE))
    wanted |= {"model": model.checksum, "cells": cells.digest()}
    begun = run / SETTINGS_FILE
    try:
        run.mkdir(parents=True, exist_ok=True)
        known = json.loads(begun.read_text(encoding="utf-8")) if begun.is_file() else wanted
        if (run / DOMAINS_FILE).is_file() and known != wanted:
            raise InputError(
                f"The run in {run} was begun with other settings, cells or another model; train "
                "into a new folder."
            )
        with atomic_file(begun) as part:
            part.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{run} cannot be written: {error.strerror}.") from error
    except ValueError as error:
        raise InputError(f"{begun} is damaged; remove {run} to start again.") from error
    return run


def _simulated(
    model: ModelBundle, cells: CellSet, settings: TrainSettings, run: Path, progress: Progress
) -> SimulatedDomains:
    """Simulate the domains of a run that are not in its folder yet; return all of them."""
    classes, width = len(model.classes), embedding_width(model.denoiser)
    kept = read_domains(run / DOMAINS_FILE, draw_cells(cells.labels, 0, 0).numel(), classes, width)
    wanted = settings.laboratories
    parts = [] if kept is None else [kept[:wanted]]
    done = sum(map(len, parts))
    every = max(1, settings.checkpoint_every // (CELLS_PER_CLASS * TRIALS))
    for number, domain in enumerate(
        simulate_domains(model, cells, settings, range(done, wanted)), done + 1
    ):
        parts.append(domain)
        if number % every == 0 or number == wanted:
            parts = [joined(parts)]
            with atomic_file(run / DOMAINS_FILE) as path:
                save_file(parts[0].parts(), path)
        progress(number / wanted, f"simulated domain {number} of {wanted}")
    return joined(parts)


def fit_network(
    made: SimulatedDomains,
    settings: TrainSettings,
    progress: Progress = silent,
    table: TrainingLog | None = None,
) -> SlideCorrectionNetwork:
    """Train the small networks, each from other random weights and in another order."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_for(settings.seed, 0, "correction").initial_seed())
        return _fitted(made, settings, progress, table)


def _fitted(
    made: SimulatedDomains, settings: TrainSettings, progress: Progress, table: TrainingLog | None
) -> SlideCorrectionNetwork:
    width = made.embedding.shape[-1]
    network = SlideCorrectionNetwork(made.logits.shape[-1], width, features=min(FEATURES, width))
    network.mean, network.components = _components(made.embedding, network.components.shape[1])
    optimizer = torch.optim.AdamW(
        network.ensemble.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, settings.steps)
    network.train()
    for step in range(settings.steps):
        losses = []
        for member in network.ensemble:
            part = made[torch.randint(len(made), (min(BATCH, len(made)),))]
            cells = network.describe(part.embedding, part.logits)
            slides = some_slides(part.labels, made.logits.shape[-1])
            corrected = part.logits + member(cells, slides)
            losses.append(_loss(corrected, part.labels, slides))
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        rate, done = optimizer.param_groups[0]["lr"], step + 1
        optimizer.step()
        schedule.step()
        if table is not None:
            table.add({"loss": float(torch.stack(losses).detach().mean())})
            if done % settings.log_every == 0 or done == settings.steps:
                table.write(done, rate)
        progress(done / settings.steps, f"correction, step {done}/{settings.steps}")
    return network.eval()  # type: ignore[no-any-return]


def _loss(corrected: Tensor, labels: Tensor, slides: Tensor) -> Tensor:
    """Cross-entropy, half of it of all cells alike and half as they are in the slides.

    The first half keeps what is rare in a slide from being taken for what is frequent there.
    """
    each = F.cross_entropy(corrected.flatten(0, 1), labels.flatten(), reduction="none")
    shares = OWN_SHARE * slides + (1 - OWN_SHARE) / slides.shape[1]
    return (each.reshape(labels.shape) * shares).sum(dim=1).mean()


def _components(embedding: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean ``(D,)`` of embeddings and what projects them on whitened principal components."""
    rows = embedding.flatten(0, 1)
    mean = rows.mean(dim=0)
    covariance = torch.cov(rows.T)
    variance, directions = torch.linalg.eigh(covariance)
    variance, directions = variance[-count:], directions[:, -count:]
    return mean, directions / variance.clamp(min=1e-12).sqrt()


def some_slides(labels: Tensor, classes: int) -> Tensor:
    """Weights ``(L, N)`` of cells in slides that have of every class as it happens.

    A share of the slides has one class only. In the others the shares are drawn, from nearly
    all alike to one class almost alone, and cells are left out: what is learned must not lean
    on the mixture.
    """
    evenness = torch.exp(torch.empty(len(labels), 1).uniform_(-2.3, 0.7))
    shares = torch.distributions.Dirichlet(evenness.expand(-1, classes)).sample()  # type: ignore[no-untyped-call]
    kept = torch.rand(labels.shape) < 0.1 + 0.9 * torch.rand(len(labels), 1)
    weights = shares.gather(1, labels) * kept + 1e-9
    only = labels.gather(1, torch.randint(labels.shape[1], (len(labels), 1)))
    pure = torch.rand(len(labels), 1) < PURE_SHARE
    weights = torch.where(pure, (labels == only).float(), weights)
    return weights / weights.sum(dim=1, keepdim=True)


def measure_correction(
    model: ModelBundle,
    network: SlideCorrectionNetwork,
    val: CellSet,
    settings: TrainSettings,
    progress: Progress = silent,
) -> tuple[SlideCorrection, dict[str, tuple[float, float]]]:
    """Calibrate a correction on validation cells, and measure what it brings."""
    known = val.take((val.labels >= 0).nonzero().squeeze(1).tolist())
    views = plain_views(known, model.input_size)
    budget = ClassifySettings(seed=settings.seed, coverage=settings.coverage)
    alone = classify(
        views.windows,
        model,
        budget,
        background=views.backgrounds,
        progress=lambda share, text: progress(0.4 * share, text),
    )
    uncorrected = tuple(k for k, c in enumerate(model.classes) if c.name in UNCORRECTED)
    blank = SlideCorrection(network, ValidationRecord(), uncorrected)

    def corrected(index: NDArray[np.int64]) -> NDArray[np.float64]:
        assert alone.embedding is not None
        logits, embedding = alone.logits[index], alone.embedding[index]
        return blank.corrected(logits, embedding, model.calibration.temperature)

    everything, labels = np.arange(len(known)), views.labels
    # every cell once, in the first slide that has it: conformal sets count different cells
    logits = corrected(everything)
    for index in reversed(drawn_slides(labels, settings.seed)):
        logits[index] = corrected(index)
    found = validation_record(logits, labels, settings.coverage)
    one_class = np.empty(len(labels), np.int64)
    for k in np.unique(labels):
        index = np.flatnonzero(labels == k)
        one_class[index] = corrected(index).argmax(axis=1)
    first = balanced_accuracy(labels, alone.predicted)
    measured = {
        "val": (first, balanced_accuracy(labels, corrected(everything).argmax(axis=1))),
        "one class": (first, balanced_accuracy(labels, one_class)),
        "simulated": _in_domains(
            model, blank, known, settings, lambda share, text: progress(0.4 + 0.6 * share, text)
        ),
    }
    return replace(blank, validation=found), measured


def drawn_slides(labels: NDArray[np.int64], seed: int) -> list[NDArray[np.int64]]:
    """Draw cells for slides of many sizes and mixtures, so that the calibration holds in each."""
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_for(seed, 0, "slides").initial_seed())
        rows = torch.from_numpy(labels).expand(SLIDES, -1)
        weights = some_slides(rows, int(labels.max()) + 1).double().numpy()
    slides = []
    for row in weights:
        share = row / row.sum()
        size = min(int(rng.integers(LEAST_CELLS, LARGEST)), int((share > 1e-6).sum()))
        slides.append(rng.choice(len(labels), size, replace=False, p=share))
    return slides


def _in_domains(
    model: ModelBundle,
    correction: SlideCorrection,
    cells: CellSet,
    settings: TrainSettings,
    progress: Progress,
) -> tuple[float, float]:
    """Mean balanced accuracy in simulated domains: of cells by themselves, and corrected."""
    first = settings.laboratories
    numbers = [n for n in range(first, first + 2 * VALIDATION_DOMAINS) if n % UNCHANGED_EVERY][
        :VALIDATION_DOMAINS
    ]
    pairs = []
    for number, made in enumerate(simulate_domains(model, cells, settings, numbers), 1):
        labels, raw = made.labels[0].numpy(), made.logits[0].double().numpy()
        changed = correction.corrected(raw, made.embedding[0].numpy(), 1.0)
        pairs.append([balanced_accuracy(labels, x.argmax(axis=1)) for x in (raw, changed)])
        progress(
            number / VALIDATION_DOMAINS, f"measured in domain {number} of {VALIDATION_DOMAINS}"
        )
    alone, together = np.mean(pairs, axis=0).tolist()
    return alone, together


def _attach(
    model: ModelBundle,
    correction: SlideCorrection,
    distance: SlideDistance,
    measured: dict[str, tuple[float, float]],
    settings: TrainSettings,
) -> Path:
    """Save a model with its correction and the distance of slides at ``settings.output``."""
    (alone, together), (alone_there, together_there) = measured["val"], measured["simulated"]
    single = measured["one class"][1]
    lines = [
        "- Corrects the classes of cells that are classified together for what all of them have "
        "in common; see docs/laboratories.md.",
        f"- Learned in {settings.laboratories} simulated domains of training cells, "
        f"{settings.steps} steps, seed {settings.seed}.",
        f"- Balanced accuracy of validation cells: {alone:.4f} by themselves, {together:.4f} "
        f"together, {single:.4f} where each class is a slide of its own; in "
        f"{VALIDATION_DOMAINS} other simulated domains {alone_there:.4f} by themselves and "
        f"{together_there:.4f} together.",
        f"- Data and licence: {settings.attribution or 'not stated'}",
    ]
    return save_with(
        model,
        settings,
        HEADING,
        lines,
        slide_correction=correction,
        slide_distance=distance,
    )


#: Cells of each class in a simulated domain, at most.
CELLS_PER_CLASS = 10

#: Every so many domains keep the stain that the cells have: there nothing is to be corrected.
UNCHANGED_EVERY = 4

#: Trials a cell: as many as every cell gets before the first test.
TRIALS = 3


@dataclass(frozen=True)
class SimulatedDomains:
    """What a denoiser makes of the cells of L simulated domains.

    Attributes
    ----------
    logits : (L, N, K) float32 tensor
        Over the temperature.
    embedding : (L, N, D) float32 tensor
    labels : (L, N) int64 tensor
    """

    logits: Tensor
    embedding: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | slice) -> SimulatedDomains:
        return SimulatedDomains(self.logits[index], self.embedding[index], self.labels[index])

    def __add__(self, other: SimulatedDomains) -> SimulatedDomains:
        pairs = zip(self.parts().values(), other.parts().values(), strict=True)
        return SimulatedDomains(*(torch.cat(pair) for pair in pairs))

    def parts(self) -> dict[str, Tensor]:
        """Return the tensors by name."""
        return {"logits": self.logits, "embedding": self.embedding, "labels": self.labels}


def joined(parts: Sequence[SimulatedDomains]) -> SimulatedDomains:
    """Domains of several parts as one; there must be some."""
    first, *others = parts
    for other in others:
        first = first + other
    return first


def read_domains(path: Path, cells: int, classes: int, width: int) -> SimulatedDomains | None:
    """Read the domains that were simulated before; None where there are none."""
    if not path.is_file():
        return None
    try:
        # copies: the file itself is replaced later on
        found = SimulatedDomains(**{k: v.clone() for k, v in load_file(path).items()})
        n = len(found)
        shapes = [tuple(part.shape) for part in found.parts().values()]
        if shapes != [(n, cells, classes), (n, cells, width), (n, cells)]:
            raise ValueError("shapes")
        if found.labels.dtype != torch.int64 or not all(
            part.isfinite().all() for part in found.parts().values()
        ):
            raise ValueError("entries")
    except (OSError, SafetensorError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged; remove it to start again.") from error
    return found


def simulate_domains(
    model: ModelBundle, cells: CellSet, settings: TrainSettings, numbers: Sequence[int]
) -> Iterator[SimulatedDomains]:
    """Yield one simulated domain after the other; each depends on the seed and its number alone."""
    outlines = Outlines(cells.pixels, model.window_um / model.input_size)
    budget = ClassifySettings(trials=TRIALS, min_trials=TRIALS, seed=settings.seed)
    for number in numbers:
        index = draw_cells(cells.labels, settings.seed, number)
        windows = [imaged(cells, i, number, settings, outlines) for i in index.tolist()]
        evidence = gather_evidence(
            np.stack(windows),
            model,
            budget,
            background=np.full((len(windows), 3), 255 * WHITE, np.float32),
            stop_early=False,
        )
        logits = torch.from_numpy(evidence.logits / model.calibration.temperature).float()
        embedding = torch.from_numpy(evidence.embedding)
        yield SimulatedDomains(logits[None], embedding[None], cells.labels[index][None])


def draw_cells(labels: Tensor, seed: int, number: int) -> Tensor:
    """Cells of a domain: as many of each class, but of classes with few cells fewer.

    All domains have as many cells, so that they can be stacked.
    """
    generator = generator_for(seed, number, "laboratory")
    parts = []
    for k in range(int(labels.max()) + 1):
        of_class = (labels == k).nonzero().squeeze(1)
        parts.append(of_class[torch.randperm(len(of_class), generator=generator)[:CELLS_PER_CLASS]])
    return torch.cat(parts)


def imaged(
    cells: CellSet, cell: int, number: int, settings: TrainSettings, outlines: Outlines
) -> NDArray[np.uint8]:
    """Window ``(S, S, 3)`` of a cell in a domain, in which every cell meets the same draws."""
    index = torch.tensor([cell])
    own = {"plain_share": 1.0} if number % UNCHANGED_EVERY == 0 else {}
    look = settings.augment.model_copy(update=own)
    generator = generator_for(settings.seed, number, "look of a laboratory")
    unit = to_unit(cells.pixels[index], cells.backgrounds[index])
    masks = outlines.of(index)
    window, _ = augment(unit, settings.input_size, generator, look, masks)
    pixels = (window[0] * 255).round().to(torch.uint8).permute(1, 2, 0)
    return np.asarray(pixels.numpy())
