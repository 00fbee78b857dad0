"""The fields of *Generate cells*: which model, how it samples, what is rejected."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QObject, QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QWidget,
)

from napari_cytodiffusion.generate.jobs import GenerateRequest
from napari_cytodiffusion.shared.common import form
from napari_cytodiffusion.shared.defaults import default
from napari_cytodiffusion.shared.fields import DeviceField, ModelField


class SeedField(QWidget):
    """A seed, and a button that throws another one."""

    def __init__(self, seed: int, parent: QWidget) -> None:
        super().__init__(parent)
        self.spin = QSpinBox(self)
        self.spin.setRange(0, 2**31 - 1)
        self.spin.setValue(seed)
        self.spin.setToolTip("The same seed gives the same on the same device.")
        self.new_button = QPushButton("New seed", self)
        self.new_button.setToolTip("Throw the dice")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.spin, 1)
        layout.addWidget(self.new_button)
        self.new_button.clicked.connect(self._on_new)

    def value(self) -> int:
        """Return the seed."""
        return self.spin.value()

    def _on_new(self) -> None:
        # short numbers are easier to write down
        self.spin.setValue(random.SystemRandom().randrange(1, 100_000))


class GenerateForm(QObject):
    """Fields in two groups, for the widget to put above and below the classes.

    Signals
    -------
    changed ()
        Something that the effort depends on.
    model_changed ()
        Another model or device.
    """

    changed = Signal()
    model_changed = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.model = ModelField(
            [("default", "Bundled")], "Own", "folder, or owner/name on the Hub", True, parent
        )
        self.model.set_value(default("classification", "model"))
        self.device = DeviceField(parent, default("classification", "device"))
        self.model_rows = form(parent)
        self.model_rows.addRow("Model", self.model)
        self.model_rows.addRow("Device", self.device)
        self._build_sampling(parent)
        self._build_choices(parent)
        self.sampling_rows = form(parent)
        self.sampling_rows.addRow("Guidance", _row(self.guidance, QLabel("Steps"), self.steps))
        self.sampling_rows.addRow("Seed", self.seed)
        self.sampling_rows.addRow("Mix with", _row(self.towards, self.share))
        self.sampling_rows.addRow("Check", _row(self.reject, self.tries))
        self.model.changed.connect(self.model_changed)
        self.device.currentIndexChanged.connect(lambda _: self.model_changed.emit())
        self.steps.valueChanged.connect(lambda _: self.changed.emit())
        self.reject.toggled.connect(self._on_reject)
        self.towards.currentIndexChanged.connect(self._on_towards)
        self._on_towards()

    def _build_sampling(self, parent: QWidget) -> None:
        self.guidance = QDoubleSpinBox(parent)
        self.guidance.setRange(0, 20)
        self.guidance.setSingleStep(0.5)
        self.guidance.setDecimals(1)
        self.guidance.setValue(1.5)
        self.guidance.setToolTip(
            "1 draws a class as it was learned, more exaggerates what is typical of it, 0 "
            "ignores the class."
        )
        self.steps = QSpinBox(parent)
        self.steps.setRange(2, 1000)
        self.steps.setValue(30)
        self.steps.setToolTip("Steps of the sampler; the time grows with them.")
        self.seed = SeedField(default("classification", "seed"), parent)

    def _build_choices(self, parent: QWidget) -> None:
        self.towards = QComboBox(parent)
        self.towards.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.towards.setMinimumContentsLength(10)
        self.towards.setToolTip("Draw cells between their own class and this one.")
        self.share = QSpinBox(parent)
        self.share.setRange(0, 100)
        self.share.setSingleStep(10)
        self.share.setValue(50)
        self.share.setSuffix(" %")
        self.share.setToolTip("How far to go towards the other class.")
        self.reject = QCheckBox("redraw if denied", parent)
        self.reject.setChecked(True)
        self.reject.setToolTip(
            "Cells that the model's own classifier does not take for the asked class are drawn "
            "anew, and left out if that does not help. Without it they are kept, in red frames."
        )
        self.tries = QSpinBox(parent)
        self.tries.setRange(1, 100)
        self.tries.setValue(4)
        self.tries.setSuffix(" tries")
        self.tries.setMinimumWidth(104)
        self.tries.setToolTip("Drawings of a cell at most.")
        self.set_classes(())

    def set_classes(self, names: Sequence[str]) -> None:
        """Offer these classes to mix with."""
        before = self.towards.currentData()
        with QSignalBlocker(self.towards):
            self.towards.clear()
            self.towards.addItem("no other class", None)
            for name in names:
                self.towards.addItem(name, name)
            self.towards.setCurrentIndex(max(0, self.towards.findData(before)))
        self._on_towards()

    def request(self, counts: Mapping[str, int], cache: Any) -> GenerateRequest:
        """Return what is asked for."""
        return GenerateRequest(
            source=self.model.value() or "default",
            device=self.device.device(),
            counts=counts,
            settings={
                "steps": self.steps.value(),
                "guidance": self.guidance.value(),
                "seed": self.seed.value(),
                "reject": self.reject.isChecked(),
                "tries": self.tries.value(),
            },
            towards=self.towards.currentData(),
            share=self.share.value() / 100,
            cache=cache,
        )

    def _on_reject(self, checked: bool) -> None:
        self.tries.setEnabled(checked)
        self.changed.emit()

    def _on_towards(self, _: Any = None) -> None:
        self.share.setEnabled(self.towards.currentData() is not None)


def _row(first: QWidget, *others: QWidget) -> QHBoxLayout:
    """Fields side by side, the first takes the room there is."""
    layout = QHBoxLayout()
    layout.setSpacing(6)
    layout.addWidget(first, 1)
    for widget in others:
        layout.addWidget(widget, 0 if isinstance(widget, QLabel) else 1)
    return layout
