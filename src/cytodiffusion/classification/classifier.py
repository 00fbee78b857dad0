"""The diffusion classifier: crops in, posterior and uncertainty out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytodiffusion.cells.crops import Crops
from cytodiffusion.classification.decision import Evidence, check_model, decide
from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.classification.taught import with_head
from cytodiffusion.classification.trials import Trial, eliminate, make_trial, settled_at_once
from cytodiffusion.device import free_memory, half_precision_pays, is_out_of_memory
from cytodiffusion.errors import InputError, OutOfMemoryError
from cytodiffusion.image.stain import estimate_background
from cytodiffusion.model.bundle import ModelBundle, TrainedModel
from cytodiffusion.model.codec import to_network, to_unit
from cytodiffusion.model.denoiser import UNetDenoiser, embedding_width
from cytodiffusion.progress import Progress, silent
from cytodiffusion.traits import sizes_of

__all__ = [
    "Classification",
    "ClassifySettings",
    "Evidence",
    "classify",
    "decide",
    "gather_evidence",
    "in_batches",
]

#: Crops that go through the network at once.
MICRO_BATCH = {"cpu": 64, "cuda": 1024, "mps": 256}

#: On a GPU a batch that live cells no longer fill is filled with their next trials.
MAX_AHEAD = 4


def classify(
    crops: Crops | NDArray[np.uint8],
    model: ModelBundle,
    settings: ClassifySettings | None = None,
    *,
    background: NDArray[np.floating] | None = None,
    progress: Progress = silent,
) -> Classification:
    """Classify crops.

    Parameters
    ----------
    crops : Crops or (N, S, S, 3) uint8 array
        S is the model's input size; the window is the model's, the cell in the centre.
    background : (3,) or (N, 3) array, optional
        Colour of the empty background, 0 to 255; estimated from each crop where missing.
        A field's background is a better estimate than a crop's.
    progress : callable
        May raise ``Cancelled``.
    """
    settings = settings or ClassifySettings()
    pixels = check_crops(crops, model.name, model.input_size)
    check_model(model, settings)
    background = check_background(background, len(pixels))
    evidence = gather_evidence(pixels, model, settings, background=background, progress=progress)
    return with_head(decide(evidence, model, settings), model, settings)


def gather_evidence(
    pixels: NDArray[np.uint8],
    model: ModelBundle,
    settings: ClassifySettings,
    *,
    background: NDArray[np.floating] | None = None,
    progress: Progress = silent,
    stop_early: bool = True,
) -> Evidence:
    """Run trials on ``pixels (N, S, S, 3)`` until every cell is decided or out of budget."""
    n, k = len(pixels), model.denoiser.num_classes
    budget = settings.trials
    levels = model.calibration.levels
    result = Evidence(
        np.zeros((n, k)),
        np.zeros(n, np.int64),
        np.full((n, len(levels), k), np.nan, np.float32),
        np.zeros((n, embedding_width(model.denoiser)), np.float32),
        np.full((n, budget if n else 0, k), np.nan, np.float32),
        np.zeros((n, sum(sizes_of(model.traits))), np.float32),
    )
    grid = model.codec.grid
    shape = (model.codec.channels, grid, grid)
    trials = [make_trial(j, levels, shape, settings.seed) for j in range(budget)]
    runner = _Runner(model)
    done = 0
    for start in range(0, n, settings.batch_size):
        part = slice(start, min(start + settings.batch_size, n))
        unit = normalised(pixels[part], background, part)

        def report(share: float, first: int = start, last: int = part.stop) -> None:
            finished = first + share * (last - first)
            progress(finished / n, f"classified {int(finished)} of {n} cells")

        _run_chunk(unit, trials, runner, settings, result, start, report, stop_early)
        done = part.stop
    if n:
        progress(1.0, f"classified {done} of {n} cells")
    return result


def _run_chunk(
    unit: Tensor,
    trials: list[Trial],
    runner: _Runner,
    settings: ClassifySettings,
    result: Evidence,
    offset: int,
    report: Callable[[float], None],
    stop_early: bool,
) -> None:
    live = np.arange(len(unit))
    levels = len(runner.model.calibration.levels)
    sums = np.zeros((len(unit), levels, runner.model.denoiser.num_classes))
    counts = np.zeros((len(unit), levels))
    number = 0
    while len(live) and number < len(trials):
        ahead = trials[number : number + runner.trials_at_once(len(live))]
        undone = len(live) / len(unit) * (1 - number / len(trials))
        outputs = runner.run(unit, live, ahead, report, 1 - undone)
        for trial, (logits, errors, embedding, traits) in zip(ahead, outputs, strict=True):
            keep = np.isin(runner.last_cells, live, assume_unique=True)
            cells = runner.last_cells[keep]
            result.all_logits[offset + cells, trial.number] = logits[keep]
            sums[cells, trial.level_index] += errors[keep]
            counts[cells, trial.level_index] += 1
            result.trials[offset + cells] += 1
            if trial.number < settings.min_trials:
                result.embedding[offset + cells] += embedding[keep]
                result.traits[offset + cells] += traits[keep]
            number += 1
            # Where all cells are to have as many trials, as in a calibration, none has fewer
            if stop_early and number == 1 < settings.min_trials < len(trials):
                so_far = result.all_logits[offset + cells, :1].astype(np.float64)
                live = cells[~settled_at_once(so_far, runner.model.calibration, settings.alpha)]
            if stop_early and number >= settings.min_trials:
                so_far = result.all_logits[offset + cells, :number].astype(np.float64)
                alive = eliminate(so_far, runner.model.calibration, settings.alpha).sum(axis=1) > 1
                live = cells[alive]
            if not len(live):
                break
    block = slice(offset, offset + len(unit))
    result.logits[block] = np.nanmean(result.all_logits[block].astype(np.float64), axis=1)
    averaged = np.minimum(result.trials[block], settings.min_trials)
    result.embedding[block] /= averaged[:, None].astype(np.float32)
    result.traits[block] /= averaged[:, None].astype(np.float32)
    seen = counts > 0
    result.errors_by_level[block][seen] = (sums[seen] / counts[seen][:, None]).astype(np.float32)


class _Runner:
    """Runs trials through the network in batches that fit the device."""

    def __init__(self, model: ModelBundle):
        self.model = model
        self.micro_batch = MICRO_BATCH.get(model.device.type, 64)
        self._sharp: dict[int, float] = {}
        self.disc = model.disc()
        self.half = half_precision_pays(model.device)
        self.last_cells = np.zeros(0, np.int64)

    def _sharpness(self, level: int) -> float:
        """Return s(t) of one level; computed alone, its last bits do not depend on the batch."""
        if level not in self._sharp:
            t = torch.tensor([level], device=self.model.device)
            self._sharp[level] = float(self.model.denoiser.log_sharpness(t).exp())
        return self._sharp[level]

    def trials_at_once(self, live: int) -> int:
        """Trials of each live cell that one batch has room for; one on a CPU."""
        if self.model.device.type == "cpu":
            return 1
        return max(1, min(MAX_AHEAD, self.micro_batch // max(live, 1)))

    def run(
        self,
        unit: Tensor,
        cells: NDArray[np.int64],
        trials: list[Trial],
        report: Callable[[float], None],
        share_done: float,
    ) -> list[tuple[NDArray[np.float32], ...]]:
        """Logits and errors ``(n, K)``, embeddings and traits of each trial for ``cells``."""
        self.last_cells = cells
        pairs = [(j, c) for j in range(len(trials)) for c in cells]
        parts: list[tuple[NDArray[np.float32], ...]] = []
        start = 0
        while start < len(pairs):
            batch = pairs[start : start + self.micro_batch]
            try:
                parts.append(self._forward(unit, batch, trials))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(error)
                continue
            start += len(batch)
            report(share_done)
        joined = [np.concatenate(x) for x in zip(*parts, strict=True)]
        n = len(cells)
        return [tuple(x[j * n : (j + 1) * n] for x in joined) for j in range(len(trials))]

    def _halve(self, error: BaseException) -> None:
        if self.micro_batch == 1:
            raise OutOfMemoryError(
                f"{self.model.device} has no memory left even for one cell at a time; "
                "close other programs or use the CPU (--device cpu)."
            ) from error
        self.micro_batch //= 2
        free_memory()

    @torch.inference_mode()
    def _forward(
        self, unit: Tensor, batch: list[tuple[int, np.int64]], trials: list[Trial]
    ) -> tuple[NDArray[np.float32], ...]:
        model, device = self.model, self.model.device
        clean, epsilon, levels = [], [], []
        for j in sorted({j for j, _ in batch}):
            index = torch.tensor([int(c) for i, c in batch if i == j])
            turned = trials[j].turn(unit[index])
            clean.append(model.codec.encode(to_network(turned)))
            epsilon.append(trials[j].epsilon.expand(len(index), -1, -1, -1))
            levels += [trials[j].level] * len(index)
        x = torch.cat(clean).to(device)
        t = torch.tensor(levels, device=device)
        z = model.schedule.add_noise(x, t, torch.cat(epsilon).to(device))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.half):
            if model.traits and isinstance(model.denoiser, UNetDenoiser):
                errors, embedding, traits = model.denoiser.class_evidence(z, t, x, self.disc)
            else:
                errors, embedding = model.denoiser.class_errors(z, t, x, self.disc)
                traits = embedding[:, :0]
        logits = (
            -errors * torch.tensor([self._sharpness(n) for n in levels], device=device)[:, None]
        )
        return tuple(v.float().cpu().numpy() for v in (logits, errors, embedding, traits))


def normalised_crops(
    crops: Crops | NDArray[np.uint8],
    model: TrainedModel,
    background: NDArray[np.floating] | None = None,
) -> Tensor:
    """Crops ``(N, 3, S, S)`` in 0..1 as ``model`` takes them; InputError if they do not fit it."""
    pixels = check_crops(crops, model.name, model.input_size)
    colours = check_background(background, len(pixels))
    if not len(pixels):
        return torch.zeros(0, 3, model.input_size, model.input_size)
    return normalised(pixels, colours, slice(0, len(pixels)))


def normalised(
    pixels: NDArray[np.uint8], background: NDArray[np.floating] | None, part: slice
) -> Tensor:
    """Crops ``(n, 3, S, S)`` in 0..1 with their background at the network's white."""
    if background is None:
        colours = np.stack([estimate_background(crop) for crop in pixels])
    else:
        given = np.asarray(background, np.float32)
        colours = given[part] if given.ndim == 2 else given[None]
    planes = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)
    return to_unit(planes, torch.from_numpy(np.ascontiguousarray(colours, np.float32)))


def check_crops(crops: Crops | NDArray[np.uint8], name: str, size: int) -> NDArray[np.uint8]:
    """Return the pixels ``(N, size, size, 3)``; InputError if the model cannot take them."""
    pixels = crops.pixels if isinstance(crops, Crops) else np.asarray(crops)
    if pixels.ndim != 4 or pixels.shape[1:] != (size, size, 3) or pixels.dtype != np.uint8:
        raise InputError(
            f"The model {name} takes crops of shape (N, {size}, {size}, 3) and type uint8, "
            f"not {pixels.shape} and {pixels.dtype}."
        )
    return pixels


def check_background(
    background: NDArray[np.floating] | None, n: int
) -> NDArray[np.floating] | None:
    """Return colours ``(3,)`` or ``(n, 3)``, None if none are given; InputError if they are odd."""
    if background is None:
        return None
    colours = np.asarray(background, np.float32)
    if colours.shape not in ((3,), (n, 3)) or not np.isfinite(colours).all():
        raise InputError(
            f"The background must be one colour (3,) or one a crop ({n}, 3), in numbers of 0 to "
            f"255, not {colours.shape}."
        )
    return colours


def in_batches(n: int, first: int, rest: int) -> Iterator[slice]:
    """Slices over ``n`` cells, the first one short so that something shows soon."""
    start = 0
    while start < n:
        stop = min(n, start + (first if start == 0 else rest))
        yield slice(start, stop)
        start = stop
