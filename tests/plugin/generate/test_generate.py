"""*Generate cells*: the real engine on a tiny model with random weights."""

from __future__ import annotations

import importlib
import threading
import time

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from cytodiffusion.errors import OutOfMemoryError
from cytodiffusion.model import load_bundle
from cytodiffusion.model.testing import tiny_bundle
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.generate import jobs
from napari_cytodiffusion.generate import widget as module
from napari_cytodiffusion.generate.widget import GenerateWidget
from napari_cytodiffusion.layers.placement import is_cells, is_image, pixel_size_of
from napari_cytodiffusion.session import Session

#: The module; in its package the function of the same name hides it.
drawing = importlib.import_module("cytodiffusion.generation.generate")

NAMES = ("basophil", "eosinophil", "monocyte")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_bundle(tiny_bundle(tmp_path_factory.mktemp("tiny"), NAMES))


@pytest.fixture
def widget(viewer, engine, model, qtbot):
    engine.model = model
    made = GenerateWidget(viewer)
    qtbot.addWidget(made)
    made.set_classes(model.class_names, [c.color for c in model.classes])
    made.form["steps"].value = 3
    made.form["reject"].value = False
    return made


@pytest.fixture
def slow(monkeypatch):
    """Wait at each step of the sampling; the list receives the steps that were done."""
    steps, seconds = [], [0.05]
    sample = drawing.sample_cells

    def waiting(*args, progress, **options):
        def report(share, message):
            steps.append(share)
            time.sleep(seconds[0])
            progress(share, message)

        return sample(*args, progress=report, **options)

    monkeypatch.setattr(drawing, "sample_cells", waiting)
    return steps, seconds


def ask_for(widget, **counts):
    widget.counts.set_all(0)
    widget.counts.set_counts(counts)


def click(widget):
    QTest.mouseClick(widget.run_bar.run_button, Qt.MouseButton.LeftButton)


def finish(widget, qtbot):
    qtbot.waitUntil(
        lambda: not widget._session.busy and not widget._look_timer.isActive(), timeout=60_000
    )


def generate(widget, qtbot, **counts):
    ask_for(widget, **counts)
    click(widget)
    finish(widget, qtbot)


def test_cells_are_drawn_in_the_stain_of_an_open_image(widget, viewer, qtbot, monkeypatch):
    asked = []

    class Negative:
        wanted = None

        def __call__(self, cells):
            return 255 - cells

    def like(rgb, model):
        asked.append(rgb)
        return Negative()

    monkeypatch.setattr(drawing.Restain, "like", like)
    generate(widget, qtbot, basophil=1)
    plain = widget._cells.pixels
    slide = viewer.add_image(np.full((20, 30, 3), 200, np.uint8), rgb=True, name="my slide")
    assert ("my slide", slide) in widget._images()
    widget.form["stain"].value = slide
    generate(widget, qtbot, basophil=1)
    assert asked[0].shape == (20, 30, 3)
    assert np.array_equal(widget._cells.pixels, 255 - plain)
    viewer.layers.remove(slide)
    assert widget.form["stain"].value is None


def test_a_gallery_of_named_synthetic_tiles(widget, viewer, model, qtbot):
    generate(widget, qtbot, basophil=2, monocyte=3)
    image, tiles = viewer.layers["synthetic cells"], viewer.layers["synthetic tiles"]
    assert list(np.unique(tiles.data)) == [0, 1, 2, 3, 4, 5]
    assert image.data.shape[:2] == tiles.data.shape
    assert pixel_size_of(image) == pytest.approx(model.window_um / 32)
    features = tiles.features
    assert list(features["class"]) == ["", *["basophil"] * 2, *["monocyte"] * 3]
    assert list(features["label"]) == list(range(6))
    assert features["synthetic"].all()
    assert features["confidence"][1:].between(0, 1).all()
    cell = widget._cells.pixels[3]
    np.testing.assert_array_equal(image.data[tiles.data == 4].reshape(cell.shape), cell)
    for layer in (image, tiles):
        note = layer.metadata["cytodiffusion"]
        assert note["synthetic"] is True
        assert note["record"]["settings"]["seed"] == 0
    assert "5 synthetic cells" in widget.run_bar.line.text()


def test_the_gallery_covers_nothing_and_can_be_classified(widget, viewer, qtbot):
    right = viewer.layers.extent.world[1][-1]
    generate(widget, qtbot, basophil=1)
    image, tiles = viewer.layers["synthetic cells"], viewer.layers["synthetic tiles"]
    assert image.translate[-1] > right
    assert is_image(image)
    assert is_cells(tiles)
    from cytodiffusion.cells.crops import extract_crops

    crops = extract_crops(image.data, tiles.data, pixel_size_of(image), 32, 20.0)
    # what is classified is the cell as it was drawn
    difference = crops.pixels[0].astype(int) - widget._cells.pixels[0]
    assert np.abs(difference).mean() < 2
    assert not crops.touches_border.any()


def test_classified_tiles_keep_what_they_were_asked_to_be(widget, viewer, qtbot):
    generate(widget, qtbot, basophil=1, monocyte=1)
    classify = ClassifyWidget(viewer)
    qtbot.addWidget(classify)
    assert (classify.image.layer(), classify.cells.layer()) == (
        viewer.layers["synthetic cells"],
        viewer.layers["synthetic tiles"],
    )
    classify.start()
    qtbot.waitUntil(lambda: not widget._session.busy, timeout=60_000)
    tiles = viewer.layers["synthetic tiles"]
    qtbot.waitUntil(lambda: "prediction_set" in tiles.features, timeout=30_000)
    assert list(tiles.features["class"]) == ["", "basophil", "monocyte"]
    assert set(tiles.features["predicted"][1:]) <= set(NAMES)
    assert tiles.features["synthetic"].all()


def test_a_tile_says_what_it_is(widget, viewer, qtbot):
    generate(widget, qtbot, monocyte=2)
    tiles = viewer.layers["synthetic tiles"]
    y, x = np.argwhere(tiles.data == 2)[10]
    said = tiles.get_status((y, x))["value"]
    assert "synthetic monocyte" in said
    assert "tile 2" in said


def test_the_same_seed_gives_the_same_cells(widget, qtbot):
    pixels = []
    for seed in (7, 7, 8):
        widget.form["seed"].value = seed
        generate(widget, qtbot, basophil=2)
        pixels.append(widget._cells.pixels)
    np.testing.assert_array_equal(pixels[0], pixels[1])
    assert (pixels[0] != pixels[2]).any()


def test_a_new_seed_is_thrown(widget):
    seeds = set()
    for _ in range(4):
        QTest.mouseClick(widget.form["seed"].new_button.native, Qt.MouseButton.LeftButton)
        seeds.add(widget.form["seed"].value)
    assert len(seeds) > 1


def test_settings_reach_the_engine(widget, qtbot):
    widget.form["guidance"].value = 2.5
    widget.form["towards"].value = "monocyte"
    widget.form["share"].value = 0.3
    generate(widget, qtbot, basophil=1)
    cells = widget._cells
    assert (cells.settings.guidance, cells.settings.steps) == (2.5, 3)
    assert not cells.settings.reject
    assert (cells.towards.name, cells.towards.share) == ("monocyte", 0.3)


def test_cells_that_the_classifier_denies_are_left_out_or_framed(widget, viewer, qtbot):
    generate(widget, qtbot, basophil=6, eosinophil=6, monocyte=6)
    accepted = widget._cells.accepted
    # random weights take most cells for one class
    assert 0 < accepted.sum() < 18
    assert "does not agree" in widget.run_bar.line.text()
    red = (viewer.layers["synthetic cells"].data == (200, 40, 40)).all(axis=-1)
    assert red.any()
    widget.form["reject"].value = True
    widget.form["tries"].value = 1
    generate(widget, qtbot, basophil=6, eosinophil=6, monocyte=6)
    assert len(widget._cells) == accepted.sum()
    assert "Left out" in widget.run_bar.line.text()
    assert viewer.layers["synthetic tiles [1]"].data.max() == accepted.sum()


def test_the_cells_are_seen_while_they_are_drawn(widget, viewer, slow, qtbot):
    slow[1][0] = 0.3
    ask_for(widget, basophil=2)
    first = {}  # what a layer shows when it appears
    viewer.layers.events.inserted.connect(
        lambda event: first.setdefault(event.value.name, np.array(event.value.data))
    )
    click(widget)
    qtbot.waitUntil(lambda: "synthetic tiles" in viewer.layers, timeout=30_000)
    image, tiles = viewer.layers["synthetic cells"], viewer.layers["synthetic tiles"]
    assert (first["synthetic cells"][tiles.data > 0] == 235).all()
    qtbot.waitUntil(lambda: bool((image.data[tiles.data > 0] != 235).any()), timeout=5_000)
    assert widget._session.busy
    finish(widget, qtbot)
    final = viewer.layers["synthetic cells"].data
    np.testing.assert_array_equal(
        final[tiles.data == 1].reshape(32, 32, 3), widget._cells.pixels[0]
    )


def test_the_preview_keeps_only_the_latest_pictures():
    basket = jobs.Basket()
    for level in range(50):
        basket.see(np.array([0, 1]), np.full((2, 4, 4, 3), level, np.uint8))
    ((places, cells),) = basket.take()
    assert list(places) == [0, 1]
    assert (cells == 49).all()
    assert basket.take() == []


def test_cancel_keeps_what_is_done_and_draws_no_more(widget, viewer, slow, monkeypatch, qtbot):
    monkeypatch.setattr(drawing, "PART", {"cpu": 2})
    ask_for(widget, basophil=10)
    click(widget)
    qtbot.waitUntil(lambda: len(slow[0]) > 10, timeout=30_000)
    QTest.mouseClick(widget.run_bar.cancel_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not widget._session.busy, timeout=5_000)
    done = len(slow[0])
    finish(widget, qtbot)
    assert 2 <= len(widget._cells) < 10
    assert viewer.layers["synthetic tiles"].data.max() == len(widget._cells)
    assert "Cancelled" in widget.run_bar.line.text()
    assert f"{len(widget._cells)} synthetic" in widget.run_bar.line.text()
    qtbot.waitUntil(widget.save_button.isEnabled, timeout=10_000)
    # one step at most was on its way
    assert len(slow[0]) - done <= 1


def test_a_step_that_takes_long_is_waited_for_after_cancel(widget, slow, monkeypatch, qtbot):
    monkeypatch.setattr(drawing, "PART", {"cpu": 2})
    ask_for(widget, basophil=6)
    click(widget)
    qtbot.waitUntil(lambda: len(slow[0]) > 4, timeout=30_000)
    slow[1][0] = 3.0
    qtbot.wait(100)
    widget._session.cancel()
    qtbot.waitUntil(lambda: not widget._session.busy, timeout=5_000)
    # the window does not wait for the step
    assert not widget._basket.closed.is_set()
    assert "put together" in widget.run_bar.line.text()
    finish(widget, qtbot)
    assert len(widget._cells) >= 2


def test_cancel_before_anything_is_done_leaves_nothing(widget, viewer, slow, qtbot):
    slow[1][0] = 0.2
    before = list(viewer.layers)
    ask_for(widget, basophil=2)
    click(widget)
    qtbot.waitUntil(lambda: "synthetic cells" in viewer.layers, timeout=30_000)
    widget._session.cancel()
    finish(widget, qtbot)
    assert list(viewer.layers) == before
    assert widget.run_bar.line.text() == "Cancelled."
    assert not widget.save_button.isEnabled()


def test_removing_the_gallery_stops_the_run(widget, viewer, slow, messages, qtbot):
    slow[1][0] = 0.2
    ask_for(widget, basophil=2)
    click(widget)
    qtbot.waitUntil(lambda: "synthetic cells" in viewer.layers, timeout=30_000)
    viewer.layers.remove("synthetic cells")
    finish(widget, qtbot)
    assert "removed" in messages[0]
    assert "synthetic tiles" not in viewer.layers


def test_nothing_asked_for_is_said(widget, viewer, qtbot):
    before = list(viewer.layers)
    QTest.mouseClick(widget.counts.buttons["Clear"], Qt.MouseButton.LeftButton)
    click(widget)
    assert "at least one" in widget.run_bar.line.text()
    assert not widget._session.busy
    assert list(viewer.layers) == before


def test_one_of_each_class(widget):
    QTest.mouseClick(widget.counts.buttons["Clear"], Qt.MouseButton.LeftButton)
    assert widget.counts.counts() == {}
    QTest.mouseClick(widget.counts.buttons["1 of each"], Qt.MouseButton.LeftButton)
    assert widget.counts.counts() == dict.fromkeys(NAMES, 1)


def test_what_it_takes_is_said_before(viewer, engine, model, qtbot):
    engine.model = model
    made = GenerateWidget(viewer)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitUntil(lambda: "about" in made.effort.text(), timeout=60_000)
    assert set(made.counts.spins) == set(NAMES)
    assert made.effort.text().startswith("3 cells")
    made.counts.set_counts({"monocyte": 100_000})
    assert "100,002 cells" in made.effort.text()
    assert " h" in made.effort.text() or "min" in made.effort.text()


def test_the_window_and_the_question_before_many_cells_agree_in_time(engine, model, monkeypatch):
    from cytodiffusion.generation import Effort, GenerationSettings

    def estimate(model, n, settings):  # as if every step took a second, and three at least
        return Effort(n, 1.0 * n * max(settings.steps, 3), 0.1 * n, "cpu")

    engine.model = model
    monkeypatch.setattr("cytodiffusion.generation.estimate_effort", estimate)
    body = jobs.model_body(jobs.GenerateRequest("default", "cpu", {}, {}, engine))
    found = list(body(lambda *_: None))[-1]
    usual = GenerationSettings().steps
    assert found.seconds * usual == pytest.approx(estimate(model, 1, GenerationSettings()).seconds)


@pytest.mark.parametrize("yes", [True, False])
def test_many_cells_are_asked_about_first(widget, viewer, monkeypatch, qtbot, yes):
    from cytodiffusion.generation import order

    monkeypatch.setattr(order, "MANY", 3)
    asked = []
    monkeypatch.setattr(module, "ask", lambda parent, title, text: asked.append(text) or yes)
    generate(widget, qtbot, basophil=5)
    finish(widget, qtbot)
    assert "5 cells would take about" in asked[0]
    assert "insist" not in asked[0]
    assert (widget._cells is not None) is yes
    assert ("synthetic cells" in viewer.layers) is yes


def test_more_than_a_window_holds_is_for_the_command_line(widget, viewer, qtbot):
    generate(widget, qtbot, basophil=1_000_000)
    assert "cytodiffusion generate" in widget.run_bar.line.text()
    assert "synthetic cells" not in viewer.layers


def test_a_classifier_that_draws_nothing_says_so(widget, engine, qtbot):
    class Baseline:
        name = "resnet"

    engine.model = Baseline()
    generate(widget, qtbot, basophil=1)
    assert widget.run_bar.line.text() == "resnet draws no cells: only diffusion models do."
    widget.show()
    widget._load_model()
    qtbot.waitUntil(lambda: "draws no cells" in widget.effort.text(), timeout=30_000)


def test_out_of_memory_offers_the_cpu(widget, monkeypatch, qtbot):
    real, asked = drawing.sample_cells, []

    def full(*args, **options):
        if not asked:
            raise OutOfMemoryError("No memory left.")
        return real(*args, **options)

    monkeypatch.setattr(drawing, "sample_cells", full)
    monkeypatch.setattr(module, "ask", lambda parent, title, text: asked.append(text) or True)
    generate(widget, qtbot, basophil=1)
    finish(widget, qtbot)
    assert "CPU" in asked[0]
    assert len(widget._cells) == 1


def test_an_unforeseen_error_ends_the_run_in_a_sentence(widget, viewer, monkeypatch, qtbot):
    def broken(*args, **options):
        raise RuntimeError("a tensor has the wrong shape")

    monkeypatch.setattr(drawing, "sample_cells", broken)
    generate(widget, qtbot, basophil=1)
    assert "wrong shape" in widget.run_bar.line.text()
    assert widget.run_bar.run_button.isEnabled()
    assert "synthetic cells" not in viewer.layers


def test_saved_cells_say_that_they_are_synthetic(widget, tmp_path, qtbot):
    from cytodiffusion.files.synthetic_mark import is_synthetic

    generate(widget, qtbot, basophil=2, monocyte=1)
    widget.save(tmp_path / "cells")
    qtbot.waitUntil(lambda: "are in" in widget.run_bar.line.text(), timeout=30_000)
    frame = pd.read_csv(tmp_path / "cells" / "cells.csv")
    assert list(frame["class"]) == ["basophil", "basophil", "monocyte"]
    assert frame["synthetic"].all()
    assert all(is_synthetic(tmp_path / "cells" / path) for path in frame["path"])
    qtbot.waitUntil(widget.save_button.isEnabled, timeout=10_000)


def test_a_folder_that_cannot_be_written_is_said(widget, tmp_path, qtbot):
    generate(widget, qtbot, basophil=1)
    (tmp_path / "file").write_text("")
    widget.save(tmp_path / "file")
    qtbot.waitUntil(lambda: widget.run_bar.line.text() != "Saving ...", timeout=30_000)
    assert "file" in widget.run_bar.line.text()
    qtbot.waitUntil(widget.save_button.isEnabled, timeout=10_000)


def test_a_closed_widget_stops_its_run(viewer, engine, model, slow, qtbot):
    engine.model = model
    made = GenerateWidget(viewer)
    made.set_classes(model.class_names, [c.color for c in model.classes])
    ask_for(made, basophil=4)
    slow[1][0] = 0.2
    click(made)
    qtbot.waitUntil(lambda: len(slow[0]) > 1, timeout=30_000)
    basket: threading.Event = made._basket.closed
    made.deleteLater()
    qtbot.waitUntil(lambda: not Session.of(viewer).busy, timeout=5_000)
    assert basket.wait(10)
    assert len(slow[0]) < 30
