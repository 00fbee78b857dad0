"""What changes in a cell that is drawn as another class, averaged over several drawings.

The cell is inverted and drawn again as the target class by the network that draws cells
(`cytodiffusion.counterfactual.editing`), at one strength for all classes and with few steps, once
for each of several turns and flips, which are undone before averaging. All targets share the
inversion of a view. Turns and flips change nothing that a class is made of, so what differs between
them is chance: that is the null.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from cytodiffusion.counterfactual.editing import Change, edit_cells
from cytodiffusion.counterfactual.residuals import LEAST_NULL, make_views
from cytodiffusion.counterfactual.settings import CounterfactualSettings, HeatmapSettings
from cytodiffusion.model.bundle import ModelBundle

#: Steps of each walk. Their maps correlate by 0.99 with those of twelve steps.
STEPS = 6

#: Standard deviation of the Gaussian that smooths a map, of the pixels of what was drawn.
SMOOTH = 1.0


@dataclass(frozen=True, eq=False)
class ChangeMap:
    """What changes towards one class.

    Attributes
    ----------
    change : (S, S, 3) float32
        Mean over the versions or trials.
    null_std, null : (S, S) float32
        What chance gives, see `cytodiffusion.counterfactual.heatmap.Heatmap`.
    convergence : float
        Correlation of the changes in the two half-sets.
    """

    change: NDArray[np.float32]
    null_std: NDArray[np.float32]
    null: NDArray[np.float32]
    convergence: float


def edited_maps(
    unit: Tensor,
    room: NDArray[np.float32],
    classes: list[int],
    model: ModelBundle,
    settings: HeatmapSettings,
    report: Callable[[float], None],
) -> list[ChangeMap]:
    """Measure what changes from the first of ``classes`` to each of the others.

    Parameters
    ----------
    unit : (3, S, S) tensor
        Normalised crop, 0..1.
    room : (S, S) array
        1 where the picture may change, 0 where it stays.
    """
    predicted, *targets = classes
    views = make_views(settings.versions, 0, 1)
    seen = torch.cat([view.apply(unit[None]) for view in views])
    n = len(views) * len(targets)
    change = Change(
        torch.full((n,), predicted),
        torch.tensor(targets * len(views)),
        torch.ones(n),
        torch.full((n,), settings.guidance),
        torch.full((n,), settings.strength),
    )
    walks = CounterfactualSettings(
        steps=STEPS, seed=settings.seed, batch_size=settings.batch_size, method="inversion"
    )
    numbers = np.arange(len(views))
    edited = edit_cells(seen, numbers, change, model, walks, lambda share, _: report(share))
    apart = edited - seen.repeat_interleave(len(targets), dim=0)
    by_view = apart.reshape(len(views), len(targets), *unit.shape)
    undone = [view.undo(one) for view, one in zip(views, by_view, strict=True)]
    found = torch.stack(undone).permute(1, 0, 3, 4, 2).double().numpy()
    found *= room[None, None, :, :, None]
    smooth = ndimage.gaussian_filter(found, (0, 0, SMOOTH, SMOOTH, 0), mode="nearest")
    return [average(versions) for versions in smooth]


def average(versions: NDArray[np.float64]) -> ChangeMap:
    """Mean, scatter and convergence of changes ``(V, S, S, C)`` of versions, or of cells."""
    first, second = versions[::2].mean(axis=0), versions[1::2].mean(axis=0)
    variance = versions.mean(axis=3).var(axis=0, ddof=1) / len(versions)
    # few versions scatter, and neighbours have about the same variance
    variance = ndimage.gaussian_filter(variance, 2 * SMOOTH + 1, mode="nearest")
    flat = not (first.std() and second.std())
    return ChangeMap(
        change=np.asarray(versions.mean(axis=0), np.float32),
        null_std=np.asarray(np.sqrt(np.maximum(variance, LEAST_NULL**2)), np.float32),
        null=np.asarray((first - second).mean(axis=2) / 2, np.float32),
        convergence=0.0 if flat else float(np.corrcoef(first.ravel(), second.ravel())[0, 1]),
    )
