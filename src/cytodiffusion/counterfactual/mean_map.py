"""What cells of one class would have to look like to be taken for another, on average.

The heatmaps of several cells are laid on one another: each is moved so that the middle of its cell
is the middle of the picture, and turned so that the long axis of its nucleus lies flat and the
nucleus on the lower side of the cell. Their mean is what the class pair asks for, whatever the
single cell. The threshold is in standard errors over the cells, so that what differs from cell to
cell is not shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytodiffusion.counterfactual.edited_maps import average
from cytodiffusion.counterfactual.heatmap import Heatmap
from cytodiffusion.counterfactual.wording import (
    cell_of,
    describe_mean,
    findings,
    nucleus_of,
    stain_change,
)
from cytodiffusion.errors import InputError

#: Fewer cells have no scatter to speak of.
FEWEST = 3


@dataclass(frozen=True, eq=False)
class MeanMap:
    """The mean of the heatmaps of several cells of one class, towards one target.

    Attributes
    ----------
    heatmap : Heatmap
        The mean change, in the frame of the mean cell, which is its `crop`. Its `null_std` is the
        standard error over the cells, its `convergence` the correlation of the means of two halves
        of the cells.
    cells : int
        How many.
    mask : (S, S) bool
        Where at least half of the cells are.
    stains : (S, S, 3) float32
        Mean of `cytodiffusion.counterfactual.wording.stain_change`.
    stain_std : (S, S, 3) float32
        Standard error of that over the cells.
    sentence : str
        What the cells have in common, in words.
    """

    heatmap: Heatmap
    cells: int
    mask: NDArray[np.bool_]
    stains: NDArray[np.float32]
    stain_std: NDArray[np.float32]
    sentence: str

    def reliable_stains(self, sigmas: float | None = None) -> NDArray[np.float32]:
        """Change of the stains, 0 where it is within ``sigmas`` standard errors, (S, S, 3)."""
        limit = self.heatmap.settings.sigmas if sigmas is None else sigmas
        beyond = np.abs(self.stains) > limit * self.stain_std
        return np.where(beyond, self.stains, np.float32(0))

    def record(self) -> dict[str, Any]:
        """Return what ``mean.json`` says of it."""
        inside = self.heatmap.energy_share(self.mask)
        return {
            **self.heatmap.record(),
            "cells": self.cells,
            "sentence": self.sentence,
            "energy_in_mask": inside,
            "area_of_mask": float(self.mask.mean()),
        }


def mean_map(
    heatmaps: Sequence[Heatmap], masks: Sequence[NDArray[np.bool_] | None] | None = None
) -> MeanMap:
    """Average the edited heatmaps of cells that are taken for one class, towards one target.

    Parameters
    ----------
    heatmaps : sequence of Heatmap
        At least three, of one size.
    masks : sequence of (S, S) bool arrays, optional
        The cell in each crop; the stained part in the middle where missing.
    """
    _check(heatmaps)
    first = heatmaps[0]
    given = [None] * len(heatmaps) if masks is None else list(masks)
    changes, stains, pictures, cells, found = [], [], [], [], []
    colour = np.mean([one.background for one in heatmaps], axis=0)
    for heatmap, mask in zip(heatmaps, given, strict=True):
        cell = cell_of(heatmap, mask)
        frame = _Frame.of(cell, nucleus_of(heatmap, cell))
        changes.append(frame.lay(heatmap.change))
        stains.append(frame.lay(stain_change(heatmap, cell)))
        pictures.append(frame.lay(heatmap.crop * (colour / np.maximum(heatmap.background, 1.0))))
        cells.append(frame.lay(cell[..., None].astype(np.float64), outside=0.0)[..., 0])
        found.append(findings(heatmap, cell))
    mean, dyes = average(np.stack(changes)), [average(s[..., None]) for s in _channels(stains)]
    heatmap = replace(
        first,
        values=mean.change.mean(axis=2),
        change=mean.change,
        null_std=mean.null_std,
        null=mean.null,
        convergence=mean.convergence,
        crop=np.asarray(np.clip(np.rint(np.mean(pictures, axis=0)), 0, 255), np.uint8),
        background=np.asarray(colour, np.float32),
    )
    return MeanMap(
        heatmap,
        len(heatmaps),
        np.asarray(np.mean(cells, axis=0) >= 0.5),
        np.stack([one.change[..., 0] for one in dyes], axis=2),
        np.stack([one.null_std for one in dyes], axis=2),
        describe_mean(found, first.predicted_name, first.target_name),
    )


def pairs_of(heatmaps: Sequence[Heatmap]) -> list[list[int]]:
    """Group edited heatmaps by their two classes, the largest group first; too small ones not.

    Returns
    -------
    list of lists of int
        Places in ``heatmaps``.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for place, one in enumerate(heatmaps):
        if one.settings.method == "edited":
            groups.setdefault((one.predicted, one.target), []).append(place)
    return sorted((g for g in groups.values() if len(g) >= FEWEST), key=len, reverse=True)


@dataclass(frozen=True)
class _Frame:
    """How a cell is moved and turned: ``p`` of the mean is ``middle + turn (p - centre)`` of it."""

    middle: NDArray[np.float64]
    turn: NDArray[np.float64]

    @classmethod
    def of(cls, cell: NDArray[np.bool_], nucleus: NDArray[np.bool_]) -> _Frame:
        """Middle of the mask, and the turn of the nucleus."""
        middle = np.array(ndimage.center_of_mass(cell))
        if not nucleus.any():
            return cls(middle, np.eye(2))
        places = np.argwhere(nucleus).astype(np.float64)
        _, axes = np.linalg.eigh(np.cov(places.T) + 1e-9 * np.eye(2))
        along = axes[:, 1]  # the long axis, as (y, x), to lie along x
        across = np.array([along[1], -along[0]])
        # of the two ways round that are left, the one with the nucleus below the middle
        if across @ (places.mean(axis=0) - middle) < 0:
            along, across = -along, -across
        return cls(middle, np.stack([across, along], axis=1))

    def lay(self, values: NDArray[Any], outside: float | None = None) -> NDArray[np.float64]:
        """Move and turn ``values (S, S, C)``; beyond the edge they go on, or are ``outside``."""
        centre = (np.array(values.shape[:2]) - 1) / 2
        start = self.middle - self.turn @ centre
        mode = "nearest" if outside is None else "constant"
        laid = [
            ndimage.affine_transform(
                values[..., k].astype(np.float64),
                self.turn,
                offset=start,
                order=1,
                mode=mode,
                cval=outside or 0.0,
            )
            for k in range(values.shape[2])
        ]
        return np.stack(laid, axis=2)


def _channels(pictures: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Pictures ``N x (S, S, C)`` as ``(C, N, S, S)``."""
    return np.moveaxis(np.stack(pictures), 3, 0)


def _check(heatmaps: Sequence[Heatmap]) -> None:
    if len(heatmaps) < FEWEST:
        raise InputError(
            f"A mean map needs at least {FEWEST} cells of one class; there are {len(heatmaps)}."
        )
    if any(one.settings.method != "edited" for one in heatmaps):
        raise InputError("A mean map is made of edited heatmaps; published ones are too faint.")
    kinds = {(one.predicted_name, one.target_name, one.crop.shape) for one in heatmaps}
    if len(kinds) > 1:
        raise InputError("A mean map is of cells of one class, all towards one target.")
