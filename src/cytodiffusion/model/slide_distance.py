"""How far a slide is from the training, and how much less sure the model is to be there.

Nobody knows the classes of the cells of a new slide, but how unlike the training cells they look
can be measured without labels. How much confidence falls with that distance is learned in simulated
laboratories, from mild to harsh ones, where the classes are known; see
`cytodiffusion.classification.slide_distance` for what is made of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from cytodiffusion.errors import BundleError
from cytodiffusion.model.files import read_json

CONFIG = "distance.json"

FILES = (CONFIG,)


@dataclass(frozen=True)
class SlideDistance:
    """Numbers that turn the anomaly scores of a slide's cells into a distance and less confidence.

    Attributes
    ----------
    typical : tuple of float
        Mean anomaly score of the validation cells that were taken for each of the K classes.
    spread : float
        Standard deviation of these scores about it.
    usual : float
        Mean of these scores, over the spread, in the least typical laboratory of the training.
    fall, slope : float
        For each unit of distance the log odds of a cell's confidence ``x`` fall by
        ``fall + slope x``.
    doubt : tuple of float
        By how much more (less, if negative) they fall for cells that are taken for each class.
    tail : float
        In a slide that is far, a cell is anomalous where its score lies this many times as high
        above the slide's own as three quarters of the cells lie from their class.
    measured : dict of float
        Calibration error and coverage in simulated laboratories, before and after.
    """

    typical: tuple[float, ...]
    spread: float
    fall: float
    slope: float
    doubt: tuple[float, ...]
    tail: float
    usual: float = 0.0
    measured: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_dict(cls, content: dict[str, Any], n_classes: int) -> SlideDistance:
        """Undo `to_dict`; LookupError, TypeError or ValueError where it makes no sense."""
        if odd := sorted(set(content) ^ {f.name for f in fields(cls)}):
            raise ValueError(f"missing or unknown entries {odd}")
        found = cls(
            typical=_numbers(content["typical"], n_classes),
            doubt=_numbers(content["doubt"], n_classes),
            measured={str(k): float(v) for k, v in content["measured"].items()},
            **{k: float(content[k]) for k in ("spread", "fall", "slope", "tail", "usual")},
        )
        numbers = (*found.typical, *found.doubt, found.fall, found.slope, found.usual)
        if not all(map(math.isfinite, numbers)):
            raise ValueError("entries must be numbers")
        if not (0 < found.spread < math.inf and 0 < found.tail < math.inf):
            raise ValueError("the spread and the tail must be positive")
        return found


def _numbers(values: Sequence[float], count: int) -> tuple[float, ...]:
    if len(values) != count:
        raise ValueError(f"there must be one number for each of {count} classes")
    return tuple(float(v) for v in values)


def save_slide_distance(folder: Path, kept: SlideDistance) -> None:
    """Write the file of a slide distance into a bundle's folder."""
    text = json.dumps(kept.to_dict(), indent=1)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def load_slide_distance(folder: Path, n_classes: int) -> SlideDistance:
    """Read the slide distance of a bundle; BundleError where it does not fit the bundle."""
    try:
        return SlideDistance.from_dict(read_json(folder / CONFIG), n_classes)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise BundleError(
            f"{CONFIG} of the bundle {folder} describes no distance of slides: {error}."
        ) from error
