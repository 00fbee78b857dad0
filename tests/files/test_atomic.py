"""Files are there and whole, or not there; why not is one sentence."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import (
    atomic_file,
    check_folder,
    prepare_folder,
    sha256,
    staged_folder,
)


def everything_below(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_atomic_file_replaces_at_once(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "table.csv"
    with atomic_file(target) as partial:
        partial.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert everything_below(tmp_path) == ["deep", "deep/table.csv"]


@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt])
def test_a_failed_block_keeps_what_was_there(tmp_path: Path, problem: type[BaseException]) -> None:
    target = tmp_path / "table.csv"
    target.write_text("old")

    def write_half() -> None:
        with atomic_file(target) as partial:
            partial.write_text("half")
            raise problem

    with pytest.raises(problem):
        write_half()
    assert target.read_text() == "old"
    assert everything_below(tmp_path) == ["table.csv"]


@pytest.mark.skipif(os.name == "nt", reason="permissions differ")
def test_files_get_the_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_file(tmp_path / "a.csv") as partial:
            partial.write_text("x")
    finally:
        os.umask(before)
    assert (tmp_path / "a.csv").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "No space is left"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "read-only"),
        (errno.EIO, "cannot be written"),
    ],
)
def test_the_disk_says_no(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "replace", refuse)
    with (
        pytest.raises(InputError, match=words) as caught,
        staged_folder(tmp_path / "a" / "b") as staging,
    ):
        (staging / "x.txt").write_text("x")
    assert str(tmp_path / "a" / "b") in str(caught.value)
    assert everything_below(tmp_path) == []  # the folders that were made are gone as well


def test_staged_files_arrive_together(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with staged_folder(out) as staging:
        (staging / "a").write_text("a")
        (staging / "b").write_text("b")
        assert [p.name for p in out.iterdir()] == [staging.name]
    assert everything_below(out) == ["a", "b"]


def test_a_failed_run_leaves_earlier_results_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")

    def stage_half() -> None:
        with staged_folder(tmp_path) as staging:
            (staging / "a").write_text("new")
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        stage_half()
    assert everything_below(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_a_folder_in_the_way_of_a_result_stops_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()

    def stage_both() -> None:
        with staged_folder(tmp_path) as staging:
            (staging / "a").write_text("a")
            (staging / "b").write_text("b")

    with pytest.raises(InputError, match="folder"):
        stage_both()
    assert everything_below(tmp_path) == ["b"]
    with pytest.raises(InputError, match="folder"), atomic_file(tmp_path / "b") as partial:
        partial.write_text("b")


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="there is a file where a folder is needed"):
            prepare_folder(folder)
        with pytest.raises(InputError, match="there is a file"), staged_folder(folder):
            pass
    with pytest.raises(InputError, match="too long"):
        prepare_folder(tmp_path / ("n" * 300))


def test_a_folder_is_checked_without_being_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_folder(tmp_path / "a" / "b")
    assert everything_below(tmp_path) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="there is a file"):
        check_folder(tmp_path / "file" / "a")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(InputError, match="read-only"):
        check_folder(tmp_path / "a")


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()
