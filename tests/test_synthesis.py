"""Synthetic cells: repeatable, of the asked class, and one sentence for bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cytodiffusion import synthesis
from cytodiffusion.classify import classify
from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.model import ModelBundle, load_bundle
from cytodiffusion.model.testing import tiny_bundle
from cytodiffusion.synthesis import sample_cells


@pytest.fixture(autouse=True)
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesis, "half_precision_pays", lambda device: False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    return load_bundle(tiny_bundle(tmp_path_factory.mktemp("b") / "tiny", ("a", "b")), device="cpu")


def near(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.abs(a.astype(int) - b.astype(int)).max() <= 1)


def test_shape_type_and_seed(model: ModelBundle) -> None:
    cells = sample_cells(model, [0, 1, 0], seed=4, steps=4)
    assert cells.shape == (3, 32, 32, 3)
    assert cells.dtype == np.uint8
    np.testing.assert_array_equal(cells, sample_cells(model, [0, 1, 0], seed=4, steps=4))
    assert not near(cells, sample_cells(model, [0, 1, 0], seed=5, steps=4))
    assert not near(cells[0], cells[2])


def test_neighbours_do_not_matter(model: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = sample_cells(model, [0, 1, 1, 0, 1], steps=4)
    assert near(sample_cells(model, [0], steps=4)[0], cells[0])
    monkeypatch.setattr(synthesis, "BATCH", 2)
    assert near(sample_cells(model, [0, 1, 1, 0, 1], steps=4), cells)


def test_no_guidance_ignores_the_class(model: ModelBundle) -> None:
    assert near(
        sample_cells(model, [0], steps=4, guidance=0.0),
        sample_cells(model, [1], steps=4, guidance=0.0),
    )


@pytest.mark.parametrize("steps", [2, 3, 50])
def test_any_number_of_steps(model: ModelBundle, steps: int) -> None:
    seen: list[float] = []
    sample_cells(model, [0], steps=steps, progress=lambda f, m: seen.append(f))
    assert len(seen) == steps
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_nothing_asked_nothing_made(model: ModelBundle) -> None:
    assert sample_cells(model, []).shape == (0, 32, 32, 3)


@pytest.mark.parametrize(
    ("index", "options"),
    [
        ([2], {}),
        ([-1], {}),
        ([0.5], {}),
        (["a"], {}),
        ([0], {"steps": 1}),
        ([0], {"steps": 1001}),
        ([0], {"guidance": -0.1}),
        ([0], {"guidance": float("nan")}),
        ([0], {"seed": -1}),
        ([0], {"seed": 2**60}),
    ],
)
def test_what_cannot_be_is_told(
    model: ModelBundle, index: list[Any], options: dict[str, Any]
) -> None:
    with pytest.raises(InputError):
        sample_cells(model, index, **options)


def test_sampling_can_be_cancelled(model: ModelBundle) -> None:
    def cancel(share: float, message: str) -> None:
        raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        sample_cells(model, [0], steps=4, progress=cancel)


def test_a_trained_model_makes_what_it_was_asked_for(disc_model: Path) -> None:
    model = load_bundle(disc_model, device="cpu")
    index = np.arange(18) % 3
    cells = sample_cells(model, index, steps=12)
    found = classify(cells, model, background=np.full(3, 0.92 * 255))
    assert (found.predicted == index).mean() > 0.6
