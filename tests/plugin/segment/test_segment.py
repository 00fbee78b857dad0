from __future__ import annotations

import threading

import dask.array as da
import numpy as np
import pytest
import tifffile
from drawn_fields import red_field
from napari.components import ViewerModel
from qtpy.QtCore import Qt

from cytodiffusion.errors import DownloadNeeded, InputError, OutOfMemoryError
from napari_cytodiffusion.segment.widget import SegmentWidget
from napari_cytodiffusion.session import Session


@pytest.fixture
def calls(engine, smear):
    """What the engine is asked for, and errors that it raises before it answers."""
    engine.outlined = smear[1]
    return engine.segmented, engine.segment_errors


@pytest.fixture
def widget(viewer, calls, qtbot):
    viewer.layers.remove("cells")
    made = SegmentWidget(viewer)
    qtbot.addWidget(made)
    return made


def segment(widget, qtbot):
    qtbot.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not widget._session.busy, timeout=60_000)


def test_the_labels_lie_on_the_image(widget, viewer, calls, qtbot):
    segment(widget, qtbot)
    image, cells = viewer.layers
    np.testing.assert_allclose(cells.scale, image.scale)
    np.testing.assert_allclose(cells.translate, image.translate)
    assert cells.units == image.units
    assert cells.name == "smear cells"
    assert calls[0][0]["pixel_size_um"] == pytest.approx(0.1)
    assert calls[0][0]["method"] == "auto"
    assert cells.metadata["cytodiffusion"]["pixel_size_um"] == pytest.approx(0.1)
    assert "12 cells" in widget.run_bar.line.text()


def test_without_units_the_pixel_size_is_measured_and_remembered(widget, viewer, calls, qtbot):
    from napari_cytodiffusion.layers.placement import pixel_size_of

    viewer.layers.clear()
    viewer.add_image(np.zeros((160, 200), np.uint8), name="grey")
    assert widget.pixel_size.native.text() == "by the red cells"
    segment(widget, qtbot)
    assert calls[0][0]["pixel_size_um"] is None
    assert pixel_size_of(viewer.layers["grey cells"]) == pytest.approx(0.09)
    assert "by the red cells" in widget.run_bar.line.text()


@pytest.mark.parametrize("kind", ["dask", "multiscale"])
def test_lazy_and_multiscale_images_reach_the_engine_at_full_size(
    widget, viewer, calls, smear, qtbot, kind
):
    viewer.layers.clear()
    lazy = da.from_array(smear[0], chunks=(64, 64, 3))
    data = lazy if kind == "dask" else [lazy, lazy[::2, ::2]]
    viewer.add_image(data, rgb=True, multiscale=kind == "multiscale", name="slide")
    segment(widget, qtbot)
    assert calls[0][0]["image"].shape == (160, 200, 3)
    assert viewer.layers[-1].name == "slide cells"


def test_a_download_is_asked_for_with_its_size(widget, calls, answer, qtbot):
    asked = answer(True)
    calls[1].append(DownloadNeeded("Cellpose's weights are 1.2 GB."))
    segment(widget, qtbot)
    qtbot.waitUntil(lambda: not widget._session.busy, timeout=30_000)
    assert "1.2 GB" in asked[0]
    assert [call["allow_download"] for call in calls[0]] == [False, True]


def test_a_refused_download_changes_nothing(widget, viewer, calls, answer, messages, qtbot):
    answer(False)
    calls[1].append(DownloadNeeded("Cellpose's weights are 1.2 GB."))
    segment(widget, qtbot)
    assert len(viewer.layers) == 1
    assert len(calls[0]) == 1
    assert messages == []


def test_out_of_memory_offers_the_cpu(widget, calls, answer, messages, qtbot):
    asked = answer(True)
    calls[1].append(OutOfMemoryError("No memory left."))
    segment(widget, qtbot)
    qtbot.waitUntil(lambda: not widget._session.busy, timeout=30_000)
    assert "CPU" in asked[0]
    assert calls[0][1]["device"] == "cpu"


def test_errors_are_one_sentence(widget, calls, messages, qtbot):
    calls[1].append(InputError("The image is empty."))
    segment(widget, qtbot)
    assert messages == ["The image is empty."]
    assert widget.run_bar.run_button.isEnabled()


def test_cellpose_says_beforehand_what_it_takes(widget, qtbot):
    widget.method.value = "cellpose"
    assert widget.model.native.isVisibleTo(widget)
    assert len(widget.model.combo.choices) >= 3
    qtbot.waitUntil(lambda: "about" in widget.what.text(), timeout=60_000)
    widget.method.value = "watershed"
    assert not widget.model.native.isVisibleTo(widget)


def test_own_weights_need_a_path(widget, calls, messages, qtbot):
    widget.method.value = "cellpose"
    widget.model.combo.value = None
    qtbot.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    assert "weights" in messages[0]
    widget.model.set_value("/somewhere/weights")
    segment(widget, qtbot)
    assert calls[0][0]["model"] == "/somewhere/weights"


def test_no_image(widget, viewer, messages, calls, qtbot):
    viewer.layers.clear()
    assert widget.image.layer() is None
    qtbot.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    assert "Open" in messages[0]
    assert not calls[0]


def test_the_chooser_follows_names_and_layers(widget, viewer):
    viewer.layers["smear"].name = "renamed"
    assert widget.image.native.currentText() == "renamed"
    viewer.add_image(np.zeros((8, 8, 3), np.uint8), name="another", rgb=True)
    assert widget.image.native.currentText() == "another"
    viewer.add_image(np.zeros((4, 8, 8)), name="volume")
    assert widget.image.native.findText("volume") < 0
    viewer.layers.remove("another")
    assert widget.image.native.currentText() == "renamed"
    assert not Session.of(viewer).busy


def test_a_run_that_is_refused_leaves_the_one_that_goes_on_its_image(
    widget, viewer, engine, calls, messages, qtbot, monkeypatch
):
    go_on = threading.Event()
    found = engine.segment

    def slow(*args, **how):
        go_on.wait(30)
        return found(*args, **how)

    monkeypatch.setattr(engine, "segment", slow)
    widget.start()
    viewer.add_image(np.zeros((160, 200, 3), np.uint8), name="another", rgb=True)
    widget.start()
    assert any("A run is going on" in text for text in messages)
    go_on.set()
    qtbot.waitUntil(lambda: not widget._session.busy, timeout=60_000)
    assert "smear cells" in viewer.layers
    assert "another cells" not in viewer.layers


@pytest.mark.parametrize(("stated", "words"), [(0.14, "as the file states"), (0.28, "red cells")])
def test_the_scale_that_the_file_states_is_used_and_held_against_the_red_cells(
    stated, words, messages, qtbot, tmp_path
):
    path = tmp_path / "field.tif"
    pixels = red_field((420, 560)).image()
    each = 1e4 / stated  # pixels a centimetre
    tifffile.imwrite(path, pixels, resolution=(each, each), resolutionunit="CENTIMETER")
    viewer = ViewerModel()
    (layer,) = viewer.open(path, plugin="napari")
    assert tuple(layer.scale) == (1, 1)
    widget = SegmentWidget(viewer)
    qtbot.addWidget(widget)
    segment(widget, qtbot)
    noted = viewer.layers[-1].metadata["cytodiffusion"]
    assert noted["pixel_size_source"] == "file"
    assert noted["pixel_size_um"] == pytest.approx(stated, rel=1e-3)
    assert words in " ".join([widget.run_bar.line.text(), *messages])


# --- images that are open together ---------------------------------------------------------------


def add_fields(viewer, *radii, names="ABCDEF"):
    """Fields of red cells of these radii in pixels, so that their scales can be measured."""
    return [
        viewer.add_image(red_cells(radius), name=name, rgb=True)
        for name, radius in zip(names, radii, strict=False)
    ]


def red_cells(radius: int) -> np.ndarray:
    y, x = np.mgrid[:300, :360]
    rgb = np.full((300, 360, 3), 235, np.uint8)
    for number in range(30):
        cy, cx = 30 + 60 * (number // 6), 30 + 60 * (number % 6)
        rgb[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] = (200, 120, 140)
    return rgb


@pytest.fixture
def real(engine, qtbot):
    """The form on an empty viewer, with the real segmentation."""
    viewer = ViewerModel()
    session = Session.of(viewer, engine)
    widget = SegmentWidget(viewer)
    qtbot.addWidget(widget)
    widget.method.value = "watershed"
    yield widget
    viewer.layers.clear()
    session.close()


def noted(widget, name):
    return widget._session.viewer.layers[f"{name} cells"].metadata["cytodiffusion"]


def segment_each(widget, qtbot, names):
    for name in names:
        widget.image.choose(widget._session.viewer.layers[name])
        segment(widget, qtbot)


@pytest.mark.parametrize("common", [True, False])
def test_an_image_of_another_scale_than_the_others_asks_which(real, answer, qtbot, common):
    asked = answer(common)
    add_fields(real._session.viewer, 15, 15, 24)
    segment_each(real, qtbot, "AB")
    assert asked == []
    segment_each(real, qtbot, "C")
    qtbot.waitUntil(lambda: "C cells" in real._session.viewer.layers, timeout=60_000)
    own, others = noted(real, "C"), noted(real, "A")["pixel_size_um"]
    assert len(asked) == 1
    assert "those of 2 other open images" in asked[0]
    assert f"Use {others:.3g}" in asked[0]
    if common:
        assert (own["pixel_size_um"], own["pixel_size_source"]) == (others, "slide")
        assert "as in the other open images" in real.run_bar.line.text()
    else:
        assert own["pixel_size_um"] < 0.75 * others
        assert own["pixel_size_source"] == "estimated"


def test_images_that_agree_or_are_of_another_size_ask_nothing(real, answer, qtbot):
    asked = answer(True)
    viewer = real._session.viewer
    add_fields(viewer, 15, 18)
    viewer.add_image(red_cells(24)[:280], name="C", rgb=True)
    segment_each(real, qtbot, "ABC")
    assert asked == []
    assert {noted(real, name)["pixel_size_source"] for name in "ABC"} == {"estimated"}


def test_a_size_that_was_typed_is_not_asked_about(real, answer, qtbot):
    asked = answer(True)
    add_fields(real._session.viewer, 15, 24)
    segment_each(real, qtbot, "A")
    real.image.choose(real._session.viewer.layers["B"])
    real.pixel_size.value = 0.11
    segment(real, qtbot)
    assert asked == []
    assert noted(real, "B")["pixel_size_um"] == pytest.approx(0.11)


def test_without_red_cells_the_scale_of_the_others_is_taken_and_said(real, answer, messages, qtbot):
    asked = answer(True)
    viewer = real._session.viewer
    add_fields(viewer, 15)
    rgb = np.full((300, 360, 3), 235, np.uint8)
    y, x = np.mgrid[:300, :360]
    rgb[(y - 150) ** 2 + (x - 180) ** 2 < 30**2] = (80, 40, 130)
    viewer.add_image(rgb, name="B", rgb=True)
    segment_each(real, qtbot, "AB")
    assert asked == []
    assert noted(real, "B")["pixel_size_source"] == "slide"
    assert noted(real, "B")["pixel_size_um"] == noted(real, "A")["pixel_size_um"]
    assert any("that of the other open image was taken" in text for text in messages)


def test_kinds_of_the_cells_are_noted(real, qtbot):
    add_fields(real._session.viewer, 15)
    segment_each(real, qtbot, "A")
    kinds = noted(real, "A")["kinds"]
    assert len(kinds) == real._session.viewer.layers["A cells"].data.max()
    assert set(kinds) == {1}
