"""Cells to be reviewed: of a classified field, and of a study."""

from __future__ import annotations

import pytest
from studies import fill_classified

from cytodiffusion.study import Study
from napari_cytodiffusion.classify.reviewing import Reviewing
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.review import widget as review
from napari_cytodiffusion.review.widget import ReviewWidget
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.study.current import CurrentStudy


@pytest.fixture
def settle(viewer, qtbot):
    """Wait until nothing runs, and nothing is learned or drawn any more."""
    session = Session.of(viewer)
    reviewing = Reviewing.of(session)

    def wait() -> None:
        qtbot.waitUntil(lambda: not session.busy and reviewing._job is None, timeout=60_000)

    return wait


@pytest.fixture
def widget(viewer, engine, qtbot, settle):
    """The widget beside a field of twelve classified cells."""
    classify = ClassifyWidget(viewer)
    qtbot.addWidget(classify)
    classify.start()
    settle()
    made = ReviewWidget(viewer)
    qtbot.addWidget(made)
    made.resize(420, 700)
    made.show()
    return made


@pytest.fixture
def folder(tmp_path):
    """A study with two images of six cells each."""
    with Study.create(tmp_path / "study") as study:
        for number, name in enumerate(("a.png", "b.png")):
            fill_classified(study, tmp_path / "images" / name, seed=number)
    return tmp_path / "study"


@pytest.fixture
def current(viewer, folder, settle):
    """The study, open."""
    viewer.layers.clear()
    made = CurrentStudy.of(Session.of(viewer))
    assert made.open(folder)
    made._reviewing.call_observer("Ada")
    yield made
    settle()
    made.close()


@pytest.fixture
def of_study(viewer, current, qtbot, settle):
    """The widget beside an open study."""
    made = ReviewWidget(viewer)
    qtbot.addWidget(made)
    made.resize(420, 700)
    made.show()
    qtbot.waitUntil(lambda: len(made.source.cells) == 12, timeout=20_000)
    return made


@pytest.fixture
def asked(monkeypatch):
    """Questions, all of which are answered with yes."""
    questions: list[str] = []

    def reply(parent, title, question):
        questions.append(question)
        return True

    monkeypatch.setattr(review, "ask", reply)
    return questions
