"""What the *Teach* dock does in threads, without Qt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytodiffusion.progress import Progress
from napari_cytodiffusion.engine import Engine

if TYPE_CHECKING:
    from cytodiffusion.evaluation.stored import StoredPlot
    from cytodiffusion.study import Study
    from cytodiffusion.teaching import TeachSettings, Version


#: Plots of a version, by what its record calls the figures.
_PLOTS = (
    ("after", "Held-back cells now: rows are what people said, columns what the model says."),
    ("before", "Held-back cells before."),
)


@dataclass(frozen=True, eq=False)
class ClassLabels:
    """A class, and how many labels of it there are."""

    name: str
    color: str
    new: bool
    learnt: int
    held_back: int


@dataclass(frozen=True, eq=False)
class Overview:
    """What a study can teach, and what was taught before.

    Attributes
    ----------
    classes : tuple of ClassLabels
        Those that somebody gave to a cell.
    notes : tuple of str
        Sentences that the user should read.
    problem : str
        Why nothing can be learned yet; empty where it can.
    versions : tuple of Version
    """

    classes: tuple[ClassLabels, ...]
    notes: tuple[str, ...]
    problem: str
    versions: tuple[Version, ...]

    @property
    def used(self) -> Version | None:
        """The version that the study goes on with; None is the model before all of them."""
        return next((version for version in self.versions if version.kept), None)


def look_body(
    engine: Engine, folder: Path, source: str, settings: TeachSettings
) -> Callable[[Progress], Iterator[Overview]]:
    """Body of a `Job` that yields what is there to learn from, and the versions.

    ``source`` is the model before all versions.
    """

    def body(report: Progress) -> Iterator[Overview]:
        from cytodiffusion.study import Study
        from cytodiffusion.teaching import versions_of

        with Study.open(folder, writable=False) as study:
            versions = tuple(versions_of(study))
        used = next((version for version in versions if version.kept), None)
        labelled, problem, colors = engine.labelled(
            folder, source if used is None else str(used.folder), settings
        )
        names = [n for n in labelled.class_names if n in labelled.learnt or n in labelled.tried]
        classes = tuple(
            ClassLabels(
                name,
                colors.get(name, ""),
                name in labelled.new_classes,
                labelled.learnt.get(name, 0),
                labelled.tried.get(name, 0),
            )
            for name in names
        )
        yield Overview(classes, tuple(labelled.notes), problem, versions)

    return body


def teach_body(
    engine: Engine, folder: Path, source: str, settings: TeachSettings
) -> Callable[[Progress], Iterator[Version]]:
    """Body of a `Job` that makes a new version and yields it."""

    def body(report: Progress) -> Iterator[Version]:
        report(0.0, "Loading the model ...")
        yield engine.teach(folder, source, settings, report)

    return body


def keep_body(folder: Path, number: int | None) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that lets the study go on with a version, None for the model before all."""

    def body(report: Progress) -> Iterator[Any]:
        from cytodiffusion.study import Study
        from cytodiffusion.teaching import keep_version

        with Study.open(folder) as study:
            keep_version(study, number)
        yield True

    return body


def discard_body(folder: Path, number: int) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that deletes a version."""

    def body(report: Progress) -> Iterator[Any]:
        from cytodiffusion.study import Study
        from cytodiffusion.teaching import discard_version

        with Study.open(folder) as study:
            discard_version(study, number)
        yield True

    return body


def plots_body(version: Version) -> Callable[[Progress], Iterator[tuple[StoredPlot, ...]]]:
    """Body of a `Job` that draws which classes a version takes for which, and the one before it."""

    def body(report: Progress) -> Iterator[tuple[StoredPlot, ...]]:
        from cytodiffusion.evaluation.plots import confusion_svg
        from cytodiffusion.evaluation.stored import StoredPlot

        names, record = version.record["classes"], version.record
        yield tuple(
            StoredPlot(caption, confusion_svg(names, record[when]["confusion"]))
            for when, caption in _PLOTS
            if any(map(any, record[when]["confusion"]))
        )

    return body


def training_log(study: Study) -> list[dict[str, float]]:
    """Return the rows of the log of the thorough training that goes on in a study."""
    import csv

    from cytodiffusion.teaching import next_version

    target = next_version(study, deep=True)[1]
    try:
        with (target.with_name(f"{target.name}.run") / "training.csv").open(newline="") as log:
            rows = list(csv.DictReader(log))
        return [{k: float(v) for k, v in row.items() if v} for row in rows]
    except (OSError, ValueError, TypeError):  # there is none yet, or it is being written
        return []
