"""Cells to order: each is its own, rejection is honest, and what is done is kept."""

from __future__ import annotations

import importlib
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.generation import (
    GeneratedCells,
    GenerationSettings,
    LargeOrder,
    Mix,
    generate_parts,
    order,
)
from cytodiffusion.generation.generate import generate, has_company
from cytodiffusion.generation.order import duration
from cytodiffusion.model import ModelBundle
from cytodiffusion.settings import make_settings

#: The package gives its name to the function.
engine = importlib.import_module("cytodiffusion.generation.generate")
RAW = GenerationSettings(steps=2, reject=False)


def picky(cells: np.ndarray) -> np.ndarray:
    """Accept about half of all pictures, by nothing but their brightness."""
    return np.array([int(2 * cell.mean()) % 2 == 0 for cell in cells])


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Replace the classifier: `picky` cells are of the asked class, the others of the next."""
    asked: list[int] = []

    def stub(self: Any, pixels: np.ndarray, index: np.ndarray) -> tuple[Any, Any, Any]:
        asked.append(len(index))
        good = picky(pixels)
        return np.where(good, index, (index + 1) % 3), np.where(good, 0.9, 0.1), good

    monkeypatch.setattr(engine._Work, "_decide", stub)
    return asked


def near(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(np.abs(a.astype(int) - b.astype(int)).max(initial=0) <= 1)


def of(cells: GeneratedCells, name: str, number: int) -> np.ndarray:
    row = [*zip(cells.classes, cells.numbers.tolist(), strict=True)].index((name, number))
    return cells.pixels[row]


def test_counts_shapes_and_names(tiny: ModelBundle) -> None:
    cells = generate(tiny, {"platelet": 2, "Neutrophil": 3, "eosinophil": 0}, RAW)
    assert Counter(cells.classes) == {"platelet": 2, "neutrophil": 3}
    assert cells.pixels.shape == (5, 64, 64, 3)
    assert cells.pixels.dtype == np.uint8
    assert cells.asked == {"platelet": 2, "neutrophil": 3}
    assert cells.numbers.tolist() == [0, 1, 0, 1, 2]
    assert cells.complete
    assert cells.missing == {}
    assert cells.warnings == ()
    assert cells.pixel_size_um == 20 / 64
    assert len(cells.of_class("neutrophil")) == 3
    assert set(cells.predicted) <= set(tiny.class_names)
    assert ((cells.confidence >= 0) & (cells.confidence <= 1)).all()


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    counts=st.dictionaries(
        st.sampled_from(["eosinophil", "neutrophil", "platelet"]), st.integers(1, 3), min_size=1
    ),
    part=st.integers(1, 5),
    seed=st.integers(0, 2**40 - 1),
)
def test_a_cell_depends_on_seed_class_and_number_alone(
    tiny: ModelBundle,
    monkeypatch: pytest.MonkeyPatch,
    counts: dict[str, int],
    part: int,
    seed: int,
) -> None:
    own = RAW.model_copy(update={"seed": seed})
    monkeypatch.setitem(engine.PART, "cpu", part)
    together = generate(tiny, counts, own)
    name = next(iter(counts))
    monkeypatch.setitem(engine.PART, "cpu", 32)
    alone = generate(tiny, {name: counts[name] + 1}, own)
    for number in range(counts[name]):
        assert near(of(together, name, number), of(alone, name, number))
    assert together.seed == seed


def test_other_seeds_classes_and_numbers_are_other_cells(tiny: ModelBundle) -> None:
    first = generate(tiny, {"neutrophil": 2, "platelet": 1}, RAW)
    other = generate(tiny, {"neutrophil": 1}, RAW.model_copy(update={"seed": 1}))
    everything = [*first.pixels, *other.pixels]
    for i, a in enumerate(everything):
        assert not any(near(a, b) for b in everything[:i])


def test_the_same_seed_gives_the_same_cells(tiny: ModelBundle) -> None:
    one, two = (generate(tiny, {"platelet": 2}, RAW) for _ in range(2))
    np.testing.assert_array_equal(one.pixels, two.pixels)
    assert one.frame().equals(two.frame())


def test_rejected_cells_are_drawn_anew_with_fresh_noise(
    tiny: ModelBundle, judge: list[int]
) -> None:
    raw = generate(tiny, {"neutrophil": 8}, RAW)
    assert 0 < raw.accepted.sum() < 8
    assert raw.rejected == {}
    judge.clear()
    cells = generate(tiny, {"neutrophil": 8}, GenerationSettings(steps=2, tries=30))
    assert len(cells) == 8
    assert picky(cells.pixels).all()
    assert cells.accepted.all()
    first = cells.attempts == 1
    np.testing.assert_array_equal(first, raw.accepted)
    np.testing.assert_array_equal(cells.pixels[first], raw.pixels[first])
    assert cells.rejected["neutrophil"] == (cells.attempts - 1).sum() == sum(judge) - 8
    assert not near(cells.pixels[~first], raw.pixels[~first])
    # how often a neighbour was rejected does not matter
    fewer = generate(tiny, {"neutrophil": 3}, GenerationSettings(steps=2, tries=30))
    assert near(fewer.pixels, cells.pixels[:3])


def test_what_is_never_accepted_is_left_out_and_told(tiny: ModelBundle, judge: list[int]) -> None:
    cells = generate(tiny, {"neutrophil": 8}, GenerationSettings(steps=2, tries=1))
    assert 0 < len(cells) < 8
    assert cells.missing == {"neutrophil": 8 - len(cells)}
    assert cells.warnings[0].startswith(f"Left out: {8 - len(cells)} of 8 neutrophil")
    assert cells.record()["missing"] == cells.missing
    assert len(cells.frame()) == len(cells)
    assert cells.complete


def test_the_classifier_is_asked(tiny: ModelBundle) -> None:
    cells = generate(tiny, {"neutrophil": 3, "platelet": 3}, RAW)
    right = np.array(cells.predicted) == np.array(cells.classes)
    np.testing.assert_array_equal(cells.accepted, right & (cells.confidence >= 0.5))
    stern = generate(tiny, {"neutrophil": 3}, RAW.model_copy(update={"least_confidence": 0.999}))
    assert not stern.accepted.any()


def test_mixed_cells_lie_between_their_classes(tiny: ModelBundle) -> None:
    def mixed(share: float) -> GeneratedCells:
        return generate(tiny, {"neutrophil": 3}, RAW, towards=Mix(name="platelet", share=share))

    plain = generate(tiny, {"neutrophil": 3}, RAW)
    assert near(mixed(0.0).pixels, plain.pixels)
    half = mixed(0.5)
    assert not near(half.pixels, plain.pixels)
    distances = [
        np.abs(mixed(share).pixels.astype(float) - plain.pixels).mean() for share in (0.3, 1.0)
    ]
    assert 0 < distances[0] < distances[1]
    assert half.frame()["towards"].tolist() == ["platelet"] * 3
    taken = np.isin(half.predicted, ["neutrophil", "platelet"])
    np.testing.assert_array_equal(half.accepted, taken & (half.confidence >= 0.5))


def test_progress_rises_to_one_and_previews_come_with_their_places(
    tiny: ModelBundle, judge: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engine.PART, "cpu", 4)
    shares: list[float] = []
    seen: dict[int, np.ndarray] = {}

    def preview(places: np.ndarray, cells: np.ndarray) -> None:
        assert len(places) == len(cells)
        seen.update(zip(places.tolist(), cells, strict=True))

    cells = generate(
        tiny,
        {"neutrophil": 3, "platelet": 4},
        GenerationSettings(steps=2, tries=40),
        preview=preview,
        progress=lambda share, _: shares.append(share),
    )
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert sorted(seen) == list(range(7))
    assert near(np.stack([seen[place] for place in range(7)]), cells.pixels)


def cancel_after(share: float) -> Any:
    def progress(done: float, message: str) -> None:
        if done > share:
            raise Cancelled("Cancelled.")

    return progress


def test_cancelling_keeps_what_is_done(tiny: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engine.PART, "cpu", 2)
    cells = generate(tiny, {"neutrophil": 6}, RAW, progress=cancel_after(0.7))
    assert len(cells) == 4
    assert not cells.complete
    assert cells.warnings == ("Cancelled: 4 of 6 cells are done.",)
    whole = generate(tiny, {"neutrophil": 6}, RAW)
    assert near(cells.pixels, whole.pixels[:4])


def test_cancelling_within_a_part_keeps_what_was_accepted(
    tiny: ModelBundle, judge: list[int]
) -> None:
    settings = GenerationSettings(steps=2, tries=50)
    cells = generate(tiny, {"neutrophil": 8}, settings, progress=cancel_after(0.8))
    assert 0 < len(cells) < 8
    assert picky(cells.pixels).all()
    assert not cells.complete


def test_cancelling_before_anything_is_done(tiny: ModelBundle) -> None:
    with pytest.raises(Cancelled):
        generate(tiny, {"neutrophil": 2}, RAW, progress=cancel_after(0.1))


def test_parts_make_the_whole(tiny: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engine.PART, "cpu", 2)
    parts = list(generate_parts(tiny, {"neutrophil": 5}, RAW))
    assert [len(part) for part in parts] == [2, 2, 1]
    whole = generate(tiny, {"neutrophil": 5}, RAW)
    np.testing.assert_array_equal(np.concatenate([p.pixels for p in parts]), whole.pixels)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({}, "nothing to generate"),
        ({"platelet": 10**12}, "1,000,000,000,000 cells are too many"),
        ({"neutrophil": 0}, "at least one cell"),
        ({"neutrophil": -1}, "at least 0, not -1"),
        ({"neutrophil": 2.5}, "whole number"),
        ({"neutrophil": True}, "whole number"),
        ({"neutrofil": 1}, "Did you mean neutrophil"),
        ({"unicorn": 1}, "It draws eosinophil, neutrophil, platelet"),
    ],
)
def test_orders_that_cannot_be(tiny: ModelBundle, counts: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        generate(tiny, counts, RAW)
    assert "\n" not in str(caught.value)


def test_an_unknown_class_to_go_towards(tiny: ModelBundle) -> None:
    with pytest.raises(InputError, match="draws no 'blast'"):
        generate(tiny, {"neutrophil": 1}, RAW, towards=Mix(name="blast"))


def test_a_million_cells_are_asked_about_first(tiny: ModelBundle) -> None:
    with pytest.raises(
        LargeOrder, match=r"1,000,000 cells would take about .* on cpu, and 12.3 GB"
    ):
        generate(tiny, {"neutrophil": 10**6}, RAW)
    first = next(generate_parts(tiny, {"neutrophil": 10**6}, RAW, insist=True))
    assert len(first) == engine.PART["cpu"]


@pytest.mark.parametrize("steps", [5, 10, 30, 100])
def test_the_time_of_few_steps_tells_that_of_many(
    tiny: ModelBundle, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    clock = [0.0]

    def sample(model: ModelBundle, index: np.ndarray, *, steps: int, guidance: float) -> None:
        # as a generator does: all steps for the coarse picture, four fifths for its detail
        clock[0] += len(index) * (2 * steps + 3 * max(4, round(0.8 * steps)))

    monkeypatch.setattr(order, "sample_cells", sample)
    monkeypatch.setattr(order.time, "perf_counter", lambda: clock[0])
    found = order.estimate_effort(tiny, 100, GenerationSettings(steps=steps))
    assert found.seconds == pytest.approx(100 * (2 * steps + 3 * 0.8 * steps))


@pytest.mark.parametrize(
    "values",
    [
        {"guidance": -0.1},
        {"guidance": 20.5},
        {"guidance": float("nan")},
        {"steps": 1},
        {"steps": 1001},
        {"seed": -1},
        {"seed": 2**40},
        {"tries": 0},
        {"least_confidence": 1.0},
    ],
)
def test_settings_out_of_range(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GenerationSettings(**values)
    with pytest.raises(InputError, match="cannot be"):
        make_settings(GenerationSettings, values)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b/0", "b"]), st.integers(0, 10**6), st.integers(0, 99)),
        min_size=2,
        max_size=30,
        unique=True,
    )
)
def test_noise_is_never_shared(cells: list[tuple[str, int, int]]) -> None:
    numbers = [engine.noise_number(*cell) for cell in cells]
    assert len(set(numbers)) == len(cells)
    assert all(0 <= number < 2**40 for number in numbers)


def test_a_nucleus_beside_the_middle_is_company() -> None:
    empty = np.full((4, 64, 64, 3), 235, np.uint8)
    nucleus = (90, 60, 140)
    empty[1, 4:16, 4:16] = nucleus  # beside
    empty[2, 26:38, 26:38] = nucleus  # in the middle
    empty[3, 6:58, 6:58] = nucleus  # a smudge over all of it
    assert has_company(empty).tolist() == [False, True, False, False]


def test_red_cells_beside_a_white_cell_are_drawn_anew(
    tiny: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "has_company", lambda cells: np.ones(len(cells), bool))
    classes = tuple(replace(c, group="red") if k == 0 else c for k, c in enumerate(tiny.classes))
    model = replace(tiny, classes=classes)
    monkeypatch.setattr(
        engine,
        "classify",
        lambda crops, *_, **__: SimpleNamespace(
            posterior=np.eye(len(classes))[np.zeros(len(crops), int)],
            predicted=np.zeros(len(crops), int),
        ),
    )
    settings = GenerationSettings(steps=2, tries=2)
    cells = generate(model, {classes[0].name: 2}, settings)
    assert len(cells) == 0
    assert cells.rejected == {classes[0].name: 4}


def test_crops_of_any_size() -> None:
    cells = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    assert engine.as_crops(cells, 64) is cells
    assert engine.as_crops(cells, 32).shape == (2, 32, 32, 3)
    assert engine.as_crops(cells, 96).shape == (2, 96, 96, 3)
    assert engine.as_crops(cells[:0], 32).shape == (0, 32, 32, 3)
    assert abs(engine.as_crops(cells, 32).mean() - cells.mean()) < 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (80, "80 s"), (300, "5 minutes"), (7200, "2 hours"), (864_000, "10 days")],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_record_says_how_they_came_about(tiny: ModelBundle) -> None:
    record = generate(tiny, {"platelet": 1}, RAW.model_copy(update={"seed": 9})).record()
    assert record["synthetic"] is True
    assert record["seed"] == record["settings"]["seed"] == 9
    assert record["model"]["draws_with"] == "generator"
    assert len(record["model"]["sha256"]) == 64
    assert {"torch", "diffusers", "numpy"} <= set(record["versions"])
    assert record["created"][:2] == "20"


def test_a_model_without_a_generator_draws_with_its_denoiser(tiny: ModelBundle) -> None:
    cells = generate(replace(tiny, generator=None), {"platelet": 1}, RAW)
    assert cells.pixels.shape == (1, 32, 32, 3)
    assert cells.model["draws_with"] == "denoiser"
