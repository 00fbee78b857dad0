"""A lesson is read as it was written, by any program, and what is no lesson is told in a line."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lesson_toys import disc_lesson, png, write_disc_lesson

from cytodiffusion.errors import InputError
from cytodiffusion.files.synthetic_mark import is_synthetic
from cytodiffusion.lessons import open_lesson
from cytodiffusion.lessons.content import LessonContent
from cytodiffusion.lessons.lesson_file import write_lesson


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_disc_lesson(tmp_path / "discs.lesson.zip")


def rewritten(path: Path, changes: dict[str, bytes | None]) -> Path:
    """The same zip with other entries; None leaves one out."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries |= changes
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            if data is not None:
                archive.writestr(name, data)
    return path


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        open_lesson(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def changed(path: Path, **parts: object) -> str:
    with zipfile.ZipFile(path) as archive:
        content = json.loads(archive.read("lesson.json")) | parts
    return refused(rewritten(path, {"lesson.json": json.dumps(content).encode()}))


def test_a_lesson_is_read_as_it_was_written(path: Path) -> None:
    content, pictures = disc_lesson()
    lesson = open_lesson(path)
    assert lesson.content == content
    assert {name: lesson.png(name) for name in content.pictures()} == pictures
    assert lesson.picture(content.cells[0].picture).shape == (48, 48, 3)
    assert lesson.sentence() == "6 cells of 3 classes"
    again = write_disc_lesson(path.with_name("again.lesson.zip"))
    assert again.read_bytes() == path.read_bytes()


@given(st.text(max_size=200), st.text(min_size=1, max_size=50), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_any_text_and_share_comes_back(hint: str, title: str, share: float) -> None:
    content, _ = disc_lesson(1, title=title)
    cell = content.cells[0].model_copy(update={"hint": hint, "posterior": {"blue": share}})
    given_ = content.model_copy(update={"cells": (cell,)})
    assert LessonContent.model_validate_json(given_.model_dump_json(by_alias=True)) == given_


def test_it_can_be_used_without_this_program(path: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "out")
    text = (tmp_path / "out" / "README.txt").read_text(encoding="utf-8")
    assert {"Author: Ada", "Licence: CC0"} <= set(text.splitlines())
    cells = json.loads((tmp_path / "out" / "lesson.json").read_text())["cells"]
    assert cells[1]["class"] == "green"
    assert not is_synthetic(tmp_path / "out" / cells[1]["picture"])
    assert is_synthetic(tmp_path / "out" / cells[1]["versions"][0]["picture"])


def test_what_is_no_lesson_is_told(path: Path, tmp_path: Path) -> None:
    assert "no lesson at" in refused(tmp_path / "nothing.lesson.zip")
    text = tmp_path / "text.lesson.zip"
    text.write_text("hello " * 99)
    assert "is not a lesson" in refused(text)
    assert "is not a lesson: it has no lesson.json" in refused(
        rewritten(path, {"lesson.json": None})
    )


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_cut_or_altered_file_is_damaged(path: Path, part: float) -> None:
    whole = path.read_bytes()
    cut = int(len(whole) * part)
    path.write_bytes(whole[:cut])
    assert "lesson" in refused(path)
    path.write_bytes(whole[:cut] + bytes(200) + whole[cut + 200 :])
    assert "damaged" in refused(path) or "lesson" in refused(path)


def test_pictures_that_are_missing_or_none_are_told(path: Path) -> None:
    name = "pictures/cell-0.png"
    assert "damaged: the picture" in refused(rewritten(path, {name: b"no picture"}))
    import numpy as np

    wide = png(np.zeros((20, 30, 3), np.uint8))
    assert "damaged: the picture" in refused(rewritten(path, {name: wide}))
    assert "is missing" in refused(rewritten(path, {name: None}))


def test_content_that_makes_no_sense_is_told(path: Path) -> None:
    assert "another version of cytodiffusion (format 9)" in changed(path, format=9)
    content, _ = disc_lesson()
    cells = json.loads(content.model_dump_json(by_alias=True))["cells"]
    strange = [{**cells[0], "class": "purple"}]
    assert "'purple'" in changed(path, format=1, cells=strange)
    outside = [{**cells[0], "picture": "../../etc/passwd"}]
    assert "cells, 0, picture" in changed(path, cells=outside)
    nearest = [{**cells[0], "nearest": {"blue": 99}}]
    assert "no reference cell" in changed(path, cells=nearest)
    assert "cells, 0, posterior" in changed(path, cells=[{**cells[0], "posterior": {"blue": 7}}])
    assert "surprise" in changed(path, cells=cells, surprise=1)
    assert "is not JSON" in refused(rewritten(path, {"lesson.json": b"{"}))


def test_a_file_made_to_fill_the_memory_is_not_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cytodiffusion.lessons import lesson_file

    monkeypatch.setattr(lesson_file, "MOST_PICTURE", 100)
    assert "larger than any lesson" in refused(path)
    monkeypatch.setattr(lesson_file, "MOST_CONTENT", 100)
    assert "larger than any lesson" in refused(path)


def test_nothing_is_left_where_writing_fails(tmp_path: Path) -> None:
    content, pictures = disc_lesson()
    pictures.pop("pictures/cell-3.png")
    with pytest.raises(KeyError):
        write_lesson(tmp_path / "half.lesson.zip", content, pictures)
    assert not list(tmp_path.iterdir())
