"""From image and labels to the table of cells."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from cytodiffusion import pipeline
from cytodiffusion.classification.cautions import distance_sentence
from cytodiffusion.classification.classifier import Classification, ClassifySettings
from cytodiffusion.classification.contradiction import has_nucleus
from cytodiffusion.classification.result import join
from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.files.record import provenance
from cytodiffusion.model import ModelBundle, load_bundle
from cytodiffusion.model.testing import (
    DEFAULT_NAMES,
    TRAITS,
    tiny_bundle,
    tiny_slide_correction,
    tiny_slide_distance,
)
from cytodiffusion.pipeline import (
    FIRST_BATCH,
    analyse,
    cells_frame,
    classify_labels,
    iter_classify_labels,
)
from cytodiffusion.segmentation.result import RED, WHITE
from cytodiffusion.settings import SegmentOptions
from cytodiffusion.single_cells import classify_images

PIXEL_SIZE = 0.5
COLUMNS = [
    *("label", "y", "x", "area_um2", "predicted", "confidence", "entropy", "margin"),
    *("anomaly_score", "anomaly", "prediction_set", "trials", "touches_border"),
    *("review", "contradiction", "by_prior", "no_class_fits"),
    *(f"p_{name}" for name in DEFAULT_NAMES),
]
PROBABILITIES = [name for name in COLUMNS if name.startswith("p_")]
QUICK = ClassifySettings(trials=2, min_trials=1)
FINE = QUICK.model_copy(update={"level": "fine"})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    return load_bundle(tiny_bundle(tmp_path_factory.mktemp("b") / "tiny"), device="cpu")


def field(
    n: int = 3, ids: list[int] | None = None, pitch: int = 24
) -> tuple[np.ndarray, np.ndarray]:
    """An image with n x n discs and their labels."""
    side = n * pitch
    image = np.full((side, side, 3), 230, np.uint8)
    labels = np.zeros((side, side), np.int32)
    names = ids or list(range(1, n * n + 1))
    for number, name in enumerate(names):
        centre = (number % n * pitch + pitch // 2, number // n * pitch + pitch // 2)
        colour = (60 + number * 37 % 150, 60, 200 - number * 53 % 130)
        cv2.circle(image, centre, 7, colour, -1)
        cv2.circle(labels, centre, 7, name, -1)
    return image, labels


def test_the_table_has_the_columns_of_the_contract(model: ModelBundle) -> None:
    image, labels = field()
    results = classify_labels(image, labels, model, QUICK, pixel_size_um=PIXEL_SIZE)
    frame = results.frame
    assert list(frame.columns) == COLUMNS
    assert frame["label"].tolist() == list(range(1, 10))
    np.testing.assert_allclose(frame[PROBABILITIES].sum(axis=1), 1)
    assert frame["predicted"].isin(DEFAULT_NAMES).all()
    for names in frame["prediction_set"]:
        assert set(names.split("|")) <= set(DEFAULT_NAMES)
    assert frame["anomaly"].dtype == frame["touches_border"].dtype == bool
    assert not frame["touches_border"].any()
    np.testing.assert_allclose(frame[["y", "x"]].iloc[0], [12, 12])
    np.testing.assert_allclose(
        frame["area_um2"], [(labels == i).sum() * PIXEL_SIZE**2 for i in range(1, 10)]
    )
    assert results.record["seed"] == 0
    assert results.record["model"]["sha256"] == model.checksum
    assert results.record["pixel_size_um"] == PIXEL_SIZE
    assert results.record["versions"]["torch"]


def test_ids_with_gaps_and_beyond_16_bits_stay(model: ModelBundle) -> None:
    ids = [70_000, 3, 2_000_000_000, 65_536]
    image, labels = field(2, ids)
    frame = classify_labels(image, labels, model, QUICK, pixel_size_um=PIXEL_SIZE).frame
    assert frame["label"].tolist() == sorted(ids)
    same = classify_labels(*field(2), model, QUICK, pixel_size_um=PIXEL_SIZE).frame
    row = frame[frame["label"] == 70_000].iloc[0]
    np.testing.assert_allclose(row["confidence"], same["confidence"].iloc[0], atol=1e-6)


def test_a_cell_at_the_border_and_one_alone(model: ModelBundle) -> None:
    image, _ = field(2)
    labels = np.zeros(image.shape[:2], np.uint16)
    labels[0:5, 10:15] = 9
    frame = classify_labels(image, labels, model, QUICK, pixel_size_um=PIXEL_SIZE).frame
    assert len(frame) == 1
    assert frame["touches_border"].tolist() == [True]


def test_a_cell_larger_than_the_window(model: ModelBundle) -> None:
    image, labels = field(2)
    frame = classify_labels(image, np.ones_like(labels), model, QUICK, pixel_size_um=5.0).frame
    assert len(frame) == 1


def test_batches_make_the_whole_and_the_first_is_small(model: ModelBundle) -> None:
    image, labels = field(7)
    parts = list(
        iter_classify_labels(
            image,
            labels,
            model,
            ClassifySettings(trials=2, min_trials=1, batch_size=10),
            pixel_size_um=PIXEL_SIZE,
        )
    )
    assert [len(p.result) for p in parts] == [FIRST_BATCH, 10, 7]
    assert [p.done for p in parts] == [32, 42, 49]
    assert {p.total for p in parts} == {49}
    whole = classify_labels(image, labels, model, QUICK, pixel_size_um=PIXEL_SIZE).frame
    pd.testing.assert_frame_equal(cells_frame(reversed(parts)), whole, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def correcting(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    folder = tmp_path_factory.mktemp("b") / "tiny"
    laboratory = tiny_slide_correction(len(DEFAULT_NAMES))
    return load_bundle(tiny_bundle(folder, slide_correction=laboratory), device="cpu")


def test_batches_come_again_corrected_in_the_places_of_the_first(correcting: ModelBundle) -> None:
    image, labels = field(7)
    settings = ClassifySettings(trials=2, min_trials=1, batch_size=10)
    parts = list(
        iter_classify_labels(image, labels, correcting, settings, pixel_size_um=PIXEL_SIZE)
    )
    assert [p.revises for p in parts] == [None, None, None, 0, 1, 2]
    assert [p.done for p in parts] == [32, 42, 49, 32, 42, 49]
    first, again = parts[:3], parts[3:]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.crops.ids, other.crops.ids)
        assert other.result.adjusted
    assert not np.allclose(first[0].result.posterior, again[0].result.posterior)
    frame = cells_frame(parts)
    accepted = again[-1].result.accept_above
    unknown = {"slide_distance": None, "mean_confidence_before": None}
    unknown["mean_confidence"] = pytest.approx(frame["confidence"].mean())
    assert frame.attrs == {"corrected_for_slide": True, "accepted_above": accepted} | unknown
    assert frame["label"].tolist() == list(range(1, 50))
    whole = join([p.result for p in again])
    np.testing.assert_allclose(frame[PROBABILITIES], whole.posterior)
    half = cells_frame(parts[:4])  # stopped in between: said, not hidden
    assert half.attrs["corrected_for_slide"] is False
    alone = settings.model_copy(update={"alone": True})
    parts = list(iter_classify_labels(image, labels, correcting, alone, pixel_size_um=PIXEL_SIZE))
    assert [p.revises for p in parts] == [None, None, None]
    record = classify_labels(image, labels, correcting, alone, pixel_size_um=PIXEL_SIZE).record
    assert record["corrected_for_slide"] is False
    assert record["settings"]["alone"] is True


def test_a_slide_unlike_the_training_is_said_to_be_and_less_sure(tmp_path: Path) -> None:
    far = tiny_slide_distance(len(DEFAULT_NAMES))
    folder = tiny_bundle(tmp_path / "far", slide_distance=far)
    model = load_bundle(folder, device="cpu")
    image, labels = field(7)
    settings = ClassifySettings(trials=2, min_trials=1, batch_size=10)
    parts = list(iter_classify_labels(image, labels, model, settings, pixel_size_um=PIXEL_SIZE))
    assert [p.revises for p in parts] == [None, None, None, 0, 1, 2]
    frame, before = cells_frame(parts), cells_frame(parts[:3])
    assert frame.attrs["slide_distance"] > 1
    assert frame.attrs["corrected_for_slide"] is False
    assert frame["confidence"].mean() < before["confidence"].mean()
    sure = frame.attrs["mean_confidence_before"]
    assert sure == pytest.approx(before["confidence"].mean())
    told = distance_sentence(frame, model, settings)
    assert told is not None
    assert f"from {sure:.2f} to {frame['confidence'].mean():.2f}" in told
    again = list(
        iter_classify_labels(
            image, labels, model, settings, pixel_size_um=PIXEL_SIZE, known=parts[3:]
        )
    )
    pd.testing.assert_frame_equal(cells_frame(again), frame, rtol=1e-4, atol=1e-5)
    few = list(
        iter_classify_labels(
            image, labels, model, settings, pixel_size_um=PIXEL_SIZE, ids=range(1, 10)
        )
    )
    told = distance_sentence(cells_frame(few), model, settings)
    assert told is not None
    assert told.startswith("Fewer than 16 cells")
    alone = settings.model_copy(update={"alone": True})
    assert distance_sentence(cells_frame(few), model, alone) is None


def test_what_is_said_of_a_far_slide_is_the_same_on_both_levels(tmp_path: Path) -> None:
    """The confidence of finer classes is lower for another reason."""
    far = tiny_slide_distance(len(DEFAULT_NAMES))
    folder = tiny_bundle(tmp_path / "far", slide_distance=far, traits=TRAITS)
    model = load_bundle(folder, device="cpu")
    said = []
    for settings in (s.model_copy(update={"prior": "even"}) for s in (QUICK, FINE)):
        image, labels = field(7)
        cells = classify_labels(image, labels, model, settings, pixel_size_um=PIXEL_SIZE)
        single, _ = classify_images(write_cells(tmp_path, 17), model, settings)
        said.append([distance_sentence(f, model, settings) for f in (cells.frame, single)])
    assert said[0] == said[1]
    assert "lowered" in said[0][0]


def test_images_of_a_folder_are_corrected_together(correcting: ModelBundle, tmp_path: Path) -> None:
    """Whatever the batches that they were classified in."""
    paths = write_cells(tmp_path, 17)
    tables = {
        size: classify_images(
            paths,
            correcting,
            ClassifySettings(trials=2, min_trials=1, batch_size=size),
            pixel_size_um=0.4,
        )[0]
        for size in (4, 64)
    }
    pd.testing.assert_frame_equal(tables[4], tables[64], rtol=1e-4, atol=1e-5)
    alone, _ = classify_images(
        paths, correcting, QUICK.model_copy(update={"alone": True}), pixel_size_um=0.4
    )
    assert not np.allclose(alone[PROBABILITIES], tables[4][PROBABILITIES])


def test_chosen_ids_only(model: ModelBundle) -> None:
    image, labels = field()
    batches = list(
        iter_classify_labels(image, labels, model, QUICK, pixel_size_um=PIXEL_SIZE, ids=[7, 2])
    )
    assert batches[0].crops.ids.tolist() == [7, 2]
    assert cells_frame(batches)["label"].tolist() == [2, 7]
    with pytest.raises(InputError, match="label 77"):
        list(iter_classify_labels(image, labels, model, pixel_size_um=PIXEL_SIZE, ids=[77]))
    nothing = iter_classify_labels(image, labels, model, pixel_size_um=PIXEL_SIZE, ids=[])
    with pytest.raises(InputError, match="no classified cells"):
        cells_frame(nothing)


@pytest.mark.parametrize("together", [True, False])
def test_cells_that_are_known_are_not_classified_again(
    model: ModelBundle, correcting: ModelBundle, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    """The result is that of a run over all cells, whatever of them was known."""
    model = correcting if together else model
    image, labels = field(5)
    parts = list(iter_classify_labels(image, labels, model, QUICK, pixel_size_um=PIXEL_SIZE))
    known = [replace(p, revises=None) for p in parts if p.revises is not None or not together]
    edited = labels.copy()
    edited[edited == 2] = 0
    edited[3, 55:65] = 3  # a little larger
    edited[116:120, 116:120] = 77
    stays = [~np.isin(p.crops.ids, [2, 3]) for p in known]
    known = [
        replace(p, crops=p.crops[rows], result=p.result[rows]).without_pixels()
        for p, rows in zip(known, stays, strict=True)
    ]
    seen: list[int] = []
    real = pipeline.predict
    monkeypatch.setattr(
        pipeline,
        "predict",
        lambda m, crops, *a, **k: seen.extend(crops.ids.tolist()) or real(m, crops, *a, **k),
    )
    again = list(
        iter_classify_labels(image, edited, model, QUICK, pixel_size_um=PIXEL_SIZE, known=known)
    )
    assert sorted(seen) == [3, 77]
    assert [p.done for p in again if p.revises is None] == [23, 25]
    assert {p.total for p in again} == {25}
    assert any(p.revises is not None for p in again) == together
    whole = classify_labels(image, edited, model, QUICK, pixel_size_um=PIXEL_SIZE).frame
    pd.testing.assert_frame_equal(cells_frame(again), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [0, -1, float("nan"), 1e6])
def test_an_absurd_pixel_size_is_told(model: ModelBundle, size: float) -> None:
    with pytest.raises(InputError, match="pixel"):
        classify_labels(*field(), model, pixel_size_um=size)


def test_labels_that_do_not_fit_are_told(model: ModelBundle) -> None:
    image, labels = field()
    with pytest.raises(InputError, match="same field"):
        classify_labels(image, labels[:-3], model, pixel_size_um=PIXEL_SIZE)
    with pytest.raises(InputError, match="no cells"):
        classify_labels(image, labels * 0, model, pixel_size_um=PIXEL_SIZE)
    with pytest.raises(InputError, match="whole numbers"):
        classify_labels(image, labels * 1.0, model, pixel_size_um=PIXEL_SIZE)


def test_progress_rises_and_cancels(model: ModelBundle) -> None:
    image, labels = field(7)
    seen: list[float] = []
    classify_labels(
        image, labels, model, QUICK, pixel_size_um=PIXEL_SIZE, progress=lambda f, m: seen.append(f)
    )
    assert seen == sorted(seen)
    assert seen[-1] == 1

    def cancel(share: float, message: str) -> None:
        raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        classify_labels(image, labels, model, QUICK, pixel_size_um=PIXEL_SIZE, progress=cancel)


def stub(model: ModelBundle, crops: Any, *args: Any, **options: Any) -> Classification:
    n, k = len(crops), len(model.classes)
    zeros = np.zeros(n)
    return Classification(
        class_names=model.class_names,
        posterior=np.full((n, k), 1 / k),
        predicted=np.zeros(n, np.int64),
        confidence=zeros,
        entropy=zeros,
        margin=zeros,
        prediction_set=np.ones((n, k), bool),
        anomaly_score=zeros,
        anomaly=zeros > 0,
        trials=np.ones(n, np.int64),
        errors_by_level=np.zeros((n, 2, k), np.float32),
        levels=np.array([60, 200]),
        anomaly_threshold=1.0,
        logits=np.zeros((n, k)),
    )


def test_very_many_cells_take_little_memory_and_two_looks_at_the_labels(
    model: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = 400  # 10,000 cells of 2 x 2 pixels
    labels = np.kron(
        np.arange(1, 10_001, dtype=np.int32).reshape(100, 100),
        np.pad(np.ones((2, 2), np.int32), 1),
    )
    image = np.full((side, side, 3), 200, np.uint8)
    looks = []
    from cytodiffusion.cells import crops as cropping

    measure = cropping.cell_table

    def counted(*args: Any) -> Any:
        looks.append(1)
        return measure(*args)

    monkeypatch.setattr(cropping, "cell_table", counted)
    monkeypatch.setattr(pipeline, "cell_table", counted)
    monkeypatch.setattr(pipeline, "predict", stub)
    tracemalloc.start()
    frame = cells_frame(iter_classify_labels(image, labels, model, pixel_size_um=PIXEL_SIZE))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert frame["label"].tolist() == list(range(1, 10_001))
    assert len(looks) == 3
    crops_of_all = 10_000 * 32 * 32 * 3
    assert peak < crops_of_all / 2


def write_cells(folder: Path, n: int = 3) -> list[Path]:
    paths = []
    for number in range(n):
        image, _ = field(1, pitch=60)
        cv2.circle(image, (30, 30), 9 + number, (150, 60, 120), -1)
        paths.append(folder / f"cell{number}.png")
        cv2.imwrite(str(paths[-1]), image)
    return paths


def test_single_cells_and_files_that_are_none(model: ModelBundle, tmp_path: Path) -> None:
    paths = write_cells(tmp_path)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not an image")
    missing = tmp_path / "missing.png"
    seen: list[float] = []
    frame, skipped = classify_images(
        [paths[0], broken, *paths[1:], missing],
        model,
        ClassifySettings(trials=2, min_trials=1, batch_size=2),
        pixel_size_um=0.4,
        progress=lambda f, m: seen.append(f),
    )
    assert list(frame.columns) == ["path", *COLUMNS[1:]]
    assert frame["path"].tolist() == [str(p) for p in paths]
    assert len(skipped) == 2
    assert "broken.png" in skipped[0]
    assert "missing.png" in skipped[1]
    assert (frame["y"] == 29.5).all()
    assert seen == sorted(seen)
    assert 0 <= seen[0] <= seen[-1] <= 1


def test_the_scale_of_single_cells_is_found_where_it_is_not_given(
    model: ModelBundle, tmp_path: Path
) -> None:
    frame, skipped = classify_images(write_cells(tmp_path, 1), model, QUICK)
    assert len(frame) == 1
    assert skipped == []


def test_no_readable_image_at_all_is_told(model: ModelBundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"None of the 1 images .*nothing\.png"):
        classify_images([tmp_path / "nothing.png"], model, pixel_size_um=0.1)
    with pytest.raises(InputError, match="pixel"):
        classify_images(write_cells(tmp_path, 1), model, pixel_size_um=0.0)


def test_the_record_names_what_is_needed_to_repeat_it(model: ModelBundle) -> None:
    record = provenance(model, ClassifySettings(seed=5), image="a.png")
    assert record["settings"]["seed"] == record["seed"] == 5
    assert record["image"] == "a.png"
    assert record["model"]["classes"] == list(DEFAULT_NAMES)
    assert {"python", "platform", "created", "versions"} <= set(record)


HEAVY = (
    "accelerate",
    "diffusers",
    "matplotlib",
    "pandas",
    "peft",
    "scipy.optimize",
    "scipy.signal",
    "scipy.stats",
    "skimage",
    "sklearn",
    "timm",
    "torch._dynamo",
    "transformers",
)


def test_importing_the_pipeline_imports_nothing_slow() -> None:
    """What takes long to import comes with its first use."""
    code = (
        "import sys, torch; with_torch = set(sys.modules); import cytodiffusion.pipeline; "
        "print(*sorted(set(sys.modules) - with_torch))"
    )
    imported = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "cytodiffusion.classification.classifier" in imported
    assert [name for name in HEAVY if name in imported] == []


def test_classes_that_contradict_the_outlines_are_marked_also_once_corrected(
    correcting: ModelBundle,
) -> None:
    """What is corrected for the slide is held against the outlines anew."""
    image, labels = field(7)
    kinds = np.full(49, RED, np.uint8)
    kinds[::2] = WHITE
    for alone in (True, False):
        settings = ClassifySettings(trials=2, min_trials=1, batch_size=10, alone=alone)
        frame = classify_labels(
            image, labels, correcting, settings, pixel_size_um=PIXEL_SIZE, kinds=kinds
        ).frame
        nucleated = frame["predicted"].map(has_nucleus).to_numpy()
        assert nucleated.any()
        expected = nucleated & (kinds[frame["label"] - 1] == RED)
        assert frame["contradiction"].tolist() == expected.tolist()
        assert frame["review"].tolist() == expected.tolist()
        unsaid = classify_labels(image, labels, correcting, settings, pixel_size_um=PIXEL_SIZE)
        assert not unsaid.frame["contradiction"].any()


KINDS = ("band neutrophil", "segmented neutrophil")


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    """A model with attributes, finer classes and a slide correction."""
    correction = tiny_slide_correction(3, 2)
    names = ("lymphocyte", "neutrophil", "red cell")
    where = tmp_path_factory.mktemp("t") / "tiny"
    traits = [replace(t, classes=tuple(c for c in t.classes if c in names)) for t in TRAITS]
    tiny_bundle(where, names, slide_correction=correction, traits=traits)
    return load_bundle(where, device="cpu")


def test_both_levels_agree_also_once_corrected(telling: ModelBundle) -> None:
    image, labels = field(7)
    kinds = np.array([(RED, WHITE)[i % 2] for i in range(49)], np.uint8)
    coarse, fine = (
        classify_labels(image, labels, telling, s, pixel_size_um=PIXEL_SIZE, kinds=kinds)
        for s in (QUICK, FINE)
    )
    assert coarse.record["corrected_for_slide"]
    assert "notes" not in fine.record
    one, other = coarse.frame, fine.frame
    assert other["coarse"].equals(one["predicted"])
    some = one["predicted"] == "neutrophil"
    assert some.any()
    assert not some.all()
    assert other["predicted"][some].isin(KINDS).all()
    np.testing.assert_allclose(other[[f"p_{k}" for k in KINDS]].sum(axis=1), one["p_neutrophil"])
    same = ["review", "contradiction", "no_class_fits", "anomaly", "attr_nucleus_shape"]
    pd.testing.assert_frame_equal(one[same], other[same])


def test_known_cells_may_be_of_the_other_level(telling: ModelBundle) -> None:
    image, labels = field(7)
    options: Any = {"pixel_size_um": PIXEL_SIZE}
    fine = cells_frame(
        before := list(iter_classify_labels(image, labels, telling, FINE, **options))
    )
    last = {b.revises if b.revises is not None else n: b for n, b in enumerate(before)}
    known = [replace(b, revises=None) for b in last.values()]
    again = iter_classify_labels(image, labels, telling, FINE, known=known, **options)
    back = iter_classify_labels(image, labels, telling, QUICK, known=known, **options)
    pd.testing.assert_frame_equal(cells_frame(again), fine)
    coarse = classify_labels(image, labels, telling, QUICK, **options).frame
    pd.testing.assert_frame_equal(cells_frame(back), coarse, check_like=True)


def test_files_counts_and_record_follow_the_level(telling: ModelBundle, tmp_path: Path) -> None:
    image, _ = field(7)
    cv2.imwrite(str(tmp_path / "field.png"), image)
    options = SegmentOptions(method="watershed", pixel_size_um=PIXEL_SIZE)
    found = analyse(tmp_path / "field.png", tmp_path / "out", telling, FINE, options)
    assert set(KINDS) < set(found.counts)
    assert "neutrophil" not in found.counts
    assert sum(found.counts.values()) == found.cells > 0
    counted = json.loads(found.files["run"].read_text())["differential"]["classes"]
    assert list(counted) == ["lymphocyte", *KINDS]
    outlines = json.loads(found.files["outlines"].read_text())["features"]
    assert {o["properties"]["classification"]["name"] for o in outlines} <= set(found.counts)


def test_single_cells_have_levels_and_a_model_without_says_so(
    telling: ModelBundle, model: ModelBundle, tmp_path: Path
) -> None:
    paths = write_cells(tmp_path)
    frame, _ = classify_images(paths, telling, FINE, pixel_size_um=PIXEL_SIZE)
    assert {"coarse", "attr_granularity", *(f"p_{k}" for k in KINDS)} <= set(frame)
    frame, _ = classify_images(paths, model, FINE, pixel_size_um=PIXEL_SIZE)
    assert [n for n in frame.attrs["notes"] if "no finer classes" in n]
    image, labels = field()
    results = classify_labels(image, labels, model, FINE, pixel_size_um=PIXEL_SIZE)
    assert list(results.frame.columns) == COLUMNS
    assert "no finer classes" in results.record["notes"][0]
