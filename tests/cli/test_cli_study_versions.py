"""Versions of a model in a study, from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from teachable import add_classified, annotate, teachable_bundle, truth_of

from cytodiffusion.cli import main
from cytodiffusion.study import Study

Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Teach a model twice in a study."""
    folder = tmp_path_factory.mktemp("taught")
    model = teachable_bundle(folder / "tiny")
    with Study.create(folder / "study") as study:
        add_classified(study, folder / "images" / "a.png", model, truth_of(120, 40))
        annotate(study, list(study.cells().index[:90]), truth_of(120, 40)[:90])
    for _ in range(2):
        arguments = ["teach", folder / "study", "--model", folder / "tiny", "--quiet"]
        with pytest.raises(SystemExit, match=r"^0$"):
            main([str(a) for a in arguments])
    return folder / "study"


def test_versions_are_listed_kept_and_deleted(run: Run, taught: Path) -> None:
    code, found = run("study", "versions", taught)
    assert code == 0
    assert [(v["number"], v["kept"]) for v in found["versions"]] == [(1, False), (2, False)]
    assert sum(found["versions"][0]["learnt"].values()) > 0
    assert Path(found["versions"][1]["model"]) == taught / "models" / "v2"
    _, found = run("study", "versions", taught, "--keep", 2, "--discard", 1)
    assert [(v["number"], v["kept"]) for v in found["versions"]] == [(2, True)]
    assert not (taught / "models" / "v1").exists()
    _, found = run("study", "versions", taught, "--keep", 0)
    assert [v["kept"] for v in found["versions"]] == [False]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--keep", 7], "has no version 7"),
        (["--discard", 7], "has no version 7"),
        (["--keep", 2, "--discard", 7], "has no version 7"),
        (["--keep", 2, "--discard", 2], "both kept and deleted"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    run: Run, taught: Path, arguments: list[object], said: str
) -> None:
    before = run("study", "versions", taught)[1]["versions"]
    code, found = run("study", "versions", taught, *arguments)
    assert code != 0
    assert said in found["error"]
    assert run("study", "versions", taught)[1]["versions"] == before


def test_the_page_names_the_models(taught: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["study", "versions", str(taught)])
    page = "".join(capsys.readouterr().out.split())
    assert "Learntfrom" in page
    assert "2head" in page
    assert "/models,asv1" in page


def test_a_study_without_versions_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Study.create(tmp_path / "study").close()
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["study", "versions", str(tmp_path / "study")])
    assert "No version" in capsys.readouterr().err
