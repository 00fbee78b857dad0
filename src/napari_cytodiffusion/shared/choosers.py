"""Widgets of a form for what magicgui has none for: numbers with a unit, paths, models, seeds."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox, FileEdit, FloatSpinBox, LineEdit, PushButton
from magicgui.widgets.bases import ValuedContainerWidget
from napari.layers import Layer
from psygnal import Signal
from qtpy.QtCore import QEvent, QObject, QSignalBlocker, Qt
from qtpy.QtWidgets import QComboBox, QSizePolicy, QWidget

from cytodiffusion.errors import InputError
from cytodiffusion.settings import SegmentOptions
from napari_cytodiffusion.layers.placement import pixel_size_of
from napari_cytodiffusion.shared.defaults import DEVICES, knobs

#: Units as they are written behind a number.
_UNITS = {"um": "\u00b5m", "sigmas": "SD"}

#: Numbers without an upper limit end here, so that their boxes stay narrow.
_MOST = 2**31 - 1


class _WheelGuard(QObject):
    """Leaves the wheel to the area that scrolls, unless one is typing in the field."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Let go of the wheel over a field that has not the focus."""
        if event is None or event.type() != QEvent.Type.Wheel:
            return False
        if not isinstance(watched, QWidget) or watched.hasFocus():
            return False
        event.ignore()
        return True


def _guard_wheel(native: QWidget) -> None:
    native.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    native.installEventFilter(_WheelGuard(native))


def _limits(about: Mapping[str, Any], scale: float, tick: float) -> tuple[float, float]:
    """Return the least and the largest number that can be entered."""
    low, high = about.get("minimum", 0), about.get("maximum", _MOST / scale)
    low = scale * low if (bar := about.get("exclusiveMinimum")) is None else scale * bar + tick
    high = scale * high if (bar := about.get("exclusiveMaximum")) is None else scale * bar - tick
    return low, min(high, _MOST)


def suffix_of(about: Mapping[str, Any]) -> str:
    """Return the unit as it stands behind a number, unless the title says it already."""
    unit = "%" if about.get("percent") else about.get("unit", "")
    said = unit.lower() in about.get("title", "").lower()
    return "" if said else f" {_UNITS.get(unit, unit)}"


class NumberBox(FloatSpinBox):  # type: ignore[misc]
    """A number with its unit; one step below its least it stands for none.

    ``about`` is the field's JSON schema as `defaults.knobs` gives it; its own keys are ``unit``,
    ``step``, ``decimals``, ``none`` (what stands there for none) and ``percent`` (a share that is
    shown in percent).
    """

    def __init__(self, about: Mapping[str, Any], **options: Any) -> None:
        self._whole = about["type"] == "integer"
        self._scale = 100 if about.get("percent") else 1
        self._optional = bool(about.get("optional"))
        decimals = 0 if self._whole else about.get("decimals", 0 if self._scale > 1 else 2)
        self._decimals = decimals
        tick = 10.0**-decimals
        low, high = _limits(about, self._scale, tick)
        super().__init__(
            min=low - tick if self._optional else low,
            max=high,
            nullable=self._optional,
            **options,
        )
        box = self.native
        step = about.get("step")
        self.step = None if step is None else self._scale * step
        box.setDecimals(decimals)
        box.setRange(low - tick if self._optional else low, high)
        box.setGroupSeparatorShown(self._whole and about.get("title") != "Seed")
        box.setSuffix(suffix_of(about))
        if self._optional:
            none = about.get("none", "automatic")
            box.setSpecialValueText(none)
            # with the room that a theme's buttons take
            box.setMinimumWidth(box.fontMetrics().horizontalAdvance(none) + 70)
        _guard_wheel(box)
        self.set_value(about.get("default"))

    def get_value(self) -> Any:
        """Return the number, None where none is given."""
        value = self.native.value()
        if self._optional and value <= self.native.minimum():
            return None
        return round(value) if self._whole else round(value / self._scale, 6)

    def set_value(self, value: Any) -> None:
        """Set the number; ValueError where it is out of range."""
        if value is None:
            self.native.setValue(self.native.minimum())
        else:
            super().set_value(round(self._scale * value, self._decimals))

    def _on_value_change(self, value: Any = None) -> None:
        self.changed.emit(self.get_value())


class PixelSizeBox(NumberBox):
    """Micrometres a pixel, as the layers have them."""

    def follow(self, *layers: Layer | None) -> None:
        """Take the pixel size of the first layer that knows one, none where no layer does."""
        for layer in layers:
            try:
                size = None if layer is None else pixel_size_of(layer)
            except InputError as error:
                self.tooltip = str(error)
                continue
            if size is not None and self.min < size <= self.max:
                self.set_value(size)
                return
        self.set_value(None)


class Choice(ComboBox):  # type: ignore[misc]
    """One of several values, each with what it is called; None may be one of them."""

    def __init__(self, choices: Any, **options: Any) -> None:
        super().__init__(choices=choices, **options)
        policy = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        self.native.setSizeAdjustPolicy(policy)
        self.native.setMinimumContentsLength(10)
        self.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        _guard_wheel(self.native)

    def _on_value_change(self, value: Any = None) -> None:
        self.changed.emit(value)

    def reset_choices(self, *_: Any) -> None:
        """Offer what there is now, in its order: magicgui alone adds what is new at the end."""
        native, value = self.native, self.value
        text = native.currentText()
        with self.changed.blocked(), QSignalBlocker(native):
            native.clear()
            super().reset_choices()
            native.setCurrentIndex(max(0, native.findText(text)))
        if self.value != value:
            self.changed.emit(self.value)


class DeviceChoice(Choice):
    """Where the network runs."""

    def __init__(self, **options: Any) -> None:
        words = {"name": "device", "label": "Device", "value": "auto"}
        words["tooltip"] = knobs(SegmentOptions)["device"]["description"]
        super().__init__([(text, value) for value, text in DEVICES.items()], **words | options)


class LayerChoice(Choice):
    """One of those layers of a viewer that pass a test; follows the layer list.

    napari's own choice of layers knows neither a list in which none is chosen nor layers that were
    just added, which are what one wants to work on; it finds layers by their names, which change.

    Signals
    -------
    refilled (object)
        The list was made anew or a name changed; the layer that was just added, or None.
    rescaled ()
        Scale or units of the chosen layer changed.
    moved ()
        The chosen layer was moved or turned, or has other data.
    picked ()
        The user has chosen a layer.

    Parameters
    ----------
    viewer : ViewerModel
        Whose layers are offered.
    accepts : callable
        Whether a layer is offered.
    nothing : str
        Shown when no layer is chosen.
    """

    refilled = Signal(object)
    rescaled = Signal()
    moved = Signal()
    picked = Signal()

    def __init__(
        self, viewer: Any, accepts: Callable[[Layer], bool], nothing: str, **options: Any
    ) -> None:
        self._layers, self._accepts, self._nothing = viewer.layers, accepts, nothing
        self._offered: list[Layer] = []
        super().__init__((), **options)
        for event in self._events():
            # last: the session has told by then what a new layer is
            event.connect(self._refill, position="last")
        self.native.activated.connect(self._on_activated)
        self._refill()

    def layer(self) -> Layer | None:
        """Return the chosen layer, None when there is none."""
        index = self.native.currentIndex()
        return self._offered[index] if 0 <= index < len(self._offered) else None

    @property
    def value(self) -> Layer | None:
        """The chosen layer."""
        return self.layer()

    @value.setter
    def value(self, layer: Layer | None) -> None:
        self.choose(layer)

    def offered(self) -> list[Layer]:
        """Return the layers that can be chosen."""
        return list(self._offered)

    def choose(self, layer: Layer | None) -> None:
        """Choose a layer, if it is offered; None chooses none."""
        if layer is None and self._offered:
            self.native.setCurrentIndex(-1)
        for index, offered in enumerate(self._offered):
            if offered is layer:
                self.native.setCurrentIndex(index)

    def set_nothing(self, text: str) -> None:
        """Set what is shown when no layer is chosen."""
        self._nothing = text
        self.native.setPlaceholderText(text)
        if not self._offered:
            self.native.setItemText(0, text)

    def reset_choices(self, *_: Any) -> None:
        """Do nothing: the list follows that of the viewer by itself."""

    def release(self) -> None:
        """Disconnect from the viewer."""
        for event in self._events():
            event.disconnect(self._refill)
        for layer in self._offered:
            self._let_go(layer)

    def _is_gone(self) -> bool:
        """Whether only its Python part is left, which then hears of layers no more.

        Listening to ``destroyed`` instead crashes PyQt where the widget goes in the event loop.
        """
        try:
            self.native.isEnabled()
        except RuntimeError:
            self.release()
            return True
        return False

    def _events(self) -> tuple[Any, ...]:
        events = self._layers.events
        return events.inserted, events.removed, events.reordered

    def _let_go(self, layer: Layer) -> None:
        for heard, events in self._layer_events(layer):
            for event in events:
                event.disconnect(heard)

    def _layer_events(self, layer: Layer) -> tuple[tuple[Callable[..., None], Any], ...]:
        e = layer.events
        return (
            (self._rename, (e.name,)),
            (self._rescale, (e.scale, e.units)),
            (self._move, (e.translate, e.rotate, e.shear, e.affine, e.data)),
        )

    def _refill(self, _: Any = None) -> None:
        if self._is_gone():
            return
        before, known = self.layer(), list(self._offered)
        for layer in known:
            self._let_go(layer)
        # a proxy may be in between: the layers themselves are what `is` compares
        layers = [getattr(layer, "__wrapped__", layer) for layer in self._layers]
        self._offered = [layer for layer in layers if self._accepts(layer)]
        fresh = [layer for layer in self._offered if not any(layer is k for k in known)]
        for layer in self._offered:
            for heard, events in self._layer_events(layer):
                for event in events:
                    event.connect(heard)
        native = self.native
        with QSignalBlocker(native):
            native.clear()
            native.addItems([layer.name for layer in self._offered] or [self._nothing])
            native.setEnabled(bool(self._offered))
            # what was just added is what one wants to work on; else keep the choice
            if fresh or before is not None:
                self.choose(fresh[-1] if fresh else before)
        self.refilled.emit(fresh[-1] if fresh else None)
        if self.layer() is not before:
            self.changed.emit(self.layer())

    def _rename(self, _: Any = None) -> None:
        if self._is_gone():
            return
        for index, layer in enumerate(self._offered):
            self.native.setItemText(index, layer.name)
        self.refilled.emit(None)

    def _rescale(self, event: Any) -> None:
        if not self._is_gone() and event.source is self.layer():
            self.rescaled.emit()

    def _move(self, event: Any) -> None:
        if not self._is_gone() and event.source is self.layer():
            self.moved.emit()

    def _on_activated(self, _: int) -> None:
        self.picked.emit()

    def _on_value_change(self, value: Any = None) -> None:
        self.changed.emit(self.layer())


class TextList(LineEdit):  # type: ignore[misc]
    """Words or numbers with commas between."""

    def get_value(self) -> Any:
        """Return the parts that are not empty."""
        parts = (part.strip() for part in super().get_value().split(","))
        return tuple(part for part in parts if part)

    def set_value(self, value: Any) -> None:
        """Write the parts with commas between."""
        super().set_value(", ".join(map(str, value)))


class PathEdit(FileEdit):
    """A line for a folder or file, with a button that looks for it; None when empty.

    ``mode`` is that of magicgui: d for a folder, r for a file, w for one that is written.
    """

    def __init__(self, title: str, hint: str = "", mode: str = "d", **options: Any) -> None:
        self._title = title
        super().__init__(mode=mode, nullable=True, **options)  # type: ignore[arg-type]
        self.line_edit.native.setPlaceholderText(hint)
        self.choose_btn.text = "..."
        self.choose_btn.tooltip = title
        self.choose_btn.native.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.choose_btn.native.setMaximumWidth(32)
        self.native.layout().setSpacing(4)

    @property
    def _btn_text(self) -> str:
        return self._title

    @property
    def text(self) -> str:
        """What stands in the line."""
        return str(self.line_edit.value).strip()

    def get_value(self) -> Path | None:
        """Return the path, with the home folder written out."""
        return Path(self.text).expanduser() if self.text else None


class ModelChoice(ValuedContainerWidget[str]):
    """One of the known models by value and text, or a path or name of the user's own."""

    def __init__(
        self,
        known: Sequence[tuple[str, str]] = (("default", "Bundled"),),
        own: str = "Own",
        hint: str = "folder, or owner/name on the Hub",
        folder: bool = True,
        **options: Any,
    ) -> None:
        self.combo = Choice([*((text, value) for value, text in known), (own, None)])
        title = "Folder of the model" if folder else "File of weights"
        self.own = PathEdit(title, hint, "d" if folder else "r")
        super().__init__(
            widgets=[self.combo, self.own], layout="horizontal", labels=False, **options
        )
        self.margins = (0, 0, 0, 0)
        layout = self.native.layout()
        layout.setSpacing(4)
        layout.setStretch(0, 1)
        layout.setStretch(1, 2)
        self.combo.changed.connect(self._on_choice)
        # each letter of a path is no model
        self.own.line_edit.native.editingFinished.connect(self._emit)
        self.own.choose_btn.changed.connect(self._emit)
        self._on_choice()

    def get_value(self) -> str:
        """Return the value of the known model, or what was typed."""
        known = self.combo.value
        return self.own.text if known is None else str(known)

    def set_value(self, value: Any) -> None:
        """Choose a known model, or enter one's own."""
        known = value in self.combo.choices
        if not known:
            self.own.line_edit.value = str(value)
        if self.combo.value == (value if known else None):
            self._emit()
        self.combo.value = value if known else None

    def _on_choice(self, _: Any = None) -> None:
        self.own.visible = self.combo.value is None
        self._emit()

    def _emit(self, _: Any = None) -> None:
        self.changed.emit(self.get_value())


class SeedBox(ValuedContainerWidget[int]):
    """A seed, and a button that throws another one."""

    def __init__(self, about: Mapping[str, Any], **options: Any) -> None:
        self.number = NumberBox(about)
        self.new_button = PushButton(text="New seed", tooltip="Throw the dice")
        super().__init__(
            widgets=[self.number, self.new_button], layout="horizontal", labels=False, **options
        )
        self.margins = (0, 0, 0, 0)
        layout = self.native.layout()
        layout.setSpacing(4)
        layout.setStretch(0, 1)
        self.number.changed.connect(self._emit)
        self.new_button.changed.connect(self._on_new)

    def get_value(self) -> int:
        """Return the seed."""
        return int(self.number.value)

    def set_value(self, value: Any) -> None:
        """Set the seed."""
        self.number.value = value

    def _emit(self, value: Any) -> None:
        self.changed.emit(value)

    def _on_new(self, _: Any = None) -> None:
        # short numbers are easier to write down
        self.number.value = random.SystemRandom().randrange(1, 100_000)
