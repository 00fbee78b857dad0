"""Heatmaps, counterfactual cells and morphs that were made of the cells of one image."""

from __future__ import annotations

import dataclasses

from napari_cytodiffusion.counterfactual.jobs import (
    CounterfactualRequest,
    CounterfactualResult,
    HeatmapResult,
    MeanResult,
    MorphResult,
    SaliencyResult,
)
from napari_cytodiffusion.counterfactual.targets import TargetChoice

#: A cell, by its label, and the class it was compared with.
_Key = tuple[int, int]


class CounterfactualStore:
    """What was made so far; of the same cell and class the latest counts."""

    def __init__(self) -> None:
        self._maps: dict[_Key, HeatmapResult] = {}
        self._versions: dict[_Key, CounterfactualResult] = {}
        self._morphs: dict[_Key, MorphResult] = {}
        self._salient: dict[int, SaliencyResult] = {}
        self._means: dict[_Key, MeanResult] = {}
        self._chosen: dict[int, int] = {}

    def add(
        self, item: HeatmapResult | CounterfactualResult | MorphResult | SaliencyResult | MeanResult
    ) -> None:
        """Keep what a run has made."""
        if isinstance(item, MeanResult):
            self._means[item.predicted, item.target] = item
            return
        if isinstance(item, SaliencyResult):
            self._salient[item.asked.label] = item
            return
        key = (item.asked.label, item.asked.target)
        if isinstance(item, HeatmapResult):
            self._maps[key] = item
        elif isinstance(item, CounterfactualResult):
            self._versions[key] = item
        else:
            self._morphs[key] = item

    def map(self, asked: TargetChoice) -> HeatmapResult | None:
        """Heatmap of a cell for its target."""
        return self._maps.get((asked.label, asked.target))

    def version(self, asked: TargetChoice) -> CounterfactualResult | None:
        """Counterfactual cell."""
        return self._versions.get((asked.label, asked.target))

    def morph(self, asked: TargetChoice) -> MorphResult | None:
        """Morph of a cell to its target."""
        return self._morphs.get((asked.label, asked.target))

    def saliency(self, label: int) -> SaliencyResult | None:
        """Saliency of a cell."""
        return self._salient.get(label)

    def means(self) -> list[MeanResult]:
        """Return the mean maps, the latest pair of classes first."""
        return list(self._means.values())[::-1]

    def all_classes(self, label: int) -> list[HeatmapResult]:
        """Heatmaps of a cell for each class there is one for."""
        return [mapped for (cell, _), mapped in self._maps.items() if cell == label]

    def choose(self, asked: TargetChoice) -> None:
        """Note which class a cell is compared with when all cells are shown."""
        self._chosen[asked.label] = asked.target

    def maps(self) -> list[HeatmapResult]:
        """Return one heatmap a cell: that of the chosen class where there is one."""
        one: dict[int, HeatmapResult] = {}
        for (label, target), mapped in self._maps.items():
            if label not in one or self._chosen.get(label) == target:
                one[label] = mapped
        return list(one.values())

    def every_map(self) -> list[HeatmapResult]:
        """Return all heatmaps that were made, of every cell and class."""
        return list(self._maps.values())

    def missing(self, asked: TargetChoice, wish: CounterfactualRequest) -> CounterfactualRequest:
        """Return what of a wish is not there, or was made with other settings."""
        mapped, version = self.map(asked), self.version(asked)
        has_map = mapped is not None and mapped.wish.same_map(wish)
        has_version = version is not None and version.wish.same_version(wish)
        salient = self.saliency(asked.label)
        has_saliency = salient is not None and salient.wish.seed == wish.seed
        return dataclasses.replace(
            wish,
            maps=wish.maps and not has_map,
            versions=wish.versions and not has_version,
            saliency=wish.saliency and not has_saliency,
        )

    def saveable(self, asked: TargetChoice | None) -> set[str]:
        """Return what there is to save of a cell and its target, and of all."""
        found = {"all"} if self._maps else set()
        if self._means:
            found.add("mean")
        if asked is None:
            return found
        mapped = self.map(asked) is not None
        there = {
            "heatmap": mapped,
            "figure": mapped,
            "version": self.version(asked) is not None,
            "morph": self.morph(asked) is not None,
            "grid": len(self.all_classes(asked.label)) > 1,
        }
        return found | {key for key, is_there in there.items() if is_there}
