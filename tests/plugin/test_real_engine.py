"""The widgets with the real engine: watershed and a tiny model with random weights."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.model import load_bundle
from cytodiffusion.model.testing import tiny_bundle
from cytodiffusion.pipeline import classify_labels
from cytodiffusion.smear import SmearSettings, synthetic_smear
from napari_cytodiffusion.classify.inspect import InspectWidget
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.segment.widget import SegmentWidget
from napari_cytodiffusion.session import Session


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def field():
    return synthetic_smear(None, SmearSettings(height=384, width=512, n_white=3, n_platelets=4))


@pytest.fixture
def real_viewer(field, qtbot):
    viewer = ViewerModel()
    Session.of(viewer)  # sees the layers come, as that of a window in use
    size = field.pixel_size_um
    viewer.add_image(field.rgb, name="field", scale=(size, size), units=("um", "um"))
    yield viewer
    from superqt.utils import WorkerBase

    WorkerBase.await_workers(10_000)


def finish(session, qtbot):
    qtbot.waitUntil(lambda: not session.busy, timeout=120_000)


def classify(viewer, bundle, qtbot, **settings):
    widget = ClassifyWidget(viewer)
    qtbot.addWidget(widget)
    widget.model.set_value(str(bundle))
    for name, value in settings.items():
        widget.form[name].value = value
    qtbot.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    finish(Session.of(viewer), qtbot)
    return widget


def test_two_buttons_from_smear_to_table(real_viewer, bundle, qtbot):
    segment = SegmentWidget(real_viewer)
    qtbot.addWidget(segment)
    qtbot.mouseClick(segment.run_bar.run_button, Qt.MouseButton.LeftButton)
    finish(Session.of(real_viewer), qtbot)
    cells = real_viewer.layers["field cells"]
    assert cells.data.max() > 20
    classify(real_viewer, bundle, qtbot)
    qtbot.waitUntil(lambda: "predicted" in cells.features, timeout=10_000)
    table = cells.features
    assert len(table) == cells.data.max() + 1
    assert (table["predicted"].iloc[1:] != "").all()
    shown = real_viewer.layers["field cells class"].data
    assert ((shown > 0) == (cells.data > 0)).all()


def test_same_numbers_in_the_window_and_headless(real_viewer, field, bundle, qtbot):
    size = field.pixel_size_um
    cells = real_viewer.add_labels(field.labels, name="cells", scale=(size,) * 2, units=("um",) * 2)
    classify(real_viewer, bundle, qtbot, trials=5, seed=3)
    qtbot.waitUntil(lambda: "predicted" in cells.features, timeout=10_000)
    settings = ClassifySettings(trials=5, seed=3)
    model = load_bundle(bundle, device="cpu")
    headless = classify_labels(
        field.rgb, field.labels, model, settings, pixel_size_um=size
    ).frame.set_index("label")
    window = cells.features.set_index("label").loc[headless.index]
    for column in headless.columns:
        if headless[column].dtype.kind == "f":
            np.testing.assert_allclose(window[column], headless[column], rtol=1e-5, atol=1e-6)
        else:
            assert list(window[column]) == list(headless[column])


def test_inspecting_real_results(real_viewer, field, bundle, qtbot):
    size = field.pixel_size_um
    real_viewer.add_labels(field.labels, name="cells", scale=(size,) * 2, units=("um",) * 2)
    classify(real_viewer, bundle, qtbot)
    inspect = InspectWidget(real_viewer)
    qtbot.addWidget(inspect)
    for _ in range(3):
        inspect.step(1)
        assert inspect.posterior._bars.opts["width"].sum() == pytest.approx(1)
        assert inspect.crop.pixmap().width() == 288


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda v: setattr(v.layers["cells"], "data", np.zeros((384, 512), int)), "no cells"),
        (lambda v: setattr(v.layers["cells"], "data", np.ones((30, 40), int)), "same field"),
    ],
)
def test_bad_labels_are_one_sentence(real_viewer, field, bundle, messages, qtbot, spoil, words):
    size = field.pixel_size_um
    real_viewer.add_labels(field.labels, name="cells", scale=(size,) * 2, units=("um",) * 2)
    spoil(real_viewer)
    widget = classify(real_viewer, bundle, qtbot)
    assert len(messages) == 1
    assert words in messages[0]
    assert widget.run_bar.run_button.isEnabled()


def test_a_missing_model_is_one_sentence(real_viewer, field, messages, qtbot, tmp_path):
    real_viewer.add_labels(field.labels, name="cells")
    classify(real_viewer, tmp_path, qtbot)
    assert len(messages) == 1
    assert str(tmp_path) in messages[0]
