"""The smear network as a part of a bundle."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cytodiffusion.errors import BundleError
from cytodiffusion.model.loading import load_bundle, load_segmenter_of
from cytodiffusion.model.saving import save_bundle
from cytodiffusion.model.segmenter import CONFIG, WEIGHTS, FlowNetwork, Segmenter
from cytodiffusion.model.testing import tiny_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    tiny_bundle(tmp_path / "plain", ("red", "blue"))
    model = load_bundle(tmp_path / "plain", device="cpu")
    torch.manual_seed(0)
    network = FlowNetwork((8, 16))
    part = Segmenter(network, 0.25, measured={"IoU of cells": 0.9})
    return save_bundle(tmp_path / "whole", replace(model, segmenter=part))


def test_shapes_of_what_it_says() -> None:
    network = FlowNetwork((8, 16, 24))
    flows, kinds, cells = network(torch.zeros(2, 3, 32, 48))
    assert network.multiple == 8
    assert flows.shape == (2, 2, 16, 24)
    assert kinds.shape == (2, 3, 16, 24)
    assert cells.shape == (2, 32, 48)


def test_it_is_saved_with_the_model_and_read_alone(bundle: Path) -> None:
    whole = load_bundle(bundle, device="cpu").segmenter
    alone = load_segmenter_of(bundle)
    assert whole is not None
    assert alone.threshold == whole.threshold == 0.25
    assert alone.measured == {"IoU of cells": 0.9}
    for one, other in zip(alone.network.parameters(), whole.network.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    again = save_bundle(bundle.with_name("again"), load_bundle(bundle, device="cpu"))
    assert load_segmenter_of(again).threshold == 0.25


def test_a_model_without_one_uses_that_of_the_default_model(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "plain", ("red", "blue"))
    assert load_bundle(tmp_path / "plain", device="cpu").segmenter is None
    default, own = load_segmenter_of("default"), load_segmenter_of(tmp_path / "plain")
    assert own.threshold == default.threshold


def test_changed_or_missing_files_are_refused(bundle: Path) -> None:
    content = json.loads((bundle / CONFIG).read_text())
    (bundle / CONFIG).write_text(json.dumps(content | {"threshold": 5.0}))
    with pytest.raises(BundleError, match="wrong checksum"):
        load_segmenter_of(bundle)
    with pytest.raises(BundleError, match="wrong checksum"):
        load_bundle(bundle, device="cpu")


def test_a_missing_file_is_named(bundle: Path) -> None:
    (bundle / WEIGHTS).unlink()
    with pytest.raises(BundleError, match=WEIGHTS):
        load_bundle(bundle, device="cpu")
    with pytest.raises(BundleError, match=WEIGHTS):
        load_segmenter_of(bundle)


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": "nan"},
        {"working_um": 0},
        {"network": {"widths": []}},
        {"network": {"widths": [7]}},
        {"network": 3},
        {"measured": 3},
    ],
)
def test_what_describes_no_network_is_refused(bundle: Path, change: dict[str, object]) -> None:
    from cytodiffusion.model.segmenter import load_segmenter

    content = json.loads((bundle / CONFIG).read_text())
    (bundle / CONFIG).write_text(json.dumps(content | change))
    with pytest.raises(BundleError):
        load_segmenter(bundle)
