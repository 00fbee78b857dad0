"""What the *Teach* dock says of labels and of versions of a model, without Qt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from napari_cytodiffusion.shared.table import NOTHING, Cell, Table

if TYPE_CHECKING:
    from cytodiffusion.teaching import Version
    from napari_cytodiffusion.teach.jobs import Overview

#: What a class is called that the model does not know yet.
NEW = "new"

_LOST = "It has no correction of a whole slide, which was learned for the old weights."


def labels_table(overview: Overview) -> Table:
    """Return the classes with the numbers of labels that are learned from and held back."""
    rows = tuple(
        (
            (one.name, one.name),
            (NEW if one.new else "", one.new),
            (f"{one.learnt:,}", one.learnt),
            (f"{one.held_back:,}" if one.held_back else NOTHING, one.held_back),
        )
        for one in overview.classes
    )
    return Table(("Class", "", "Learns from", "Held back"), rows)


def labels_line(overview: Overview) -> str:
    """Say how many labels there are, in a sentence."""
    learnt = sum(one.learnt for one in overview.classes)
    held = sum(one.held_back for one in overview.classes)
    if not learnt + held:
        return "Nobody has given a class to a cell of this study yet."
    return (
        f"{_labels(learnt + held)} in {_counted(len(overview.classes), 'class', 'classes')}: "
        f"{learnt:,} to learn from, {held:,} held back to measure with."
    )


def version_name(version: Version | None) -> str:
    """Return what a version is called; None is the model before all of them."""
    return "Original" if version is None else f"Version {version.number}"


def versions_table(versions: Sequence[Version]) -> Table:
    """Return the versions, the latest first, and the model before them."""
    used = any(version.kept for version in versions)
    rows = [
        (
            (version_name(version), version.number),
            _count(version.record),
            _share(version.record, "before"),
            _share(version.record, "after"),
            _state(version.kept),
        )
        for version in reversed(versions)
    ]
    nothing = (NOTHING, -1.0)
    rows.append(((version_name(None), 0), nothing, nothing, nothing, _state(not used)))
    main = tuple(at for at, row in enumerate(rows) if row[-1][1])
    return Table(("Version", "Labels", "Before", "After", ""), tuple(rows), main)


def about(version: Version | None) -> str:
    """Say how a version came about, and how right the model was before and is now."""
    if version is None:
        return "The model before anything was taught."
    from cytodiffusion.teaching.teacher import accuracy_sentence  # slow to import

    record = version.record
    how = "all weights were trained" if record.get("kind") == "deep" else "its head was taught"
    new = record.get("new_classes") or []
    words = [
        f"{version_name(version)}: {how} with {_labels(_learnt(record))}."
        + (f" New: {', '.join(new)}." if new else "")
    ]
    before, after = record.get("before"), record.get("after")
    if before and after:
        words.append(accuracy_sentence(before, after))
    if record.get("kind") == "deep":
        words.append(_LOST)
    return " ".join(words)


def _learnt(record: Mapping[str, Any]) -> int:
    return sum(record.get("learnt", {}).values())


def _count(record: Mapping[str, Any]) -> Cell:
    learnt = _learnt(record)
    return f"{learnt:,}", learnt


def _share(record: Mapping[str, Any], when: str) -> Cell:
    value = (record.get(when) or {}).get("accuracy")
    return (NOTHING, -1.0) if value is None else (f"{100 * value:.0f} %", float(value))


def _state(in_use: bool) -> Cell:
    return ("in use", True) if in_use else ("", False)


def _labels(count: int) -> str:
    return _counted(count, "label", "labels")


def _counted(count: int, one: str, several: str) -> str:
    return f"1 {one}" if count == 1 else f"{count:,} {several}"
