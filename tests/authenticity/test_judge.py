"""The judge: right where there is something to see, and honest where there is not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from cytodiffusion.authenticity import AuthenticityTest, ParticipantSession
from cytodiffusion.authenticity.judge import Judgement, judge, judge_test
from cytodiffusion.authenticity.leaks import leak_note
from cytodiffusion.authenticity.measures import MEASURES, measured
from cytodiffusion.authenticity.result import read_results
from cytodiffusion.authenticity.sources import TestCell
from cytodiffusion.authenticity.standardise import PAPER, present
from cytodiffusion.authenticity.store import write_test

KEYS = [measure.key for measure in MEASURES]
SIDE = 64


def cell(rng: np.random.Generator, soft: float = 0.0, grain: float = 2.0) -> np.ndarray:
    """A round cell with a round nucleus and granular cytoplasm, perhaps blurred."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    distance = np.hypot(y + rng.normal(0, 1), x + rng.normal(0, 1))
    pixels = np.full((SIDE, SIDE, 3), PAPER)
    pixels[distance < 20] = (200, 170, 205)
    pixels[distance < 11] = (95, 55, 130)
    texture = rng.normal(0, 12, (SIDE, SIDE, 1)) * (distance < 20)[..., None]
    pixels = pixels + texture
    if soft:
        pixels = cv2.GaussianBlur(pixels, (0, 0), soft)
    return np.clip(pixels + rng.normal(0, grain, pixels.shape), 0, 255).astype(np.uint8)


def values(pixels: np.ndarray) -> dict[str, float]:
    return dict(zip(KEYS, measured(pixels, 16.0), strict=True))


def test_measures_say_what_their_names_say() -> None:
    plain = values(cell(np.random.default_rng(0)))
    soft = values(cell(np.random.default_rng(0), soft=1.5))
    grainy = values(cell(np.random.default_rng(0), grain=6.0))
    assert soft["edge"] < plain["edge"]
    assert soft["nucleus, fine"] < plain["nucleus, fine"]
    assert soft["cytoplasm, fine"] < plain["cytoplasm, fine"]
    assert grainy["grain of the slide"] > plain["grain of the slide"] + 0.5
    dark = cell(np.random.default_rng(0)).astype(float) * 0.8
    assert values(dark.astype(np.uint8))["nucleus, darkness"] > plain["nucleus, darkness"]
    assert all(np.isfinite(value) for value in plain.values())


def test_an_empty_or_a_full_window_can_be_measured() -> None:
    for level in (0, 235):
        found = measured(np.full((48, 48, 3), level, np.uint8), 20.0)
        assert found.shape == (len(MEASURES),)


@pytest.fixture(scope="module")
def seen() -> Judgement:
    """Sixty cells, the synthetic half of which differ in two measures; two classes."""
    rng = np.random.default_rng(1)
    found = rng.normal(0, 1, (60, len(MEASURES)))
    synthetic = np.arange(60) % 2 == 1
    found[synthetic, KEYS.index("edge")] -= 2.5
    found[synthetic, KEYS.index("cytoplasm, fine")] -= 1.5
    classes = ["monocyte" if n % 4 < 2 else "platelet" for n in range(60)]
    found[np.array(classes) == "platelet"] += 3  # classes differ more than the kinds do
    return judge(found, synthetic, classes, seed=0)


def test_the_judge_sees_what_differs_and_says_so(seen: Judgement) -> None:
    assert seen.can_tell
    assert seen.accuracy["value"] > 0.85
    assert "above all: its edge is softer and its cytoplasm has less fine" in seen.overall()
    sure = int(np.argmax(np.where(seen.synthetic, seen.probability, 0)))
    reason = seen.reason(sure)
    assert reason.synthetic
    assert reason.text.startswith("The judge says synthetic: its edge is softer")
    assert "than in real cells of its class" in reason.text
    assert reason.strength in {"strong", "very strong"}
    real = int(np.argmin(np.where(seen.synthetic, 1, seen.probability)))
    assert "its edge is sharper" in seen.reason(real).text
    assert "than in synthetic cells" in seen.reason(real).text


def test_a_wrong_judge_and_one_that_cannot_tell_say_so(seen: Judgement) -> None:
    texts = [seen.reason(n).text for n in range(60)]
    unsure = np.abs(seen.probability - 0.5) < 0.2
    assert unsure.any()
    assert all(texts[n] == "The judge cannot tell this one either." for n in np.flatnonzero(unsure))
    for n in np.flatnonzero(~seen.right & ~unsure):
        assert "wrongly" in texts[n] or "cannot tell" in texts[n]


def test_no_cell_teaches_what_is_said_of_it() -> None:
    rng = np.random.default_rng(2)
    found = rng.normal(0, 1, (80, len(MEASURES)))
    blind = judge(found, rng.random(80) < 0.5, ["a"] * 80)
    # a judge that had been fitted on these cells would be right about most of them
    assert blind.accuracy["value"] < 0.65
    assert not blind.can_tell
    assert "no better than guessing" in blind.overall()
    assert blind.reason(0).text.startswith("The judge does not know")
    assert blind.reason(0).strength == "none"


def test_a_platelet_has_no_chromatin() -> None:
    rng = np.random.default_rng(3)
    found = rng.normal(0, 1, (60, len(MEASURES)))
    synthetic = np.arange(60) % 2 == 1
    found[synthetic, KEYS.index("nucleus, fine")] -= 4
    texts = {
        name: " ".join(judge(found, synthetic, [name] * 60).reason(n).text for n in range(60))
        for name in ("platelet", "monocyte")
    }
    assert "chromatin" not in texts["platelet"]
    assert "its chromatin has less fine structure" in texts["monocyte"]


def test_the_same_seed_judges_alike(seen: Judgement) -> None:
    rng = np.random.default_rng(4)
    found, synthetic = rng.normal(0, 1, (40, len(MEASURES))), np.arange(40) % 2 == 1
    found[3, 2] = np.nan  # what cannot be measured says nothing
    first, again = (judge(found, synthetic, ["a"] * 40, seed=7) for _ in range(2))
    np.testing.assert_array_equal(first.probability, again.probability)
    assert np.isfinite(first.towards).all()


@pytest.fixture(scope="module")
def soft_test(tmp_path_factory) -> Path:
    """A test whose synthetic cells are blurred, and thirty of whose trials are answered."""
    path = tmp_path_factory.mktemp("judged") / "soft.sqlite"
    rng = np.random.default_rng(0)
    cells = [
        TestCell(
            present(cell(rng, soft=1.2 if n % 2 else 0.0), np.full(3, PAPER), n % 8),
            n % 2 == 1,
            "monocyte",
            f"cell {n}",
        )
        for n in rng.permutation(30)
    ]
    record = {"settings": {"seed": 0, "ask_class": False, "model": "default"}}
    write_test(path, cells, ["monocyte"], record | {"side": SIDE, "window_um": 16.0})
    with AuthenticityTest(path) as test:
        sitting = ParticipantSession(test, "Ada", "teaching")
        for _ in range(30):
            sitting.show()
            told = sitting.answer(True, seconds=1)
            assert told is not None
            assert test.truth(told.cell)[0] == told.synthetic
    return path


def test_result_and_table_tell_what_the_judge_saw(soft_test: Path) -> None:
    found = read_results([soft_test, soft_test], "teaching", curves=False)
    (record,) = found.figures["judges"]
    assert record["accuracy"]["value"] > 0.9
    assert record["measures"]["edge"] < 0
    assert record["sentence"] in found.sentence()
    assert found.cells["judge_right"].mean() > 0.9
    assert found.cells["reason"].str.contains("evidence").any()
    without = read_results([soft_test], "teaching", curves=False, judge=False)
    assert without.figures["judges"] == []
    assert set(without.cells["reason"]) == {""}


def test_few_cells_teach_no_judge(make) -> None:
    assert judge_test(make(12)) is None


def test_the_leak_note_says_what_helps_but_not_whom(soft_test: Path, make) -> None:
    with AuthenticityTest(soft_test, writable=False) as test:
        note = leak_note(test)
    told, ruled_out = note.split("Checked on this test, of no help: ")
    assert "sharpness (AUC 1.00)" in told
    assert "synthetic" not in note  # it is read before the test
    assert "file names" in ruled_out
    assert "order of the cells" in ruled_out
    with AuthenticityTest(make(60), writable=False) as test:
        assert "order of the cells" in leak_note(test)


def test_an_order_that_tells_is_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cells = [
        TestCell(present(cell(rng), np.full(3, PAPER), 0), n >= 20, "a", "") for n in range(40)
    ]
    record = {"settings": {"seed": 0, "ask_class": False, "model": "default"}}
    write_test(tmp_path / "t.sqlite", cells, ["a"], record | {"side": SIDE, "window_um": 16.0})
    with AuthenticityTest(tmp_path / "t.sqlite", writable=False) as test:
        assert "order of the cells" in leak_note(test).split("Checked on this test")[0]
