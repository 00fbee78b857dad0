"""Scores add up, copies count once, and the page shows what is hard."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from lesson_toys import NAMES, write_disc_lesson

from cytodiffusion.errors import InputError
from cytodiffusion.lessons import LearnerSession, Lesson, LessonAnswers, answers_beside, open_lesson
from cytodiffusion.lessons.export import save_result
from cytodiffusion.lessons.result import read_results


@pytest.fixture
def lesson(tmp_path: Path) -> Lesson:
    return open_lesson(write_disc_lesson(tmp_path / "discs.lesson.zip"))


def answer(
    lesson: Lesson, name: str, says: str | None, mode: str = "practise", n: int = 99
) -> None:
    """Let somebody answer, of each cell first ``says``, or what it is where None."""
    with LessonAnswers(lesson) as answers:
        session = LearnerSession(answers, name, mode)
        seen: set[int] = set()
        while session.show() is not None and n:
            cell = answers.left(session.info)[0]
            first = says if cell not in seen else None
            session.answer(first or lesson.content.cells[cell].class_name, seconds=1.5)
            seen.add(cell)
            n -= 1


def test_scores_confusion_and_difficulty_add_up(lesson: Lesson) -> None:
    answer(lesson, "Ada", None)
    answer(lesson, "Bob", "red")
    answer(lesson, "Bob", "red", "test")
    found = read_results(lesson)
    scores = found.scores.set_index(["learner", "mode"])
    assert scores["right"].tolist() == [6, 2, 2]
    assert scores["cells"].tolist() == [6, 6, 6]
    assert scores["answers"].tolist() == [6, 10, 6]
    assert scores["finished"].all()
    assert (scores["score_low"] <= scores["score"]).all()
    assert (scores["score"] <= scores["score_high"]).all()
    assert found.confusion.tolist() == [[2, 0, 4], [0, 2, 4], [0, 0, 6]]
    assert found.confusion.sum() == found.answers["first"].sum() == 18
    hard = found.cells.set_index("cell")
    assert hard.loc[hard["class"] == "red", "difficulty"].tolist() == [0.0, 0.0]
    assert hard.loc[hard["class"] == "blue", "difficulty"].tolist() == pytest.approx([2 / 3] * 2)
    assert set(hard.loc[hard["class"] == "blue", "mostly_said"]) == {"red"}
    assert hard.loc[hard["class"] == "blue", "answers_until_right"].tolist() == [1.5, 1.5]
    assert found.sentence() == "2 learners, 10 of 18 first answers right (56 %)"
    assert read_results(lesson, mode="test").scores["learner"].tolist() == ["Bob"]


def test_copies_count_once_and_the_unfinished_are_named(lesson: Lesson, tmp_path: Path) -> None:
    answer(lesson, "Ada", None, n=2)
    own = answers_beside(lesson.path)
    copy = Path(shutil.copy(own, tmp_path / "copy.sqlite"))
    answer(lesson, "Ada", None)
    found = read_results(lesson, [copy, own])
    assert found.scores["cells"].tolist() == [6]
    assert found.notes == ()
    early = read_results(lesson, [copy])
    assert early.notes == ("Ada has not finished: 2 of 6 cells answered.",)


def test_the_files_say_the_same(lesson: Lesson, tmp_path: Path) -> None:
    answer(lesson, "<b>Eve</b>", "red")
    found = read_results(lesson)
    folder = save_result(tmp_path / "out", found)
    table = pd.read_csv(folder / "answers.csv")
    assert len(table) == 10
    assert int(table["right"].sum()) == 6
    confusion = pd.read_csv(folder / "confusion.csv").set_index("class")
    assert confusion.loc["blue", "said red"] == 2
    assert list(confusion.index) == NAMES
    assert len(pd.read_csv(folder / "cells.csv")) == 6
    assert pd.read_csv(folder / "scores.csv")["right"].tolist() == [2]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;Eve&lt;/b&gt;" in page
    assert page.count('<img src="data:image/png;base64,') == 4
    assert "http" not in page


def test_without_answers_there_is_nothing_to_say(lesson: Lesson) -> None:
    with pytest.raises(InputError, match="Nobody has answered this lesson yet"):
        read_results(lesson)
    answer(lesson, "Ada", None)
    with pytest.raises(InputError, match="in test mode"):
        read_results(lesson, mode="test")
