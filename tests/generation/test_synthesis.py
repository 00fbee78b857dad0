"""Synthetic cells: repeatable, of the asked class, and one sentence for bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cytodiffusion.classification.classifier import classify
from cytodiffusion.errors import Cancelled, InputError, OutOfMemoryError
from cytodiffusion.generation import sampler, synthesis
from cytodiffusion.generation.sampler import (
    GUIDED_ABOVE,
    STEPS,
    Guidance,
    cell_noise,
    draw,
    draw_coarse,
    drawn_size,
    solve,
)
from cytodiffusion.generation.synthesis import sample_cells
from cytodiffusion.model import ModelBundle, load_bundle
from cytodiffusion.model.schedule import LEVELS, NoiseSchedule
from cytodiffusion.model.testing import tiny_bundle, tiny_generator


@pytest.fixture(autouse=True)
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "half_precision_pays", lambda device: False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    return load_bundle(tiny_bundle(tmp_path_factory.mktemp("b") / "tiny", ("a", "b")), device="cpu")


@pytest.fixture(scope="module", params=["denoiser", "generator"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    """A model that draws with its denoiser, and one with a generator."""
    generator = tiny_generator(2) if request.param == "generator" else None
    folder = tmp_path_factory.mktemp("either") / "tiny"
    return load_bundle(tiny_bundle(folder, ("a", "b"), generator=generator), device="cpu")


def near(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.abs(a.astype(int) - b.astype(int)).max() <= 1)


def test_shape_type_and_seed(model: ModelBundle) -> None:
    cells = sample_cells(model, [0, 1, 0], seed=4, steps=4)
    assert cells.shape == (3, 32, 32, 3)
    assert cells.dtype == np.uint8
    np.testing.assert_array_equal(cells, sample_cells(model, [0, 1, 0], seed=4, steps=4))
    assert not near(cells, sample_cells(model, [0, 1, 0], seed=5, steps=4))
    assert not near(cells[0], cells[2])


def test_neighbours_do_not_matter(either: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = sample_cells(either, [0, 1, 1, 0, 1], steps=4)
    assert near(sample_cells(either, [0], steps=4)[0], cells[0])
    monkeypatch.setattr(synthesis, "BATCH", 2)
    assert near(sample_cells(either, [0, 1, 1, 0, 1], steps=4), cells)


def test_no_guidance_ignores_the_class(model: ModelBundle) -> None:
    assert near(
        sample_cells(model, [0], steps=4, guidance=0.0),
        sample_cells(model, [1], steps=4, guidance=0.0),
    )


@pytest.mark.parametrize("weight", [0.0, 3.0])
def test_coarse_pictures_are_guided_while_there_is_much_noise(
    tmp_path: Path, weight: float
) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", ("a", "b"), generator=tiny_generator(2))
    model = load_bundle(bundle, device="cpu")
    assert model.generator is not None
    asked: list[tuple[float, bool]] = []
    forward = model.generator.base.forward

    def watched(z: Tensor, t: Tensor, index: Tensor) -> Tensor:
        asked.append((float(t[0]), bool((index < 0).all())))
        return forward(z, t, index)

    model.generator.base.forward = watched  # type: ignore[method-assign]
    sample_cells(model, [0], steps=10, guidance=weight)
    without_class = {level for level, null in asked if null}
    levels = {level for level, _ in asked}
    late = {level for level in levels if level <= GUIDED_ABOVE * LEVELS}
    assert late
    assert without_class == (levels if weight < 1 else levels - late)


def test_strength_is_of_no_use_without_sketches(either: ModelBundle) -> None:
    cells = [sample_cells(either, [0, 1], steps=6, strength=s) for s in (0.2, 1.0)]
    np.testing.assert_array_equal(*cells)


def test_sketches_are_guided_too(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", ("a", "b"), generator=tiny_generator(2))
    model = load_bundle(bundle, device="cpu")
    sketches = np.full((1, drawn_size(model), drawn_size(model), 3), 160, np.uint8)
    for strength in (0.2, 0.4, 0.8):
        options: dict[str, Any] = {"sketches": sketches, "strength": strength, "steps": 6}
        plain = sample_cells(model, [0], guidance=1.0, **options)
        assert not np.array_equal(plain, sample_cells(model, [0], guidance=8.0, **options))


def test_fresh_noise_on_the_way_is_that_of_each_cell_and_step() -> None:
    noise = cell_noise([3, 7], 1, torch.device("cpu"))
    first, second = noise(STEPS, (2, 2)), noise(STEPS + 1, (2, 2))
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    torch.testing.assert_close(first[1], cell_noise([7], 1, torch.device("cpu"))(STEPS, (2, 2))[0])
    assert not torch.equal(first, cell_noise([3, 7], 2, torch.device("cpu"))(STEPS, (2, 2)))


def test_coarse_pictures_keep_their_means_and_get_their_contrast(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", ("a", "b"), generator=tiny_generator(2))
    model = load_bundle(bundle, device="cpu")
    assert model.generator is not None
    zero = torch.zeros(1, dtype=torch.int64)
    guidance = Guidance(zero, zero, torch.ones(1), torch.ones(1))
    seen: list[Tensor] = []
    with torch.inference_mode():
        drawn = draw_coarse(
            model,
            model.generator,
            guidance,
            cell_noise([0], 0, torch.device("cpu")),
            6,
            lambda share, seems: seen.append(seems()),
        )
    plain = model.generator.shrink(seen[-1])  # the last that the network said, without it
    inner = (Ellipsis, slice(2, -2), slice(2, -2))
    assert abs(float(drawn.mean() - plain.mean())) < 0.02
    assert float(drawn[inner].std()) > float(plain[inner].std())


def test_a_drawing_with_fresh_noise_ends_as_clean_as_one_without() -> None:
    """A network that knows the answer gives it, whatever noise comes on the way."""
    answer = torch.full((2, 3, 4, 4), 0.25)
    schedule = NoiseSchedule()
    generator = torch.Generator().manual_seed(0)

    def fresh(_step: int) -> Tensor:
        return torch.randn(answer.shape, generator=generator)

    for chance in (None, fresh):
        drawn = solve(
            fresh(0), lambda z, t, n: answer, schedule, 12, lambda *_: None, chance=chance
        )
        torch.testing.assert_close(drawn, answer)


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


def test_between_two_classes(either: ModelBundle) -> None:
    ends = [sample_cells(either, [k], steps=4, seed=3) for k in (0, 1)]
    for share, end in ((0.0, ends[0]), (1.0, ends[1])):
        found = sample_cells(either, [0], steps=4, seed=3, towards=[1], share=[share])
        assert near(found, end)
    middle = sample_cells(either, [0], steps=4, seed=3, towards=[1])
    assert not near(middle, ends[0])
    assert not near(middle, ends[1])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"towards": [2]}, "Class numbers"),
        ({"towards": [1, 0]}, "as many"),
        ({"towards": [1], "share": [1.5]}, "between 0 and 1"),
        ({"towards": [1], "share": [float("nan")]}, "between 0 and 1"),
        ({"share": [0.5]}, "other class"),
    ],
)
def test_mixtures_that_cannot_be(model: ModelBundle, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        sample_cells(model, [0], steps=4, **options)


def test_the_preview_ends_in_the_cells(either: ModelBundle) -> None:
    seen: list[tuple[slice, np.ndarray]] = []
    cells = sample_cells(either, [0, 1], steps=6, preview=lambda part, c: seen.append((part, c)))
    assert all(part == slice(0, 2) and c.shape == cells.shape for part, c in seen)
    first, last = (np.abs(c.astype(int) - cells).mean() for c in (seen[0][1], seen[-1][1]))
    assert last <= 1
    assert first > last


def test_a_generator_keeps_the_sketch_under_little_noise(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", ("a", "b"), generator=tiny_generator(2))
    model = load_bundle(bundle, device="cpu")
    size = drawn_size(model)
    sketch = np.full((1, size, size, 3), 235, np.uint8)
    sketch[:, size // 4 : size // 2, size // 4 : size // 2] = (120, 60, 150)
    options = {"steps": 3, "sketches": sketch, "guidance": 1.0}
    kept = sample_cells(model, [0], strength=0.01, **options)
    lost = sample_cells(model, [0], strength=1.0, **options)
    change = [np.abs(c.astype(int) - sketch).mean() for c in (kept, lost)]
    assert change[0] < 0.6 * change[1]


def test_memory_that_is_full_halves_the_batch(
    model: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = sample_cells(model, [0, 1, 0, 1, 1], steps=3)
    sizes: list[int] = []

    def short_of_memory(model: ModelBundle, wish: Any, *rest: Any) -> Any:
        sizes.append(len(wish))
        if len(wish) > 2:
            raise MemoryError
        return draw(model, wish, *rest)

    monkeypatch.setattr(synthesis, "draw", short_of_memory)
    assert near(sample_cells(model, [0, 1, 0, 1, 1], steps=3), expected)
    assert sizes == [5, 2, 2, 1]


def test_no_memory_at_all_is_told(model: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(synthesis, "draw", full)
    with pytest.raises(OutOfMemoryError, match="no memory left"):
        sample_cells(model, [0, 1], steps=3)
