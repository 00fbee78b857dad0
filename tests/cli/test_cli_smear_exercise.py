"""An exercise from the shell: made without its truth, filled in, scored."""

from __future__ import annotations

import json

import pytest

from cytodiffusion.cli import main


@pytest.fixture
def call(capfd):
    def run(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exited:
            main([*map(str, arguments)])
        out, err = capfd.readouterr()
        return int(exited.value.code or 0), out, err

    return run


def test_made_filled_in_and_scored(call, tmp_path) -> None:
    folder = tmp_path / "field"
    size = ("--width", 640, "--height", 512, "--white", 8, "--red", 3)
    made = ("smear", "-o", folder, "--sketches", "--preset", "lymphocytosis", *size)
    code, out, err = call(*made, "--exercise")
    assert code == 0, err
    assert "8 white cells to count" in out
    assert "lymphocyte" not in out
    (tmp_path / "answer.csv").write_text("class,count\nlymphocyte,6\nneutrophil,2\n")
    table = tmp_path / "table.csv"
    code, out, _ = call("score", folder, tmp_path / "answer.csv", "--json", "-o", table)
    record = json.loads(out)
    first = record["classes"][0]
    assert (code, first["class"], first["truth"], first["answer"]) == (0, "lymphocyte", 6, 6)
    assert (first["range_from"], first["range_to"]) == (34.9, 96.8)
    assert table.read_text().startswith("class,truth,")
    code, out, err = call("score", folder, tmp_path / "answer.csv")
    assert "35% to 97%" in out
    assert "8 cells" in err
    (tmp_path / "answer.csv").write_text("class,count\nlymphocite,6\n")
    code, _, err = call("score", folder, tmp_path / "answer.csv")
    assert code == 1
    assert "did you mean lymphocyte?" in err
    assert "Traceback" not in err
