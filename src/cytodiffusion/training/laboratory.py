"""Training of the correction for laboratories: made-up ones, and what is common to their cells.

Each made-up laboratory is one draw of the variations that the denoiser was trained with (stain,
focus, camera, how cells dry), shared by all its cells. What the denoiser makes of them is kept, and
small networks learn from it how the logits of cells are to be corrected, given the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from cytodiffusion.classify import ClassifySettings, classify, gather_evidence
from cytodiffusion.errors import InputError
from cytodiffusion.evaluation.metrics import balanced_accuracy
from cytodiffusion.model.bundle import FILES, ModelBundle, load_bundle
from cytodiffusion.model.codec import WHITE, to_unit
from cytodiffusion.model.denoiser import UNetDenoiser
from cytodiffusion.model.laboratory import Laboratory, LaboratoryNetwork
from cytodiffusion.model.saving import check_target, save_bundle
from cytodiffusion.output import atomic_file
from cytodiffusion.progress import Progress, silent

from .augment import augment
from .calibrate import plain_views, promises
from .data import CellSet, generator_for
from .finish import training_record, with_section
from .outlines import Outlines
from .sets import like_model, load_sets
from .settings import TrainSettings

#: Cells of each class in a made-up laboratory, at most.
OF_EACH = 10
#: Trials a cell: as many as every cell gets before the first test.
TRIALS = 3
#: Laboratories of validation cells that the correction is measured in.
CHECKED = 30
#: Principal components of the embedding that are looked at.
FEATURES = 32
#: Laboratories in a batch of training.
BATCH = 25
#: Line of a card above which nothing of the correction is said.
HEADING = "## Correction for laboratories"
#: What the denoiser made of the laboratories, in the folder of the run.
EVIDENCE, BEGUN = "laboratories.safetensors", "settings.json"
#: Settings that may differ between a run and its resumption.
FREE = {"resume", "device", "output", "data", "layout", "steps", "checkpoint_every", "laboratories"}


@dataclass(frozen=True)
class Laboratories:
    """What a denoiser makes of the cells of L made-up laboratories.

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

    def __getitem__(self, index: Tensor | slice) -> Laboratories:
        return Laboratories(self.logits[index], self.embedding[index], self.labels[index])

    def __add__(self, other: Laboratories) -> Laboratories:
        pairs = zip(self.parts().values(), other.parts().values(), strict=True)
        return Laboratories(*(torch.cat(pair) for pair in pairs))

    def parts(self) -> dict[str, Tensor]:
        """Return the tensors by name."""
        return {"logits": self.logits, "embedding": self.embedding, "labels": self.labels}


def train_laboratory(settings: TrainSettings, progress: Progress = silent) -> Path:
    """Train a correction for the model ``settings.init`` and save both as one bundle.

    Parameters
    ----------
    settings : TrainSettings
        Of the kind ``laboratory``. Laboratories that are made are kept in a folder beside
        ``output``; with ``resume`` they are not made again.
    progress : callable
        May raise ``Cancelled``.

    Returns
    -------
    Path
        The bundle's folder, ``settings.output``.

    Raises
    ------
    InputError
        If the data have other classes than the model, or cannot be trained with.
    """
    model = load_bundle(str(settings.init), device=settings.device)
    if not isinstance(model.denoiser, UNetDenoiser):
        raise InputError(
            f"{model.name} is a Stable Diffusion checkpoint: a correction for laboratories is for "
            "models of the kind diffusion."
        )
    check_target(settings.output, FILES)
    own = {"window_um": model.window_um, "input_size": model.input_size}
    settings = settings.model_copy(update=own)
    run = _begin(settings)
    names, sets = load_sets(settings, progress, ("train", "val"))
    like_model(names, sets, model.class_names, "A correction for laboratories")

    def making(share: float, message: str) -> None:
        progress(0.8 * share, message)

    made = _made(model, sets["train"], settings, run, making)
    network = fit_network(made, settings, lambda share, text: progress(0.8 + 0.1 * share, text))
    laboratory, measured = measure_laboratory(
        model, network, sets["val"], settings, lambda share, text: progress(0.9 + 0.1 * share, text)
    )
    return _attach(model, laboratory, measured, settings)


def _begin(settings: TrainSettings) -> Path:
    """Return the folder of the run, made or found.

    Raises
    ------
    InputError
        If it cannot be written, or holds a run that is not to be gone on with.
    """
    run = settings.output.with_name(f"{settings.output.name}.run")
    wanted = json.loads(settings.model_dump_json(exclude=FREE))
    begun = run / BEGUN
    try:
        run.mkdir(parents=True, exist_ok=True)
        if begun.is_file() and not settings.resume:
            raise InputError(
                f"{run} holds an earlier run; add --resume to go on with it, or remove it."
            )
        if begun.is_file() and json.loads(begun.read_text(encoding="utf-8")) != wanted:
            raise InputError(
                f"The run in {run} was begun with other settings; train into a new folder."
            )
        with atomic_file(begun) as part:
            part.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{run} cannot be written: {error.strerror}.") from error
    except ValueError as error:
        raise InputError(f"{begun} is damaged; remove {run} to start again.") from error
    return run


def _made(
    model: ModelBundle, cells: CellSet, settings: TrainSettings, run: Path, progress: Progress
) -> Laboratories:
    """Make the laboratories of a run, those that are kept in its folder left as they are."""
    kept, wanted = _kept(run / EVIDENCE), settings.laboratories
    parts = [] if kept is None else [kept[:wanted]]
    done = sum(map(len, parts))
    every = max(1, settings.checkpoint_every // (OF_EACH * TRIALS))
    for number, laboratory in enumerate(
        make_laboratories(model, cells, settings, range(done, wanted)), done + 1
    ):
        parts.append(laboratory)
        if number % every == 0 or number == wanted:
            parts = [_joined(parts)]
            with atomic_file(run / EVIDENCE) as path:
                save_file(parts[0].parts(), path)
        progress(number / wanted, f"made-up laboratory {number} of {wanted}")
    return _joined(parts)


def _joined(parts: list[Laboratories]) -> Laboratories:
    first, *others = parts
    for other in others:
        first = first + other
    return first


def _kept(path: Path) -> Laboratories | None:
    if not path.is_file():
        return None
    try:
        return Laboratories(**load_file(path))
    except (OSError, SafetensorError, TypeError) as error:
        raise InputError(f"{path} is damaged; remove it to start again.") from error


def make_laboratories(
    model: ModelBundle, cells: CellSet, settings: TrainSettings, numbers: range
) -> Iterator[Laboratories]:
    """Yield one laboratory after the other; each depends on the seed and its number alone.

    Parameters
    ----------
    model : ModelBundle
    cells : CellSet
        Labelled cells to draw from.
    settings : TrainSettings
        Its ``augment`` says what laboratories differ in, its ``seed`` which they are.
    numbers : range
    """
    outlines = Outlines(cells.pixels, model.window_um / model.input_size)
    budget = ClassifySettings(trials=TRIALS, min_trials=TRIALS, seed=settings.seed)
    for number in numbers:
        index = _draw(cells.labels, settings.seed, number)
        windows = [_as_seen(cells, i, number, settings, outlines) for i in index.tolist()]
        evidence = gather_evidence(
            np.stack(windows),
            model,
            budget,
            background=np.full((len(windows), 3), 255 * WHITE, np.float32),
            stop_early=False,
        )
        logits = torch.from_numpy(evidence.logits / model.calibration.temperature).float()
        embedding = torch.from_numpy(evidence.embedding)
        yield Laboratories(logits[None], embedding[None], cells.labels[index][None])


def _draw(labels: Tensor, seed: int, number: int) -> Tensor:
    """Cells of a laboratory: as many of each class, but of classes with few cells fewer.

    All laboratories have as many cells, so that they can be stacked.
    """
    generator = generator_for(seed, number, "laboratory")
    parts = []
    for k in range(int(labels.max()) + 1):
        of_class = (labels == k).nonzero().squeeze(1)
        parts.append(of_class[torch.randperm(len(of_class), generator=generator)[:OF_EACH]])
    return torch.cat(parts)


def _as_seen(
    cells: CellSet, cell: int, number: int, settings: TrainSettings, outlines: Outlines
) -> NDArray[np.uint8]:
    """Window ``(S, S, 3)`` of a cell in a laboratory: every cell there meets the same draws."""
    index = torch.tensor([cell])
    generator = generator_for(settings.seed, number, "look of a laboratory")
    unit = to_unit(cells.pixels[index], cells.backgrounds[index])
    masks = partial(_masks_of, outlines, index)
    window, _ = augment(unit, settings.input_size, generator, settings.augment, masks)
    pixels = (window[0] * 255).round().to(torch.uint8).permute(1, 2, 0)
    return np.asarray(pixels.numpy())


def _masks_of(outlines: Outlines, index: Tensor, rows: Tensor) -> Tensor:
    return outlines(index[rows])


def fit_network(
    made: Laboratories, settings: TrainSettings, progress: Progress = silent
) -> LaboratoryNetwork:
    """Train the small networks, each from other random weights and in another order.

    Parameters
    ----------
    made : Laboratories
    settings : TrainSettings
        Its ``steps`` are those of one network.
    progress : callable
    """
    torch.manual_seed(generator_for(settings.seed, 0, "correction").initial_seed())
    width = made.embedding.shape[-1]
    network = LaboratoryNetwork(made.logits.shape[-1], width, features=min(FEATURES, width))
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
            corrected = part.logits + member(cells, some_slides(part.labels, made.logits.shape[-1]))
            losses.append(F.cross_entropy(corrected.flatten(0, 1), part.labels.flatten()))
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        progress((step + 1) / settings.steps, f"correction, step {step + 1}/{settings.steps}")
    return network.eval()  # type: ignore[no-any-return]


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

    Shares of the classes are drawn anew for each laboratory, from nearly all alike to one
    class almost alone, and cells are left out: what is learned must not lean on the mixture.
    """
    evenness = torch.exp(torch.empty(len(labels), 1).uniform_(-2.3, 0.7))
    shares = torch.distributions.Dirichlet(evenness.expand(-1, classes)).sample()  # type: ignore[no-untyped-call]
    kept = torch.rand(labels.shape) < 0.1 + 0.9 * torch.rand(len(labels), 1)
    weights = shares.gather(1, labels) * kept + 1e-9
    return weights / weights.sum(dim=1, keepdim=True)


def measure_laboratory(
    model: ModelBundle,
    network: LaboratoryNetwork,
    val: CellSet,
    settings: TrainSettings,
    progress: Progress = silent,
) -> tuple[Laboratory, dict[str, tuple[float, float]]]:
    """Calibrate a correction on validation cells, and measure what it brings.

    Returns
    -------
    laboratory : Laboratory
    measured : dict
        Balanced accuracy of cells by themselves and corrected: of validation cells as they are
        (``val``), and in made-up laboratories (``made-up``).
    """
    known = val.take((val.labels >= 0).nonzero().squeeze(1).tolist())
    views = plain_views(known, model.input_size)
    budget = ClassifySettings(seed=settings.seed, coverage=settings.coverage)
    alone = classify(views.windows, model, budget, background=views.backgrounds, progress=progress)
    assert alone.embedding is not None
    temperature = model.calibration.temperature
    nothing = torch.zeros(0)
    blank = Laboratory(network, 1.0, nothing, nothing, nothing, nothing, {})
    logits = blank.corrected(alone.logits, alone.embedding, temperature)
    found = promises(logits, views.labels, settings.coverage)
    numbers = range(settings.laboratories, settings.laboratories + CHECKED)
    pairs = []
    for number, made in enumerate(make_laboratories(model, known, settings, numbers), 1):
        labels, raw = made.labels[0].numpy(), made.logits[0].double().numpy()
        changed = blank.corrected(raw, made.embedding[0].numpy(), 1.0)
        pairs.append([balanced_accuracy(labels, x.argmax(axis=1)) for x in (raw, changed)])
        progress(number / CHECKED, f"measured in laboratory {number} of {CHECKED}")
    measured = {
        "val": (
            balanced_accuracy(views.labels, alone.predicted),
            balanced_accuracy(views.labels, logits.argmax(axis=1)),
        ),
        "made-up": tuple(np.mean(pairs, axis=0).tolist()),
    }
    return replace(blank, **found), measured


def _attach(
    model: ModelBundle,
    laboratory: Laboratory,
    measured: dict[str, tuple[float, float]],
    settings: TrainSettings,
) -> Path:
    """Save a model together with its correction at ``settings.output``."""
    (home, home_too), (away, away_too) = measured["val"], measured["made-up"]
    lines = [
        "- Corrects the classes of cells that are classified together for what all of them have "
        "in common; see docs/laboratories.md.",
        f"- Learned in {settings.laboratories} made-up laboratories of training cells, "
        f"{settings.steps} steps, seed {settings.seed}.",
        f"- Balanced accuracy of validation cells: {home:.4f} by themselves, {home_too:.4f} "
        f"together; in {CHECKED} other made-up laboratories {away:.4f} and {away_too:.4f}.",
        f"- Data and licence: {settings.attribution or 'not stated'}",
    ]
    return save_bundle(
        settings.output,
        name=model.name,
        version=model.version,
        classes=model.classes,
        denoiser=model.denoiser,
        codec=model.codec,
        calibration=model.calibration,
        window_um=model.window_um,
        disc_radius=model.disc_radius,
        card=with_section(model.card, HEADING, lines),
        training=model.training | {"laboratory": training_record(settings)},
        taxonomy=model.taxonomy,
        training_images=model.training_images,
        generator=model.generator,
        laboratory=laboratory,
    )
