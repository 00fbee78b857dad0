"""Forms from settings classes: what a field says is what the user sees."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Literal

import pytest
from magicgui.widgets import CheckBox, LineEdit
from napari.components import ViewerModel
from pydantic import BaseModel, Field, model_validator
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from cytodiffusion.errors import InputError
from napari_cytodiffusion.layers.placement import is_image
from napari_cytodiffusion.shared.choosers import Choice, LayerChoice, ModelChoice, PathEdit, SeedBox
from napari_cytodiffusion.shared.settings_form import SettingsForm


class Kind(StrEnum):
    ONE = "one"
    TWO = "two"


class Settings(BaseModel):
    count: int = Field(3, ge=1, le=9, title="Count", description="How many there are.")
    half_open: int = Field(0, gt=-1, lt=5)
    share: float = Field(0.25, ge=0, le=1)
    strength: float | None = Field(
        None, gt=0, le=1, json_schema_extra={"percent": True, "none": "the least"}
    )
    maybe: int | None = Field(None, ge=0, le=5, json_schema_extra={"none": "none"})
    width: int = Field(64, ge=1, json_schema_extra={"unit": "um"})
    way: Literal["quick", "by_hand"] = "by_hand"
    kind: Kind = Kind.TWO
    views: Literal[1, 2, 4] = Field(2, json_schema_extra={"more": True})
    check: bool = Field(True, title="Check it")
    either: bool | None = None
    model: str = "default"
    seed: int = Field(0, ge=0, lt=2**40)
    classes: tuple[str, ...] = ()
    data: Path = Field(title="Data", json_schema_extra={"hint": "a folder"})

    @model_validator(mode="after")
    def _fits(self) -> Settings:
        if self.count == 9 and self.views == 4:
            raise ValueError("nine in four views are too many.")
        return self


@pytest.fixture
def form(qtbot):
    made = SettingsForm(Settings, tuple(Settings.model_fields))
    qtbot.addWidget(made.native)
    return made


def test_values_are_the_defaults_of_the_class(form):
    form["data"].value = "/data"
    assert form.settings() == Settings(data="/data")
    assert set(form.values()) == set(Settings.model_fields)


def test_words_and_kinds_of_widgets_come_from_the_class(form):
    assert form["count"].label == "Count"
    assert form["count"].tooltip == "How many there are."
    assert form["width"].native.text() == "64 \u00b5m"
    assert form["strength"].native.text() == "the least"
    assert form["data"].line_edit.native.placeholderText() == "a folder"
    kinds = {"way": Choice, "kind": Choice, "check": CheckBox, "either": Choice}
    kinds |= {"model": ModelChoice, "seed": SeedBox, "data": PathEdit, "classes": LineEdit}
    assert all(isinstance(form[name], kind) for name, kind in kinds.items())
    assert form["way"].choices == ("quick", "by_hand")
    assert form["way"].native.currentText() == "By hand"


def test_no_value_out_of_its_limits_can_be_entered(form):
    least = {"count": 1, "half_open": 0, "share": 0, "strength": 1, "maybe": 0}
    most = {"count": 9, "half_open": 4, "share": 1, "strength": 100, "maybe": 5}
    for name, high in most.items():
        box = form[name].native
        box.setValue(1000)
        assert box.value() == high
        box.setValue(-1000)
        if name in ("strength", "maybe"):
            assert form[name].value is None
            box.stepBy(1)
        assert box.value() == least[name]
    with pytest.raises(ValueError, match="outside"):
        form["count"].value = 10


def test_none_and_percent_go_there_and_back(form):
    for name, values in {"strength": (0.3, None, 1.0), "maybe": (0, None, 5)}.items():
        for value in values:
            form[name].value = value
            assert form[name].value == value
    form["strength"].value = 0.35
    assert form["strength"].native.text() == "35 %"


def test_values_of_all_kinds_reach_the_settings(form):
    chosen = {
        "data": Path("/data"),
        "classes": ("a", "b c"),
        "seed": 7,
        "model": "owner/name",
        "either": False,
        "check": False,
        "views": 4,
        "kind": Kind.ONE,
        "way": "quick",
    }
    for name, value in chosen.items():
        form[name].value = value
    found = form.settings()
    assert {name: getattr(found, name) for name in chosen} == chosen


def test_each_field_that_is_wrong_is_said_in_a_sentence(form):
    with pytest.raises(InputError, match=r"^Data: nothing is given\.$"):
        form.settings()
    form["data"].value = "/data"
    with pytest.raises(InputError, match=r"^Count: .*9\. Share: .*1\.$"):
        form.settings(count=10, share=2)
    form["count"].value, form["views"].value = 9, 4
    with pytest.raises(InputError, match=r"^Nine in four views are too many\.$"):
        form.settings()


def test_what_few_turn_is_folded_away(form):
    form.native.show()
    assert not form["views"].visible
    QTest.mouseClick(form.fold, Qt.MouseButton.LeftButton)
    assert form["views"].visible
    form.show_field("views", False)
    assert not form["views"].visible
    QTest.mouseClick(form.fold, Qt.MouseButton.LeftButton)
    form.show_field("views", True)
    assert not form["views"].visible


def test_fields_side_by_side_and_preferences(qtbot):
    made = SettingsForm(Settings, ("model", ("count", "width")), start={"count": 5, "width": 0})
    qtbot.addWidget(made.native)
    # what was saved under other limits is left
    assert made.values() == {"model": "default", "count": 5, "width": 64}
    assert not made.fold.isVisibleTo(made.native)
    made.native.show()
    assert made["count"].native.mapTo(made.native, QPoint()).y() == (
        made["width"].native.mapTo(made.native, QPoint()).y()
    )


def test_choices_stand_in_the_order_they_are_given(qtbot):
    names = ["one", "two"]
    made = Choice(lambda _: [(name, name) for name in names])
    qtbot.addWidget(made.native)
    told = []
    made.changed.connect(told.append)
    made.value = "two"
    names[:] = ["three", "two", "one"]
    made.reset_choices()
    assert made.choices == ("three", "two", "one")
    assert made.value == "two"
    names[:] = ["one", "three"]
    made.reset_choices()
    assert told == ["two", "one"]


def test_changes_are_told_once(form):
    told = []
    form.changed.connect(lambda: told.append(1))
    form["count"].value = 4
    form["check"].value = False
    form["model"].value = "owner/name"
    form["either"].value = True
    form["either"].value = None
    QTest.mouseClick(form["seed"].new_button.native, Qt.MouseButton.LeftButton)
    assert len(told) == 6


def test_the_wheel_over_a_field_scrolls_the_form(form):
    form.native.show()
    for name in ("count", "way"):
        native, before = form[name].native, form[name].value
        place = QPointF(native.rect().center())
        wheel = QWheelEvent(
            place,
            QPointF(native.mapToGlobal(native.rect().center())),
            QPoint(0, -120),
            QPoint(0, -120),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        native.clearFocus()
        QApplication.sendEvent(native, wheel)
        assert form[name].value == before


def test_layers_that_come_go_and_change_their_name(qtbot, smear):
    viewer = ViewerModel()
    made = LayerChoice(viewer, is_image, "open an image first")
    qtbot.addWidget(made.native)
    told = []
    made.changed.connect(told.append)
    assert made.layer() is None
    assert not made.enabled
    assert made.native.currentText() == "open an image first"
    first = viewer.add_image(smear[0], name="first", rgb=True)
    viewer.add_labels(smear[1], name="cells")
    assert made.layer() is first
    second = viewer.add_image(smear[0], name="second", rgb=True)
    assert made.layer() is second
    second.name = "other"
    assert made.native.currentText() == "other"
    assert made.layer() is second
    made.choose(first)
    viewer.layers.remove(second)
    assert made.layer() is first
    assert told[-1] is first
    made.release()
    viewer.add_image(smear[0], name="third", rgb=True)
    assert made.layer() is first


def test_a_choice_whose_widget_goes_in_the_event_loop_hears_no_more(qtbot, smear):
    viewer = ViewerModel()
    made = LayerChoice(viewer, is_image, "open an image first")
    heard = [len(event.callbacks) for event in made._events()]
    layer = viewer.add_image(smear[0], name="first", rgb=True)
    made.native.deleteLater()
    qtbot.wait(20)
    layer.name = "other"
    viewer.add_image(smear[0], name="second", rgb=True)
    assert made.offered() == [layer]
    assert [len(event.callbacks) for event in made._events()] == [n - 1 for n in heard]
