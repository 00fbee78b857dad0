"""Corrected cells change the whole slide, help where they can and break nothing."""

from __future__ import annotations

import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

from cytodiffusion.cells.single_cell import SingleCells
from cytodiffusion.classification import corrections
from cytodiffusion.classification.corrections import HumanLabel, correct
from cytodiffusion.classification.result import Classification, join
from cytodiffusion.classification.scores import entropy, margin, softmax
from cytodiffusion.classification.slide_correction import adjust
from cytodiffusion.errors import InputError
from cytodiffusion.metrics.scores import balanced_accuracy
from cytodiffusion.model import ModelBundle, load_bundle
from cytodiffusion.model.testing import tiny_bundle, tiny_slide_correction
from cytodiffusion.predict import predict

NAMES = ("neutrophil", "eosinophil", "lymphocyte", "monocyte")
K, WIDTH = len(NAMES), 16
#: Classes of the default model that the other laboratory has cells of.
FIVE = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    folder = tmp_path_factory.mktemp("b") / "tiny"
    return load_bundle(
        tiny_bundle(folder, NAMES, slide_correction=tiny_slide_correction(K)), device="cpu"
    )


def slide(n: int = 120, seed: int = 0, bias: float = 3.0) -> tuple[Classification, np.ndarray]:
    """Cells of a laboratory where lymphocytes look like monocytes, and their true classes."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, K, n)
    centres = np.random.default_rng(1).normal(size=(K, WIDTH)) * 1.5
    embedding = (centres[truth] + rng.normal(size=(n, WIDTH))).astype(np.float32)
    logits = rng.normal(size=(n, K))
    logits[np.arange(n), truth] += 3
    logits[truth == 2, 3] += bias + 2
    posterior = softmax(logits)
    score = rng.normal(size=n)
    return (
        Classification(
            class_names=NAMES,
            posterior=posterior,
            predicted=posterior.argmax(axis=1),
            confidence=posterior.max(axis=1),
            entropy=entropy(posterior),
            margin=margin(posterior),
            prediction_set=posterior > 0.05,
            anomaly_score=score,
            anomaly=score > 2,
            trials=np.ones(n, np.int64),
            errors_by_level=np.zeros((n, 2, K), np.float32),
            levels=np.array([60, 200]),
            anomaly_threshold=2.0,
            logits=logits,
            embedding=embedding,
        ),
        truth,
    )


def labels(rows: np.ndarray, truth: np.ndarray) -> list[HumanLabel]:
    return [HumanLabel(int(row), NAMES[truth[row]]) for row in rows]


def rates(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.array([(predicted[truth == k] == k).mean() for k in range(K)])


def same(one: Classification, other: Classification) -> bool:
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b)
        elif not isinstance(a, dict) and a != b:
            return False
    return True


def test_without_corrections_nothing_changes(model: ModelBundle) -> None:
    result, _ = slide()
    assert correct(result, [], model) is result


def test_a_few_cells_correct_the_others(model: ModelBundle) -> None:
    result, truth = slide(400)
    before = rates(result.predicted, truth)
    assert before[2] < 0.2
    rows = np.flatnonzero(truth == 2)[:3]
    learned = correct(result, labels(rows, truth), model)
    rest = np.setdiff1d(np.arange(400), rows)
    after = rates(learned.predicted[rest], truth[rest])
    assert after[2] > before[2] + 0.3
    assert (after[[0, 1]] >= before[[0, 1]] - 0.02).all()


def test_the_tables_fit_each_other(model: ModelBundle) -> None:
    result, truth = slide()
    learned = correct(result, labels(np.arange(8), truth), model)
    np.testing.assert_allclose(learned.posterior.sum(axis=1), 1)
    np.testing.assert_array_equal(learned.predicted, learned.posterior.argmax(axis=1))
    np.testing.assert_array_equal(learned.confidence, learned.posterior.max(axis=1))
    np.testing.assert_array_equal(learned.logits, result.logits)
    np.testing.assert_array_equal(learned.anomaly, learned.anomaly_score > 2)
    assert len(learned[:5]) == 5
    assert len(join([learned[:50], learned[50:]])) == len(learned)


def test_what_a_person_said_stands_beside_what_was_predicted(model: ModelBundle) -> None:
    result, _ = slide(bias=9.0)
    row = int(np.flatnonzero(result.predicted == 0)[0])
    learned = correct(result, [HumanLabel(row, "eosinophil", "ada")], model)
    table = learned.to_frame()
    assert list(table["human"]) == ["eosinophil" if i == row else "" for i in range(len(result))]
    assert table["observer"][row] == "ada"
    assert table["predicted"][row] == NAMES[learned.posterior[row].argmax()]
    assert learned.final[row] == 1
    assert not learned.review[row]
    assert list(table.columns).index("human") < list(table.columns).index("p_neutrophil")
    assert "human" not in result.to_frame()


@given(seed=st.integers(0, 1000), n=st.integers(1, 12))
@tries(max_examples=20, deadline=None)
def test_any_corrections_give_finite_numbers_in_any_order(
    model: ModelBundle, seed: int, n: int
) -> None:
    result, _ = slide(60, seed % 5)
    rng = np.random.default_rng(seed)
    said = [
        HumanLabel(int(rng.integers(60)), (*NAMES, "blast")[rng.integers(5)], "ab"[rng.integers(2)])
        for _ in range(n)
    ]
    learned = correct(result, said, model)
    assert same(learned, correct(result, said[::-1], model))
    for name in ("posterior", "confidence", "entropy", "margin", "anomaly_score"):
        assert np.isfinite(getattr(learned, name)).all()
    np.testing.assert_allclose(learned.posterior.sum(axis=1), 1)
    assert set(learned.class_names) <= {*NAMES, "blast"}


def test_people_who_contradict_each_other_count_half_each(model: ModelBundle) -> None:
    result, truth = slide()
    row = int(np.flatnonzero(truth == 2)[0])
    both = [HumanLabel(row, "lymphocyte", "ada"), HumanLabel(row, "neutrophil", "ben")]
    learned = correct(result, both, model)
    assert learned.human is not None
    assert learned.observer is not None
    assert learned.human[row] == "lymphocyte|neutrophil"
    assert learned.observer[row] == "ada|ben"
    assert learned.by_human[row] == -1
    assert learned.final[row] == learned.predicted[row]
    sure = correct(result, both[:1], model)
    assert result.posterior[row, 2] < learned.posterior[row, 2] < sure.posterior[row, 2]


def test_one_slip_does_not_break_a_slide(model: ModelBundle) -> None:
    result, truth = slide(400, bias=-2.0)
    before = rates(result.predicted, truth)
    clear = np.flatnonzero((truth == 0) & (result.confidence > 0.9))
    learned = correct(result, [HumanLabel(int(clear[0]), "eosinophil")], model)
    assert rates(learned.predicted, truth).mean() > before.mean() - 0.1
    assert (rates(learned.predicted, truth)[2:] > before[2:] - 0.03).all()
    many = [*labels(np.flatnonzero(truth == 0)[1:9], truth), HumanLabel(int(clear[0]), "monocyte")]
    assert (rates(correct(result, many, model).predicted, truth) > before - 0.1).all()


def test_a_class_that_the_model_does_not_know(model: ModelBundle) -> None:
    result, truth = slide(300, bias=-2.0)
    embedding = result.embedding
    assert embedding is not None
    strange = np.flatnonzero(truth == 1)
    embedding[strange] += np.linspace(3, -3, WIDTH, dtype=np.float32)
    learned = correct(result, [HumanLabel(int(r), "blast") for r in strange[:8]], model)
    assert learned.class_names == (*NAMES, "blast")
    assert learned.posterior.shape == learned.prediction_set.shape == (300, K + 1)
    assert learned.errors_by_level.shape == (300, 2, K + 1)
    assert np.isnan(learned.errors_by_level[..., K]).all()
    assert (learned.predicted[strange[8:]] == K).mean() > 0.5
    others = np.setdiff1d(np.arange(300), strange)
    assert (learned.predicted[others] == K).mean() < 0.05
    assert "p_blast" in learned.to_frame()


def test_confirmed_cells_are_the_usual_ones_of_their_slide(model: ModelBundle) -> None:
    result, truth = slide(200)
    score = result.anomaly_score
    score += 3  # a new stain: everything is a little strange
    odd = int(np.flatnonzero(truth == 3)[0])
    score[odd] = 14.0
    before = score > 2
    assert before.mean() > 0.7
    rows = np.flatnonzero(truth == 0)[:6]
    learned = correct(result, labels(rows, truth), model)
    assert learned.anomaly.mean() < 0.3
    assert learned.anomaly[odd]
    assert not learned.anomaly[rows].any()
    stranger = [HumanLabel(int(row), "blast") for row in rows]
    np.testing.assert_array_equal(correct(result, stranger, model).anomaly_score, score)


def test_very_many_confirmed_cells_need_no_more_memory(
    model: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, truth = slide(300)
    result.anomaly_score[:] += 3
    rows = np.arange(0, 240)
    said = labels(rows, truth)
    whole = correct(result, said, model)
    sizes: list[int] = []
    alike = corrections.alike

    def measured(cells: np.ndarray, others: np.ndarray) -> np.ndarray:
        sizes.append(len(others))
        return alike(cells, others)

    monkeypatch.setattr(corrections, "alike", measured)
    monkeypatch.setattr(corrections, "MOST", 60)
    sampled = correct(result, said, model)
    assert max(sizes) <= 60
    # all that were confirmed are usual, and the others much as if all had been looked at
    assert not sampled.anomaly[rows].any()
    assert (sampled.anomaly[240:] == whole.anomaly[240:]).mean() > 0.9


def test_sets_are_wider_where_the_slide_shows_that_they_must_be(model: ModelBundle) -> None:
    result, truth = slide(400)
    rows = np.random.default_rng(0).choice(400, 24, replace=False)
    learned = correct(result, labels(rows, truth), model)
    rest = np.setdiff1d(np.arange(400), rows)
    assert learned.prediction_set[rest, truth[rest]].mean() > 0.85


def test_sets_of_a_far_slide_stay_wide_after_one_click(model: ModelBundle) -> None:
    result, truth = slide(200)
    far = replace(result, slide_distance=2.0)
    said = labels(np.array([3]), truth)
    near, wide = correct(result, said, model), correct(far, said, model)
    np.testing.assert_array_equal(near.posterior, wide.posterior)
    likely = np.where(wide.prediction_set, wide.posterior, 0).sum(axis=1)
    assert (likely >= 0.95 - 1e-9).all()
    assert (wide.prediction_set >= near.prediction_set).all()


def test_models_without_embeddings_learn_offsets(model: ModelBundle) -> None:
    result, truth = slide(400)
    plain = replace(result, embedding=None)
    learned = correct(plain, labels(np.flatnonzero(truth == 2)[:8], truth), model)
    assert rates(learned.predicted, truth)[2] > rates(result.predicted, truth)[2]


def test_corrections_of_cells_that_are_not_there(model: ModelBundle) -> None:
    result, _ = slide(20)
    with pytest.raises(InputError, match="no cell 20"):
        correct(result, [HumanLabel(20, "monocyte")], model)
    with pytest.raises(InputError, match="names no class"):
        correct(result, [HumanLabel(2, " ")], model)


def test_five_thousand_cells_take_no_time(model: ModelBundle) -> None:
    result, truth = slide(5000)
    said = labels(np.arange(40), truth)
    took = []
    for _ in range(5):
        start = time.process_time()
        correct(result, said, model)
        took.append(time.process_time() - start)
    assert min(took) < 0.2


# --- real cells of another laboratory ------------------------------------------------------------


@pytest.fixture(scope="module")
def other(data_root: Path) -> tuple[Classification, np.ndarray, ModelBundle]:
    model = load_bundle("default", device="cpu")
    paths = sorted((data_root / "bcisc" / "crops" / "images").iterdir())
    named = {name[:4]: name for name in FIVE}
    folder = SingleCells(paths, None)
    cells = [folder.read(path) for path in paths]
    windows = np.stack([cell.crop(model.input_size, model.window_um) for cell in cells])
    found = predict(model, windows, background=np.stack([cell.background for cell in cells]))
    truth = [model.class_names.index(named[path.name[:4].lower()]) for path in paths]
    return adjust(found, model), np.array(truth), model


@pytest.mark.data
@pytest.mark.slow
def test_one_cell_of_each_class_helps_another_laboratory(
    other: tuple[Classification, np.ndarray, ModelBundle],
) -> None:
    result, truth, model = other
    without = balanced_accuracy(truth, result.predicted)
    for each, least in ((1, 0.02), (5, 0.03)):  # the model knows other slides of it already
        gains = []
        for draw in range(20):
            rng = np.random.default_rng(draw)
            rows = np.concatenate(
                [rng.choice(np.flatnonzero(truth == k), each, False) for k in np.unique(truth)]
            )
            said = [HumanLabel(int(r), model.class_names[truth[r]]) for r in rows]
            rest = np.setdiff1d(np.arange(len(truth)), rows)
            learned = correct(result, said, model)
            gains.append(balanced_accuracy(truth[rest], learned.predicted[rest]) - without)
        assert np.mean(gains) > least
        assert min(gains) > -0.03


@pytest.mark.data
@pytest.mark.slow
def test_classes_that_nobody_corrected_are_never_worse(
    other: tuple[Classification, np.ndarray, ModelBundle],
) -> None:
    result, truth, model = other
    changes = []
    for k in np.unique(truth):
        wrong = np.flatnonzero((truth == k) & (result.predicted != k))
        pool = wrong if len(wrong) > 3 else np.flatnonzero(truth == k)
        for draw in range(20):
            rows = np.random.default_rng(draw).choice(pool, 3, replace=False)
            said = [HumanLabel(int(r), model.class_names[k]) for r in rows]
            learned = correct(result, said, model)
            rest = truth != k
            now = balanced_accuracy(truth[rest], learned.predicted[rest])
            changes.append(now - balanced_accuracy(truth[rest], result.predicted[rest]))
    assert np.mean(changes) > -0.01
    assert min(changes) > -0.06
