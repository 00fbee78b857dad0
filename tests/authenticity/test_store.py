"""A file that only grows, loses nothing, and tells damaged and foreign files from its own."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cytodiffusion.authenticity import AuthenticityTest, ParticipantSession, Question
from cytodiffusion.authenticity.answers import read_answers
from cytodiffusion.errors import InputError

KILLED = """
import sys
from cytodiffusion.authenticity import AuthenticityTest, ParticipantSession
sitting = ParticipantSession(AuthenticityTest(sys.argv[1]), "Ada")
while (trial := sitting.show()) is not None:
    sitting.answer(trial.number % 3 == 0, "red", seconds=trial.number)
    print(trial.number, flush=True)
"""


def answered(path: Path, name: str, said: list[bool], mode: str = "blind") -> None:
    with AuthenticityTest(path) as test:
        sitting = ParticipantSession(test, name, mode)
        for synthetic in said:
            sitting.show()
            sitting.answer(synthetic, seconds=1.0)


def test_a_killed_process_loses_no_answer(make) -> None:
    path = make(600)
    acknowledged = 0
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            acknowledged = int(line)
            if acknowledged == 25:
                os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert 25 <= acknowledged < 600
    # what it said it had written is there, at most the one it was writing more
    with AuthenticityTest(path) as test:
        (info,) = test.sittings()
        assert acknowledged <= info.answered <= acknowledged + 1
        sitting = ParticipantSession(test, "ada")
        assert sitting.id == info.id
        trial = sitting.show()
        assert trial is not None
        assert trial.number == info.answered + 1
    table = read_answers([path]).table
    assert table["seconds"].tolist() == list(range(1, info.answered + 1))
    assert table["said_synthetic"].tolist() == [n % 3 == 0 for n in range(1, info.answered + 1)]
    assert not list(path.parent.glob("*-wal"))  # one plain file is left


def test_nothing_in_a_trial_tells_what_the_cell_is(make) -> None:
    path = make(12)
    with AuthenticityTest(path) as test:
        sitting = ParticipantSession(test, "Ada")
        trial = sitting.show()
        assert set(Question.__dataclass_fields__) == {"number", "of", "pixels"}
        assert (trial.number, trial.of, trial.pixels.shape) == (1, 12, (48, 48, 3))
        assert sitting.answer(True, seconds=1) is None


def test_there_is_no_way_back_and_no_second_answer(make) -> None:
    path = make(4)
    with AuthenticityTest(path) as first, AuthenticityTest(path) as second:
        one, two = ParticipantSession(first, "Ada"), ParticipantSession(second, "Ada")
        one.show(), two.show()
        one.answer(True, seconds=1)
        with pytest.raises(InputError, match="open in another window"):
            two.answer(False, seconds=1)
        row = (one.id, 3, 0, 1, None, 1.0, "now")
        with pytest.raises(InputError):  # out of order
            first.append("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        for statement in (
            "UPDATE answers SET said_synthetic = 0",
            "DELETE FROM answers",
            "UPDATE cells SET synthetic = 1 - synthetic",
            "DELETE FROM sittings",
        ):
            with pytest.raises(InputError):
                first.append(statement, ())
        assert first.rows("SELECT said_synthetic FROM answers") == [(1,)]


def test_a_finished_test_stands(make) -> None:
    path = make(4)
    answered(path, " Ada  Lovelace", [True] * 4)
    with AuthenticityTest(path) as test:
        assert test.sittings()[0].participant == "Ada Lovelace"
        assert test.sittings()[0].finished
        with pytest.raises(InputError, match="has finished this test already"):
            ParticipantSession(test, "ada lovelace")
        assert ParticipantSession(test, "Grace").answered == 0


@pytest.mark.parametrize("name", ["", "  ", "\t\n"])
def test_a_participant_needs_a_name(make, name) -> None:
    with AuthenticityTest(make()) as test:
        with pytest.raises(InputError, match="needs a name"):
            ParticipantSession(test, name)
        with pytest.raises(InputError, match="at most 80"):
            ParticipantSession(test, "x" * 81)
        with pytest.raises(InputError, match="readable"):
            ParticipantSession(test, "a\x00b")


def test_teaching_tells_and_spoils_the_blind_test(make) -> None:
    path = make(4)
    with AuthenticityTest(path) as test:
        sitting = ParticipantSession(test, "Ada", "teaching")
        order = test.order(sitting.id)
        sitting.show()
        told = sitting.answer(True, "red", seconds=1)
        made, name = test.truth(order[0])
        assert (told.synthetic, told.class_name, told.right) == (made, name, made)
        assert told.class_right == (name == "red")
        with pytest.raises(InputError, match="has seen the answers for 1 of these cells"):
            ParticipantSession(test, "Ada", "blind")
        ParticipantSession(test, "Grace").show()
        with pytest.raises(InputError, match="has not finished the blind test"):
            ParticipantSession(test, "Grace", "teaching")
    answered(path, "Grace", [True] * 4)
    answered(path, "Grace", [False] * 2, "teaching")
    assert set(read_answers([path]).table["participant"]) == {"Grace"}
    assert set(read_answers([path], "teaching").table["participant"]) == {"Ada", "Grace"}


def test_answers_that_make_no_sense_are_refused(make) -> None:
    with AuthenticityTest(make(2)) as test:
        sitting = ParticipantSession(test, "Ada")
        sitting.show()
        with pytest.raises(InputError, match="none of the classes"):
            sitting.answer(True, "purple", seconds=1)
        for seconds in (-1, float("nan"), float("inf")):
            with pytest.raises(InputError, match="cannot take"):
                sitting.answer(True, seconds=seconds)
        sitting.answer(True, seconds=1)
        sitting.answer(True, seconds=1)
        assert sitting.show() is None
        with pytest.raises(InputError, match="answered already"):
            sitting.answer(True, seconds=1)
        with pytest.raises(InputError, match="mode"):
            test.begin("Bob", "peeking")


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        AuthenticityTest(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_foreign_files_are_told_and_left_alone(make, tmp_path) -> None:
    assert "no authenticity test at" in refused(tmp_path / "nothing.sqlite")
    text = tmp_path / "text.sqlite"
    text.write_text("hello, I am no database at all " * 99)
    assert "is not an authenticity test" in refused(text)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE cells (id)")
    database.close()
    before = other.read_bytes()
    assert "is not an authenticity test" in refused(other)
    assert other.read_bytes() == before
    (tmp_path / "empty.sqlite").touch()
    assert "is not an authenticity test" in refused(tmp_path / "empty.sqlite")


@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_truncated_or_overwritten_file_is_damaged(make, part) -> None:
    path = make(60)
    whole = path.read_bytes()
    cut = int(len(whole) * part)
    path.write_bytes(whole[:cut])
    assert "damaged" in refused(path) or "cannot be read" in refused(path)
    path.write_bytes(whole[:cut] + bytes(2000) + whole[cut + 2000 :])
    assert "damaged" in refused(path)


def test_a_truth_that_was_tampered_with_is_noticed(make) -> None:
    path = make(6)
    with sqlite3.connect(path) as database:
        database.execute("DROP TRIGGER cells_UPDATE")
        database.execute("UPDATE cells SET synthetic = 1 - synthetic WHERE id = 2")
    database.close()
    assert "are not those it was made with" in refused(path)


def test_another_format_is_said(make) -> None:
    path = make(6)
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 9")
    database.close()
    assert "another version" in refused(path)


def test_results_of_a_read_only_file_can_be_read(make) -> None:
    path = make(4)
    answered(path, "Ada", [True, False])
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        assert len(read_answers([path]).table) == 2
    finally:
        path.parent.chmod(0o755)


def test_the_same_seed_and_name_give_the_same_order(make) -> None:
    orders = []
    for name in ("a.sqlite", "b.sqlite"):
        with AuthenticityTest(make(30, name)) as test:
            orders.append([test.order(test.begin(who).id) for who in ("Ada", "Bob")])
    assert orders[0] == orders[1]
    assert orders[0][0] != orders[0][1]
    assert np.array_equal(np.sort(orders[0][0]), np.arange(30))
