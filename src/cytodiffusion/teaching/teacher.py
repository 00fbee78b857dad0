"""A new version of a model from the labels of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion import __version__
from cytodiffusion.errors import InputError
from cytodiffusion.files.record import circumstances
from cytodiffusion.metrics.curves import confusion
from cytodiffusion.metrics.scores import balanced_accuracy
from cytodiffusion.model.bundle import CellClass, ModelBundle, with_new_classes
from cytodiffusion.model.denoiser import UNetDenoiser
from cytodiffusion.model.saving import check_target, save_bundle
from cytodiffusion.model.taught_head import TaughtCells
from cytodiffusion.progress import Progress, part_of, silent
from cytodiffusion.teaching.evidence import cells_of
from cytodiffusion.teaching.head import fit_head, logits_of, with_record
from cytodiffusion.teaching.labelled import LEAST_CELLS, LabelledCells, check_labelled, survey
from cytodiffusion.teaching.settings import TeachSettings
from cytodiffusion.training.card import with_section

if TYPE_CHECKING:
    from cytodiffusion.study import Study

#: Where the record of a teaching is in that of a model's training.
RECORD = "teaching"

#: Shares of the cells to learn from that the curve is made of.
CURVE = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, eq=False)
class Figures:
    """How right a model is on held-back cells.

    Attributes
    ----------
    n : int
        Cells.
    accuracy, balanced_accuracy : float
        NaN where there are none.
    confusion : (J, J) int64 array
        Rows are what people said, columns what the model says.
    """

    n: int
    accuracy: float
    balanced_accuracy: float
    confusion: NDArray[np.int64]

    @classmethod
    def of(cls, truth: NDArray[np.int64], said: NDArray[np.int64], n_classes: int) -> Figures:
        """Compare classes ``(n,)`` by number."""
        table = confusion(truth, said, n_classes).astype(np.int64)
        if not len(truth):
            return cls(0, float("nan"), float("nan"), table)
        return cls(len(truth), float((truth == said).mean()), balanced_accuracy(truth, said), table)

    def record(self) -> dict[str, Any]:
        """Return them as JSON can hold them; None for a share of no cells."""
        shares = {"accuracy": self.accuracy, "balanced_accuracy": self.balanced_accuracy}
        return {
            "n": self.n,
            **{name: round(value, 4) if self.n else None for name, value in shares.items()},
            "confusion": self.confusion.tolist(),
        }


@dataclass(frozen=True, eq=False)
class Taught:
    """A model that learnt from a study.

    Attributes
    ----------
    folder : Path
        Of the bundle.
    class_names : tuple of str
    labelled : LabelledCells
        What it learnt from.
    before, after : Figures
        On the held-back cells, of the model that was taught and of the new one.
    curve : list of dict
        ``cells`` learnt from and the ``accuracy`` and ``balanced_accuracy`` on the held-back ones;
        empty where none are held back.
    record : dict
        As it is kept in the bundle.
    notes : tuple of str
        Sentences that the user should read.
    """

    folder: Path
    class_names: tuple[str, ...]
    labelled: LabelledCells
    before: Figures
    after: Figures
    curve: list[dict[str, float]]
    record: dict[str, Any]
    notes: tuple[str, ...] = ()


def teach(
    study: Study,
    output: str | Path,
    model: ModelBundle,
    settings: TeachSettings | None = None,
    *,
    number: int | None = None,
    progress: Progress = silent,
) -> Taught:
    """Make a new version of a model from the cells of a study that people gave a class.

    Parameters
    ----------
    study : Study
    output : str or Path
        Folder of the new bundle; an older bundle there is replaced.
    model : ModelBundle
        That learns; it stays as it is. What it was taught before, from other studies too, is
        remembered by the new version.
    settings : TeachSettings, optional
    number : int, optional
        Of the version; by default one more than that of ``model``.
    progress : callable
        May raise ``Cancelled``; nothing is written then.

    Returns
    -------
    Taught

    Raises
    ------
    InputError
        If there is too little to learn from, the model cannot be taught, or images that must be
        classified first are gone.
    """
    settings = settings or TeachSettings()
    folder = Path(output)
    check_teachable(model)
    labelled = survey(study, model, settings)
    check_labelled(labelled)
    check_target(folder)
    if settings.deep:
        from cytodiffusion.teaching.deep import teach_deep  # it needs this module

        return teach_deep(study, folder, model, labelled, settings, number, progress)
    whole, others = cells_of(study, labelled, model, settings.seed, part_of(progress, 0.0, 0.7))
    learnt, tried = whole[~labelled.held_back], whole[labelled.held_back]
    n_classes = len(labelled.class_names)
    before = Figures.of(tried.classes, said_by(model, tried), n_classes)
    steps = [round(share * len(learnt)) for share in CURVE] if len(tried) else [len(learnt)]
    steps = [n for n in dict.fromkeys(steps) if n >= LEAST_CELLS]
    order = np.argsort(learnt.keys, kind="stable")  # the same cells first, whatever comes later
    remembered = _remembered(model, whole.keys)
    curve: list[dict[str, float]] = []
    for place, count in enumerate(steps):
        progress(0.7 + 0.2 * place / len(steps), f"Learning from {count:,} cells")
        cells = learnt[np.sort(order[:count])]
        if remembered is not None:
            cells = cells + remembered
        head = fit_head(cells, model, n_classes, others=others, seed=settings.seed)
        found = Figures.of(tried.classes, logits_of(head, tried, model).argmax(axis=1), n_classes)
        if len(tried):
            curve.append(
                {
                    "cells": count,
                    "accuracy": found.accuracy,
                    "balanced_accuracy": found.balanced_accuracy,
                }
            )
    after = found
    progress(0.9, "Finding out what the model may promise")
    head = with_record(head, model, others=others, seed=settings.seed)
    record = record_of(study, model, labelled, settings, (before, after), number, curve)
    progress(0.98, "Writing the model")
    made = replace(
        model,
        head=head,
        classes=classes_of(study, model, labelled),
        version=version_of(model, record["version"]),
        card=with_section(model.card, "## Taught", card_lines(record)),
        training=model.training | {RECORD: record},
    )
    save_bundle(folder, made)
    progress(1.0, "Taught")
    return Taught(
        folder, labelled.class_names, labelled, before, after, curve, record, labelled.notes
    )


def check_teachable(model: object) -> ModelBundle:
    """Return a model that can be taught; InputError for one without embeddings or calibration."""
    if not isinstance(model, ModelBundle):
        name = getattr(model, "name", "this")
        raise InputError(f"The model {name} is a baseline, which cannot be taught: choose another.")
    if not isinstance(model.denoiser, UNetDenoiser) or not model.calibrated:
        raise InputError(
            f"The model {model.name} cannot be taught: only models that this program trained can."
        )
    return model


def said_by(model: ModelBundle, cells: TaughtCells) -> NDArray[np.int64]:
    """Return what a model says of cells, as numbers of its classes."""
    if model.head is None:
        return np.asarray(cells.base.argmax(axis=1), np.int64)
    return np.asarray(logits_of(model.head, cells, model).argmax(axis=1), np.int64)


def classes_of(study: Study, model: ModelBundle, labelled: LabelledCells) -> tuple[CellClass, ...]:
    """Return the classes of the new version: new ones look as they do in the study."""
    known = {c.name: c for c in study.classes()}
    found = list(with_new_classes(model.classes, labelled.new_classes))
    for place in range(len(model.classes), len(found)):
        own = known.get(found[place].name)
        if own is not None:
            found[place] = CellClass(own.name, own.color, own.group)
    return tuple(found)


def record_of(
    study: Study,
    model: ModelBundle,
    labelled: LabelledCells,
    settings: TeachSettings,
    figures: tuple[Figures, Figures],
    number: int | None,
    curve: Sequence[Mapping[str, float]] = (),
) -> dict[str, Any]:
    """Return how a version came about: what it learnt from whom, and what that gave."""
    origin = {key: model.record()[key] for key in ("name", "version", "sha256")}
    earlier = model.training.get(RECORD, {})
    before, after = figures
    return {
        "version": number or int(earlier.get("version", 0)) + 1,
        "kind": "deep" if settings.deep else "head",
        "parent": origin,
        "study": {"id": study.id, "name": study.folder.resolve().name},
        "learnt": labelled.learnt,
        "held_back": labelled.tried,
        "new_classes": list(labelled.new_classes),
        "disputed": labelled.disputed,
        "classes": list(labelled.class_names),
        "before": before.record(),
        "after": after.record(),
        "curve": [dict(point) for point in curve],
        "settings": settings.model_dump(mode="json", exclude={"device", "rehearsal"}),
        "seed": settings.seed,
        **circumstances(),
    }


def version_of(model: ModelBundle, number: int) -> str:
    """Return the version of a model that was taught so many times."""
    return f"{model.version.partition('+')[0] or __version__}+taught.{number}"


def card_lines(record: Mapping[str, Any]) -> list[str]:
    """Return the section of a model card about a teaching."""
    parent, before, after = record["parent"], record["before"], record["after"]
    lines = [
        f"Version {record['version']}, from {parent['name']} {parent['version']} and the labels of "
        f"the study {record['study']['name']}.",
        "",
        "| class | cells learnt from | held back |",
        "|---|---:|---:|",
    ]
    for name in record["classes"]:
        counts = [record[key].get(name, 0) for key in ("learnt", "held_back")]
        if any(counts):
            new = " (new)" if name in record["new_classes"] else ""
            lines.append(f"| {name}{new} | {counts[0]} | {counts[1]} |")
    lines += ["", accuracy_sentence(before, after)]
    return lines


def accuracy_sentence(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Say how right a model was and is on held-back cells."""
    if not after["n"]:
        return "No cell is held back, so that nobody knows yet how right the new version is."
    cells = "1 held-back cell" if after["n"] == 1 else f"{after['n']:,} held-back cells"
    was, now = (100 * x["accuracy"] for x in (before, after))
    balanced = [100 * x["balanced_accuracy"] for x in (before, after)]
    return (
        f"Of {cells}, {was:.1f} % were right before and {now:.1f} % are now "
        f"(balanced over the classes: {balanced[0]:.1f} % and {balanced[1]:.1f} %)."
    )


def _remembered(model: ModelBundle, keys: Sequence[int] | NDArray[np.int64]) -> TaughtCells | None:
    """Return what a model was taught before, without the cells of a study: they may differ now."""
    if model.head is None:
        return None
    kept = model.head.cells[~np.isin(model.head.cells.keys, keys)]
    return kept if len(kept) else None
