"""A file of answers only grows, whoever uses it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cytodiffusion.errors import InputError
from cytodiffusion.files.answer_store import AnswerStore, StoreLayout, name_key, write_store

LAYOUT = StoreLayout(
    kind="quiz",
    article="a",
    application_id=0x51554958,
    format=2,
    modes=("once",),
    answer="cell INTEGER NOT NULL, said TEXT NOT NULL",
)
INSERT = "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?)"


class Quiz(AnswerStore):
    layout = LAYOUT

    def __len__(self) -> int:
        return 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_store(tmp_path / "quiz.sqlite", LAYOUT, {"title": "Discs"})
    return tmp_path / "quiz.sqlite"


def test_answers_are_added_in_order_and_stay(path: Path) -> None:
    with Quiz(path) as quiz:
        assert quiz.facts == {"title": "Discs"}
        info = quiz.new_sitting(" Ada  Lovelace ", "once", [1, 0])
        quiz.showing(info.id, 0)
        quiz.append(INSERT, (info.id, 0, 1, "red", 1.0, "now"))
        for row in ((info.id, 0, 1, "blue", 1.0, "now"), (info.id, 2, 0, "blue", 1.0, "now")):
            with pytest.raises(InputError, match="is the quiz open in another window"):
                quiz.append(INSERT, row)
        with pytest.raises(InputError):
            quiz.append("DELETE FROM answers", ())
    with Quiz(path, writable=False) as quiz:
        (again,) = quiz.sittings_of("ada lovelace")
        assert (again.participant, again.answered, again.finished) == ("Ada Lovelace", 1, False)
        assert quiz.order(again.id) == [1, 0]
        with pytest.raises(InputError, match="read-only"):
            quiz.new_sitting("Bob", "once", [0, 1])
    assert [p.name for p in path.parent.iterdir()] == ["quiz.sqlite"]


def test_another_kind_and_another_format_are_told(path: Path, tmp_path: Path) -> None:
    write_store(tmp_path / "old.sqlite", StoreLayout(**{**vars(LAYOUT), "format": 1}), {})
    with pytest.raises(InputError, match="another version of cytodiffusion"):
        Quiz(tmp_path / "old.sqlite")
    write_store(tmp_path / "other.sqlite", StoreLayout(**{**vars(LAYOUT), "application_id": 1}), {})
    with pytest.raises(InputError, match="is not a quiz"):
        Quiz(tmp_path / "other.sqlite")
    with Quiz(path) as quiz, pytest.raises(InputError, match="not one of once"):
        quiz.check_mode("twice")
    assert name_key(" Ada ") == name_key("ada")
