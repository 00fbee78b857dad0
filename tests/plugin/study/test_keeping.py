"""What is open in the viewer, kept in a study."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Picture
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_cytodiffusion.classify.reviewing import Reviewing
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.study.current import CurrentStudy
from napari_cytodiffusion.study.keeping import KeepButton


@pytest.fixture
def desk(viewer, qtbot):
    parent, classify = QWidget(), ClassifyWidget(viewer)
    for widget in (parent, classify):
        qtbot.addWidget(widget)
    session = Session.of(viewer)
    button, current = KeepButton(session, parent), CurrentStudy.of(session)
    yield classify, button, current, session
    settle(session, qtbot)
    current.close()


def settle(session, qtbot):
    reviewing = Reviewing.of(session)
    qtbot.waitUntil(lambda: not session.busy and reviewing._job is None, timeout=30_000)


def test_classified_cells_are_kept_with_what_was_said(desk, viewer, qtbot, tmp_path, monkeypatch):
    classify, button, current, session = desk
    assert button.button.text() == "Keep in a study ..."
    classify.start()
    settle(session, qtbot)
    session.inspect(3)
    Reviewing.of(session).call_observer("Ada")
    Reviewing.of(session).say("neutrophil")
    settle(session, qtbot)
    predicted = session.current.results.uncorrected.record(3).predicted
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_, **__: (str(tmp_path / "mine"), "")
    )
    button.button.click()
    settle(session, qtbot)
    assert current.folder == tmp_path / "mine"
    table = current.study.cells().set_index("label")
    assert len(table) == 12
    assert table.loc[3, "human"] == "neutrophil"
    assert table.loc[3, "observer"] == "Ada"
    assert table.loc[3, "predicted"] == session.current.coarse.class_names[predicted]
    assert table["human"].tolist().count("") == 11
    # the layer was in no file: its pixels are in the study
    image = current.study.images()[0]
    assert current.study.image_path(image.name).parent == tmp_path / "mine" / "images"
    assert button.said.text().startswith("12 cells are in the study now, 1 of them")
    assert image.pixel_size_um == pytest.approx(0.1)
    np.testing.assert_array_equal(current.study.labels(image.name), viewer.layers["cells"].data)
    # from now on it belongs to the study: the next word is on the disk
    assert current.image_of(session.current) == image.name
    assert not button.button.isVisibleTo(button)
    session.inspect(4)
    Reviewing.of(session).say("basophil")
    assert set(current.study.cells().set_index("label").query("human != ''").index) == {3, 4}


def test_a_file_stays_where_it_is_and_a_second_time_adds_nothing(
    desk, viewer, smear, qtbot, tmp_path
):
    classify, button, current, session = desk
    path = tmp_path / "smear.png"
    Picture.fromarray(smear[0]).save(path)
    viewer.layers["smear"].metadata["cytodiffusion"] = {"path": str(path)}
    classify.start()
    settle(session, qtbot)
    assert current.create(tmp_path / "study")
    assert button.button.text() == "Keep in study"
    button.keep()
    settle(session, qtbot)
    assert current.study.image_path("smear") == path
    before = len(current.study.annotations())
    for name in ("cells", "smear"):  # as if it were opened from elsewhere
        viewer.layers[name].metadata["cytodiffusion"].pop("study")
    button.refresh()
    assert button.button.isVisibleTo(button)
    button.keep()
    settle(session, qtbot)
    assert len(current.study.images()) == 1
    assert len(current.study.annotations()) == before


def test_cells_that_nobody_classified_are_kept_too(desk, viewer, qtbot, tmp_path):
    _, button, current, session = desk
    assert current.create(tmp_path / "study")
    assert button.button.isVisibleTo(button.parentWidget())
    button.keep()
    settle(session, qtbot)
    table = current.study.cells()
    assert len(table) == 12
    assert (table["predicted"] == "").all()
    assert current.open_names() == ["smear"]


def test_changed_cells_are_kept_without_a_class(desk, viewer, qtbot, tmp_path):
    classify, button, current, session = desk
    classify.start()
    settle(session, qtbot)
    cells = viewer.layers["cells"]
    cells.visible = True
    cells.data_setitem((np.array([30, 31]), np.array([44, 44])), 1)
    qtbot.waitUntil(lambda: bool(session.current.changes), timeout=20_000)
    assert current.create(tmp_path / "study")
    button.keep()
    settle(session, qtbot)
    table = current.study.cells().set_index("label")
    assert table.loc[1, "predicted"] == ""
    assert (table.drop(index=1)["predicted"] != "").all()


def test_where_the_scale_is_not_known_it_is_said(desk, viewer, qtbot, tmp_path, messages):
    _, button, current, _ = desk
    assert current.create(tmp_path / "study")
    for layer in viewer.layers:
        layer.units = ("pixel", "pixel")
    button.keep()
    assert "how large the pixels" in messages[0]
    assert current.study.images() == []
