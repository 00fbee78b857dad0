"""Names of classifiers that stand beside each other."""

from __future__ import annotations

from types import SimpleNamespace

from cytodiffusion.evaluation.candidate import Candidate, name_baselines


def test_every_baseline_has_a_name_of_its_own() -> None:
    names = ("resnet", "default", "model", "resnet")
    baselines = [Candidate("", SimpleNamespace(name=name)) for name in names]
    name_baselines(baselines, "default")
    # `model` is what the evaluated model is called in the table of cells
    assert [b.key for b in baselines] == ["resnet", "default (2)", "model (2)", "resnet (2)"]
