"""Progress where standard error is no terminal: a plain line now and then."""

from __future__ import annotations

import pytest

from cytodiffusion.cli import reporter as module
from cytodiffusion.cli.reporter import Reporter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_line_at_most_every_so_often(
    clock: list[float], capfd: pytest.CaptureFixture[str]
) -> None:
    with Reporter("train").progress("Training m") as progress:
        for step in range(1, 101):
            clock[0] += 3
            progress(step / 200, f"step {step}/200")
    title, *lines = capfd.readouterr().err.splitlines()
    assert title == "Training m"
    assert len(lines) == 300 // 21
    assert lines[0] == "4 %: step 7/200, 10 min left"
    assert lines[-1] == "49 %: step 98/200, 5 min left"


def test_time_left_counts_from_where_this_run_began(
    clock: list[float], capfd: pytest.CaptureFixture[str]
) -> None:
    with Reporter("train").progress("Training m") as progress:
        progress(0.5, "step 100/200")
        clock[0] += 3600
        progress(0.75, "step 150/200")
    assert capfd.readouterr().err.splitlines()[-1] == "75 %: step 150/200, 1 h 0 min left"


def test_preparations_do_not_count_as_the_pace_of_what_follows(
    clock: list[float], capfd: pytest.CaptureFixture[str]
) -> None:
    with Reporter("train").progress("Training m") as progress:
        for picture in range(30):
            clock[0] += 60
            progress(0.0, f"drawing picture {picture}")
        clock[0] += 36
        progress(0.01, "step 2/200")
    assert capfd.readouterr().err.splitlines()[-1] == "1 %: step 2/200, 59 min left"


def test_quiet_and_quick_work_say_nothing(
    clock: list[float], capfd: pytest.CaptureFixture[str]
) -> None:
    with Reporter("train", quiet=True).progress("Training m") as progress:
        clock[0] += 100
        progress(0.5, "half")
    with Reporter("train").progress("Training m") as progress:
        clock[0] += 1
        progress(0.5, "half")
    assert capfd.readouterr().err.splitlines() == ["Training m"]
