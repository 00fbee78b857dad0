"""The command group: a test made, looked at and evaluated from a shell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toys import PIXEL_SIZE_UM, write_discs

from cytodiffusion.authenticity import AuthenticityTest, ParticipantSession
from cytodiffusion.cli import main
from cytodiffusion.model.testing import tiny_bundle


@pytest.fixture
def run(capfd):
    def call(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exited:
            main(["authenticity", *map(str, arguments)])
        out, err = capfd.readouterr()
        return int(exited.value.code or 0), out, err

    return call


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    tiny_bundle(folder / "model", ("blue", "green", "red"), size=64)
    return write_discs(folder / "data", {"test": 6}).parent


def new(run, made: Path, out: Path, *more: object) -> tuple[int, str, str]:
    options = ("--model", made / "model", "--device", "cpu", "--pixel-size", PIXEL_SIZE_UM)
    return run("new", made / "data", "-o", out, *options, "--steps", 2, "--no-reject", *more)


def test_made_taken_and_evaluated(run, made, tmp_path) -> None:
    code, out, err = new(run, made, tmp_path / "blind", "-n", 12, "--seed", 3, "--json")
    assert code == 0, err
    record = json.loads(out)
    path = tmp_path / "blind.sqlite"
    assert (record["trials"], Path(record["test"])) == (12, path)
    assert record["settings"]["seed"] == 3
    assert {row["measure"] for row in record["leaks"]} >= {"sharpness", "file size"}
    code, out, _ = run("status", path)
    assert (code, "nobody has begun" in out) == (0, True)
    assert run("result", path, "-o", tmp_path / "early")[0] == 1
    with AuthenticityTest(path) as test:
        sitting = ParticipantSession(test, "Ada")
        for _ in range(5):
            sitting.show()
            sitting.answer(True, seconds=1)
    code, out, _ = run("status", path, "--json")
    assert json.loads(out)["sittings"][0]["answered"] == 5
    code, out, err = run("result", path, "-o", tmp_path / "result")
    assert code == 0
    assert "of 5 right" in out
    assert "Ada has answered 5 of 12 trials" in err
    page = (tmp_path / "result" / "result.html").read_text()
    assert "What could give the answer away" in page
    assert "Checked on this test" in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-n", 7), "even number of trials"),
        (("-n", 0), "at least 2 trials"),
        (("-n", 10**6), "hours"),
        (("-n", 288), "only 6 blue, 6 green, 6 red; at most 36 trials fit"),
        (("-n", 12, "--class", "purple"), "no real cells of the class 'purple'"),
    ],
)
def test_bad_input_is_one_sentence(run, made, tmp_path, options, said) -> None:
    code, out, err = new(run, made, tmp_path / "x.sqlite", *options)
    assert code == 1
    assert out == ""
    assert said in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_test_is_said(run, tmp_path) -> None:
    other = tmp_path / "other.sqlite"
    other.write_text("no database")
    for arguments in (("status", other), ("result", other, "-o", tmp_path / "out")):
        code, _, err = run(*arguments)
        assert code == 1
        assert "is not an authenticity test" in err


def test_public_cells_are_not_fetched_unasked(run, made, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("cytodiffusion.datasets.public_cells.cache_folder", lambda: tmp_path / "c")
    options = ("--model", made / "model", "--device", "cpu")
    code, _, err = run("new", "public", "-o", tmp_path / "x.sqlite", *options)
    assert code == 1
    assert "MIT licence" in err
    assert "--allow-download" in err
    assert list(tmp_path.iterdir()) == []
