"""What a map says, in words and as stains: nucleus, cytoplasm, and what changes in them.

Romanowsky stains have two dyes. The nuclear dye (azure and what it makes in chromatin) absorbs red
light, which eosin lets pass; what green light loses beyond the share that belongs to the nuclear
dye is eosin, or haemoglobin (Beer-Lambert; the share is measured in the nucleus of the cell).
"""

from __future__ import annotations

from collections.abc import Sequence
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

#: At most so many changes are told; the size of a nucleus's being hidden, which comes first.
_MOST, _HIDDEN = 4, 10.0

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
    share = _green_share(before, _nucleus(before[..., 0], cell_of(heatmap, mask)))
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
    found = sorted(findings(heatmap, mask), key=lambda one: -abs(one.size))
    told = [one for one in found if abs(one.size) >= 1][:_MOST]
    if not told:
        return f"Hardly anything has to change for {heatmap.target_name}."
    return f"To pass as {heatmap.target_name}: {_by_part([(o.part, o.words) for o in told])}."


def describe_mean(found: Sequence[Sequence[Finding]], predicted: str, target: str) -> str:
    """Say in one sentence what edited maps of several cells have in common.

    Parameters
    ----------
    found : sequence of sequences of Finding
        What `findings` says of each cell.
    predicted, target : str
        Classes of all of them.

    Returns
    -------
    str
        Such as ``To pass as neutrophil, cells taken for eosinophil need: cytoplasm less red (11 of
        12) and darker (9 of 12).`` Told is what is large enough on average and lies farther from
        nothing than twice the standard error over the cells; in brackets, how many cells go that
        way.
    """
    sizes: dict[tuple[str, str, str], list[float]] = {}
    for cell in found:
        for one in cell:
            sizes.setdefault((one.part, one.more, one.less), []).append(one.size)
    told: list[tuple[float, str, str]] = []
    for (part, more, less), values in sizes.items():
        # a change that is not found in a cell, as that of a nucleus which is hidden, is none there
        padded = np.array(values + [0.0] * (len(found) - len(values)))
        mean, error = padded.mean(), padded.std(ddof=1) / np.sqrt(len(padded))
        if abs(mean) < 1 or abs(mean) < 2 * error:
            continue
        same = int((padded * np.sign(mean) > 0).sum())
        words = f"{more if mean > 0 else less} ({same} of {len(found)})"
        told.append((abs(mean), part, words))
    told = sorted(told, reverse=True)[:_MOST]
    whose = f"cells taken for {predicted}"
    if not told:
        return f"What {whose} would need to pass as {target} differs from cell to cell."
    said = _by_part([(part, words) for _, part, words in told])
    return f"To pass as {target}, {whose} need: {said}."


def _by_part(told: Sequence[tuple[str, str]]) -> str:
    """List changes, those of one part together: ``cytoplasm darker and redder, nucleus paler``."""
    parts: dict[str, list[str]] = {}
    for part, words in told:
        parts.setdefault(part, []).append(words)
    return ", ".join(f"{part} {_listed(words)}" for part, words in parts.items())


@dataclass(frozen=True)
class Finding:
    """One change of a cell.

    Attributes
    ----------
    part : str
        ``cell``, ``nucleus`` or ``cytoplasm``.
    more, less : str
        Words for a change upwards and downwards.
    size : float
        Signed, as a multiple of the least that is told.
    """

    part: str
    more: str
    less: str
    size: float

    @property
    def words(self) -> str:
        """Words for the change as it is."""
        return self.more if self.size > 0 else self.less


def findings(heatmap: Heatmap, mask: NDArray[np.bool_] | None = None) -> list[Finding]:
    """Measure what an edited map changes in the nucleus and in the cytoplasm.

    Parameters
    ----------
    heatmap : Heatmap
    mask : (S, S) bool array, optional
        The cell; the part of the crop that is stained where missing.

    Returns
    -------
    list of Finding
        Small changes too.
    """
    cell = cell_of(heatmap, mask)
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
        found.append(Finding("nucleus", "hidden", "", _HIDDEN))
    else:
        found.append(_by_factor("nucleus", "larger", "smaller", new.sum(), old.sum(), _AREA))
        rounder = (_solidity(new) - _solidity(old)) / _SOLIDITY
        found.append(Finding("nucleus", "rounder", "more lobed", rounder))
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
) -> list[Finding]:
    """Find what changes in the colour and the grain of a part."""
    light = (np.exp(-after) - np.exp(-before))[where].mean()
    dye = (after - before)[..., 0][where].mean()
    eosin = ((after - before)[..., 1] - share * (after - before)[..., 0])[where].mean()
    grain = [_grain(picture.mean(axis=2), where, per_um) for picture in (after, before)]
    return [
        Finding(part, "lighter", "darker", float(light) / _BRIGHTNESS),
        Finding(part, "bluer", "less blue", float(dye) / _DENSITY),
        Finding(part, "redder", "less red", float(eosin) / _DENSITY),
        _by_factor(part, "more granular", "smoother", grain[0], grain[1], _GRAIN),
    ]


def _pictures(heatmap: Heatmap) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Optical density ``(S, S, 3)`` of the cell, and of its version."""
    both = heatmap.crop.astype(np.float32), np.clip(version_of(heatmap), 0, 255)
    before, after = (np.log((heatmap.background + _DARK) / (one + _DARK)) for one in both)
    return np.asarray(before, np.float64), np.asarray(after, np.float64)


def cell_of(heatmap: Heatmap, mask: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Where the cell is: the mask, or the stained part in the middle where there is none."""
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


def nucleus_of(heatmap: Heatmap, cell: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where the nucleus of a cell is; nowhere in a cell without one."""
    before, _ = _pictures(heatmap)
    return _nucleus(before[..., 0], cell)


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
) -> Finding:
    ratio = float(np.log(max(after, 1e-6) / max(before, 1e-6)))
    return Finding(part, more, less, ratio / float(np.log(least)))


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" and {words[-1]}"
