"""Killed, locked, full, half-written, older, newer: a study says so in a sentence, whole."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from studies import fill

from cytodiffusion.errors import InputError
from cytodiffusion.files import atomic
from cytodiffusion.study import Study, database, schema

Make = Callable[..., Study]

#: Annotations are written until so many are acknowledged, by processes of which so many are killed.
ANNOTATIONS, KILLS = 10_000, 50

#: Forks writers that say the number of each annotation once it is committed, and kills them with
#: SIGKILL after a random number of words and a random time; prints how many there are in the end.
KILLER = """
import json, os, random, signal, sys, time
from cytodiffusion.study import Study

folder, wanted, kills = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
random.seed(0)
acknowledged, lost, killed = [], 0, 0
with Study(folder) as study:
    cells = [n for (n,) in study.database.rows("SELECT id FROM cells")]
while killed < kills:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with Study(folder) as study:
            for step in range(10 ** 6):
                cell, name = cells[step % len(cells)], ("monocyte", "neutrophil")[step % 2]
                action = study.annotate(cell, name, "Ada")
                os.write(write, b"%d\\n" % action)
    os.close(write)
    least = wanted // kills + (wanted // (10 * kills))
    with os.fdopen(read, "rb") as stream:
        seen = [int(stream.readline()) for _ in range(random.randint(least, least + 5))]
        time.sleep(random.random() * 0.004)
        os.kill(child, signal.SIGKILL)
        seen += [int(line) for line in stream if line.endswith(b"\\n")]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    killed += 1
    acknowledged += seen
    with Study(folder) as study:
        there = {n for (n,) in study.database.rows("SELECT action FROM annotations")}
        lost += len(set(seen) - there)
with Study(folder) as study:
    there = [n for (n,) in study.database.rows("SELECT action FROM annotations")]
    actions = study.database.one("SELECT count(*) FROM actions")
    damage = study.database.damage()
print(json.dumps({"acknowledged": len(set(acknowledged)), "lost": lost, "killed": killed,
                  "missing": len(set(acknowledged) - set(there)), "there": len(there),
                  "actions": actions, "damage": damage}))
"""

#: Annotates in a process of its own.
WRITER = """
import sys
from cytodiffusion.study import Study
with Study(sys.argv[1]) as study:
    cells = study.cells().index.tolist()
    for step in range(int(sys.argv[3])):
        study.annotate(cells[step % len(cells)], "monocyte", sys.argv[2])
        if step % 5 == 4:
            study.undo(sys.argv[2])
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
def test_a_killed_process_loses_nothing_that_was_acknowledged(make: Make) -> None:
    study = make(40)
    study.close()
    # SIGKILL does not touch what the system has taken: a folder in memory is as good, and quick
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        folder = shutil.copytree(study.folder, Path(place) / "study")
        command = [sys.executable, "-c", KILLER, str(folder), str(ANNOTATIONS), str(KILLS)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told["killed"] == KILLS
    assert told["acknowledged"] >= ANNOTATIONS
    assert (told["lost"], told["missing"]) == (0, 0)
    # at most the one that was being written when the process was killed is there besides
    assert told["acknowledged"] <= told["there"] <= told["acknowledged"] + KILLS
    assert told["actions"] == told["there"]
    assert told["damage"] == ""


def test_two_processes_write_one_study(make: Make) -> None:
    study = make()
    study.close()
    commands = [[sys.executable, "-c", WRITER, str(study.folder), n, "40"] for n in ("Ada", "Bob")]
    processes = [subprocess.Popen(command) for command in commands]
    assert [process.wait() for process in processes] == [0, 0]
    with Study(study.folder) as again:
        assert again.database.damage() == ""
        rows = again.database.rows(
            "SELECT o.name, a.what, count(*) FROM actions a JOIN observers o ON o.id = a.observer "
            "GROUP BY 1, 2 ORDER BY 1, 2"
        )
    assert rows == [(n, w, c) for n in ("Ada", "Bob") for w, c in (("annotate", 40), ("undo", 8))]


def test_an_annotation_is_synced_before_it_returns(make: Make) -> None:
    study = make()
    assert study.database.one("PRAGMA synchronous") == 2
    assert study.database.one("PRAGMA journal_mode") == "wal"


def test_a_study_in_use_is_waited_for(make: Make) -> None:
    study = make()
    with (
        Study(study.folder, busy_seconds=0.05) as impatient,
        study.database.transaction() as connection,
    ):
        connection.execute("INSERT INTO state VALUES ('a', '1')")
        assert len(impatient.cells()) == 6  # readers do not wait
        assert impatient.recall("a") is None  # and see what is committed
        with pytest.raises(InputError, match="in use by another program: wait"):
            impatient.annotate(("a.png", 1), "monocyte", "Ada")
    holding, free = threading.Event(), threading.Event()

    def hold() -> None:
        with Study(study.folder) as other, other.database.transaction():
            holding.set()
            free.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert holding.wait(10)
    threading.Timer(0.2, free.set).start()
    study.annotate(("a.png", 1), "monocyte", "Ada")
    thread.join()
    assert study.recall("a") == 1


def test_a_full_disk_keeps_all_before(make: Make) -> None:
    study = make()
    study.annotate(("a.png", 1), "monocyte", "Ada")
    pages = study.database.one("PRAGMA page_count")
    study.database.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(InputError, match="No space is left on the disk of the study"):
        study.annotate(("a.png", 2), "monocyte", "Ada", comment="x" * 100_000)
    assert len(study.annotations()) == 1
    study.database.rows("PRAGMA max_page_count = 100000")
    study.annotate(("a.png", 2), "monocyte", "Ada", comment="x" * 100_000)
    assert len(study.annotations()) == 2
    assert study.database.damage() == ""


def test_a_full_disk_adds_no_half_image(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make()

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "_settle", full)
    with pytest.raises(InputError, match="No space is left on the disk"):
        fill(study, tmp_path / "b.png", seed=2)
    monkeypatch.undo()
    assert [image.name for image in study.images()] == ["a.png"]
    assert len(list((study.folder / "labels").iterdir())) == 1
    fill(study, tmp_path / "b.png", seed=2)
    assert len(study.cells()) == 12


def test_looking_writes_nothing(make: Make) -> None:
    study = make()
    study.annotate(("a.png", 1), "monocyte", "Ada")
    with Study(study.folder, writable=False) as looking:
        assert looking.cells()["human"].iloc[0] == "monocyte"
        with pytest.raises(InputError, match="opened only to look at it"):
            looking.annotate(("a.png", 2), "monocyte", "Ada")


def test_a_read_only_study_is_said(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make()
    study.database.rows("PRAGMA query_only = ON")  # what SQLite says of a file it may not write
    with pytest.raises(InputError, match=r"cannot be written: .* is read-only"):
        study.annotate(("a.png", 2), "monocyte", "Ada")
    study.close()
    monkeypatch.setattr(database.os, "access", lambda path, mode: False)
    with Study(study.folder, writable=False) as looking:  # without a log beside the file
        assert len(looking.cells()) == 6
        assert not list(study.folder.glob("*-shm"))


def test_a_newer_study_is_left_alone(make: Make) -> None:
    study = make()
    study.database.rows(f"PRAGMA user_version = {schema.VERSION + 1}")
    study.close()
    before = (study.folder / "study.db").read_bytes()
    for writable in (True, False):
        with pytest.raises(
            InputError, match=r"newer version of cytodiffusion.*Nothing was changed"
        ):
            Study(study.folder, writable=writable)
    assert (study.folder / "study.db").read_bytes() == before


def test_an_older_study_is_brought_up_to_date(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make()
    study.annotate(("a.png", 1), "monocyte", "Ada")
    study.close()

    def add_shape(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE cells ADD COLUMN shape TEXT NOT NULL DEFAULT 'round'")

    def fail(connection: sqlite3.Connection) -> None:
        add_shape(connection)
        raise KeyboardInterrupt

    monkeypatch.setattr(schema, "VERSION", 2)
    with pytest.raises(InputError, match=r"a format \(1\) that this version .* no longer reads"):
        Study(study.folder)
    monkeypatch.setattr(schema, "MIGRATIONS", {1: fail})
    with pytest.raises(KeyboardInterrupt):
        Study(study.folder)
    monkeypatch.setattr(schema, "MIGRATIONS", {1: add_shape})
    with pytest.raises(InputError, match=r"older format.*open it once where it can be written"):
        Study(study.folder, writable=False)
    for _ in range(2):
        with Study(study.folder) as again:
            assert again.database.version == 2
            assert again.database.one("SELECT DISTINCT shape FROM cells") == "round"
            assert again.cells()["human"].iloc[0] == "monocyte"
    kept = study.folder / "study-format-1.db"
    with sqlite3.connect(kept) as old:
        assert old.execute("PRAGMA user_version").fetchone() == (1,)
        assert old.execute("SELECT count(*) FROM annotations").fetchone() == (1,)
    old.close()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_cut_file_is_said(make: Make, share: float) -> None:
    study = make(200)
    study.close()
    file = study.folder / "study.db"
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=r"is damaged: use a copy|is not the file of a study"):
        Study(study.folder).cells()


def test_what_is_no_study_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist: make one with"):
        Study(tmp_path / "none")
    with pytest.raises(InputError, match="is not a study: make one with"):
        Study(tmp_path)
    (tmp_path / "study.db").write_text("something else entirely" * 100)
    with pytest.raises(InputError, match="is not the file of a study"):
        Study(tmp_path)
    with sqlite3.connect(tmp_path / "study.db2") as other:
        other.execute("CREATE TABLE a (b)")
    other.close()
    (tmp_path / "study.db2").rename(tmp_path / "study.db")
    with pytest.raises(InputError, match="is not the file of a study"):
        Study(tmp_path)
    with pytest.raises(InputError, match="is a study already"):
        Study.create(tmp_path)


def test_a_study_that_could_not_be_made_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE facts (name)")
        raise KeyboardInterrupt

    monkeypatch.setattr(schema, "create_tables", cut)
    with pytest.raises(KeyboardInterrupt):
        Study.create(tmp_path / "new")
    assert not (tmp_path / "new" / "study.db").exists()
    monkeypatch.undo()
    with Study.create(tmp_path / "new") as study:
        assert study.images() == []
        assert len(study.cells()) == 0
