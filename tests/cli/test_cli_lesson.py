"""A lesson made, played and exported from a shell."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from lesson_toys import NAMES, write_disc_lesson
from toys import PIXEL_SIZE_UM, write_discs

from cytodiffusion.cli import main
from cytodiffusion.files.synthetic_mark import is_synthetic
from cytodiffusion.lessons import LessonAnswers, open_lesson
from cytodiffusion.model.testing import tiny_bundle

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    def call(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exited:
            main(["lesson", *map(str, arguments)])
        out, err = capfd.readouterr()
        return int(exited.value.code or 0), out, err

    return call


@pytest.fixture
def lesson(tmp_path: Path) -> Path:
    return write_disc_lesson(tmp_path / "discs.lesson.zip", 3)


def types(monkeypatch: pytest.MonkeyPatch, *answers: object) -> None:
    """What the learner types, a line each."""
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{one}\n" for one in answers)))


def order(path: Path, name: str = "Ada") -> list[int]:
    """Keys of the right answers, in the order in which a learner is asked first."""
    opened = open_lesson(path)
    with LessonAnswers(opened, writable=False) as answers:
        (info,) = [s for s in answers.sittings() if s.participant == name]
        cells = answers.order(info.id)
    return [NAMES.index(opened.content.cells[cell].class_name) + 1 for cell in cells]


def test_made_of_images(call: Call, tmp_path: Path) -> None:
    data = write_discs(tmp_path / "data", {"test": 4})
    tiny_bundle(tmp_path / "model", tuple(NAMES))
    options = ("-m", tmp_path / "model", "--device", "cpu", "--pixel-size", PIXEL_SIZE_UM)
    texts = ("--title", "Colours", "--licence", "CC0", "--language", "en")
    code, out, err = call(
        *("new", data, "-o", tmp_path / "colours", "--classes", "red, blue", "--no-explain"),
        *("--per-class", 2, "--references", 1, "--seed", 4, "--json", *options, *texts),
    )
    assert code == 0, err
    record = json.loads(out)
    assert (record["classes"], record["cells"]) == (["red", "blue"], 4)
    made = open_lesson(tmp_path / "colours.lesson.zip").content
    assert (made.title, made.licence, made.made["settings"]["seed"]) == ("Colours", "CC0", 4)
    code, _, err = call("new", "-o", tmp_path / "other")
    assert (code, "--synthetic" in err) == (1, True)
    assert call("new", data, "--synthetic", "-o", tmp_path / "other")[0] == 1


def test_synthetic_cells_need_no_data(call: Call, tmp_path: Path) -> None:
    code, out, err = call(
        *("new", "--synthetic", "-o", tmp_path / "drawn.lesson.zip", "--no-explain"),
        *("--classes", "eosinophil,lymphocyte", "--per-class", 1, "--references", 0),
        *("--device", "cpu"),
    )
    assert code == 0, err
    assert "2 synthetic cells of 2 classes" in out
    content = open_lesson(tmp_path / "drawn.lesson.zip").content
    assert "Coarse, round granules" in content.classes[0].hint
    assert content.cells[0].attributes


def test_played_stopped_gone_on_with_and_exported(
    call: Call, lesson: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = tmp_path / "pictures"
    play = ("run", lesson, "-l", "Ada", "--pictures", pictures)
    types(monkeypatch, "q")
    assert call(*play)[0] == 0
    right = order(lesson)
    types(monkeypatch, "what", 9, right[0] % 3 + 1)  # wrong; then the input ends
    code, out, err = call(*play)
    assert code == 0
    assert f"it is {NAMES[right[0] - 1]}" in out
    assert "Reviewed: class given by Grace." in out
    assert "Type a number from 1 to 3" in err
    assert "Stopped here" in out
    assert is_synthetic(pictures / "answer.png")  # one of its pictures is
    assert not is_synthetic(pictures / "question.png")
    types(monkeypatch, right[1], right[2], right[0])
    code, out, _ = call(*play)
    assert code == 0
    assert "Ada goes on" in out
    assert "Finished: 2 of 3 right at the first answer." in out
    code, out, _ = call("export", lesson, "-o", tmp_path / "out")
    assert code == 0
    assert "1 learner, 2 of 3 first answers right" in out
    assert len(pd.read_csv(tmp_path / "out" / "answers.csv")) == 4
    assert (tmp_path / "out" / "report.html").is_file()
    code, out, _ = call("export", lesson, "-o", tmp_path / "out", "--json")
    assert json.loads(out)["scores"][0]["right"] == 2


def test_a_test_tells_at_the_end(call: Call, lesson: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    types(monkeypatch, "q")
    call("run", lesson, "--mode", "test", "-l", "Ada")
    right = order(lesson)
    types(monkeypatch, right[0] % 3 + 1, right[1], right[2])
    code, out, _ = call("run", lesson, "--mode", "test", "-l", "Ada")
    assert code == 0
    assert out.index("Finished: 2 of 3") < out.index("it is ")
    assert out.count("it is ") == 1


def test_what_is_wrong_is_one_sentence(call: Call, lesson: Path, tmp_path: Path) -> None:
    lesson.with_name("other.zip").write_bytes(b"no zip")
    for arguments in (
        ("run", tmp_path / "nothing.lesson.zip"),
        ("run", tmp_path / "other.zip"),
        ("export", lesson, "-o", tmp_path / "out"),
    ):
        code, _, err = call(*arguments)
        assert code == 1
        assert "Traceback" not in err
        assert err.count("Error:") == 1
