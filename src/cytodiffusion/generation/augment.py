"""Training sets topped up with synthetic cells, so that all classes are as frequent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cytodiffusion.datasets import Record, find_records
from cytodiffusion.errors import InputError
from cytodiffusion.files.synthetic_mark import is_synthetic
from cytodiffusion.files.writers import write_cells_csv
from cytodiffusion.generation.order import GenerationSettings, class_of
from cytodiffusion.generation.save import SavedCells, generate_into
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.progress import Progress, silent

#: The table of real and synthetic images together.
TABLE = "training.csv"


@dataclass(frozen=True)
class TopUp:
    """How many synthetic cells a training set lacks.

    Attributes
    ----------
    real : mapping
        Training images by class.
    wanted : mapping
        Synthetic cells to add, by class; classes that are full are left out.
    unknown : tuple of str
        Classes that lack images and that the model does not draw.
    """

    real: Mapping[str, int]
    wanted: Mapping[str, int]
    unknown: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class AugmentResult:
    """A training set that was topped up.

    Attributes
    ----------
    table : Path
        CSV of real and synthetic images: ``path``, ``class``, ``split``, ``synthetic`` and
        where there are any ``group`` and ``confidence``.
    plan : TopUp
    saved : SavedCells
        The synthetic cells.
    """

    table: Path
    plan: TopUp
    saved: SavedCells

    def added(self) -> dict[str, int]:
        """Synthetic cells by class, of the data's own names."""
        return dict(Counter(self.saved.frame["class"]))

    def record(self) -> dict[str, Any]:
        """Return what a program wants to know."""
        return {
            "table": self.table,
            "real": dict(self.plan.real),
            "added": self.added(),
            "unknown": list(self.plan.unknown),
            "synthetic": self.saved.record(),
        }


def plan_top_up(records: Sequence[Record], model: ModelBundle, to: int | None = None) -> TopUp:
    """Count the training images and what they lack."""
    if to is not None and to < 1:
        raise InputError(f"Each class should have at least one image, not {to}.")
    real = Counter(r.label for r in records if r.split == "train" and r.label)
    if not real:
        raise InputError("There are no labelled training images to top up.")
    target = to or max(real.values())
    lacking = {str(name): target - n for name, n in sorted(real.items()) if n < target}
    drawn = {name: n for name, n in lacking.items() if _draws(model, name)}
    unknown = tuple(name for name in lacking if name not in drawn)
    if not lacking:
        raise InputError(f"Every class has {target} training images or more: nothing is lacking.")
    if not drawn:
        raise InputError(
            f"The model {model.name} draws none of the classes that lack images "
            f"({', '.join(unknown)}); it draws {', '.join(model.untaught.class_names)}."
        )
    return TopUp({str(k): n for k, n in sorted(real.items())}, drawn, unknown)


def augment_training(
    data: str | Path,
    folder: str | Path,
    model: ModelBundle,
    settings: GenerationSettings | None = None,
    *,
    to: int | None = None,
    layout: str = "auto",
    pixel_size_um: float | None = None,
    progress: Progress = silent,
    insist: bool = False,
) -> AugmentResult:
    """Draw what a training set lacks and list real and synthetic images in one table.

    Real images stay where they are. Synthetic ones are of the training split, always.
    """
    target = Path(folder)
    records = find_records(data, layout)
    _refuse_synthetic(records, Path(data))
    plan = plan_top_up(records, model, to)
    saved = generate_into(
        target,
        model,
        {class_of(model, name): n for name, n in plan.wanted.items()},
        settings,
        progress=progress,
        insist=insist,
        pixel_size_um=pixel_size_um,
        names={class_of(model, name): name for name in plan.wanted},
    )
    table = pd.concat([_real(records), _drawn(saved)], ignore_index=True)
    empty = [c for c in ("group", "confidence") if (table[c] == "").all()]
    path = write_cells_csv(target / TABLE, table.drop(columns=empty))
    return AugmentResult(path, plan, saved)


def _draws(model: ModelBundle, name: str) -> bool:
    try:
        class_of(model, name)
    except InputError:
        return False
    return True


def _refuse_synthetic(records: Sequence[Record], data: Path) -> None:
    """Refuse to count synthetic images as real ones, as when a set is topped up twice."""
    marked = [r for r in records if r.attributes.get("synthetic") == "true"]
    marked = marked or [r for r in records if r.split == "train" and is_synthetic(r.path)]
    if marked:
        raise InputError(
            f"{data} holds synthetic images already, such as {marked[0].path.name}: name the set "
            "of real images."
        )


def _real(records: Sequence[Record]) -> pd.DataFrame:
    rows = [
        {
            "path": str(r.path.absolute()),
            "class": r.label or "unlabelled",
            "split": r.split,
            "synthetic": "false",
            "group": r.group or "",
            "confidence": "" if r.label_confidence is None else r.label_confidence,
        }
        for r in records
    ]
    return pd.DataFrame(rows)


def _drawn(saved: SavedCells) -> pd.DataFrame:
    own = saved.frame[["path", "class", "split", "synthetic"]]
    return own.assign(group="", confidence="")
