"""Cells as outlines, and the key that hides the colours."""

from __future__ import annotations

import pytest
from napari._app_model import get_app_model  # noqa: F401  the actions with their keys
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points, Shapes
from napari.settings import get_settings

from napari_cytodiffusion import commands
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.layers.views import FILL, OUTLINE
from napari_cytodiffusion.session import HIDE_KEY, NEXT_KEY, PREVIOUS_KEY, SWITCH_KEY, Session


@pytest.fixture
def widget(viewer, qtbot):
    made = ClassifyWidget(viewer)
    qtbot.addWidget(made)
    made.start()
    session = Session.of(viewer)
    qtbot.waitUntil(lambda: not session.busy, timeout=30_000)
    qtbot.waitUntil(lambda: len(session.current.layers) == 3, timeout=20_000)
    return made


def choose(widget, style):
    choice = widget.legend.style_choice.choice
    choice.setCurrentIndex(choice.findData(style))


def test_outlines_are_chosen_in_the_window_and_remembered(widget, viewer, engine, qtbot):
    layer = viewer.layers["cells class"]
    assert (layer.contour, layer.opacity) == (0, 0.5)
    choose(widget, OUTLINE)
    for name in ("cells class", "cells uncertainty"):
        assert viewer.layers[name].contour >= 1
        assert viewer.layers[name].opacity == pytest.approx(0.9)
    assert viewer.layers["cells anomalies"].contour == 0
    # another run, another widget and another viewer have it, too
    widget.start()
    session = Session.of(viewer)
    qtbot.waitUntil(lambda: not session.busy, timeout=30_000)
    assert viewer.layers["cells class"].contour >= 1
    other = Session.of(ViewerModel(), engine)
    assert other.style == OUTLINE
    choose(widget, FILL)
    assert (layer.contour, layer.opacity) == (0, 0.5)


def test_outlines_are_as_wide_on_the_screen_at_any_zoom(widget, viewer, qtbot):
    choose(widget, OUTLINE)
    layer, camera = viewer.layers["cells class"], viewer.scene.camera
    widths = {}
    for pixels_a_pixel in (0.25, 0.5, 1, 3, 20):
        camera.zoom = pixels_a_pixel / 0.1
        qtbot.wait(250)
        widths[pixels_a_pixel] = layer.contour
    assert widths == {0.25: 12, 0.5: 6, 1: 3, 3: 1, 20: 1}


def test_each_of_two_cells_that_touch_has_its_outline(widget, viewer, qtbot):
    cells = viewer.layers["cells"]
    data = cells.data.copy()
    data[20:40, 40:61] = 1  # reaches cell 2
    cells.data = data
    choose(widget, OUTLINE)
    widget.start()
    session = Session.of(viewer)
    qtbot.waitUntil(lambda: not session.busy, timeout=30_000)
    shown = viewer.layers["cells class"].data
    assert shown[30, 60] == 0
    choose(widget, FILL)
    assert viewer.layers["cells class"].data[30, 60] > 0


def test_an_opacity_of_ones_own_stays(widget, viewer):
    choose(widget, OUTLINE)
    layer = viewer.layers["cells class"]
    layer.opacity = 0.3
    viewer.scene.camera.zoom *= 3
    choose(widget, FILL)
    assert layer.opacity == 0.3


def test_the_key_hides_and_shows_the_colours(widget, viewer):
    session, hint = Session.of(viewer), widget.legend.style_choice.hint
    names = ("cells class", "cells uncertainty", "cells anomalies")

    def visible():
        return [viewer.layers[name].visible for name in names]

    press = viewer.keymap[_bound(HIDE_KEY)]
    assert hint.text() == "H hides the colours"
    press(viewer)
    assert visible() == [False, False, False]
    assert hint.text() == "H shows the colours"
    press(viewer)
    assert visible() == [True, False, True]
    session.show("uncertainty")
    press(viewer)
    press(viewer)
    assert visible() == [False, True, True]
    # one that was hidden by hand comes back
    viewer.layers["cells uncertainty"].visible = False
    viewer.layers["cells anomalies"].visible = False
    press(viewer)
    assert visible() == [False, True, True]
    commands.hide_colours(viewer)
    assert visible() == [False, False, False]
    session.show("class")
    assert visible()[0]
    commands.switch_style(viewer)
    assert session.style == OUTLINE
    assert widget.legend.style_choice.choice.currentData() == OUTLINE


def _bound(key):
    from app_model.types import KeyBinding

    return KeyBinding.from_str(key)


def test_no_key_is_one_of_naparis():
    own = {_bound(key) for key in (SWITCH_KEY, HIDE_KEY, PREVIOUS_KEY, NEXT_KEY)}
    assert len(own) == 4
    theirs = {key for keys in get_settings().shortcuts.shortcuts.values() for key in keys}
    for kind in (ViewerModel, Image, Labels, Points, Shapes):
        theirs |= set(kind.class_keymap)
    assert not own & {_bound(str(key)) for key in theirs}
