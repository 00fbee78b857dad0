"""What is to be evaluated is found, and what was asked for is checked, before an image is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cytodiffusion.datasets import LAYOUTS, Dataset, Record, class_names, read_dataset
from cytodiffusion.errors import InputError
from cytodiffusion.evaluation.candidate import Candidate
from cytodiffusion.evaluation.cells import choose_records, shift_records
from cytodiffusion.evaluation.context import Context
from cytodiffusion.evaluation.leave_out import check_copy
from cytodiffusion.taxonomy import Taxonomy, load_taxonomy


def gather(context: Context, everyone: Sequence[Candidate], taxonomy: Taxonomy | None) -> None:
    """Find the images of all sets, and refuse what cannot be measured of them."""
    s = context.settings
    # the low-data curve trains from the same data, and nothing can be learned of an empty class
    data = _read(context, s.data, s.layout, empty_classes=not s.low_data)
    own = load_taxonomy(LAYOUTS[data.layout].taxonomy)
    context.taxonomies = (own,) if taxonomy is None else (taxonomy, own)
    context.everything = context.named(data.records)
    _check_class_to_leave_out(context)
    _check_low_data(context)
    context.records = choose_records(
        context.everything, s.data, s.split, limit=s.limit, seed=s.seed
    )
    for name, folder in s.shift.items():
        found = _read(context, folder).records
        chosen = shift_records(found, folder, limit=s.limit, seed=s.seed)
        context.shift[name] = context.named(chosen)
    for candidate in everyone:
        _check_known(candidate.model, context.records, s.data)
        for name, records in context.shift.items():
            _check_known(candidate.model, records, s.shift[name])
    _check_copy(context, everyone)
    _say_what_differs(context)


def _read(
    context: Context, path: Path, layout: str = "auto", *, empty_classes: bool = True
) -> Dataset:
    found = read_dataset(path, layout, empty_classes=empty_classes)
    context.warnings += [w for w in found.warnings if w not in context.warnings]
    return found


def _check_class_to_leave_out(context: Context) -> None:
    """Refuse to leave out a class that the data do not have."""
    left_out = context.settings.leave_out
    labels = {r.label for r in context.everything if r.label}
    if left_out is not None and left_out not in labels:
        raise InputError(
            f"{context.settings.data} has no images of the class {left_out!r} to leave out; it "
            f"has {', '.join(sorted(labels))}."
        )


def _check_low_data(context: Context) -> None:
    """Refuse a low-data curve that the data cannot give."""
    s = context.settings
    most = max(s.low_data, default=0)
    if not most:
        return
    labelled = [r for r in context.everything if r.label]
    counts = Counter(str(r.label) for r in labelled if r.split == "train")
    if not counts:
        raise InputError(f"{s.data} has no training images for a low-data curve.")
    class_names(labelled)  # it needs two
    label, fewest = min(counts.items(), key=lambda item: item[1])
    if fewest < most:
        raise InputError(
            f"The class {label} has {fewest} training cells, but {most} are to be labelled "
            "(--low-data)."
        )
    for split in ("val", "val" if s.split == "val" else "test"):
        if not any(r.split == split and r.label in counts for r in labelled):
            other = " with --split val it is measured on the validation images" * (split == "test")
            raise InputError(
                f"{s.data} has no images in its {split} split, which the low-data curve needs "
                f"(--low-data){';' + other if other else ''}."
            )


def _check_known(model: Any, records: Sequence[Record], data: Path) -> None:
    """Refuse a set of which a classifier knows no class."""
    labels = {str(r.label) for r in records}
    if not labels & set(model.class_names):
        raise InputError(
            f"None of the labels ({', '.join(sorted(labels))}) is a class of the model "
            f"{model.name} ({', '.join(model.class_names)}); they are those of {data}."
        )


def _check_copy(context: Context, everyone: Sequence[Candidate]) -> None:
    """Refuse what would be found wrong with leaving a class out only after all other figures."""
    s, main = context.settings, everyone[0]
    if s.leave_out is None:
        return
    labels = {r.label for r in context.records}
    drawn = f", --limit {s.limit}" if s.limit else ""
    if s.leave_out not in labels:
        raise InputError(
            f"There are no images of the class {s.leave_out!r} to leave out among those of "
            f"{s.data} that are evaluated (--split {s.split}{drawn})."
        )
    if not (labels & set(main.model.class_names)) - {s.leave_out}:
        raise InputError(
            f"Of the classes of the model, the images of {s.data} that are evaluated (--split "
            f"{s.split}{drawn}) have none but {s.leave_out}: there is nothing to compare it with."
        )
    for candidate in everyone:
        if candidate.copy is not None and not (labels & set(candidate.copy.class_names)):
            raise InputError(
                f"{candidate.copy.name} (--leave-out-model) knows none of the classes of {s.data}, "
                f"so that there is nothing to compare {s.leave_out} with."
            )
    if s.leave_out in main.model.class_names and main.copy is None:
        check_copy(main.model, context.everything, s, main.copy_folder(context))


def _say_what_differs(context: Context) -> None:
    """Say which labels and which classes have no counterpart."""
    counts = Counter(r.label for r in context.records if r.label)
    for label, n in sorted(counts.items()):
        if label not in context.names:
            left_out = label == context.settings.leave_out
            role = "its cells are the anomalies" if left_out else "left out"
            context.warn(f"The model does not know the class {label} ({n} cells): {role}.")
    absent = sorted(set(context.names) - set(counts))
    if absent:
        context.warn(
            f"The data have no cells of {', '.join(absent)}: the model may still predict these "
            "classes, but no mean includes them."
        )
