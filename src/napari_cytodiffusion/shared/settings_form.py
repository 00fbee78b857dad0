"""A form made from a settings object: its fields, their limits and their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QDoubleSpinBox, QHBoxLayout, QLabel, QSpinBox, QVBoxLayout, QWidget

from napari_cytodiffusion.shared.common import form

_INT_MOST = 2**31 - 1


@dataclass(frozen=True)
class Said:
    """How a field is called.

    Attributes
    ----------
    title : str
    tip : str
    suffix : str
        Behind the number.
    step : float
        Between two values that the arrows lead to; 0 takes 1 or a tenth.
    decimals : int
        Of a number that is not whole.
    nothing : str
        What an optional number is called where there is none.
    beside : bool
        Whether it stands in the row of the field before.
    """

    title: str
    tip: str
    suffix: str = ""
    step: float = 0.0
    decimals: int = 2
    nothing: str = ""
    beside: bool = False


class SettingsForm(QWidget):
    """A row for each number among the fields of a settings class.

    Signals
    -------
    changed ()

    Parameters
    ----------
    kind : type of BaseModel
        Gives limits and defaults.
    said : mapping of str to Said
        The fields that are shown, in this order.
    parent : QWidget
    """

    changed = Signal()

    def __init__(self, kind: type[BaseModel], said: Mapping[str, Said], parent: QWidget) -> None:
        super().__init__(parent)
        properties = kind.model_json_schema()["properties"]
        self.fields: dict[str, QSpinBox | QDoubleSpinBox] = {}
        self._optional: set[str] = set()
        self._rows = form(self)
        self._last = QHBoxLayout()
        for name, words in said.items():
            self._add(name, properties[name], words)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._rows)

    def _add(self, name: str, about: Mapping[str, Any], words: Said) -> None:
        choices = {choice["type"]: choice for choice in about.get("anyOf", (about,))}
        optional = choices.pop("null", None) is not None
        ((kind, limits),) = choices.items()
        spin = QSpinBox(self) if kind == "integer" else QDoubleSpinBox(self)
        if isinstance(spin, QDoubleSpinBox):
            spin.setDecimals(words.decimals)
        low = limits.get("minimum", 0)
        high = min(limits.get("maximum", _INT_MOST), limits.get("exclusiveMaximum", _INT_MOST))
        if optional:
            # one below what is allowed stands for "none given"
            self._optional.add(name)
            low -= 1
            spin.setSpecialValueText(words.nothing)
        spin.setRange(low, high)
        spin.setSingleStep(words.step or (1 if kind == "integer" else 0.1))
        default = about.get("default")
        spin.setValue(low if default is None else default)
        spin.setSuffix(words.suffix)
        spin.setToolTip(words.tip)
        spin.valueChanged.connect(self._on_value)
        self.fields[name] = spin
        if not words.beside:
            row = QHBoxLayout()
            row.setSpacing(6)
            self._rows.addRow(words.title, row)
            self._last = row
        else:
            self._last.addWidget(QLabel(words.title, self))
        self._last.addWidget(spin, 1)

    def values(self) -> dict[str, Any]:
        """Return the settings by name."""
        values: dict[str, Any] = {}
        for name, spin in self.fields.items():
            none = name in self._optional and spin.value() == spin.minimum()
            # a box of three decimals has numbers such as 0.30000000000000004
            number = spin.value() if isinstance(spin, QSpinBox) else round(spin.value(), 6)
            values[name] = None if none else number
        return values

    def _on_value(self, _: Any) -> None:
        self.changed.emit()
