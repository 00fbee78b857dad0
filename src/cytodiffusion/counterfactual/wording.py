"""What a map says, in words and as stains: nucleus, cytoplasm, and what changes in them.

Romanowsky stains have two dyes. The nuclear dye (azure and what it makes in chromatin) absorbs red
light, which eosin lets pass; what green light loses beyond the share that belongs to the nuclear
dye is eosin, or haemoglobin (Beer-Lambert; the share is measured in the nucleus of the cell).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import convex_hull_image

from cytodiffusion.counterfactual.heatmap import Heatmap
from cytodiffusion.model.codec import WHITE

#: Names of the last axis of `stain_change`.
STAINS = ("nuclear dye", "eosin", "lightness")

#: Added to the light, of 255: in what is nearly black, the stains cannot be told apart.
_DARK = 16.0

#: Green light that nuclear dye absorbs for each red, where a cell has no nucleus to measure it in.
_USUAL_SHARE = 1.3

#: A nucleus has at least this share of the cell, and this contrast to its surroundings.
_LEAST_NUCLEUS, _LEAST_CONTRAST = 0.04, 0.25

#: Changes below these are not told: of areas and darkness as a factor; of the solidity of the
#: nucleus; of optical density and brightness; of the strength of granules as a factor.
_AREA, _DARKNESS, _SOLIDITY, _DENSITY, _BRIGHTNESS, _GRAIN = 1.12, 1.08, 0.05, 0.05, 0.03, 1.2

#: At most so many changes are told.
_MOST = 4

#: Share of a part that must lie away from its edges for granules to be told; what is added to their
#: strength, so that noise is no granules.
_LEAST_GRAIN, _NO_GRAIN = 0.1, 0.01

#: Granules are between these sizes, as standard deviations of Gaussians in micrometres.
_FINE_UM, _COARSE_UM = 0.15, 0.5


def stain_change(heatmap: Heatmap, mask: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    """Return how much the stains change.

    Parameters
    ----------
    heatmap : Heatmap
    mask : (S, S) bool array, optional
        The cell.

    Returns
    -------
    (S, S, 3) float32
        Change of the optical density of `STAINS` (natural logarithm); the third is the change of
        brightness, 0 to 1.
    """
    before, after = _pictures(heatmap)
    share = _green_share(before, _nucleus(before[..., 0], _cell(heatmap, mask)))
    dye = after[..., 0] - before[..., 0]
    eosin = (after[..., 1] - before[..., 1]) - share * dye
    return np.stack([dye, eosin, heatmap.change.mean(axis=2)], axis=2).astype(np.float32)


def version_of(heatmap: Heatmap) -> NDArray[np.float32]:
    """Return the crop with the change, ``(S, S, 3)`` in the colours of the crop; not clipped."""
    # changes are those of a crop whose background is WHITE
    scale = np.maximum(heatmap.background, 40.0) / WHITE
    return np.asarray(heatmap.crop + heatmap.change * scale, np.float32)


def describe(heatmap: Heatmap, mask: NDArray[np.bool_] | None = None) -> str:
    """Say in one sentence what an edited map asks for; empty for maps of another kind.

    Parameters
    ----------
    heatmap : Heatmap
        ``published`` maps are too faint to say how much changes.
    mask : (S, S) bool array, optional
        The cell; the part of the crop that is stained where missing.

    Returns
    -------
    str
        Such as ``To pass as basophil: cytoplasm darker and more violet, nucleus paler.``
    """
    if heatmap.settings.method != "edited":
        return ""
    found = sorted(_findings(heatmap, _cell(heatmap, mask)), key=lambda one: -one.size)
    told = [one for one in found if one.size >= 1][:_MOST]
    if not told:
        return f"Hardly anything has to change for {heatmap.target_name}."
    parts: dict[str, list[str]] = {}
    for one in told:
        parts.setdefault(one.part, []).append(one.words)
    said = ", ".join(f"{part} {_listed(words)}" for part, words in parts.items())
    return f"To pass as {heatmap.target_name}: {said}."


@dataclass(frozen=True)
class _Finding:
    """One change, and how large it is as a multiple of the least that is told."""

    part: str
    words: str
    size: float


def _findings(heatmap: Heatmap, cell: NDArray[np.bool_]) -> list[_Finding]:
    before, after = _pictures(heatmap)
    per_um = len(cell) / heatmap.window_um
    old = _nucleus(before[..., 0], cell)
    limit = _limit(before[..., 0], cell)
    around = ndimage.binary_dilation(cell, iterations=max(1, round(per_um)))
    grown = around & (after.max(axis=2) > _edge(before, cell))
    found = [_by_factor("cell", "larger", "smaller", grown.sum(), cell.sum(), _AREA)]
    new = _largest(after[..., 0] > limit, around) if old.any() else old
    if not old.any():
        return found + _colours("cell", before, after, cell, _green_share(before, old), per_um)
    if new.sum() < _LEAST_NUCLEUS * cell.sum():
        found.append(_Finding("nucleus", "hidden", 10.0))
    else:
        found.append(_by_factor("nucleus", "larger", "smaller", new.sum(), old.sum(), _AREA))
        rounder = _solidity(new) - _solidity(old)
        words = "rounder" if rounder > 0 else "more lobed"
        found.append(_Finding("nucleus", words, abs(rounder) / _SOLIDITY))
        density = after[..., 0][new].mean(), before[..., 0][old].mean()
        found.append(_by_factor("nucleus", "darker", "paler", *density, _DARKNESS))
    cytoplasm = cell & ~old & ~new
    if cytoplasm.sum() >= _LEAST_NUCLEUS * cell.sum():
        share = _green_share(before, old)
        found += _colours("cytoplasm", before, after, cytoplasm, share, per_um)
    return found


def _colours(
    part: str,
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    where: NDArray[np.bool_],
    share: float,
    per_um: float,
) -> list[_Finding]:
    """Find what changes in the colour and the grain of a part."""
    light = (np.exp(-after) - np.exp(-before))[where].mean()
    dye = (after - before)[..., 0][where].mean()
    eosin = ((after - before)[..., 1] - share * (after - before)[..., 0])[where].mean()
    grain = [_grain(picture.mean(axis=2), where, per_um) for picture in (after, before)]
    return [
        _Finding(part, "lighter" if light > 0 else "darker", abs(light) / _BRIGHTNESS),
        _Finding(part, "bluer" if dye > 0 else "less blue", abs(dye) / _DENSITY),
        _Finding(part, "redder" if eosin > 0 else "less red", abs(eosin) / _DENSITY),
        _by_factor(part, "more granular", "smoother", grain[0], grain[1], _GRAIN),
    ]


def _pictures(heatmap: Heatmap) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Optical density ``(S, S, 3)`` of the cell, and of its version."""
    both = heatmap.crop.astype(np.float32), np.clip(version_of(heatmap), 0, 255)
    before, after = (np.log((heatmap.background + _DARK) / (one + _DARK)) for one in both)
    return np.asarray(before, np.float64), np.asarray(after, np.float64)


def _cell(heatmap: Heatmap, mask: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    if mask is not None and np.asarray(mask).any():
        return np.asarray(mask).astype(bool)
    before, _ = _pictures(heatmap)
    density = before.max(axis=2)
    middle = len(density) // 2
    labels, _ = ndimage.label(density > threshold_otsu(density))
    here = labels[middle, middle]
    return np.asarray(labels == here) if here else np.ones_like(density, bool)


def _limit(red: NDArray[np.float64], cell: NDArray[np.bool_]) -> float:
    """Half-way between what is dark in red light and what is not."""
    if not cell.any():
        return np.inf
    dark = red[cell] > threshold_otsu(red[cell])
    if dark.all() or not dark.any():
        return np.inf
    return float(red[cell][dark].mean() + red[cell][~dark].mean()) / 2


def _nucleus(red: NDArray[np.float64], cell: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where the nucleus is; nowhere in a cell without one."""
    limit = _limit(red, cell)
    found = _largest(red > limit, cell)
    beside = cell & ~found
    enough = found.sum() >= _LEAST_NUCLEUS * cell.sum() and beside.any()
    if not enough or red[found].mean() - red[beside].mean() < _LEAST_CONTRAST:
        return np.zeros_like(cell)
    return found


def _largest(dark: NDArray[np.bool_], within: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Dark places of some size; lobes may lie apart."""
    labels, count = ndimage.label(ndimage.binary_opening(dark & within))
    if not count:
        return np.zeros_like(within)
    sizes = np.bincount(labels.ravel())[1:]
    kept = 1 + np.flatnonzero(sizes >= 0.1 * sizes.max())
    return np.asarray(np.isin(labels, kept))


def _solidity(mask: NDArray[np.bool_]) -> float:
    return float(mask.sum() / max(convex_hull_image(mask).sum(), 1)) if mask.any() else 0.0


def _edge(before: NDArray[np.float64], cell: NDArray[np.bool_]) -> float:
    """Optical density that tells the cell from its surroundings: half of that of its rim."""
    rim = cell & ~ndimage.binary_erosion(cell, iterations=2)
    return float(np.median(before.max(axis=2)[rim]) / 2) if rim.any() else 0.1


def _green_share(before: NDArray[np.float64], nucleus: NDArray[np.bool_]) -> float:
    """Green light that the nuclear dye absorbs for each red."""
    if not nucleus.any():
        return _USUAL_SHARE
    red, green = before[..., 0][nucleus], before[..., 1][nucleus]
    return float(np.clip(np.median(green / np.maximum(red, 0.05)), 0.8, 2.5))


def _grain(density: NDArray[np.float64], where: NDArray[np.bool_], per_um: float) -> float:
    """How strong the granules are: scatter of what is between two sizes, away from edges."""
    fine, coarse = (ndimage.gaussian_filter(density, s * per_um) for s in (_FINE_UM, _COARSE_UM))
    inner = ndimage.binary_erosion(where, iterations=max(1, round(2 * _COARSE_UM * per_um)))
    if inner.sum() < _LEAST_GRAIN * where.sum():
        return _NO_GRAIN
    return float((fine - coarse)[inner].std()) + _NO_GRAIN


def _by_factor(
    part: str, more: str, less: str, after: float, before: float, least: float
) -> _Finding:
    ratio = float(np.log(max(after, 1e-6) / max(before, 1e-6)))
    return _Finding(part, more if ratio > 0 else less, abs(ratio) / float(np.log(least)))


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" and {words[-1]}"
