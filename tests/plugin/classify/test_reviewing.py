"""A person gives cells their classes, and all others learn from it."""

from __future__ import annotations

import gc
import time
import weakref

import numpy as np
import pandas as pd
import pytest
from fake_engine import CLASSES, COLORS, result_of
from napari.layers import Labels
from qtpy.QtWidgets import QInputDialog

from cytodiffusion.cells.crops import Crops
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.drawing.maps import HUMAN, CellMaps
from cytodiffusion.pipeline import CellBatch
from cytodiffusion.progress import silent
from napari_cytodiffusion.classify.inspect import InspectWidget
from napari_cytodiffusion.classify.reviewing import Reviewing, learn_body
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.layers.placement import OUTLINE_COLORS
from napari_cytodiffusion.layers.results import Results
from napari_cytodiffusion.layers.views import CellViews
from napari_cytodiffusion.session import Session


@pytest.fixture
def desk(viewer, engine, qtbot):
    classify, inspect = ClassifyWidget(viewer), InspectWidget(viewer)
    for widget in (classify, inspect):
        qtbot.addWidget(widget)
    classify.start()
    settle(viewer, qtbot)
    return classify, inspect, Session.of(viewer)


def settle(viewer, qtbot):
    """Wait until nothing runs any more, and nothing is learned."""
    session = Session.of(viewer)
    reviewing = Reviewing.of(session)
    qtbot.waitUntil(lambda: not session.busy and reviewing._job is None, timeout=60_000)


def say(desk, viewer, qtbot, label, name):
    session = desk[2]
    session.inspect(label)
    Reviewing.of(session).say(name)
    settle(viewer, qtbot)


def test_a_class_that_a_person_gives_stands_beside_the_models(desk, viewer, qtbot):
    classify, inspect, session = desk
    before = session.current.results
    assert inspect.review_bar.isVisibleTo(inspect) is False
    say(desk, viewer, qtbot, 3, "basophil")
    results = session.current.results
    record = results.record(3)
    assert record.human == "basophil"
    assert results.uncorrected is before
    assert "basophil by a person" in results.describe(3)
    assert "basophil" in inspect.review_bar.choice.currentText()
    assert inspect.review_bar.whose.text() == "said by you"
    assert "by the model" in inspect.title.text()
    assert inspect.review.text() == "A person gave it its class: not for review."
    assert classify.legend.said.text() == "1 reviewed, 1 corrected"
    assert classify.legend.people.isVisibleTo(classify)
    # others learn from it: the posterior of all of them is another one
    assert not np.allclose(results.record(7).posterior, before.record(7).posterior)


def test_cells_that_people_looked_at_have_a_look_of_their_own(desk, viewer, qtbot):
    _, _, session = desk
    say(desk, viewer, qtbot, 3, "basophil")
    maps, labels = session.current.maps, viewer.layers["cells"].data
    outlined = np.unique(maps.outline_map[labels == 3])
    assert set(outlined.tolist()) == {0, HUMAN, 2 * HUMAN}
    assert not np.isin(maps.outline_map[labels == 2], (HUMAN, 2 * HUMAN)).any()
    assert (maps.class_map[labels == 3] == 1).all()  # the class that the person gave
    colours = {OUTLINE_COLORS[n] for n in (1, 3, HUMAN)}
    assert len(colours) == 3


def test_undo_takes_back_one_by_one(desk, viewer, qtbot):
    classify, inspect, session = desk
    before = session.current.results.record(7).posterior
    say(desk, viewer, qtbot, 3, "basophil")
    say(desk, viewer, qtbot, 4, "neutrophil")
    say(desk, viewer, qtbot, 4, "artefact")
    reviewing = Reviewing.of(session)
    for label, said in ((4, {3, 4}), (4, {3}), (3, set())):
        session.inspect(9)
        reviewing.undo()
        settle(viewer, qtbot)
        assert session.chosen == label  # the cell that it was
        assert set(session.current.people.said) == said
    np.testing.assert_array_equal(session.current.results.record(7).posterior, before)
    assert not classify.legend.people.isVisibleTo(classify)
    assert not inspect.review_bar.undo.isEnabled()
    reviewing.undo()  # nothing is left: nothing happens
    assert session.current.results.record(3).human is None


def test_right_goes_to_the_next_cell_that_nobody_saw(desk, viewer, qtbot):
    classify, inspect, session = desk
    inspect.step(1)
    seen = []
    for _ in range(5):
        seen.append(session.chosen)
        inspect.review_bar.confirm.click()
        settle(viewer, qtbot)
    assert len(set(seen)) == 5
    assert set(session.current.people.said) == set(seen)
    assert classify.legend.said.text() == "5 reviewed, 0 corrected"
    assert session.chosen not in seen


def test_all_cells_seen_is_said(desk, viewer, qtbot, messages):
    _, _, session = desk
    for label in range(1, 13):
        session.current.people.say(label, "basophil")
    session.inspect(4)
    Reviewing.of(session).confirm()
    settle(viewer, qtbot)
    assert messages == ["You have looked at all cells of this choice."]


def test_the_tables_have_who_said_what(desk, viewer, qtbot, engine, tmp_path):
    classify, inspect, session = desk
    inspect.review_bar.observer.setText("Ada")
    inspect.review_bar.observer.editingFinished.emit()
    say(desk, viewer, qtbot, 3, "basophil")
    cells = viewer.layers["cells"]
    qtbot.waitUntil(lambda: "human" in cells.features, timeout=20_000)
    row = cells.features.iloc[3]
    assert (row["human"], row["observer"], row["predicted"]) == (
        *("basophil", "Ada"),
        session.current.results.class_names[session.current.results.record(3).predicted],
    )
    assert list(cells.features["human"]).count("") == len(cells.features) - 1
    path = tmp_path / "cells.csv"
    classify.export.export("csv", path, session.current)
    qtbot.waitUntil(lambda: classify.export._job is None, timeout=20_000)
    table = pd.read_csv(path, keep_default_na=False).set_index("label")
    assert table.loc[3, "human"] == "basophil"
    assert table.loc[4, "human"] == ""
    # and is taken up again by who looks next
    assert Reviewing(session).observer == "Ada"


def test_a_new_class(desk, viewer, qtbot, monkeypatch):
    classify, inspect, session = desk
    session.inspect(5)
    monkeypatch.setattr(QInputDialog, "getText", lambda *_: ("blast", True))
    bar = inspect.review_bar
    bar.choice.setCurrentIndex(bar.choice.count() - 1)
    bar.choice.activated.emit(bar.choice.count() - 1)
    settle(viewer, qtbot)
    views = session.current
    assert views.results.class_names[-1] == "blast"
    assert classify.legend.names[-1] == "blast"
    assert len(views.shown) == len(views.results.class_names)
    assert (views.maps.class_map[viewer.layers["cells"].data == 5] == 5).all()
    assert "blast" not in views.coarse.class_names  # heatmaps are about the model's classes
    assert "blast" in [inspect.only.itemText(i) for i in range(inspect.only.count())]
    Reviewing.of(session).undo()
    settle(viewer, qtbot)
    assert "blast" not in session.current.results.class_names
    assert classify.legend.names == session.current.results.class_names


def test_what_was_said_survives_a_new_classification(desk, viewer, qtbot):
    classify, _, session = desk
    say(desk, viewer, qtbot, 3, "basophil")
    classify.start()
    settle(viewer, qtbot)
    assert session.current.results.record(3).human == "basophil"
    # cells found anew have other numbers, and are known by where they lie
    cells = viewer.layers["cells"]
    other = np.roll(cells.data, 2, axis=1)
    other[other > 0] = 13 - other[other > 0]
    layer = Labels(other, name="again", scale=cells.scale, translate=cells.translate)
    layer.units = cells.units
    viewer.add_layer(layer)
    classify.cells.choose(layer)
    classify.start()
    settle(viewer, qtbot)
    assert session.current.labels is layer
    assert set(session.current.people.said) == {10}
    assert session.current.results.record(10).human == "basophil"


def test_changed_cells_are_classified_with_what_was_said(desk, viewer, qtbot):
    classify, _, session = desk
    say(desk, viewer, qtbot, 3, "basophil")
    cells = viewer.layers["cells"]
    cells.visible = True
    cells.data_setitem((np.array([30, 31]), np.array([44, 44])), 1)
    qtbot.waitUntil(lambda: bool(session.current.changes), timeout=20_000)
    say(desk, viewer, qtbot, 4, "neutrophil")
    assert set(session.current.people.said) == {3, 4}
    assert session.current.results.record(3).human == "basophil"
    classify.changes.button.click()
    settle(viewer, qtbot)
    assert len(session.current.results) == 12
    assert session.current.results.record(4).human == "neutrophil"
    assert not session.current.changes


def test_nothing_is_kept_alive(viewer, engine, qtbot):
    inspect = InspectWidget(viewer)
    reviewing = weakref.ref(Reviewing.of(Session.of(viewer)))
    assert reviewing().active
    inspect.deleteLater()
    del inspect
    qtbot.waitUntil(lambda: not reviewing().active)
    gc.collect()
    reviewing().give(0)  # without a cell nothing happens


def test_five_thousand_cells_are_coloured_anew_at_once(viewer, engine, qtbot):
    side, each = 20, 71
    n = each * each
    labels = np.kron(np.arange(1, n + 1, dtype=np.int32).reshape(each, each), np.ones((side, side)))
    labels = labels.astype(np.int32)
    labels[::side], labels[:, ::side] = 0, 0
    rng = np.random.default_rng(0)
    posterior = rng.dirichlet(np.ones(4), n)
    crops = Crops(
        pixels=np.zeros((n, 1, 1, 3), np.uint8),
        ids=np.arange(1, n + 1),
        centroids=rng.uniform(0, 1400, (n, 2)),
        areas_um2=np.full(n, 50.0),
        touches_border=np.zeros(n, bool),
        pixel_size_um=0.1,
    )
    results = Results(CLASSES, COLORS)
    results.add(CellBatch(crops, result_of(posterior, rng.random(n)), n, n))
    layer = viewer.add_labels(labels, name="many")
    maps = CellMaps(labels, 4)
    views = CellViews(viewer, viewer.layers["smear"], layer, maps, results)
    views.settings = ClassifySettings()
    while views.add_next(viewer):
        pass
    for label in rng.choice(n, 40, replace=False) + 1:
        views.people.say(int(label), CLASSES[label % 4])
    took = []
    for _ in range(3):
        start = time.process_time()
        batches, classes, _ = next(learn_body(engine, views, views.people.said)(silent))
        learned = views.results.learned(batches, [c.color for c in classes], ("",) * 4)
        views.show_learned(learned)
        took.append(time.process_time() - start)
    assert views.people.counts(views.results)[0] == 40
    assert min(took) < 0.3
