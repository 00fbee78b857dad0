"""Figures of made-up answers, against values that are known."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from cytodiffusion.authenticity import AuthenticityTest, ParticipantSession
from cytodiffusion.authenticity import statistics as module
from cytodiffusion.authenticity.answers import COLUMNS, read_answers
from cytodiffusion.authenticity.export import participants_table, save_result
from cytodiffusion.authenticity.result import read_results
from cytodiffusion.errors import InputError
from cytodiffusion.evaluation.psychometric.curve import is_available


def take(path, name, judge, mode="blind", upto=None, seconds=lambda n: 2.0):
    """Answer as ``judge(synthetic, class, number) -> (said_synthetic, said_class)`` says."""
    with AuthenticityTest(path) as test:
        sitting = ParticipantSession(test, name, mode)
        order = test.order(sitting.id)
        while (trial := sitting.show()) is not None and trial.number <= (upto or len(test)):
            said, kind = judge(*test.truth(order[trial.number - 1]), trial.number)
            sitting.answer(said, kind, seconds=seconds(trial.number))


def knows(made, name, number):
    return made, name


def guesses(made, name, number):
    return number % 2 == 0, None


def rather_real(made, name, number):
    return made and name != "red", "red"


@pytest.fixture
def taken(make):
    path = make(60)
    take(path, "Knows", knows)
    take(path, "Rather real", rather_real, seconds=lambda n: float(n))
    return path


def test_figures_of_each_participant(taken) -> None:
    found = read_results([taken], curves=False, judge=False).figures["participants"]
    knows_all, rather = found["Knows"], found["Rather real"]
    assert knows_all["accuracy"]["value"] == 1
    assert knows_all["accuracy"]["interval"] == pytest.approx([0.025 ** (1 / 60), 1])
    assert knows_all["class_agreement"]["all"]["right"] == 60
    # 10 of the 30 synthetic cells are red and were called real
    assert (rather["accuracy"]["right"], rather["accuracy"]["n"]) == (50, 60)
    assert (rather["hits"]["right"], rather["hits"]["n"]) == (20, 30)
    assert rather["false_alarms"]["right"] == 0
    assert rather["criterion"] > 0
    assert rather["classes"]["red"]["dprime"] == pytest.approx(0)
    assert rather["classes"]["blue"]["accuracy"]["value"] == 1
    assert rather["class_agreement"]["synthetic"]["value"] == pytest.approx(1 / 3)
    assert rather["seconds"]["all"] == {"n": 60, "median": 30.5, "quartiles": [15.75, 45.25]}
    assert rather["seconds"]["synthetic called real"]["n"] == 10


def test_pooled_figures_and_pairs(taken) -> None:
    figures = read_results([taken], curves=False, judge=False).figures
    pooled = figures["pooled"]
    assert (pooled["accuracy"]["right"], pooled["n"]) == (110, 120)
    assert pooled["over_participants"]["mean"] == pytest.approx((1 + 50 / 60) / 2)
    assert pooled["over_participants"]["interval"] is None  # of two people there is no spread
    (pair,) = figures["pairs"]
    assert (pair["test"], pair["cells"]) == ("mcnemar", 60)
    assert pair["p"] == pytest.approx(2 / 2**10)
    assert pair["agree"] == pytest.approx(50 / 60)


def test_copies_of_a_test_and_other_tests_are_put_together(make, tmp_path) -> None:
    path = make(60)
    take(path, "Early", knows, upto=10)
    copy = tmp_path / "copy.sqlite"
    shutil.copy(path, copy)
    take(copy, "Early", knows, upto=20)
    take(copy, "Late", guesses)
    other = make(60, "other.sqlite", seed=9)
    take(other, "Late", knows)
    answers = read_answers([path, copy, path, other])
    # the longer of two copies of a sitting; the same name elsewhere is another participant
    assert answers.table.groupby("participant").size().to_dict() == {
        "Early": 20,
        "Late": 60,
        "Late (other)": 60,
    }
    assert answers.notes == ("Early has answered 20 of 60 trials.",)
    found = read_results([path, copy, other], curves=False, judge=False).figures
    tests = {(p["first"], p["second"]): p["test"] for p in found["pairs"]}
    assert tests["Early", "Late"] == "mcnemar"
    assert tests["Late", "Late (other)"] == "fisher"
    assert found["pooled"]["over_participants"]["interval"] is not None


def test_interrupted_answers_have_no_time(make) -> None:
    path = make(4)
    with AuthenticityTest(path) as test:
        sitting = ParticipantSession(test, "Ada")
        sitting.show()
        sitting.show()  # a pause
        sitting.answer(True, seconds=500)
        sitting.show()
        sitting.answer(True, seconds=3)
    seconds = read_results([path], judge=False).figures["pooled"]["seconds"]
    assert seconds["interrupted"] == 1
    assert seconds["all"] == {"n": 1, "median": 3, "quartiles": [3, 3]}


def test_tests_without_classes_have_no_agreement(make) -> None:
    path = make(6, ask=False)
    take(path, "Ada", lambda made, name, number: (made, None))
    found = read_results([path], judge=False).figures["pooled"]
    assert found["class_agreement"] is None


def test_nobody_has_answered_is_said(make) -> None:
    path = make(4)
    with pytest.raises(InputError, match="Nobody has answered yet in blind mode"):
        read_results([path], judge=False)


def test_psychometric_curves_where_there_is_enough(make, monkeypatch) -> None:
    path = make(60)
    rng = np.random.default_rng(0)
    easy = rng.random(60)
    number = {}

    def skilled(made, name, n, own=number):
        right = rng.random() < 0.5 + 0.5 * easy[own["order"][n - 1]]
        return made == right, None

    for who in ("A", "B", "C"):
        with AuthenticityTest(path) as test:
            number["order"] = test.order(test.begin(who).id)
        take(path, who, skilled)
    take(path, "Guess", guesses, upto=32)
    asked = []

    def fitted(index, right, n_classes, seed):
        asked.append((index, right, n_classes))
        return {"n": len(index), "accuracy": right.mean(), "points": [], "why": "stand-in"}

    monkeypatch.setattr(module, "fit_curve", fitted)
    monkeypatch.setattr(module, "is_available", lambda: True)
    found = read_results([path], judge=False).figures["psychometric"]
    assert found["index"]["kind"] == "participants"
    assert found["guess_rate"] == 0.5
    assert "no better than guessing" in found["observers"]["Guess"]["why"]
    assert [len(index) for index, *_ in asked] == [60, 60, 60]
    assert all(k == 2 for *_, k in asked)
    # the index of a participant is what the others did: of two others 0, 1/2 or 1
    assert {0, 0.5, 1} <= set(np.round(asked[0][0], 3)) | {0.0}
    table = read_results([path], curves=False, judge=False).answers
    own, others = table[table["participant"] == "A"], table[table["participant"] != "A"]
    share = others.groupby("cell")["right"].mean()
    np.testing.assert_allclose(asked[0][0], share.loc[own["cell"]].to_numpy())


def test_one_participant_is_measured_by_the_model(make, monkeypatch) -> None:
    path = make(60)
    take(path, "Ada", lambda made, name, n: (made if n % 5 else not made, None))
    monkeypatch.setattr(module, "is_available", lambda: True)
    monkeypatch.setattr(module, "fit_curve", lambda *a: {"n": len(a[0])})
    found = read_results([path], judge=False).figures["psychometric"]
    assert found["index"]["kind"] == "model"
    assert found["observers"]["Ada"]["n"] == 60
    monkeypatch.setattr(module, "is_available", lambda: False)
    assert "psignifit" in read_results([path], judge=False).figures["psychometric"]["why"]


def test_a_result_is_written_whole_and_reads_back(taken, tmp_path) -> None:
    take(taken, "<b>Zoë</b>", guesses)
    result = read_results([taken], curves=is_available())
    folder = save_result(tmp_path / "out", result)
    files = ["answers.csv", "cells.csv", "figure.png", "participants.csv", "result.html"]
    assert sorted(p.name for p in folder.iterdir()) == [*files, "result.json"]
    stored = json.loads((folder / "result.json").read_text())
    assert stored["pooled"]["accuracy"] == result.figures["pooled"]["accuracy"]
    answers = pd.read_csv(folder / "answers.csv")
    assert list(answers.columns) == list(COLUMNS)
    assert len(answers) == 180
    right = answers.groupby("participant")["right"].mean()
    table = pd.read_csv(folder / "participants.csv").set_index("participant")
    for name, value in right.items():
        assert table.loc[name, "accuracy"] == pytest.approx(value)
    assert table.loc["all answers", "answers"] == 180
    cells = pd.read_csv(folder / "cells.csv")
    assert cells["judged"].tolist() == [3] * 60
    assert cells["called_synthetic"].sum() == answers["said_synthetic"].sum()
    page = (folder / "result.html").read_text()
    if is_available():
        curve = stored["psychometric"]["observers"]["Rather real"]["curve"]
        assert len(curve["index"]) == len(curve["accuracy"]) > 10
        assert min(curve["accuracy"]) >= 0.5 - 1e-6
        assert "no better than guessing" in page
    assert "&lt;b&gt;Zoë&lt;/b&gt;" in page
    assert "<b>Zoë" not in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert (folder / "figure.png").read_bytes()[:4] == b"\x89PNG"
    assert len(participants_table(result.figures)) == 4


def test_one_unfinished_answer_is_enough_for_a_page(make, tmp_path) -> None:
    path = make(6)
    take(path, "Ada", guesses, upto=1)
    result = read_results([path], judge=False)
    assert "too few" in result.figures["psychometric"]["why"]
    assert result.figures["participants"]["Ada"]["dprime"] is None
    save_result(tmp_path / "out", result)
    assert "Ada: 1 of 1 right" in result.sentence() or "Ada: 0 of 1 right" in result.sentence()
