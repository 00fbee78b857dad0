"""Counterfactual heatmaps: what a cell would have to look like to be taken for another class.

Two ways, `HeatmapSettings.method`:

- ``edited``: the cell is drawn as the target class by the network that draws cells, several times;
  the map is what changes (`cytodiffusion.counterfactual.edited_maps`).
- ``published``: for a noised crop the classifier predicts the clean crop once for each class. With
  the denoising residual of class c, averaged over trials, ``r_c = mean(x_c - x)``,

      map = r_target - r_predicted = mean(x_target - x_predicted),

  (Deltadahl et al., Nature Machine Intelligence 7:1791, 2025). The same noise serves all classes,
  so the noise itself drops out. Test-time turns and flips are undone before averaging.

Both are in the brightness of the crop: positive where the target's version is brighter. The null is
what chance makes of one class alone, see `Heatmap`. More in docs/heatmaps.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cytodiffusion.cells.crops import Crops
from cytodiffusion.classification.classifier import normalised_crops
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.counterfactual.canvas import Canvas, background_colours, shrunk
from cytodiffusion.counterfactual.edited_maps import ChangeMap, edited_maps
from cytodiffusion.counterfactual.residuals import Runner
from cytodiffusion.counterfactual.settings import HeatmapSettings as HeatmapSettings
from cytodiffusion.errors import InputError
from cytodiffusion.generation.sampler import drawn_size
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.predict import Classifier, predict
from cytodiffusion.progress import Progress, silent
from cytodiffusion.taxonomy import white_classes


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
        Standard deviation that chance gives. ``edited``: standard error of the mean over the
        versions. ``published``: that of a map of the predicted class against itself, noise not
        shared, from the scatter of that class's own residual over noises and views, which is
        what the differences of all half-sets of trials have on average. On the wide side, as
        what turns and shifts change scatters too.
    null : (S, S) float32
        One such map: ``edited``, the change in one half of the versions less that in the other,
        halved; ``published``, the same of the predicted class's residual.
    convergence : float
        Correlation of the maps of two half-sets of trials; near 1, more trials change nothing.
    crop : (S, S, 3) uint8
    background : (3,) float32
        Colour of the empty background of the crop, 0 to 255.
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
    background: NDArray[np.float32]
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
        really = {} if self.settings.method == "edited" else {"trials": self.settings.passes}
        return {
            "predicted": self.predicted_name,
            "target": self.target_name,
            "convergence": self.convergence,
            "largest_change": float(np.abs(self.values).max()),
            "share_beyond_threshold": float(beyond.mean()),
            "null_std": float(np.sqrt(np.mean(self.null_std.astype(np.float64) ** 2))),
            "window_um": self.window_um,
            "size": len(self.values),
            "settings": self.settings.model_dump() | really,
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
    masks: NDArray[np.bool_] | None = None,
    settings: HeatmapSettings | None = None,
    progress: Progress = silent,
) -> Iterator[Heatmap]:
    """Yield the heatmap of one cell after the other, so that a cancelled batch keeps its first.

    Parameters
    ----------
    crops : Crops or (N, S, S, 3) uint8 array
        S is the model's input size or, for edited maps, what `map_size` says; the window is the
        model's, the cell in the centre.
    model : ModelBundle
        Of our own or of Stable Diffusion's kind.
    targets : (N,) integers, optional
        Class to compare each cell's with; that of `likeliest_other` where None.
    predicted : (N,) integers, optional
        Class that the cell is taken for; the cells are classified first where None.
    background : (3,) or (N, 3) array, optional
        Colour of the empty background, 0 to 255; estimated from each crop where missing.
    masks : (N, S, S) bool array, optional
        Where the cell is; an edited map is 0 far from it. The model's disc where missing.
    progress : callable
        May raise ``Cancelled``.
    """
    settings = settings or HeatmapSettings()
    bundle = check_explains(model)
    pixels = crops.pixels if isinstance(crops, Crops) else np.asarray(crops)
    measure, colours = _measurer(pixels, bundle, background, masks, settings)
    n = len(pixels)
    if not n:
        return
    now, other = _classes(pixels, bundle, targets, predicted, background, settings, progress)
    for i in range(n):

        def report(share: float, cell: int = i) -> None:
            progress((cell + share) / n, f"heatmap {cell + 1} of {n}")

        pair = [int(now[i]), int(other[i])]
        (found,) = measure(i, pair, report)
        yield _heatmap(found, pair[0], pair[1], (pixels[i], colours[i]), bundle, settings)


def all_class_heatmaps(
    crop: NDArray[np.uint8],
    model: Classifier,
    *,
    predicted: int | None = None,
    background: NDArray[np.floating] | None = None,
    mask: NDArray[np.bool_] | None = None,
    settings: HeatmapSettings | None = None,
    progress: Progress = silent,
) -> list[Heatmap]:
    """Heatmaps of one cell against every other class, which share much of the work.

    Parameters
    ----------
    crop : (S, S, 3) uint8
    model, predicted, background, mask, settings, progress
        As in `iter_heatmaps`.
    """
    settings = settings or HeatmapSettings()
    bundle = check_explains(model)
    pixels = np.asarray(crop)[None]
    masks = None if mask is None else np.asarray(mask)[None]
    measure, colours = _measurer(pixels, bundle, background, masks, settings)
    given = None if predicted is None else [predicted]
    now, _ = _classes(pixels, bundle, None, given, background, settings, progress)
    classes = [int(now[0]), *(k for k in range(len(bundle.classes)) if k != now[0])]

    def report(share: float) -> None:
        progress(share, f"heatmaps of {len(classes) - 1} classes")

    found = measure(0, classes, report)
    return [
        _heatmap(one, classes[0], target, (pixels[0], colours[0]), bundle, settings)
        for target, one in zip(classes[1:], found, strict=True)
    ]


def map_size(model: Classifier, settings: HeatmapSettings | None = None) -> int:
    """Side in pixels of the crops that a heatmap shows most of: that of what is drawn, if edited.

    Parameters
    ----------
    model : ModelBundle
        A baseline raises InputError: it has no heatmaps.
    settings : HeatmapSettings, optional
    """
    bundle = check_explains(model)
    method = (settings or HeatmapSettings()).method
    return drawn_size(bundle) if method == "edited" else bundle.input_size


def likeliest_other(
    posterior: NDArray[np.floating], now: NDArray[np.integer], model: ModelBundle
) -> NDArray[np.int64]:
    """Return the class that each cell is compared with by itself, ``(N,)``.

    That is the likeliest other one. A white cell is not compared with red cells, platelets and
    artefacts, which says nothing that a person would ask, as long as there is another class.
    """
    rest = np.array(posterior, np.float64)
    rest[np.arange(len(now)), now] = -9
    other = ~white_classes(model.class_names, [c.group for c in model.classes])
    asked = rest - np.where(other[None] & ~other[now][:, None], 2.0, 0.0)
    return np.asarray(asked.argmax(axis=1), np.int64)


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
    pixels: NDArray[np.uint8],
    model: ModelBundle,
    targets: ArrayLike | None,
    predicted: ArrayLike | None,
    background: NDArray[np.floating] | None,
    settings: HeatmapSettings,
    progress: Progress,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Predicted and target class of each cell; classifies where one of them is missing."""
    n = len(pixels)
    now = None if predicted is None else _checked(predicted, n, model)
    other = None if targets is None else _checked(targets, n, model)
    if now is None or other is None:

        def classifying(share: float, message: str) -> None:
            progress(0.0, message)

        asked = ClassifySettings(seed=settings.seed)
        seen = shrunk(pixels, model.input_size)
        result = predict(model, seen, asked, background=background, progress=classifying)
        now = result.predicted if now is None else now
        if other is None:
            other = likeliest_other(result.posterior, now, model)
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


#: Makes the maps of a cell, by its number, from the first of some classes to each of the others.
_Measure = Callable[[int, list[int], Callable[[float], None]], list[ChangeMap]]


def _measurer(
    pixels: NDArray[np.uint8],
    model: ModelBundle,
    background: NDArray[np.floating] | None,
    masks: NDArray[np.bool_] | None,
    settings: HeatmapSettings,
) -> tuple[_Measure, NDArray[np.float32]]:
    """Prepare crops for the method that is asked for; InputError where they do not fit it.

    Returns what measures, and the colours ``(N, 3)`` of the backgrounds.
    """
    if settings.method == "edited":
        canvas = Canvas.of(model, pixels, background, masks)

        def edited(
            cell: int, classes: list[int], report: Callable[[float], None]
        ) -> list[ChangeMap]:
            unit, room = canvas.unit[cell], canvas.room[cell]
            return edited_maps(unit, room, classes, model, settings, report)

        return edited, canvas.background
    unit = normalised_crops(pixels, model, background)
    colours = background_colours(pixels, background)
    runner = Runner(model, settings.batch_size)

    def published(
        cell: int, classes: list[int], report: Callable[[float], None]
    ) -> list[ChangeMap]:
        averages = runner.run(
            unit[cell],
            classes,
            noise=settings.noise,
            views=settings.views,
            rounds=settings.rounds,
            blur=settings.blur,
            seed=settings.seed,
            report=report,
        )
        return [
            ChangeMap(
                averages.difference(which),
                averages.null_std(),
                averages.null(),
                averages.convergence(which),
            )
            for which in range(1, len(classes))
        ]

    return published, colours


def _heatmap(
    found: ChangeMap,
    predicted: int,
    target: int,
    cell: tuple[NDArray[np.uint8], NDArray[np.float32]],
    model: ModelBundle,
    settings: HeatmapSettings,
) -> Heatmap:
    """Put together what was measured of ``cell``, a crop and its background."""
    return Heatmap(
        predicted=predicted,
        target=target,
        predicted_name=model.class_names[predicted],
        target_name=model.class_names[target],
        values=found.change.mean(axis=2),
        change=found.change,
        null_std=found.null_std,
        null=found.null,
        convergence=found.convergence,
        crop=cell[0],
        background=cell[1],
        settings=settings,
        window_um=model.window_um,
        model=model.record(),
    )
