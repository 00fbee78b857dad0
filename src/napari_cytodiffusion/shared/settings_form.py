"""A form made from a pydantic settings class: the only place of a knob is the class itself.

Title, description, limits, choices and default of each field come from there; beside what
pydantic knows, ``json_schema_extra`` may hold ``unit``, ``step``, ``decimals``, ``percent``,
``none`` (what stands there for None), ``choices`` (what each choice is called), ``hint`` (shown in
an empty line), ``path`` ("folder", "file" or "save") and ``more`` (folded away at first).
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from magicgui.widgets import CheckBox, Container, FloatSlider, Label, LineEdit
from magicgui.widgets.bases import BaseValueWidget
from pydantic import BaseModel, ValidationError
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QDoubleSpinBox, QLabel, QSizePolicy, QWidget

from cytodiffusion.errors import InputError
from napari_cytodiffusion.shared import choosers
from napari_cytodiffusion.shared.choosers import Choice, NumberBox, PathEdit, TextList
from napari_cytodiffusion.shared.defaults import knobs
from napari_cytodiffusion.shared.fold import FoldButton

_Settings = TypeVar("_Settings", bound=BaseModel)

_MODES = {"folder": "d", "file": "r", "save": "w"}


def make_field(kind: type[BaseModel], name: str, **other: Any) -> BaseValueWidget[Any]:
    """Return the widget of one field of a settings class; ``other`` replaces what is said of it."""
    about = {**knobs(kind)[name], **other}
    options = {"name": name, "label": about["title"], "tooltip": about.get("description", "")}
    if name == "device":
        return choosers.DeviceChoice(value=about.get("default", "auto"), label=about["title"])
    if "enum" in about:
        said, values = about.get("choices", {}), about["enum"]
        choices = [(said.get(v, str(v).replace("_", " ").capitalize()), v) for v in values]
        if about.get("optional"):
            choices.insert(0, (about.get("none", "automatic"), None))
        return Choice(choices, value=about.get("default", values[0]), **options)
    if name == "model":
        return choosers.ModelChoice(value=about.get("default", "default"), **options)
    if name == "seed":
        return choosers.SeedBox(about, **options)
    if name == "pixel_size_um":
        return choosers.PixelSizeBox({"decimals": 4, "step": 0.01, **about}, **options)
    if about.get("format") == "path":
        mode = _MODES[about.get("path", "folder")]
        return PathEdit(about["title"], about.get("hint", ""), mode, **options)
    if about["type"] == "boolean" and about.get("optional"):
        choices = [(about.get("none", "automatic"), None), ("yes", True), ("no", False)]
        return Choice(choices, value=about.get("default"), **options)
    if about["type"] == "boolean":
        return CheckBox(value=about.get("default", False), **options)
    if about.get("slider"):
        step = 10.0 ** -about.get("decimals", 2)
        low, high = about["minimum"], about["maximum"]
        slider = FloatSlider(value=about["default"], min=low, max=high, step=step, **options)
        readout = slider.native.findChild(QDoubleSpinBox)
        readout.setDecimals(about.get("decimals", 2))
        readout.setSuffix(choosers.suffix_of(about))
        return slider
    if about["type"] in ("integer", "number"):
        return NumberBox(about, **options)
    several = about["type"] == "array"
    line = (TextList if several else LineEdit)(value=about.get("default") or "", **options)
    line.native.setPlaceholderText(about.get("hint", about.get("none", "")))
    return line


def _collect_soon() -> None:
    QTimer.singleShot(0, lambda: gc.collect() and None)


class _Aligner(QObject):
    """Keeps the labels of a form as wide as the widest, in the font that the theme gives them."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Measure anew when the form is shown or gets another font."""
        kinds = (QEvent.Type.Show, QEvent.Type.StyleChange, QEvent.Type.FontChange)
        if event is not None and event.type() in kinds and isinstance(watched, QWidget):
            labels = [
                row.layout().itemAt(0).widget()
                for row in watched.findChildren(
                    QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly
                )
                if row.layout() is not None and isinstance(row.layout().itemAt(0).widget(), QLabel)
            ]
            for label in labels:
                label.ensurePolished()
            widest = max((label.sizeHint().width() for label in labels), default=0)
            for label in labels:
                label.setMinimumWidth(widest)
        return False


class SettingsForm(Container):  # type: ignore[type-arg]
    """Rows of labelled widgets, one for each field that is named.

    Parameters
    ----------
    rows : sequence of str or tuple of str
        Names of fields from the top; those in a tuple share a row.
    widgets : mapping of str to magicgui widget
        Widgets for fields that a plain one does not fit, and for what is beside the settings.
    words : mapping of str to mapping
        What is said of a field otherwise than in the class, such as ``{"none": "all"}``.
    start : mapping of str to object
        Values to start with, such as the user's preferences, in place of the defaults.
    more : sequence of str, optional
        Fields that are folded away; by default those that the class marks so.
    """

    def __init__(
        self,
        kind: type[BaseModel],
        rows: Sequence[str | tuple[str, ...]],
        *,
        widgets: Mapping[str, Any] | None = None,
        words: Mapping[str, Mapping[str, Any]] | None = None,
        start: Mapping[str, Any] | None = None,
        more: Sequence[str] | None = None,
    ) -> None:
        self.kind = kind
        self.fields: dict[str, Any] = {}
        self._rows: dict[str, Any] = {}
        self._hidden: set[str] = set()
        about = knobs(kind)
        named = [row if isinstance(row, tuple) else (row,) for row in rows]
        folded = [
            row
            for row in named
            if (row[0] in more if more is not None else about.get(row[0], {}).get("more"))
        ]
        self._folded = {name for row in folded for name in row}
        shown = [row for row in named if row not in folded]
        for name in (name for row in named for name in row):
            given = (widgets or {}).get(name)
            said = (words or {}).get(name, {})
            self.fields[name] = make_field(kind, name, **said) if given is None else given
        for name, value in (start or {}).items():
            # what was saved may lie outside of limits that came later
            with suppress(ValueError):
                self.fields[name].value = value
        super().__init__()
        # one by one: only what is added later gets labels of one width
        self.extend(self._row(row) for row in [*shown, *folded])
        self.margins = (0, 0, 0, 0)
        self.native.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        layout = self.native.layout()
        layout.setSpacing(5)
        self.fold = FoldButton("More", self.native)
        layout.insertWidget(len(shown), self.fold)
        self.fold.setVisible(bool(folded))
        self.fold.toggled.connect(self._show_rows)
        # magicgui's widgets refer to each other: a worker that happened to collect them would
        # destroy parts of Qt in its thread, which crashes
        self.native.destroyed.connect(_collect_soon)
        self._aligner = _Aligner(self.native)
        self.native.installEventFilter(self._aligner)
        self._show_rows()

    def _row(self, names: tuple[str, ...]) -> Any:
        """Return one widget for the fields of a row, with the label of the first."""
        first = self.fields[names[0]]
        check = isinstance(first, CheckBox)
        if len(names) == 1 and not check:
            self._rows[names[0]] = first
            return first
        parts = [first]
        for name in names[1:]:
            field = self.fields[name]
            if field.label.strip() and not isinstance(field, CheckBox):
                parts.append(Label(value=field.label, tooltip=field.tooltip))
            parts.append(field)
        label = "" if check else first.label
        row = Container(widgets=parts, layout="horizontal", labels=False, label=label)
        row.margins = (0, 0, 0, 0)
        row.native.layout().setSpacing(6)
        for at, part in enumerate(parts):
            fixed = isinstance(part, Label | CheckBox)
            row.native.layout().setStretch(at, 0 if fixed else 1)
        if len(names) == 1:
            row.native.layout().addStretch(1)
        self._rows.update(dict.fromkeys(names, row))
        return row

    def __getitem__(self, key: Any) -> Any:
        """Return the field of a name, which may be one that a container has a meaning for."""
        return self.fields[key] if isinstance(key, str) else super().__getitem__(key)

    def insert_below(self, name: str, widget: QWidget, stretch: int = 0) -> None:
        """Put another widget below the row of a field."""
        row = self._rows[name].native
        while row.parentWidget() is not self.native:
            row = row.parentWidget()
        layout = self.native.layout()
        layout.insertWidget(layout.indexOf(row) + 1, widget, stretch)

    def show_field(self, name: str, shown: bool) -> None:
        """Show or hide the row of a field."""
        (self._hidden.discard if shown else self._hidden.add)(name)
        self._show_rows()

    def _show_rows(self, _: Any = None) -> None:
        for name, row in self._rows.items():
            opened = name not in self._folded or self.fold.isChecked()
            row.visible = opened and name not in self._hidden

    def values(self) -> dict[str, Any]:
        """Return the values of the fields of the settings class by name, as they stand there."""
        known = self.kind.model_fields
        return {name: field.value for name, field in self.fields.items() if name in known}

    def settings(self, **more: Any) -> Any:
        """Return the settings, ``more`` among them; InputError says each field that is wrong."""
        return checked(self.kind, {**self.values(), **more})


def checked(kind: type[_Settings], values: Mapping[str, Any]) -> _Settings:
    """Return settings; InputError has one sentence for each field that does not fit."""
    try:
        return kind(**values)
    except ValidationError as error:
        about, said = knobs(kind), []
        for wrong in error.errors():
            reason = wrong["msg"].removeprefix("Value error, ").rstrip(".")
            where = str(wrong["loc"][0]) if wrong["loc"] else ""
            title = about.get(where, {}).get("title", where)
            if not title:
                said.append(f"{reason[:1].upper()}{reason[1:]}.")
            elif wrong["type"] == "missing" or wrong["input"] is None:
                said.append(f"{title}: nothing is given.")
            else:
                said.append(f"{title}: {reason[:1].lower()}{reason[1:]}.")
        raise InputError(" ".join(said)) from error
