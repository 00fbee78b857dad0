"""Studies that cannot be used, on the command line: one sentence, exit code 1, nothing lost."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from studies import fill

from cytodiffusion.cli import main
from cytodiffusion.files import atomic
from cytodiffusion.study import Study, database, schema

Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of one image in which one cell has a class from Ada."""
    with Study.create(tmp_path / "study") as study:
        fill(study, tmp_path / "images" / "a.png", 60)
        study.annotate(("a.png", 1), "monocyte", "Ada")
    return tmp_path / "study"


@pytest.fixture
def commands(tmp_path: Path) -> dict[str, list[object]]:
    """What each command needs besides the study."""
    table = tmp_path / "said.csv"
    table.write_text("label,class\n2,monocyte\n", encoding="utf-8")
    return {
        "info": [],
        "check": [],
        "annotate": [table, "--observer", "Ada"],
        "export": ["-o", tmp_path / "cells.csv"],
        "add": [tmp_path / "images", "--device", "cpu"],
    }


def execute(folder: Path, statement: str) -> None:
    connection = sqlite3.connect(folder / "study.db")
    connection.execute(statement)
    connection.commit()
    connection.close()


def newer(folder: Path) -> str:
    execute(folder, f"PRAGMA user_version = {schema.VERSION + 1}")
    return "was made by a newer version of cytodiffusion"


def cut(folder: Path) -> str:
    content = (folder / "study.db").read_bytes()
    (folder / "study.db").write_bytes(content[: len(content) // 2])
    return "is damaged: use a copy of it. Nothing was changed in it"


def emptied(folder: Path) -> str:
    (folder / "study.db").write_bytes(b"")
    return "is not the file of a study"


def foreign(folder: Path) -> str:
    (folder / "study.db").write_bytes(b"a letter to my mother" * 1000)
    return "is not the file of a study"


@pytest.mark.parametrize("spoil", [newer, cut, emptied, foreign])
def test_every_command_says_it_and_leaves_the_file_alone(
    run: Run, folder: Path, commands: dict[str, list[object]], spoil: Callable[[Path], str]
) -> None:
    sentence = spoil(folder)
    before = (folder / "study.db").read_bytes()
    for command, more in commands.items():
        code, told = run("study", command, folder, *more)
        assert code == 1, command
        assert sentence in told["error"], command
    assert (folder / "study.db").read_bytes() == before
    assert not (folder.parent / "cells.csv").exists()


def test_a_study_in_use_is_said(
    run: Run, folder: Path, commands: dict[str, list[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = database._connect
    monkeypatch.setattr(
        database, "_connect", lambda path, writable, _: connect(path, writable, 0.1)
    )
    with Study(folder) as busy, busy.database.transaction():
        code, told = run("study", "annotate", folder, *commands["annotate"])
        assert code == 1
        assert (
            told["error"]
            == "The study study is in use by another program: wait until that is done."
        )
        assert run("study", "info", folder)[1]["annotated"] == 1  # looking is not held up
    assert run("study", "annotate", folder, *commands["annotate"])[1]["placed"] == 1


def test_a_read_only_study_can_be_looked_at(
    run: Run, folder: Path, commands: dict[str, list[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda at, mode: mode != os.W_OK and access(at, mode))
    for command in ("annotate", "add"):  # before the model is loaded
        code, told = run("study", command, folder, *commands[command])
        assert code == 1
        assert "cannot be written" in told["error"]
        assert "is read-only" in told["error"]
    assert run("study", "info", folder)[1]["annotated"] == 1
    assert run("study", "check", folder)[0] == 0
    monkeypatch.undo()
    assert run("study", "info", folder)[1]["annotated"] == 1


def files(folder: Path) -> list[Path]:
    """All files but those that SQLite has beside an open one."""
    return sorted(p for p in folder.rglob("*") if not p.name.endswith(("-shm", "-wal")))


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_nothing_half(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(tmp_path)
    monkeypatch.setattr(atomic, "_settle", no_space)
    for target in ("cells.csv", "cells.geojson", "crops"):
        code, told = run("study", "export", folder, "-o", tmp_path / target)
        assert code == 1
        assert told["error"].startswith("No space is left on the disk")
    assert run("study", "new", tmp_path / "new")[1]["error"].startswith("No space is left")
    shutil.rmtree(tmp_path / "new")
    assert files(tmp_path) == before
    monkeypatch.undo()

    def full(connection: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(schema, "create_tables", full)
    code, told = run("study", "new", tmp_path / "new")
    assert code == 1
    assert "No space is left on the disk of the study new" in told["error"]
    assert not (tmp_path / "new" / "study.db").exists()


def test_a_full_disk_keeps_what_was_annotated(
    run: Run, folder: Path, commands: dict[str, list[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = database._connect

    def small(path: Path, writable: bool, seconds: float) -> sqlite3.Connection:
        connection = connect(path, writable, seconds)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    monkeypatch.setattr(database, "_connect", small)
    table = folder.parent / "many.csv"
    rows = "".join(f"{label},{'x' * 70}{label}\n" for label in range(1, 61))
    table.write_text(f"label,class\n{rows}", encoding="utf-8")
    code, told = run("study", "annotate", folder, table, "--observer", "Ada")
    assert code == 1
    assert "No space is left on the disk of the study study" in told["error"]
    monkeypatch.undo()
    info = run("study", "info", folder)[1]
    assert (info["annotated"], len(info["classes"])) == (1, 3)  # all of a file, or nothing
    assert run("study", "check", folder)[0] == 0


def test_a_label_image_that_is_missing_stops_only_what_needs_it(
    run: Run, folder: Path, commands: dict[str, list[object]], tmp_path: Path
) -> None:
    shutil.rmtree(folder / "labels")
    code, told = run("study", "check", folder)
    assert code == 1
    assert "is missing" in told["error"]
    for target in ("cells.geojson", "crops"):
        code, told = run("study", "export", folder, "-o", tmp_path / target)
        assert code == 1
        assert "is missing in the study: put it back from a copy" in told["error"]
        assert not (tmp_path / target).exists()
    assert run("study", "annotate", folder, *commands["annotate"])[1]["placed"] == 1
    assert run("study", "export", folder, *commands["export"])[0] == 0


def test_an_image_that_is_gone_is_found_by_its_checksum(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    image = tmp_path / "images" / "a.png"
    (tmp_path / "attic").mkdir()
    shutil.move(image, tmp_path / "attic" / "other name.png")
    code, told = run("study", "export", folder, "-o", tmp_path / "crops")
    assert code == 1
    assert "is no longer at" in told["error"]
    assert "are kept" in told["error"]
    image.write_bytes(b"something else")  # of that name, but not that image
    assert "is no longer the image a.png" in run("study", "check", folder)[1]["error"]
    code, told = run("study", "check", folder, "--images", tmp_path / "attic")
    assert code == 0
    assert "Found again" in told["notes"][0]
    assert run("study", "export", folder, "-o", tmp_path / "crops")[0] == 0


@pytest.mark.parametrize("command", ["new", "info", "check", "annotate", "export", "add"])
def test_a_name_that_is_too_long_for_the_disk_is_told(
    run: Run, folder: Path, commands: dict[str, list[object]], command: str
) -> None:
    code, told = run("study", command, folder.parent / ("x" * 300), *commands.get(command, []))
    assert code == 1
    assert "too long" in told["error"]


def test_a_file_that_is_no_study_is_told(run: Run, commands: dict[str, list[object]]) -> None:
    code, told = run("study", "info", commands["annotate"][0])
    assert code == 1
    assert "is not a study: make one with" in told["error"]


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_makes_no_study(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exited:
        main(["study", "new", name])
    assert exited.value.code == 2
    assert "is empty" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
