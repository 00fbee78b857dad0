"""Layers that are saved and opened again, by the real viewer's own ways."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers._layer_actions import _duplicate_layer
from npe2 import PluginManager

from napari_cytodiffusion.classify.inspect import InspectWidget
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.layers.belonging import OWN, relation
from napari_cytodiffusion.layers.placement import is_cells, is_derived, is_image, pixel_size_of
from napari_cytodiffusion.session import Session

NO_DISPLAY = sys.platform.startswith("linux") and (
    not os.environ.get("DISPLAY") or os.environ.get("QT_QPA_PLATFORM") == "offscreen"
)

DERIVED = ("cells class", "cells uncertainty", "cells anomalies", "inspected cell")


@pytest.fixture
def classified(viewer, engine, qtbot):
    classify, inspect = ClassifyWidget(viewer), InspectWidget(viewer)
    for widget in (classify, inspect):
        qtbot.addWidget(widget)
    classify.start()
    session = Session.of(viewer)
    qtbot.waitUntil(lambda: not session.busy, timeout=30_000)
    qtbot.waitUntil(lambda: len(session.current.layers) == 3, timeout=20_000)
    inspect.show_cell(1)
    return viewer, classify


def offered(chooser):
    return [layer.name for layer in chooser.offered()]


def files_of(folder):
    return sorted(str(path) for path in folder.iterdir())


@pytest.mark.parametrize("plugin", [None, "napari"])
@pytest.mark.parametrize("opened_first", [True, False])
def test_views_are_no_cells_after_save_all_and_open(
    classified, engine, qtbot, tmp_path, plugin, opened_first
):
    viewer, _ = classified
    viewer.layers.save(str(tmp_path / "all"), plugin=plugin)
    other = ViewerModel()
    if opened_first:
        other.open(files_of(tmp_path / "all"), plugin="napari")
    session = Session.of(other, engine)
    widget = ClassifyWidget(other)
    qtbot.addWidget(widget)
    if not opened_first:
        other.open(files_of(tmp_path / "all"), plugin="napari")
    assert {layer.name for layer in other.layers} == {"smear", "cells", *DERIVED}
    assert offered(widget.cells) == ["cells"]
    assert offered(widget.image) == ["smear"]
    assert all(is_derived(other.layers[name]) for name in DERIVED)
    # and whatever they are called from then on, and their copies
    for name in DERIVED[:3]:
        other.layers[name].name = f"mine {name[-3:]}"
    other.layers.selection = {other.layers["mine ass"]}
    _duplicate_layer(other.layers)
    assert offered(widget.cells) == ["cells"]
    session.close()


def test_save_all_layers_keeps_pixel_size_and_place(classified, engine, tmp_path):
    viewer, _ = classified
    viewer.layers.save(str(tmp_path / "all"))
    other = ViewerModel()
    session = Session.of(other, engine)
    other.open(files_of(tmp_path / "all"), plugin="napari")
    for name in ("smear", "cells", *DERIVED[:3]):
        before, after = viewer.layers[name], other.layers[name]
        assert pixel_size_of(after) == pytest.approx(0.1), name
        corner = (10, 20)
        np.testing.assert_allclose(after.data_to_world(corner), before.data_to_world(corner))
        np.testing.assert_array_equal(after.data, before.data)
        assert after.units == before.units
    # and the cells still know their image among others
    cells, image = other.layers["cells"], other.layers["smear"]
    twin = other.add_image(np.array(image.data), name="twin", rgb=True, scale=(0.1, 0.1))
    assert relation(cells, image, [image, twin]) == OWN
    assert relation(cells, twin, [image, twin]) != OWN
    session.close()


def test_one_layer_as_ome_tiff(classified, engine, tmp_path):
    viewer, _ = classified
    for name in ("cells", "smear", "cells class"):
        written = viewer.layers[name].save(str(tmp_path / f"{name}.ome.tif"))
        assert written == [str(tmp_path / f"{name}.ome.tif")]
        other = ViewerModel()
        session = Session.of(other, engine)
        (layer,) = other.open(written[0], plugin="napari")
        assert pixel_size_of(layer) == pytest.approx(0.1)
        assert is_derived(layer) == (name == "cells class")
        session.close()


def test_layers_of_others_are_saved_as_napari_does(engine, tmp_path):
    PluginManager.instance().discover()
    viewer = ViewerModel()
    viewer.add_image(np.zeros((5, 8, 8), np.uint8), name="stack")
    viewer.add_labels(np.eye(8, dtype=np.uint8), name="plain")
    viewer.add_shapes([np.array([(0, 0), (4, 4)])], name="lines", shape_type="line")
    viewer.layers.save(str(tmp_path / "own"))
    viewer.layers.save(str(tmp_path / "theirs"), plugin="napari")
    for path in (tmp_path / "theirs").iterdir():
        assert (tmp_path / "own" / path.name).read_bytes() == path.read_bytes()


def test_pictures_with_such_names_are_offered_all_the_same(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "heatmap.tif", np.zeros((8, 8), np.uint8))
    cells = np.zeros((40, 40), np.int32)
    cells[2:9, 2:9], cells[20:30, 20:30] = 1, 2
    tifffile.imwrite(tmp_path / "first class.tif", cells)
    viewer = ViewerModel()
    image, labels = viewer.open(files_of(tmp_path)[::-1], plugin="napari")
    assert is_image(image)
    assert is_cells(labels)


@pytest.mark.window
@pytest.mark.skipif(NO_DISPLAY, reason="no display: run under xvfb-run")
def test_the_dialog_of_save_all_offers_it_first(
    make_napari_viewer, engine, smear, qtbot, tmp_path, monkeypatch
):
    from qtpy.QtWidgets import QFileDialog

    viewer = make_napari_viewer()
    place = {"scale": (0.1, 0.1), "units": ("um", "um")}
    viewer.add_image(smear[0], name="smear", rgb=True, **place)
    viewer.add_labels(smear[1], name="cells", **place)
    filters = []

    def name(self, *_, filter="", **__):
        filters.append(filter)
        own = next(kind for kind in filter.split(";;") if "pixel sizes" in kind)
        return str(tmp_path / "all"), own

    monkeypatch.setattr(QFileDialog, "getSaveFileName", name)
    viewer.window._qt_viewer._save_layers_dialog()
    # before napari's own folder, and what is taken where nothing is chosen
    assert filters[0].index("with pixel sizes") < filters[0].index("Save to Folder")
    writer, _ = PluginManager.instance().get_writer(str(tmp_path / "x"), ["image", "labels"])
    assert writer.command == "napari-cytodiffusion.write_folder"
    viewer.layers.clear()
    Session.of(viewer, engine)
    viewer.open(files_of(tmp_path / "all"), plugin="napari")
    assert [pixel_size_of(layer) for layer in viewer.layers] == pytest.approx([0.1, 0.1])
