"""A learner goes on where they stopped, and is told what there is to tell."""

from __future__ import annotations

from pathlib import Path

import pytest
from lesson_toys import NAMES, write_disc_lesson

from cytodiffusion.errors import InputError
from cytodiffusion.lessons import LearnerSession, Lesson, LessonAnswers, answers_beside, open_lesson
from cytodiffusion.lessons.wording import answer_sheet, told_lines, verdict


@pytest.fixture
def lesson(tmp_path: Path) -> Lesson:
    return open_lesson(write_disc_lesson(tmp_path / "discs.lesson.zip"))


def truth(session: LearnerSession) -> str:
    left = session.answers.left(session.info)
    return session.lesson.content.cells[left[0]].class_name


def other(name: str) -> str:
    return NAMES[(NAMES.index(name) + 1) % 3]


def play(session: LearnerSession, wrong: set[int]) -> int:
    """Answer all that is left; the answers with these numbers wrongly. Return how many."""
    number = 0
    while session.show() is not None:
        name = truth(session)
        session.answer(other(name) if number in wrong else name, seconds=1.0)
        number += 1
    return number


def test_practising_tells_at_once_and_scores_first_answers(lesson: Lesson) -> None:
    with LessonAnswers(lesson) as answers:
        session = LearnerSession(answers, "Ada")
        question = session.show()
        assert question is not None
        assert (question.done, question.of, question.again) == (0, 6, False)
        name = truth(session)
        told = session.answer(other(name), seconds=2.0)
        assert told is not None
        assert (told.right, told.truth.name, told.said.name) == (False, name, other(name))
        assert told.version is not None
        assert told.version.target == other(name)  # as what was said
        assert set(told.compared) == {name, other(name)}
        assert session.score == (0, 1)
        assert play(session, wrong={2}) == 7  # six cells, and one of them twice
        assert session.finished
        assert session.score == (4, 6)
        assert sorted(session.again().values()) == [2, 2]
        counts = session.confusion
        assert counts.sum() == 6
        assert counts.trace() == 4
        assert [one.right for one in session.reveals()] == [False] * 2 + [True] * 4
        with pytest.raises(InputError, match="answered already"):
            session.answer("red", seconds=1)


def test_what_is_told_is_all_there_is(lesson: Lesson) -> None:
    with LessonAnswers(lesson) as answers:
        session = LearnerSession(answers, "Ada")
        session.show()
        name = truth(session)
        told = session.answer(other(name), seconds=1)
        assert told is not None
        assert verdict(told) == f"Not {other(name)}: it is {name}."
        text = "\n".join(told_lines(told))
        for part in (
            "Reviewed: class given by Grace.",
            f"{name}: It is <{name}>.",
            f"The model says {name} 90 %, {other(name)} 10 %.",
            "Attributes: cell size: big.",
            f"To pass as {other(name)}",
            "Synthetic: this cell changed",
        ):
            assert part in text
        sheet, captions = answer_sheet(told, lesson)
        assert len(captions) == 5
        assert captions[2] == f"synthetic: as {other(name)}"
        assert sheet.shape == (240, 5 * 240 + 4 * 8, 3)


def test_a_learner_goes_on_where_they_stopped(lesson: Lesson) -> None:
    with LessonAnswers(lesson) as answers:
        session = LearnerSession(answers, "Ada Lovelace")
        for wrong in (True, False, True):
            session.show()
            name = truth(session)
            session.answer(other(name) if wrong else name, seconds=1)
        left, score = answers.left(session.info), session.score
    with LessonAnswers(lesson) as answers:
        again = LearnerSession(answers, " ada  lovelace ")
        assert again.resumed
        assert again.id == session.id
        assert answers.left(again.info) == left
        assert again.score == score
        play(again, set())
        new = LearnerSession(answers, "Ada Lovelace")  # and once more, in another order
        assert new.id != session.id
        assert answers.order(new.id) != answers.order(session.id)


def test_a_test_tells_nothing_before_its_end(lesson: Lesson) -> None:
    with LessonAnswers(lesson) as answers:
        session = LearnerSession(answers, "Ada", "test")
        session.show()
        assert session.answer(truth(session), seconds=1) is None
        assert session.reveals() == []
        with pytest.raises(InputError, match="has not finished the test"):
            LearnerSession(answers, "ada")
        LearnerSession(answers, "Grace")  # others may practise
        assert play(session, wrong={0, 1}) == 5  # no cell comes again
        assert len(session.reveals()) == 6
        assert session.score == (4, 6)
        LearnerSession(answers, "Ada")


def test_two_windows_do_not_answer_one_cell_twice(lesson: Lesson) -> None:
    with LessonAnswers(lesson) as first, LessonAnswers(lesson) as second:
        one, two = LearnerSession(first, "Ada"), LearnerSession(second, "Ada")
        one.show(), two.show()
        one.answer("red", seconds=1)
        with pytest.raises(InputError, match="open in another window"):
            two.answer("red", seconds=1)


def test_answers_that_make_no_sense_are_refused(lesson: Lesson) -> None:
    with LessonAnswers(lesson) as answers:
        session = LearnerSession(answers, "Ada")
        session.show()
        with pytest.raises(InputError, match="none of the classes"):
            session.answer("purple", seconds=1)
        with pytest.raises(InputError, match="cannot take"):
            session.answer("red", seconds=float("nan"))
        with pytest.raises(InputError, match="not one of practise, test"):
            LearnerSession(answers, "Ada", "cram")
        with pytest.raises(InputError, match="needs a name"):
            LearnerSession(answers, " ")


def test_answers_to_another_lesson_are_left_alone(lesson: Lesson, tmp_path: Path) -> None:
    with LessonAnswers(lesson):
        pass
    write_disc_lesson(lesson.path, id="1" * 32, title="Other discs")
    before = answers_beside(lesson.path).read_bytes()
    with pytest.raises(InputError, match="another lesson"):
        LessonAnswers(open_lesson(lesson.path))
    assert answers_beside(lesson.path).read_bytes() == before
    foreign = tmp_path / "foreign.sqlite"
    foreign.write_text("hello " * 200)
    with pytest.raises(InputError, match="is not a file of answers to a lesson"):
        LessonAnswers(lesson, foreign)
