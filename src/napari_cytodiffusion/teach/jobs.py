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
    from cytodiffusion.teaching import TeachSettings, Version


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
        versions = tuple(engine.taught_versions(folder))
        used = next((version for version in versions if version.kept), None)
        lesson, problem, colors = engine.lesson(
            folder, source if used is None else str(used.folder), settings
        )
        names = [n for n in lesson.class_names if n in lesson.learnt or n in lesson.tried]
        classes = tuple(
            ClassLabels(
                name,
                colors.get(name, ""),
                name in lesson.new_classes,
                lesson.learnt.get(name, 0),
                lesson.tried.get(name, 0),
            )
            for name in names
        )
        yield Overview(classes, tuple(lesson.notes), problem, versions)

    return body


def teach_body(
    engine: Engine, folder: Path, source: str, settings: TeachSettings
) -> Callable[[Progress], Iterator[Version]]:
    """Body of a `Job` that makes a new version and yields it."""

    def body(report: Progress) -> Iterator[Version]:
        report(0.0, "Loading the model ...")
        yield engine.teach(folder, source, settings, report)

    return body


def keep_body(
    engine: Engine, folder: Path, number: int | None
) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that lets the study go on with a version, None for the model before all."""

    def body(report: Progress) -> Iterator[Any]:
        engine.keep_version(folder, number)
        yield True

    return body


def discard_body(engine: Engine, folder: Path, number: int) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that deletes a version."""

    def body(report: Progress) -> Iterator[Any]:
        engine.discard_version(folder, number)
        yield True

    return body


def plots_body(
    engine: Engine, version: Version
) -> Callable[[Progress], Iterator[tuple[StoredPlot, ...]]]:
    """Body of a `Job` that yields the plots of a version."""

    def body(report: Progress) -> Iterator[tuple[StoredPlot, ...]]:
        yield engine.version_plots(version)

    return body
