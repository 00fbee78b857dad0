"""What the blood of a preset is made of: shares of white cells, and platelets on a usual field.

Typical of a textbook's picture of each finding, not the values of any patient. The model draws
band and segmented neutrophils as one class, so that a left shift shows in immature granulocytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Preset = Literal["normal-adult", "left-shift", "eosinophilia", "thrombocytopenia", "lymphocytosis"]


@dataclass(frozen=True)
class Blood:
    """White cells and platelets of a preset.

    Attributes
    ----------
    differential : mapping
        Share of each class among the white cells, in percent.
    n_platelets : int
        On a field of the usual size.
    """

    differential: Mapping[str, float]
    n_platelets: int = 14


_NORMAL = {"neutrophil": 60, "lymphocyte": 30, "monocyte": 6, "eosinophil": 3, "basophil": 1}

PRESETS: Mapping[str, Blood] = {
    "normal-adult": Blood(_NORMAL),
    "left-shift": Blood(
        {
            "neutrophil": 62,
            "immature granulocyte": 18,
            "lymphocyte": 13,
            "monocyte": 5,
            "eosinophil": 1,
            "basophil": 1,
        }
    ),
    "eosinophilia": Blood(
        {"neutrophil": 42, "lymphocyte": 27, "monocyte": 5, "eosinophil": 25, "basophil": 1}
    ),
    "thrombocytopenia": Blood(_NORMAL, n_platelets=1),
    "lymphocytosis": Blood(
        {"neutrophil": 24, "lymphocyte": 70, "monocyte": 4, "eosinophil": 1, "basophil": 1}
    ),
}
