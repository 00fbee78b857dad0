"""Making a lesson: cells drawn, explained, and written to one file."""

from __future__ import annotations

import io
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from cytodiffusion import __version__
from cytodiffusion.classification.levels import (
    attribute_columns,
    attributes_of,
    classes_at,
    finer_posterior,
    tree_of,
)
from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.counterfactual.canvas import shrunk
from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import check_folder
from cytodiffusion.files.synthetic_mark import png_mark
from cytodiffusion.generation.sampler import drawn_size
from cytodiffusion.lessons.content import (
    Attribute,
    LessonCell,
    LessonClass,
    LessonContent,
    ReferenceCell,
    Version,
)
from cytodiffusion.lessons.explanations import explanations, network_class
from cytodiffusion.lessons.hints import Hints, read_hints
from cytodiffusion.lessons.lesson_file import write_lesson
from cytodiffusion.lessons.settings import SUFFIX, LessonSettings
from cytodiffusion.lessons.sources import SourceCell, find_cells
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.predict import predict
from cytodiffusion.progress import Progress, part_of, silent
from cytodiffusion.taxonomy import colors_and_groups, plain

#: Shares below this are not written down.
_LEAST_SHARE = 0.0005


def make_lesson(
    settings: LessonSettings, progress: Progress = silent, *, model: ModelBundle | None = None
) -> Path:
    """Make a lesson and write its file.

    Parameters
    ----------
    settings : LessonSettings
    progress : callable
        May raise ``Cancelled``; nothing is written then.
    model : ModelBundle, optional
        That draws, classifies and explains; loaded as the settings say where missing.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If the source has too few cells or classes, or the file cannot be written.
    """
    check_folder(settings.output.parent)
    if settings.output.exists():
        raise InputError(f"{settings.output} exists already: choose another name for the lesson.")
    hints = read_hints(settings.hints)
    model = model or _load(settings, progress)
    # what takes longest has most of the bar
    drawing = 0.25 if settings.explain else 0.85
    found = find_cells(settings, model, drawn_size(model), part_of(progress, 0.02, drawing))
    progress(drawing, "asking the model")
    said = _classified(found.cells, model, settings)
    asked, references = _shared_out(found.cells, found.classes, settings)
    notes = list(found.notes)
    book = _Book(found.cells, said, model, found.classes)
    if settings.explain:
        rest = part_of(progress, drawing + 0.03, 0.97)
        book.explain(asked, settings, rest)
        notes += book.notes
    content = book.content(asked, references, hints, settings, notes)
    write_lesson(settings.output, content, book.pictures)
    progress(1.0, "the lesson is ready")
    return settings.output


def _load(settings: LessonSettings, progress: Progress) -> ModelBundle:
    from cytodiffusion.model.loading import load_bundle

    progress(0.0, "loading the model")
    return load_bundle(
        settings.model, device=settings.device, allow_download=settings.allow_download
    )


def _classified(
    cells: Sequence[SourceCell], model: ModelBundle, settings: LessonSettings
) -> Classification:
    """Ask the model about all cells."""
    return predict(
        model,
        shrunk(np.stack([cell.crop for cell in cells]), model.input_size),
        ClassifySettings(seed=settings.seed),
        background=np.stack([cell.background for cell in cells]),
    )


def _shared_out(
    cells: Sequence[SourceCell], classes: Sequence[str], settings: LessonSettings
) -> tuple[list[int], list[int]]:
    """Return which cells are asked and which are reference cells, in an order by chance.

    Where a class has too few of them, those that are asked come first.
    """
    rng = np.random.default_rng([settings.seed, 13])
    asked: list[int] = []
    references: list[int] = []
    for name in classes:
        own = [row for row, cell in enumerate(cells) if cell.class_name == name]
        asked += own[: settings.per_class]
        references += own[settings.per_class :][: settings.references]
    return [asked[i] for i in rng.permutation(len(asked))], references


@dataclass(eq=False)
class _Book:
    """Gathers what a lesson says of its cells, and its pictures."""

    cells: Sequence[SourceCell]
    said: Classification
    model: ModelBundle
    classes: Sequence[str]
    pictures: dict[str, bytes] = field(default_factory=dict)
    versions: dict[int, tuple[Version, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def explain(self, asked: Sequence[int], settings: LessonSettings, progress: Progress) -> None:
        """Compute what would make each cell another class."""
        own = [network_class(name, self.model) for name in self.classes]
        unknown = [n for n, known in zip(self.classes, own, strict=True) if known is None]
        if unknown:
            self.notes.append(
                f"The model draws no {', '.join(unknown)}: such cells are not explained."
            )
        found = explanations(
            [self.cells[row] for row in asked],
            self.said.posterior[list(asked)],
            self.model,
            dict(zip(self.classes, own, strict=True)),
            settings,
            progress,
        )
        for number, (row, several) in enumerate(zip(asked, found, strict=True), 1):
            told: list[Version] = []
            for one in several:
                stem = f"pictures/cell-{number:04d}-version-{len(told) + 1}"
                about = {"cell": number, "target": one.target, "model": self.model.record()}
                told.append(
                    Version(
                        target=one.target,
                        sentence=one.sentence,
                        map=self._keep(f"{stem}-map.png", one.map, None),
                        picture=None
                        if one.picture is None
                        else self._keep(f"{stem}.png", one.picture, about),
                        probability=one.probability,
                    )
                )
            self.versions[row] = tuple(told)

    def content(
        self,
        asked: Sequence[int],
        references: Sequence[int],
        hints: Hints,
        settings: LessonSettings,
        notes: Sequence[str],
    ) -> LessonContent:
        """Return all that the lesson says."""
        posterior, names = self._posterior()
        attributes = self._attributes(settings)
        nearest = self._nearest(asked, references)
        shown = []
        for number, row in enumerate(asked, 1):
            cell, shares = self.cells[row], posterior[row]
            shown.append(
                LessonCell(
                    **self._common(row, f"pictures/cell-{number:04d}.png"),
                    hint=hints.of_cell(cell.source),
                    posterior={
                        name: round(float(share), 4)
                        for name, share in zip(names, shares, strict=True)
                        if share >= _LEAST_SHARE
                    },
                    attributes=attributes[row],
                    versions=self.versions.get(row, ()),
                    nearest=nearest[number - 1],
                )
            )
        compared = [
            ReferenceCell(**self._common(row, f"pictures/reference-{number:04d}.png"))
            for number, row in enumerate(references, 1)
        ]
        return LessonContent(
            id=uuid.uuid4().hex,
            title=settings.title or settings.output.name[: -len(SUFFIX)],
            author=settings.author,
            language=settings.language,
            licence=settings.licence,
            attribution=settings.attribution,
            introduction=settings.introduction,
            window_um=self.model.window_um,
            classes=self._lesson_classes(hints, settings),
            cells=tuple(shown),
            references=tuple(compared),
            made={
                "version": __version__,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "settings": settings.record(),
                "model": self.model.record(),
                "notes": list(notes),
            },
        )

    def _common(self, row: int, name: str) -> dict[str, Any]:
        cell = self.cells[row]
        about = {"source": cell.source, "class": cell.class_name} if cell.synthetic else None
        return {
            "picture": self._keep(name, cell.picture, about),
            "class_name": cell.class_name,
            "truth": cell.truth,
            "synthetic": cell.synthetic,
            "source": cell.source,
        }

    def _keep(
        self, name: str, pixels: NDArray[np.uint8], synthetic: Mapping[str, Any] | None
    ) -> str:
        """Keep a picture as PNG; one that is synthetic says so."""
        stream = io.BytesIO()
        info = None if synthetic is None else png_mark(synthetic)
        Picture.fromarray(pixels).save(stream, format="PNG", pnginfo=info, optimize=True)
        self.pictures[name] = stream.getvalue()
        return name

    def _lesson_classes(self, hints: Hints, settings: LessonSettings) -> tuple[LessonClass, ...]:
        own = {plain(c.name): c.color for c in classes_at(self.model, "fine")}
        own |= {plain(c.name): c.color for c in self.model.classes}
        colors = [color for color, _ in colors_and_groups(self.classes)]
        found = []
        for name, color in zip(self.classes, colors, strict=True):
            hint = hints.of_class(name, settings.standard_hints)
            found.append(
                LessonClass(
                    name=name,
                    color=own.get(plain(name), color),
                    hint=hint.text,
                    attributes=hint.attributes,
                )
            )
        return tuple(found)

    def _posterior(self) -> tuple[NDArray[np.float64], tuple[str, ...]]:
        """Return what the model says, on the level that has more of the lesson's classes."""
        fine = tree_of(self.said.class_names, self.said.traits).names
        wanted = {plain(name) for name in self.classes}
        coarse = {plain(name) for name in self.said.class_names}
        if len(wanted & {plain(name) for name in fine}) > len(wanted & coarse):
            return finer_posterior(self.said), fine
        return self.said.posterior, self.said.class_names

    def _attributes(self, settings: LessonSettings) -> list[dict[str, Attribute]]:
        """Return what the model says of the attributes of each cell."""
        traits = attributes_of(self.said.traits)
        known = [trait.name for trait, _ in traits]
        for name in settings.attributes:
            if name not in known:
                there = ", ".join(known) or "none"
                raise InputError(f"The model tells no attribute {name!r}; it tells {there}.")
        columns, shares = attribute_columns(self.said), self.said.trait_probabilities
        found: list[dict[str, Attribute]] = [{} for _ in self.cells]
        for trait, part in traits:
            if shares is None or (settings.attributes and trait.name not in settings.attributes):
                continue
            sure = shares[:, part].max(axis=1)
            for row, value in enumerate(columns[f"attr_{trait.name}"]):
                if value:
                    share = round(float(sure[row]), 4)
                    found[row][trait.name] = Attribute(value=str(value), probability=share)
        return found

    def _nearest(self, asked: Sequence[int], references: Sequence[int]) -> list[dict[str, int]]:
        """Return the number of the most similar reference cell of each class, cell by cell."""
        if self.said.embedding is None or not references:
            return [{} for _ in asked]
        length = np.linalg.norm(self.said.embedding, axis=1, keepdims=True)
        unit = self.said.embedding / np.maximum(length, 1e-9)
        alike = unit[list(asked)] @ unit[list(references)].T
        names = [self.cells[row].class_name for row in references]
        own = {name: [n for n, other in enumerate(names) if other == name] for name in names}
        return [
            {name: numbers[int(row[numbers].argmax())] for name, numbers in own.items()}
            for row in alike
        ]
