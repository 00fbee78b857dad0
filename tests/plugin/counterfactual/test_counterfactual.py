"""The counterfactual widget with the real engine and a tiny model of random weights."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest
import tifffile
from matplotlib.figure import Figure
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDoubleSpinBox, QWidget

from cytodiffusion.baselines.files import CONFIG, FORMAT
from cytodiffusion.cells.crops import extract_crops
from cytodiffusion.counterfactual.heatmap import HeatmapSettings, iter_heatmaps
from cytodiffusion.counterfactual.placement import Placement, heatmap_on_image
from cytodiffusion.errors import Cancelled, InputError, OutOfMemoryError
from cytodiffusion.files.synthetic_mark import is_synthetic
from cytodiffusion.image.stain import estimate_background
from cytodiffusion.model import load_bundle
from cytodiffusion.model.testing import tiny_bundle
from napari_cytodiffusion.classify.inspect import InspectWidget
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.counterfactual import targets
from napari_cytodiffusion.counterfactual.layers import Piece, together
from napari_cytodiffusion.counterfactual.morph_page import MorphPage
from napari_cytodiffusion.counterfactual.save_menu import with_ending
from napari_cytodiffusion.counterfactual.widget import (
    CLASSES,
    HEATMAP,
    MANY,
    MORPH,
    CounterfactualWidget,
)
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.tiles import PictureTile, TileBoard

NAMES = ("blue", "green", "red", "white")
#: The window of 20 um is 40 pixels wide.
PX = 0.5


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle"), NAMES, size=16)


@pytest.fixture(scope="module")
def field():
    """Image and labels of 12 unlike cells in a 160 x 200 field; cell 12 is cut by the border."""
    rng = np.random.default_rng(1)
    labels = np.zeros((160, 200), np.int32)
    rgb = np.full((160, 200, 3), 235, np.uint8)
    y, x = np.mgrid[:160, :200]
    for number in range(12):
        cy, cx = 30 + 50 * (number // 4), 25 + 50 * (number % 4)
        cx = 195 if number == 11 else cx
        inside = (y - cy) ** 2 + (x - cx) ** 2 < (9 + number % 3) ** 2
        labels[inside] = number + 1
        rgb[inside] = rng.integers(40, 220, 3)
    return rgb, labels


def place_of(kind):
    place = {"scale": (PX, PX), "units": ("um", "um")}
    if kind == "turned":
        place |= {"translate": (5.0, 7.0), "rotate": 30, "shear": [0.2]}
    return place


def make_viewer(field, kind="plain"):
    viewer = ViewerModel()
    rgb, labels = field
    place = place_of(kind)
    if kind == "pyramid":
        viewer.add_image([rgb, rgb[::2, ::2]], name="smear", rgb=True, multiscale=True, **place)
        viewer.add_labels([labels, labels[::2, ::2]], name="cells", multiscale=True, **place)
    else:
        viewer.add_image(rgb, name="smear", rgb=True, **place)
        viewer.add_labels(labels.copy(), name="cells", **place)
    return viewer


def finish(widget, qtbot):
    session = widget._session
    qtbot.waitUntil(lambda: not widget._run.busy and session.ready, timeout=60_000)


def classify(viewer, bundle, qtbot):
    widget = ClassifyWidget(viewer)
    qtbot.addWidget(widget)
    widget.model.set_value(str(bundle))
    widget.pixel_size.value = PX
    widget.form["trials"].value = 2
    widget.start()
    qtbot.waitUntil(lambda: not Session.of(viewer).busy, timeout=60_000)
    return widget


def end(viewer):
    from superqt.utils import WorkerBase

    WorkerBase.await_workers(20_000)
    viewer.layers.clear()


def open_widget(viewer, qtbot, shown=True):
    widget = CounterfactualWidget(viewer)
    qtbot.addWidget(widget)
    widget.form.fields["trials"].value = 32
    widget.form.strength.value = 0.5
    if shown:
        widget.show()
    return widget


@pytest.fixture
def viewer(field, qtbot):
    viewer = make_viewer(field)
    yield viewer
    end(viewer)


@pytest.fixture
def widget(viewer, bundle, qtbot):
    classify(viewer, bundle, qtbot)
    return open_widget(viewer, qtbot)


@pytest.fixture
def mapped(widget, qtbot):
    """The widget with the heatmap and the counterfactual cell of cell 6."""
    Session.of(widget._session.viewer).inspect(6)
    finish(widget, qtbot)
    return widget


def layer_of(widget):
    return widget._session.viewer.layers["cells heatmap"]


# -- one cell -------------------------------------------------------------------------------------


def test_before_anything_is_classified_it_says_what_comes_first(viewer, qtbot):
    widget = open_widget(viewer, qtbot)
    assert not widget.run_bar.run_button.isEnabled()
    assert "Classify cells" in widget.page.board.tiles()[0].instead
    widget.start()
    assert "Classify cells" in widget.run_bar.line.text()
    assert widget.saveable() == set()


def test_it_opens_at_the_cell_that_is_looked_at(viewer, bundle, qtbot):
    classify(viewer, bundle, qtbot)
    session = Session.of(viewer)
    session.inspect(6)
    later = open_widget(viewer, qtbot, shown=False)
    assert later.form.asked().label == 6
    assert InspectWidget(viewer)._label == 6
    # cells that are classified anew are other cells
    classify(viewer, bundle, qtbot)
    assert session.chosen == 0


def test_a_chosen_cell_gets_its_heatmap_and_its_counterfactual(mapped):
    record = mapped._record
    runner_up = np.argsort(-record.posterior)[1]
    assert mapped.form.asked().target == runner_up
    assert "cell 6" in mapped.form.title.text()
    tiles = mapped.page.board.tiles()
    assert [tile.pixels is not None for tile in tiles] == [True] * 5
    assert "SD" in tiles[1].caption
    assert "synthetic" in tiles[2].caption.lower()
    assert [tile.caption.split("\n")[0] for tile in tiles[3:5]] == ["Nuclear dye", "Eosin"]
    assert mapped.page.sentence.isVisible()
    assert NAMES[runner_up] in mapped.page.sentence.text()
    assert "Convergence" in mapped.page.remark.text()
    assert "energy" in mapped.page.remark.text()
    assert "Made in" in mapped.run_bar.line.text()


def test_it_may_be_opened_in_blind_mode(viewer, bundle, qtbot):
    classify(viewer, bundle, qtbot)
    session = Session.of(viewer)
    session.inspect(6)
    session.set_blind(True)
    widget = open_widget(viewer, qtbot)
    assert widget.blind.isVisible()
    assert not widget.page.isVisible()
    session.set_blind(False)
    finish(widget, qtbot)
    assert widget.page.isVisible()
    assert widget.found.maps()


def test_blind_mode_hides_heatmaps_and_makes_none(mapped, qtbot):
    session = mapped._session
    area = mapped.form.parentWidget()
    session.set_blind(True)
    assert mapped.blind.isVisible()
    assert not mapped.form.isVisible()
    assert not mapped.page.isVisible()
    assert not layer_of(mapped).visible
    made = len(mapped.found.maps())
    session.inspect(5)
    finish(mapped, qtbot)
    assert len(mapped.found.maps()) == made
    assert not layer_of(mapped).visible
    session.set_blind(False)
    finish(mapped, qtbot)
    assert not mapped.blind.isVisible()
    assert area.isVisible()
    assert layer_of(mapped).visible
    assert "cell 5" in mapped.form.title.text()
    assert len(mapped.found.maps()) == made + 1


@pytest.mark.parametrize("kind", ["plain", "turned", "pyramid"])
def test_the_heatmap_lies_on_its_cell_to_the_pixel(field, bundle, qtbot, kind):
    viewer = make_viewer(field, kind)
    classify(viewer, bundle, qtbot)
    widget = open_widget(viewer, qtbot)
    Session.of(viewer).inspect(6)
    finish(widget, qtbot)
    rgb, labels = field
    crops = extract_crops(rgb, labels, PX, 16, 20.0, [6])
    placement = Placement.of_cell(crops.centroids[0], PX, 20.0, 16)
    asked = widget.form.asked()
    model = load_bundle(bundle, device="cpu")
    (headless,) = iter_heatmaps(
        crops,
        model,
        [asked.target],
        predicted=[asked.predicted],
        background=estimate_background(rgb),
        masks=placement.from_image(labels == 6, False)[None],
        settings=HeatmapSettings(),
    )
    values, (top, left) = heatmap_on_image(headless, placement, labels.shape)
    widget.look.threshold.value = 0
    layer, cells = layer_of(widget), viewer.layers["cells"]
    np.testing.assert_allclose(layer.data, values, atol=1e-7)
    assert layer.data.shape == (40, 40)
    for point in ((0, 0), (39, 0), (17, 23)):
        on_cells = cells.data_to_world((point[0] + top, point[1] + left))
        np.testing.assert_allclose(layer.data_to_world(point), on_cells, atol=1e-9)
    assert layer.units == cells.units
    assert cells.extent.world[0] == pytest.approx(cells.extent.world[0])
    # the middle of the window is the middle of the cell
    np.testing.assert_allclose((top + 19.5, left + 19.5), crops.centroids[0], atol=0.51)
    end(viewer)


def test_saliency_stands_beside_the_heatmap_where_it_is_wanted(mapped, coarse, qtbot, tmp_path):
    mapped.form.saliency.value = True
    finish(mapped, qtbot)
    tiles = mapped.page.board.tiles()
    assert len(tiles) == 6
    assert tiles[5].caption.startswith("Saliency")
    assert "no target" in tiles[5].tip
    assert tiles[5].pixels.shape == tiles[0].pixels.shape
    mapped.start()
    assert not mapped._run.busy  # it is there
    save(mapped, "heatmap", tmp_path, qtbot)
    (folder,) = tmp_path.iterdir()
    found = mapped.found.saliency(6).saliency
    assert tifffile.imread(folder / "saliency.tif").shape == (40, 40)
    score = json.loads((folder / "heatmap.json").read_text())["saliency"]["score"]
    assert score == pytest.approx(found.score)
    mapped.form.saliency.value = False
    assert len(mapped.page.board.tiles()) == 5


def test_the_threshold_repaints_at_once(mapped):
    layer, found = layer_of(mapped), mapped.found.map(mapped.form.asked())
    times = []
    for value in (0, 15, 40, 100):
        started = time.thread_time()
        mapped.look.threshold.value = value / 10
        times.append(time.thread_time() - started)
        strong = np.abs(found.piece.strength) >= value / 10
        np.testing.assert_array_equal(layer.data, np.where(strong, found.piece.values, 0))
    assert max(times) < 0.05
    assert not layer.data.any()
    assert "Nothing stands out by 10.0 SD" in mapped.page.remark.text()
    tiles = mapped.page.board.tiles()
    np.testing.assert_array_equal(tiles[1].pixels, tiles[0].pixels)


def test_opacity_of_layer_and_overlay(mapped):
    assert mapped.look.opacity.native.findChild(QDoubleSpinBox).text() == "80 %"
    assert layer_of(mapped).opacity == pytest.approx(0.8)
    mapped.look.threshold.value = 0
    before = mapped.page.board.tiles()[1].pixels
    mapped.look.opacity.value = 0
    assert layer_of(mapped).opacity == 0
    np.testing.assert_array_equal(
        mapped.page.board.tiles()[1].pixels, mapped.page.board.tiles()[0].pixels
    )
    assert (before != mapped.page.board.tiles()[0].pixels).any()


def test_the_colour_bar_names_the_target_and_both_ends(mapped):
    left, middle, right = mapped.look.bar.texts()
    assert left.endswith("% darker")
    assert right.endswith("% brighter")
    assert NAMES[mapped.form.asked().target] in middle


def test_class_colours_are_hidden_below_a_heatmap_and_come_back(mapped):
    colours = mapped._session.current.layers["class"]
    assert not colours.visible
    mapped.form.class_colors.value = True
    assert colours.visible


def test_a_chosen_target_stays_for_other_cells_and_the_runner_up_does_not(mapped, qtbot):
    session = mapped._session
    target = mapped.form.target
    assert len(target.choices) == len(NAMES) - 1
    third = target.choices[2]
    target.value = third
    finish(mapped, qtbot)
    assert mapped.found.map(mapped.form.asked()).heatmap.target == third
    for label in range(1, 6):
        session.inspect(label)
        record = session.current.results.record(label)
        others = targets.ranking(record, session.current.coarse)
        wanted = third if record.predicted != third else others[0]
        assert mapped.form.asked().target == wanted
        assert list(target.choices) == others
    mapped._run.cancel()
    finish(mapped, qtbot)


def test_another_cell_takes_the_place_of_the_run(widget, qtbot):
    session = widget._session
    session.inspect(1)
    session.inspect(2)
    session.inspect(7)
    finish(widget, qtbot)
    asked = widget.form.asked()
    assert asked.label == 7
    assert widget.found.map(asked) is not None
    assert widget.found.version(asked) is not None
    assert "Made in" in widget.run_bar.line.text()


def test_nothing_is_made_while_hidden_or_unless_wanted(widget, qtbot):
    widget.hide()
    widget._session.inspect(3)
    assert not widget._run.busy
    widget.form.at_once.value = False
    widget.show()
    assert not widget._run.busy
    assert "No heatmap" in widget.page.board.tiles()[0].instead
    qtbot.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)
    finish(widget, qtbot)
    assert widget.found.map(widget.form.asked()) is not None


def test_what_is_there_is_not_made_again(mapped, qtbot):
    mapped.start()
    assert not mapped._run.busy
    mapped.form.fields["trials"].value = 64  # of the other method
    mapped.start()
    assert not mapped._run.busy
    mapped.form.fields["versions"].value = 2
    mapped.start()
    finish(mapped, qtbot)
    assert mapped.found.map(mapped.form.asked()).heatmap.settings.versions == 2


def test_published_maps_are_to_be_had_with_their_passes(mapped, qtbot):
    fields = mapped.form.fields
    fields.fold.setChecked(True)
    assert fields["versions"].visible
    assert not fields["trials"].visible
    fields["method"].value = "published"
    finish(mapped, qtbot)
    assert not fields["versions"].visible
    assert fields["trials"].visible
    tiles = mapped.page.board.tiles()
    assert [tile.caption.split("\n")[0] for tile in tiles[1:3]] == ["Heatmap", "Overlay"]
    assert not mapped.page.sentence.isVisible()
    assert mapped.found.map(mapped.form.asked()).heatmap.settings.method == "published"
    assert "passes" in mapped.page.remark.text()


def test_a_map_that_has_not_converged_says_so_and_offers_more_trials(mapped, qtbot):
    import dataclasses

    asked = mapped.form.asked()
    found = mapped.found.map(asked)
    for value, word in ((0.6, "strongest"), (0.2, "chance")):
        heatmap = dataclasses.replace(found.heatmap, convergence=value)
        mapped.found.add(dataclasses.replace(found, heatmap=heatmap))
        mapped._refresh()
        assert word in mapped.page.remark.text()
    mapped.page.remark.linkActivated.emit("more")
    finish(mapped, qtbot)
    assert mapped.form.fields["versions"].value == 8
    assert mapped.found.map(asked).heatmap.settings.versions == 8


def test_a_cell_at_the_border_is_cut_and_said(widget, qtbot):
    widget._session.inspect(12)
    finish(widget, qtbot)
    layer = layer_of(widget)
    assert layer.data.shape[1] < 40
    right = widget._session.viewer.layers["cells"].data_to_world((0, 199))[1]
    last = layer.data_to_world((0, layer.data.shape[1] - 1))[1]
    assert last == pytest.approx(right)
    assert "border" in widget.page.remark.text()


def test_a_model_of_one_class_says_why_not(viewer, qtbot, tmp_path):
    classify(viewer, tiny_bundle(tmp_path / "one", ("only",), size=16), qtbot)
    widget = open_widget(viewer, qtbot)
    widget._session.inspect(3)
    assert not widget._run.busy
    assert "one class only" in widget.page.board.tiles()[0].instead
    widget.start()
    assert "one class only" in widget.run_bar.line.text()


def test_a_baseline_is_refused_before_anything_is_classified(viewer, qtbot, tmp_path, messages):
    (tmp_path / CONFIG).write_text(json.dumps({"format": FORMAT}))
    classify(viewer, tmp_path, qtbot)
    assert len(messages) == 1
    assert "is a baseline" in messages[0]
    assert Session.of(viewer).current is None


def test_errors_of_the_engine_are_one_sentence(widget, qtbot, messages, monkeypatch):
    def fail(*args, **kwargs):
        raise OutOfMemoryError("No memory is left.")

    monkeypatch.setattr("cytodiffusion.counterfactual.heatmap.iter_heatmaps", fail)
    widget._session.inspect(3)
    finish(widget, qtbot)
    assert messages == ["No memory is left."]
    assert widget.run_bar.line.text() == "Stopped by an error."
    assert widget.run_bar.run_button.isEnabled()


def test_while_another_widget_works_it_waits(widget, qtbot, monkeypatch):
    go_on = threading.Event()

    def body(report):
        go_on.wait(20)
        yield None

    session = widget._session
    other = ClassifyWidget(session.viewer)
    qtbot.addWidget(other)
    nothing = lambda *_: None  # noqa: E731
    session.start(body, owner=other, on_progress=nothing, on_item=nothing, on_end=nothing)
    session.inspect(3)
    assert "Another run" in widget.run_bar.line.text()
    assert session.busy
    go_on.set()
    qtbot.waitUntil(lambda: not session.busy, timeout=10_000)


# -- all classes, morph ---------------------------------------------------------------------------


def test_all_classes_side_by_side_and_a_click_chooses_one(mapped, qtbot):
    mapped.resize(420, 760)
    mapped.tabs.setCurrentIndex(CLASSES)
    finish(mapped, qtbot)
    board = mapped.grid.board
    assert [t.key for t in board.tiles()[1:]] == targets.ranking(
        mapped._record, mapped._views.coarse
    )
    assert {t.caption for t in board.tiles()[1:]} == set(NAMES) - {NAMES[mapped._record.predicted]}
    assert all(t.tip.startswith(("To pass as", "Hardly anything")) for t in board.tiles()[1:])
    assert "One scale of colours for all, up to" in mapped.grid.remark.text()
    last = board.tiles()[-1].key
    qtbot.mouseClick(board, Qt.MouseButton.LeftButton, pos=board.place_of(3).center().toPoint())
    assert mapped.tabs.currentIndex() == HEATMAP
    assert mapped.form.asked().target == last
    finish(mapped, qtbot)
    assert mapped.found.version(mapped.form.asked()) is not None


def test_tiles_are_no_smaller_and_no_larger_than_is_of_use(qtbot):
    board = TileBoard(1, None, least=120, most=300)
    qtbot.addWidget(board)
    board.set_tiles([PictureTile(np.zeros((8, 8, 3), np.uint8), f"tile {i}") for i in range(4)])
    board.show()  # its least height follows its width
    board.resize(1600, 1200)
    assert board.place_of(0).width() == 300
    board.resize(300, 100)
    assert board.place_of(3).width() >= 120


def test_tiles_lie_inside_and_apart(mapped):
    board = mapped.page.board
    for width, height in ((340, 360), (700, 200), (240, 500)):
        board.resize(width, height)
        places = [board.place_of(i) for i in range(4)]
        assert all(board.rect().contains(p.toRect()) for p in places)
        assert not any(a.intersects(b) for i, a in enumerate(places) for b in places[:i])


def test_a_morph_plays_and_becomes_a_layer_over_its_cell(mapped, qtbot):
    viewer = mapped._session.viewer
    mapped.tabs.setCurrentIndex(MORPH)
    mapped.morph.form["frames"].value = 4
    viewer.scene.camera.zoom, viewer.scene.camera.center = 7, (0, 12, 15)
    mapped.start()
    finish(mapped, qtbot)
    page = mapped.morph
    frames = page.frames()
    assert len(frames) == 4
    page.slider.setValue(0)
    np.testing.assert_array_equal(page.board.tiles()[0].pixels, frames[0])
    assert "itself" in page.board.tiles()[0].caption
    page._step = 1
    page.play.setChecked(True)
    qtbot.waitUntil(lambda: page.slider.value() == 3, timeout=5000)
    assert "synthetic" in page.board.tiles()[0].caption
    page.play.setChecked(False)
    qtbot.mouseClick(page.layer_button, Qt.MouseButton.LeftButton)
    layer = viewer.layers[-1]
    assert "synthetic" in layer.name
    assert layer.ndim == 3
    assert viewer.scene.camera.zoom == 7
    assert tuple(viewer.scene.camera.center[1:]) == (12, 15)
    assert viewer.dims.nsteps[0] == 4
    cells, record = viewer.layers["cells"], mapped._record
    low = np.floor((record.y - 19.5, record.x - 19.5)).astype(int)
    corner = layer.data_to_world((0, 0, 0))[1:]
    np.testing.assert_allclose(corner, cells.data_to_world(low), atol=PX + 1e-6)
    first = np.rint(cells.world_to_data(corner)).astype(int)
    here = tuple(
        slice(at, at + side) for at, side in zip(first, layer.data.shape[1:3], strict=True)
    )
    image, labels = viewer.layers["smear"].data[here], cells.data[here]
    np.testing.assert_array_equal(layer.data[0], image)
    changed = (layer.data[-1] != image).any(axis=2)
    assert changed[labels == record.label].any()
    assert not changed[(labels > 0) & (labels != record.label)].any()
    # a cell is still found below a position that has an axis of frames
    views = mapped._session.current
    assert views.cell_at_world((0, *cells.data_to_world((30, 25)))) == 1


def test_frames_do_not_leave_the_image(widget, qtbot):
    viewer = widget._session.viewer
    widget.show_cell(12)  # the border cuts it
    widget.tabs.setCurrentIndex(MORPH)
    widget.morph.form["frames"].value = 2
    widget.start()
    finish(widget, qtbot)
    qtbot.mouseClick(widget.morph.layer_button, Qt.MouseButton.LeftButton)
    layer, cells = viewer.layers[-1], viewer.layers["cells"]
    low, high = layer.extent.world[:, 1:]
    inside_low, inside_high = cells.extent.world[:, -2:]
    assert (low >= inside_low - 1e-9).all()
    assert (high <= inside_high + 1e-9).all()


def test_no_target_is_claimed_for_a_morph_that_is_judged_otherwise(qtbot):
    """At every width of the dock the whole caption can be read, synthetic first."""
    owner = QWidget()
    qtbot.addWidget(owner)
    page = MorphPage(owner)
    frames = np.zeros((5, 16, 16, 3), np.uint8)
    ends = ("immature granulocyte", "immature granulocyte")
    page.set_frames(frames, ends, still="immature granulocyte")
    for width in (220, 260, 320, 460):
        board = page.board
        board.resize(width, 420)
        for at in range(1, 5):
            page.slider.setValue(at)
            caption = board.tiles()[0].caption
            assert caption.startswith("synthetic")
            assert caption.endswith("still taken for immature granulocyte")
            assert "%" not in caption
            place = board.place_of(0)
            lines = board._wrapped(caption, place.width())
            metrics = board.fontMetrics()
            assert len(lines) <= board._lines + 1
            assert max(metrics.horizontalAdvance(line) for line in lines) <= place.width()
            needed = len(lines) * metrics.height()
            assert place.bottom() + needed <= board.height()
    assert page.towards().startswith("towards")
    page.set_frames(frames, ends)
    assert page.board.tiles()[0].caption == "synthetic: 100 % of the way to immature granulocyte"
    page.slider.setValue(3)
    assert "75 %" in page.board.tiles()[0].caption


# -- many cells -----------------------------------------------------------------------------------


def choose(widget, text):
    widget.tabs.setCurrentIndex(MANY)
    widget.batch.which.value = dict(widget.batch._cells())[text]


def test_a_batch_by_number_lists_and_shows_all(widget, qtbot):
    choose(widget, "by number")
    widget.start()
    assert "numbers" in widget.run_bar.line.text()
    widget.batch.form["numbers"].value = "1, 6-7"
    widget.batch.form["versions"].value = True
    widget.start()
    finish(widget, qtbot)
    assert widget.batch.table.texts(0) == ["1", "6", "7"]
    assert widget._record.label == 1
    assert all(widget.found.version(m.asked) is not None for m in widget.found.maps())
    item = widget.batch.table.item(1, 0)
    widget.batch.table.itemClicked.emit(item)
    assert widget._record.label == 6
    assert widget.look.bar.texts()[1] == "as the target"
    # one scale for all
    limits = [m.piece.limit for m in widget.found.maps()]
    assert layer_of(widget).contrast_limits[1] == pytest.approx(max(limits))
    # all three in one layer, each on its cell
    layer, cells = layer_of(widget), widget._session.viewer.layers["cells"]
    widget.look.threshold.value = 0
    for mapped in widget.found.maps():
        start = cells.data_to_world(mapped.piece.origin)
        y, x = np.rint(layer.world_to_data(start)).astype(int)
        part = layer.data[y : y + 40, x : x + 40]
        agree = part == mapped.piece.values
        assert agree.mean() > 0.7  # where neighbours' windows do not overlap


def test_a_batch_of_cells_inside_a_drawn_shape(widget, qtbot):
    viewer = widget._session.viewer
    choose(widget, "inside drawn shapes")
    widget.start()
    assert "Draw a shape" in widget.run_bar.line.text()
    place = place_of("plain")
    around = np.array([[10, 10], [10, 90], [45, 90], [45, 10]])
    viewer.add_shapes([around], shape_type="rectangle", **place)
    ring = np.array([[110, 55], [110, 95], [150, 95], [150, 55]])
    viewer.layers[-1].add(ring, shape_type="ellipse")
    widget.start()
    finish(widget, qtbot)
    assert sorted(widget.batch.table.texts(0)) == ["1", "10", "2"]


def test_cells_of_the_target_are_left_out(widget, qtbot):
    results = widget._session.current.results
    predicted = {k: results.ordered("class", k) for k in range(len(NAMES))}
    filled = next(k for k, labels in predicted.items() if labels)
    choose(widget, NAMES[filled])
    widget.batch.target.value = filled
    widget.start()
    assert "already" in widget.run_bar.line.text()
    assert not widget._run.busy


def test_cancel_keeps_what_is_made(widget, qtbot, monkeypatch):
    from cytodiffusion.counterfactual import heatmap as module

    made = module.iter_heatmaps
    reached = threading.Event()

    def slow(*args, progress, **kwargs):
        for number, one in enumerate(made(*args, **kwargs)):
            yield one
            if number == 1:
                reached.set()
                while True:
                    progress(0.5, "slow")
                    time.sleep(0.01)

    monkeypatch.setattr(module, "iter_heatmaps", slow)
    choose(widget, "all cells")
    widget.start()
    qtbot.waitUntil(lambda: reached.is_set() and widget._done == 2, timeout=30_000)
    qtbot.mouseClick(widget.run_bar.cancel_button, Qt.MouseButton.LeftButton)
    finish(widget, qtbot)
    assert "kept" in widget.run_bar.line.text()
    assert len(widget.batch.table.texts(0)) == 2


def test_numbers_are_read_as_people_write_them(widget):
    results = widget._session.current.results
    assert targets.parse_numbers("3, 7,9 - 11,7", results) == [3, 7, 9, 10, 11]
    for text, words in (("", "first"), ("x", "no number"), ("99", "no classified"), ("5-", "5-")):
        if text == "5-":
            assert targets.parse_numbers(text, results) == [5]
            continue
        with pytest.raises(InputError, match=words):
            targets.parse_numbers(text, results)


def test_heatmaps_far_apart_do_not_fill_the_memory():
    def piece(y, x):
        values = np.ones((40, 40), np.float32)
        return Piece(values, values, (y, x))

    here, near, far = piece(0, 0), piece(100, 100), piece(90_000, 90_000)
    assert together([far, near, here], here) == [here, near]


def test_several_cells_of_a_class_give_its_mean_map(widget, coarse, qtbot, tmp_path):
    results = widget._session.current.results
    predicted = [results.record(label).predicted for label in range(1, 13)]
    common = max(set(predicted), key=predicted.count)
    cells = [n for n, k in enumerate(predicted, 1) if k == common][:4]
    assert len(cells) >= 3
    target = (common + 1) % len(NAMES)
    choose(widget, "by number")
    widget.batch.form["numbers"].value = ", ".join(map(str, cells[:2]))
    widget.batch.target.value = target
    widget.start()
    finish(widget, qtbot)
    assert widget.found.means() == []
    assert "three cells" in widget.batch.remark.text()
    widget.batch.form["numbers"].value = ", ".join(map(str, cells))
    widget.start()
    finish(widget, qtbot)
    (mean,) = widget.found.means()
    assert mean.labels == tuple(cells)
    tiles = widget.batch.board.tiles()
    assert tiles[0].caption == f"Mean of {len(cells)} cells\n{NAMES[common]}"
    assert [tile.pixels is not None for tile in tiles] == [True] * 4
    assert NAMES[target] in widget.batch.sentence.text()
    assert not widget.batch.board.isHidden()
    assert widget.batch.pair.isHidden()  # one pair of classes
    save(widget, "mean", tmp_path / "m", qtbot)
    folder = tmp_path / "m" / f"mean-{NAMES[common]}-{NAMES[target]}"
    record = json.loads((folder / "mean.json").read_text())
    assert record["labels_of_cells"] == cells
    save(widget, "all", tmp_path / "all", qtbot)
    assert (tmp_path / "all" / folder.name / "mean.png").is_file()


# -- saving ---------------------------------------------------------------------------------------


@pytest.fixture
def coarse(monkeypatch):
    """Figures of few pixels: their look is tested where they are made."""
    usual = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda *a, **kw: usual(*a, **kw | {"dpi": 40}))


def save(widget, key, path, qtbot):
    widget.save.update_actions()
    assert widget.save.actions_by_key[key].isEnabled()
    widget.save.asked.emit(key, path)
    finish(widget, qtbot)
    assert "Saved" in widget.run_bar.line.text()


def test_a_heatmap_is_saved_with_its_place_and_record(mapped, coarse, qtbot, tmp_path):
    save(mapped, "heatmap", tmp_path, qtbot)
    found = mapped.found.map(mapped.form.asked())
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("cell-000006-")
    np.testing.assert_allclose(tifffile.imread(folder / "heatmap.tif"), found.piece.values)
    record = json.loads((folder / "heatmap.json").read_text())
    assert (record["offset"]["y"], record["offset"]["x"]) == found.piece.origin
    assert record["cell"] == 6
    assert record["energy_in_mask"] == pytest.approx(found.inside)
    assert (folder / "figure.png").stat().st_size > 5_000


def test_figures_are_saved(mapped, coarse, qtbot, tmp_path):
    save(mapped, "figure", tmp_path / "one.pdf", qtbot)
    assert (tmp_path / "one.pdf").read_bytes().startswith(b"%PDF")
    assert "grid" not in mapped.saveable()


@pytest.mark.parametrize("name", ["figure.foo", "figure.jpg", "figure"])
def test_a_figure_of_another_kind_is_refused_in_one_sentence(
    mapped, qtbot, tmp_path, messages, name
):
    mapped.save.asked.emit("figure", tmp_path / name)
    finish(mapped, qtbot)
    assert "PNG, TIFF, PDF or SVG" in messages[-1]
    assert "should not have happened" not in messages[-1]
    assert list(tmp_path.iterdir()) == []


def test_counterfactual_cell_morph_and_everything_are_saved(mapped, coarse, qtbot, tmp_path):
    save(mapped, "version", tmp_path, qtbot)
    assert is_synthetic(tmp_path / "cell-000006-synthetic" / "counterfactual.png")
    mapped.tabs.setCurrentIndex(MORPH)
    mapped.morph.form["frames"].value = 3
    mapped.start()
    finish(mapped, qtbot)
    save(mapped, "morph", tmp_path / "film.tif", qtbot)
    assert tifffile.imread(tmp_path / "film.tif").shape[0] == 3
    assert is_synthetic(tmp_path / "film.tif")
    mapped.tabs.setCurrentIndex(CLASSES)
    finish(mapped, qtbot)
    save(mapped, "grid", tmp_path / "grid.png", qtbot)
    assert (tmp_path / "grid.png").is_file()
    save(mapped, "all", tmp_path / "all", qtbot)
    folders = list((tmp_path / "all").iterdir())
    assert len(folders) == len(NAMES) - 1  # a map towards each class
    (changed,) = [f for f in folders if (f / "synthetic").is_dir()]
    assert is_synthetic(changed / "synthetic" / "counterfactual.png")


def test_a_folder_that_cannot_be_written_is_said(mapped, qtbot, tmp_path, messages):
    (tmp_path / "file").write_text("here")
    mapped.save.asked.emit("heatmap", tmp_path / "file")
    finish(mapped, qtbot)
    assert len(messages) == 1
    assert "file" in messages[0]


def test_a_file_gets_the_ending_of_its_kind():
    assert with_ending("/x/one", "GIF (*.gif)") == "/x/one.gif"
    assert with_ending("/x/one.mp4", "GIF (*.gif)") == "/x/one.mp4"
    assert with_ending("", "GIF (*.gif)") == ""


# -- coming and going -----------------------------------------------------------------------------


def test_other_cells_start_afresh(mapped, viewer, bundle, qtbot):
    classify(viewer, bundle, qtbot)
    assert mapped.found.maps() == []
    assert "No cell" in mapped.form.title.text()
    viewer.layers.remove("cells")
    assert "Classify cells" in mapped.page.board.tiles()[0].instead


def test_a_widget_that_closes_ends_its_run(viewer, bundle, qtbot, monkeypatch):
    stopped = threading.Event()

    def endless(*args, progress, **kwargs):
        try:
            while True:
                progress(0.1, "endless")
                time.sleep(0.01)
                yield from ()
        except Cancelled:
            stopped.set()
            raise

    classify(viewer, bundle, qtbot)
    monkeypatch.setattr("cytodiffusion.counterfactual.heatmap.iter_heatmaps", endless)
    widget = CounterfactualWidget(viewer)
    widget.show()
    session = Session.of(viewer)
    session.inspect(2)
    qtbot.waitUntil(lambda: session.busy, timeout=5000)
    qtbot.wait(100)
    widget.close()
    widget.deleteLater()
    qtbot.waitUntil(stopped.is_set, timeout=10_000)
    assert not session.busy
    assert not session._watchers
