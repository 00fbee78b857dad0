"""Counterfactual heatmaps: what a cell would have to look like to be taken for another class.

For a noised crop the model predicts the clean crop once for each class. Where the prediction of
the target class differs from that of the predicted class, the classes disagree about the
picture. With the denoising residual of class c, averaged over trials, ``r_c = mean(x_c - x)``,

    map = r_target - r_predicted = mean(x_target - x_predicted),

in the brightness of the crop: positive where the target's version is brighter. The same noise
serves all classes, so the noise itself drops out (Deltadahl et al., Nature Machine Intelligence
7:1791, 2025). Test-time turns and flips are undone before averaging. The null is what chance
makes of one class alone, see `Heatmap`. More in docs/heatmaps.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cytodiffusion.cells.crops import Crops
from cytodiffusion.classification.classifier import normalised_crops
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.counterfactual.residuals import Averages, Runner
from cytodiffusion.counterfactual.settings import HeatmapSettings as HeatmapSettings
from cytodiffusion.errors import InputError
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.predict import Classifier, predict
from cytodiffusion.progress import Progress, silent


@dataclass(frozen=True, eq=False)
class Heatmap:
    """What would have to change in one cell.

    Attributes
    ----------
    predicted, target : int
        Classes.
    predicted_name, target_name : str
    values : (S, S) float32
        Mean of `change` over the colours: above 0 where the target's version is brighter.
    change : (S, S, 3) float32
        Target's version less predicted version, in the brightness (0 to 1) of the normalised
        crop, whose empty background is 0.92.
    null_std : (S, S) float32
        Standard deviation that chance gives a map of the predicted class against itself, noise
        not shared: from the scatter of that class's own residual over noises and views, which
        is what the differences of all half-sets of trials have on average. On the wide side,
        as what turns and shifts change scatters too.
    null : (S, S) float32
        One such map: the predicted class's residual in one half of the trials less that in the
        other, halved.
    convergence : float
        Correlation of the maps of two half-sets of trials; near 1, more trials change nothing.
    crop : (S, S, 3) uint8
    settings : HeatmapSettings
    window_um : float
        Side of the crop in micrometres.
    model : dict
        Record of the model.
    """

    predicted: int
    target: int
    predicted_name: str
    target_name: str
    values: NDArray[np.float32]
    change: NDArray[np.float32]
    null_std: NDArray[np.float32]
    null: NDArray[np.float32]
    convergence: float
    crop: NDArray[np.uint8]
    settings: HeatmapSettings
    window_um: float
    model: dict[str, Any] = field(default_factory=dict)

    def significance(self) -> NDArray[np.float32]:
        """Map in standard deviations of the null, (S, S)."""
        return self.values / self.null_std

    def thresholded(self, sigmas: float | None = None) -> NDArray[np.float32]:
        """Map with 0 where it is within ``sigmas`` standard deviations of the null, (S, S)."""
        limit = self.settings.sigmas if sigmas is None else sigmas
        beyond = np.abs(self.values) > limit * self.null_std
        return np.where(beyond, self.values, np.float32(0))

    def energy_share(self, mask: NDArray[Any]) -> float:
        """Share of the energy of `change` that lies inside ``mask (S, S)``; NaN of an empty map.

        The energy is the sum of squares over pixels and colours: a change of hue counts, even
        where the brightness stays.
        """
        inside = np.asarray(mask).astype(bool)
        if inside.shape != self.values.shape:
            raise InputError(
                f"The mask has the shape {inside.shape}, the heatmap {self.values.shape}."
            )
        energy = (self.change.astype(np.float64) ** 2).sum(axis=2)
        total = energy.sum()
        return float(energy[inside].sum() / total) if total > 0 else float("nan")

    def record(self) -> dict[str, Any]:
        """Return what ``heatmap.json`` says of it."""
        beyond = self.thresholded() != 0
        return {
            "predicted": self.predicted_name,
            "target": self.target_name,
            "convergence": self.convergence,
            "largest_change": float(np.abs(self.values).max()),
            "share_beyond_threshold": float(beyond.mean()),
            "null_std": float(np.sqrt(np.mean(self.null_std.astype(np.float64) ** 2))),
            "window_um": self.window_um,
            "size": len(self.values),
            "settings": self.settings.model_dump() | {"trials": self.settings.passes},
            "seed": self.settings.seed,
            "model": self.model,
        }


def iter_heatmaps(
    crops: Crops | NDArray[np.uint8],
    model: Classifier,
    targets: ArrayLike | None = None,
    *,
    predicted: ArrayLike | None = None,
    background: NDArray[np.floating] | None = None,
    settings: HeatmapSettings | None = None,
    progress: Progress = silent,
) -> Iterator[Heatmap]:
    """Yield the heatmap of one cell after the other, so that a cancelled batch keeps its first.

    Parameters
    ----------
    crops : Crops or (N, S, S, 3) uint8 array
        S is the model's input size; the window is the model's, the cell in the centre.
    model : ModelBundle
        Of our own or of Stable Diffusion's kind.
    targets : (N,) integers, optional
        Class to compare each cell's with; the runner-up where None.
    predicted : (N,) integers, optional
        Class that the cell is taken for; the cells are classified first where None.
    background : (3,) or (N, 3) array, optional
        Colour of the empty background, 0 to 255; estimated from each crop where missing.
    progress : callable
        May raise ``Cancelled``.
    """
    settings = settings or HeatmapSettings()
    bundle = check_explains(model)
    unit = normalised_crops(crops, bundle, background)
    pixels = crops.pixels if isinstance(crops, Crops) else np.asarray(crops)
    n = len(pixels)
    if not n:
        return
    now, other = _classes(crops, bundle, targets, predicted, background, settings, progress)
    runner = Runner(bundle, settings.batch_size)
    for i in range(n):

        def report(share: float, cell: int = i) -> None:
            progress((cell + share) / n, f"heatmap {cell + 1} of {n}")

        pair = [int(now[i]), int(other[i])]
        averages = _measure(runner, unit[i], pair, settings, report)
        yield _heatmap(averages, 1, pair, pixels[i], bundle, settings)


def all_class_heatmaps(
    crop: NDArray[np.uint8],
    model: Classifier,
    *,
    predicted: int | None = None,
    background: NDArray[np.floating] | None = None,
    settings: HeatmapSettings | None = None,
    progress: Progress = silent,
) -> list[Heatmap]:
    """Heatmaps of one cell against every other class; the passes serve all of them.

    Parameters
    ----------
    crop : (S, S, 3) uint8
    model, predicted, background, settings, progress
        As in `iter_heatmaps`.
    """
    settings = settings or HeatmapSettings()
    bundle = check_explains(model)
    unit = normalised_crops(np.asarray(crop)[None], bundle, background)
    given = None if predicted is None else [predicted]
    now, _ = _classes(crop[None], bundle, None, given, background, settings, progress)
    classes = [int(now[0]), *(k for k in range(len(bundle.classes)) if k != now[0])]

    def report(share: float) -> None:
        progress(share, f"heatmaps of {len(classes) - 1} classes")

    averages = _measure(Runner(bundle, settings.batch_size), unit[0], classes, settings, report)
    return [_heatmap(averages, i, classes, crop, bundle, settings) for i in range(1, len(classes))]


def check_explains(model: Classifier) -> ModelBundle:
    """Return the model whose network heatmaps are made with: without what it was taught later."""
    if not isinstance(model, ModelBundle):
        raise InputError(
            f"The model {model.name} is a baseline, which says nothing about what a cell would "
            "have to look like; heatmaps need a diffusion model."
        )
    model = model.untaught
    if len(model.classes) < 2:
        raise InputError(
            f"The model {model.name} knows one class only, so there is nothing to compare it with."
        )
    return model


def class_number(name: str, names: Sequence[str]) -> int:
    """Index of the class ``name``, whatever its case; InputError naming the classes if unknown."""
    for index, known in enumerate(names):
        if known.casefold() == name.strip().casefold():
            return index
    by_name = {known.casefold(): known for known in names}
    near = get_close_matches(name.strip().casefold(), by_name, 1)
    meant = f" Did you mean {by_name[near[0]]}?" if near else ""
    raise InputError(f"The model knows no class {name!r}; it knows {', '.join(names)}.{meant}")


def _classes(
    crops: Crops | NDArray[np.uint8],
    model: ModelBundle,
    targets: ArrayLike | None,
    predicted: ArrayLike | None,
    background: NDArray[np.floating] | None,
    settings: HeatmapSettings,
    progress: Progress,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Predicted and target class of each cell; classifies where one of them is missing."""
    n = len(crops)
    now = None if predicted is None else _checked(predicted, n, model)
    other = None if targets is None else _checked(targets, n, model)
    if now is None or other is None:

        def classifying(share: float, message: str) -> None:
            progress(0.0, message)

        asked = ClassifySettings(seed=settings.seed)
        result = predict(model, crops, asked, background=background, progress=classifying)
        now = result.predicted if now is None else now
        if other is None:
            rest = result.posterior.copy()
            rest[np.arange(n), now] = -1
            other = rest.argmax(axis=1)
    same = np.flatnonzero(now == other)
    if same.size:
        name = model.class_names[now[same[0]]]
        which = f" number {same[0] + 1} of {n}" if n > 1 else ""
        raise InputError(
            f"The target {name} is the class that the cell{which} is taken for already: choose "
            "another target."
        )
    return now, other


def _checked(given: ArrayLike, n: int, model: ModelBundle) -> NDArray[np.int64]:
    index = np.atleast_1d(np.asarray(given))
    if index.shape != (n,) or index.dtype.kind not in "iu":
        raise InputError(f"There must be one class number for each of the {n} cells.")
    k = len(model.classes)
    if index.min() < 0 or index.max() >= k:
        raise InputError(
            f"Class numbers must lie between 0 and {k - 1}; of a class that the model was taught "
            "later its network has no picture."
        )
    return index.astype(np.int64)


def _measure(
    runner: Runner, unit: Any, classes: list[int], settings: HeatmapSettings, report: Any
) -> Averages:
    return runner.run(
        unit,
        classes,
        noise=settings.noise,
        views=settings.views,
        rounds=settings.rounds,
        blur=settings.blur,
        seed=settings.seed,
        report=report,
    )


def _heatmap(
    averages: Averages,
    which: int,
    classes: list[int],
    crop: NDArray[np.uint8],
    model: ModelBundle,
    settings: HeatmapSettings,
) -> Heatmap:
    """Heatmap of ``classes[which]`` against the first."""
    change = averages.difference(which)
    return Heatmap(
        predicted=classes[0],
        target=classes[which],
        predicted_name=model.class_names[classes[0]],
        target_name=model.class_names[classes[which]],
        values=change.mean(axis=2),
        change=change,
        null_std=averages.null_std(),
        null=averages.null(),
        convergence=averages.convergence(which),
        crop=crop,
        settings=settings,
        window_um=model.window_um,
        model=model.record(),
    )
