"""Counterfactual cells: the version of a cell that the model takes for another class.

See `cytodiffusion.counterfactual.editing` for how a cell is changed. What changes is laid over the
crop as it was photographed: lamp, camera and stain of the slide are kept, and what is around the
cell stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cytodiffusion.cells.crops import Crops
from cytodiffusion.classification.classifier import (
    ClassifySettings,
    Evidence,
    decide,
    gather_evidence,
)
from cytodiffusion.counterfactual.canvas import Canvas, shrunk
from cytodiffusion.counterfactual.editing import Change, edit_cells
from cytodiffusion.counterfactual.heatmap import check_explains
from cytodiffusion.counterfactual.settings import CounterfactualSettings as CounterfactualSettings
from cytodiffusion.errors import InputError
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.predict import Classifier
from cytodiffusion.progress import Progress, part_of, silent

#: Strengths that are tried in turn, as shares of the noise levels, where the least is looked for.
LADDER = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

#: Times that a cell is drawn anew where no strength turns it.
ANEW = 3


@dataclass(frozen=True, eq=False)
class Counterfactuals:
    """Versions of N cells that belong to other classes. They are synthetic pictures.

    Attributes
    ----------
    pixels : (N, S, S, 3) uint8
        In the colours of the crops they were made from.
    originals : (N, S, S, 3) uint8
    predicted, target : (N,) int64
        Class that the cell is taken for, and the one its version should be taken for.
    taken_for : (N,) int64
        Class that the version is taken for.
    flipped : (N,) bool
        Whether that is the target.
    confidence : (N,) float64
        Posterior of the target for the version.
    confidence_before : (N,) float64
        The same for the cell itself.
    distance : (N,) float64
        Mean absolute difference to the cell within the model's disc, in the brightness (0 to 1)
        of normalised crops.
    feature_distance : (N,) float64
        Euclidean distance between the denoiser's embeddings of both, over the square root of
        their length.
    used : tuple of CounterfactualSettings
        How each cell was really made.
    class_names : tuple of str
    settings : CounterfactualSettings
    window_um : float
        Side of the crops in micrometres.
    model : dict
        Record of the model.
    """

    pixels: NDArray[np.uint8]
    originals: NDArray[np.uint8]
    predicted: NDArray[np.int64]
    target: NDArray[np.int64]
    taken_for: NDArray[np.int64]
    flipped: NDArray[np.bool_]
    confidence: NDArray[np.float64]
    confidence_before: NDArray[np.float64]
    distance: NDArray[np.float64]
    feature_distance: NDArray[np.float64]
    used: tuple[CounterfactualSettings, ...]
    class_names: tuple[str, ...]
    settings: CounterfactualSettings
    window_um: float
    model: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def strength(self) -> NDArray[np.float64]:
        """Strength that was used for each cell, ``(N,)``."""
        return np.array([settings.strength for settings in self.used], np.float64)

    def record(self, cell: int = 0) -> dict[str, Any]:
        """Return what ``counterfactual.json`` says of one of the cells."""
        return {
            "synthetic": True,
            "predicted": self.class_names[self.predicted[cell]],
            "target": self.class_names[self.target[cell]],
            "flipped": bool(self.flipped[cell]),
            "taken_for": self.class_names[self.taken_for[cell]],
            "confidence": float(self.confidence[cell]),
            "confidence_before": float(self.confidence_before[cell]),
            "distance": float(self.distance[cell]),
            "feature_distance": float(self.feature_distance[cell]),
            **self.used[cell].model_dump(include={"strength", "guidance", "method"}),
            "size": self.pixels.shape[1],
            "window_um": self.window_um,
            "settings": self.settings.model_dump(),
            "seed": self.used[cell].seed,
            "model": self.model,
        }


def counterfactual_cells(
    crops: Crops | NDArray[np.uint8],
    model: Classifier,
    targets: ArrayLike,
    *,
    predicted: ArrayLike | None = None,
    background: NDArray[np.floating] | None = None,
    masks: NDArray[np.bool_] | None = None,
    neighbours: NDArray[np.bool_] | None = None,
    settings: CounterfactualSettings | None = None,
    progress: Progress = silent,
) -> Counterfactuals:
    """Turn cells into the nearest versions that the model takes for other classes.

    Parameters
    ----------
    crops : Crops or (N, S, S, 3) uint8 array
        S is the model's input size, or that of what it edits
        (`cytodiffusion.generation.sampler.drawn_size`), which keeps more detail; the window is
        the model's, the cell in the centre.
    model : ModelBundle
        Of our own or of Stable Diffusion's kind.
    targets : integer or (N,) integers
        Class that each cell is to become.
    predicted : (N,) integers, optional
        Class that the cell is taken for; as the model says where None.
    background : (3,) or (N, 3) array, optional
        Colour of the empty background, 0 to 255; estimated from each crop where missing.
    masks : (N, S, S) bool array, optional
        Where the cell is; nothing changes far from it. The model's disc where missing.
    neighbours : (N, S, S) bool array, optional
        Where other cells are; they stay as they are.
    progress : callable
        May raise ``Cancelled``.
    """
    settings = settings or CounterfactualSettings()
    bundle = check_explains(model)
    pixels = crops.pixels if isinstance(crops, Crops) else np.asarray(crops)
    canvas = Canvas.of(bundle, pixels, background, masks, neighbours)
    wanted = check_classes(targets, len(pixels), bundle)
    decider = _Decider(bundle, canvas.background, settings)
    before = decider.see(pixels, part_of(progress, 0.0, 0.1))
    now = before.predicted if predicted is None else check_classes(predicted, len(pixels), bundle)
    check_differ(now, wanted, bundle)
    search = _Search(bundle, canvas, decider, now, wanted, settings)
    made = search.run(part_of(progress, 0.1, 1.0))
    after = made.seen
    everyone = np.arange(len(pixels))
    return Counterfactuals(
        pixels=made.pixels,
        originals=pixels,
        predicted=now,
        target=wanted,
        taken_for=after.predicted,
        flipped=after.predicted == wanted,
        confidence=after.posterior[everyone, wanted],
        confidence_before=before.posterior[everyone, wanted],
        distance=canvas.distance(made.pixels),
        feature_distance=np.sqrt(np.mean((after.embedding - before.embedding) ** 2, axis=1)),
        used=tuple(made.used),
        class_names=bundle.class_names,
        settings=settings,
        window_um=bundle.window_um,
        model=bundle.record(),
    )


def check_classes(given: ArrayLike, n: int, model: ModelBundle) -> NDArray[np.int64]:
    """Return one class number for each of ``n`` cells; one may stand for all."""
    index = np.asarray(given)
    if index.size and index.dtype.kind not in "iu":
        raise InputError("Classes must be given by their numbers.")
    if index.shape not in ((), (n,)):
        raise InputError(f"There must be one class number for each of the {n} cells.")
    k = len(model.classes)
    if index.size and (index.min() < 0 or index.max() >= k):
        raise InputError(
            f"Class numbers must lie between 0 and {k - 1}; of a class that the model was taught "
            "later its network has no picture."
        )
    return np.broadcast_to(index.astype(np.int64), (n,)).copy()


def check_differ(now: NDArray[np.int64], wanted: NDArray[np.int64], model: ModelBundle) -> None:
    """Raise InputError if a cell is of its target class already."""
    same = np.flatnonzero(now == wanted)
    if same.size:
        which = f" number {same[0] + 1} of {len(now)}" if len(now) > 1 else ""
        raise InputError(
            f"The target {model.class_names[wanted[same[0]]]} is the class that the cell{which} is "
            "taken for already: choose another target."
        )


def runner_up(
    crops: NDArray[np.uint8],
    model: Classifier,
    background: NDArray[np.floating] | None = None,
    settings: CounterfactualSettings | None = None,
) -> NDArray[np.int64]:
    """Return the second most probable class of each crop, ``(N,)``: a target to begin with."""
    bundle = check_explains(model)
    canvas = Canvas.of(bundle, np.asarray(crops), background, None)
    seen = _Decider(bundle, canvas.background, settings or CounterfactualSettings()).see(crops)
    return np.asarray(np.argsort(seen.posterior, axis=1)[:, -2])


@dataclass(eq=False)
class _Seen:
    """What the classifier says of some pictures."""

    predicted: NDArray[np.int64]
    posterior: NDArray[np.float64]
    embedding: NDArray[np.float32]

    def update(self, index: NDArray[np.int64], other: _Seen) -> None:
        """Put what is said of cells ``index`` in their places."""
        for name, values in vars(self).items():
            values[index] = getattr(other, name)


class _Decider:
    """Shows pictures to the classifier, on the backgrounds that are known."""

    def __init__(
        self,
        model: ModelBundle,
        background: NDArray[np.float32],
        settings: CounterfactualSettings,
    ):
        self.model, self.background = model, background
        few = min(settings.trials, ClassifySettings().min_trials)
        self.settings = ClassifySettings(trials=settings.trials, min_trials=few, seed=settings.seed)

    def see(
        self,
        pixels: NDArray[np.uint8],
        progress: Progress = silent,
        index: NDArray[np.int64] | None = None,
    ) -> _Seen:
        """Classify ``pixels``, which are versions of the cells ``index``."""
        colours = self.background if index is None else self.background[index]
        pixels = shrunk(pixels, self.model.input_size)
        evidence: Evidence = gather_evidence(
            pixels, self.model, self.settings, background=colours, progress=progress
        )
        result = decide(evidence, self.model, self.settings)
        return _Seen(result.predicted, result.posterior, evidence.embedding)


def _ladder(settings: CounterfactualSettings) -> list[CounterfactualSettings]:
    """Ways to change a cell that are tried in turn until one suffices, each with its strength.

    Where the exaggerated target has no room between the neighbours, a plainer one may have; where
    all that inversion keeps of the cell is in the way, the cell is drawn anew.
    """
    if settings.strength is not None:
        return [settings]
    changes: list[dict[str, Any]] = [{"strength": strength} for strength in LADDER]
    most = changes[-1]
    changes.append(most | {"guidance": settings.guidance / 2})
    if settings.method == "inversion":
        changes += [most | {"method": "noise", "seed": settings.seed + n} for n in range(ANEW)]
    return [settings.model_copy(update=change) for change in changes]


@dataclass(eq=False)
class _Versions:
    """Versions of some cells, what the classifier says of them, and how they were made."""

    pixels: NDArray[np.uint8]
    seen: _Seen
    used: list[CounterfactualSettings]


class _Search:
    """Makes versions of cells at the strength that is asked for, or at the least that suffices."""

    def __init__(
        self,
        model: ModelBundle,
        canvas: Canvas,
        decider: _Decider,
        source: NDArray[np.int64],
        target: NDArray[np.int64],
        settings: CounterfactualSettings,
    ):
        self.model, self.canvas, self.decider, self.settings = model, canvas, decider, settings
        self.source, self.target = source, target

    def run(self, progress: Progress) -> _Versions:
        """Make one version of each cell.

        A cell for which nothing suffices keeps the version that is taken for the target, or has
        most of it.
        """
        rungs, everyone = _ladder(self.settings), np.arange(len(self.source))

        def part(number: int) -> Progress:
            return part_of(progress, number / len(rungs), (number + 1) / len(rungs))

        best = self._make(everyone, rungs[0], part(0))
        for number, rung in enumerate(rungs[1:], 1):
            left = everyone[~self._suffices(best.seen, everyone)]
            if rung.method != self.settings.method:
                left = left[best.seen.predicted[left] != self.target[left]]
            if not len(left):
                break
            found = self._make(left, rung, part(number))
            self._keep(best, left, found, self._better(found.seen, best.seen, left))
        progress(1.0, "counterfactual cells")
        return best

    def _suffices(self, seen: _Seen, index: NDArray[np.int64]) -> NDArray[np.bool_]:
        target = self.target[index]
        sure = seen.posterior[np.arange(len(index)), target] >= self.settings.confidence
        return np.asarray(sure & (seen.predicted == target))

    def _better(self, found: _Seen, seen: _Seen, left: NDArray[np.int64]) -> NDArray[np.bool_]:
        target = self.target[left]
        now, before = found.predicted == target, seen.predicted[left] == target
        more = found.posterior[np.arange(len(left)), target] > seen.posterior[left, target]
        return np.asarray((now & ~before) | ((now == before) & more))

    @staticmethod
    def _keep(
        best: _Versions, index: NDArray[np.int64], found: _Versions, chosen: NDArray[np.bool_]
    ) -> None:
        kept = index[chosen]
        best.pixels[kept] = found.pixels[chosen]
        best.seen.update(kept, _part(found.seen, chosen))
        for cell, number in zip(kept, np.flatnonzero(chosen), strict=True):
            best.used[cell] = found.used[number]

    def _make(
        self, index: NDArray[np.int64], rung: CounterfactualSettings, progress: Progress
    ) -> _Versions:
        n, strength = len(index), rung.strength
        assert strength is not None
        change = Change(
            torch.from_numpy(self.source[index]),
            torch.from_numpy(self.target[index]),
            torch.ones(n),
            torch.full((n,), float(rung.guidance)),
            torch.full((n,), strength),
        )
        unit, room = self.canvas.unit[torch.from_numpy(index)], self.canvas.room[index]
        edited = edit_cells(unit, index, change, self.model, rung, progress, room)
        pixels = self.canvas.paint(edited, index)
        return _Versions(pixels, self.decider.see(pixels, index=index), [rung] * n)


def _part(seen: _Seen, chosen: NDArray[np.bool_]) -> _Seen:
    return _Seen(*(values[chosen] for values in vars(seen).values()))
