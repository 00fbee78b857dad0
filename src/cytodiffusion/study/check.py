"""What is in a study, and whether it is whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import sha256
from cytodiffusion.study.images import LABELS, StudyImage, image_path

if TYPE_CHECKING:
    from cytodiffusion.study.study import Study


@dataclass(frozen=True)
class ImageCounts:
    """How far people are with an image.

    Attributes
    ----------
    name : str
    path : str
        Where its file was seen last.
    cells : int
    labelled : int
        Cells that somebody gave a class.
    """

    name: str
    path: str
    cells: int
    labelled: int


def image_counts(study: Study) -> list[ImageCounts]:
    """Return how far people are with each image, in the order in which they were added."""
    with study.database.snapshot():
        cells = dict(
            study.database.rows("SELECT image, count(*) FROM cells WHERE gone IS NULL GROUP BY 1")
        )
        labelled = dict(
            study.database.rows(
                "SELECT c.image, count(DISTINCT s.cell) FROM said s JOIN cells c ON c.id = s.cell "
                "WHERE c.gone IS NULL AND s.class IS NOT NULL GROUP BY 1"
            )
        )
        images = study.database.rows("SELECT id, name, path FROM images ORDER BY id")
    return [
        ImageCounts(name, path, int(cells.get(number, 0)), int(labelled.get(number, 0)))
        for number, name, path in images
    ]


def study_info(study: Study) -> dict[str, Any]:
    """Return what is in a study: images with counts, classes, observers, models."""
    frame = study.cells()
    human = frame["human"] != ""
    agreeing = frame[human & (frame["effective_source"] == "human")]
    effective = frame["effective"].value_counts()
    images = []
    for image in study.images():
        own = frame["image"] == image.name
        images.append(
            {
                "image": image.name,
                "path": image.path,
                "sha256": image.sha256,
                "pixel_size_um": image.pixel_size_um,
                "pixel_size_source": image.pixel_size_source,
                "cells": int(own.sum()),
                "annotated": int((own & human).sum()),
                "added": image.added,
            }
        )
    by_observer = study.annotations()["observer"].value_counts()
    gone = study.database.one(
        "SELECT count(DISTINCT s.cell) FROM said s JOIN cells c ON c.id = s.cell "
        "WHERE c.gone IS NOT NULL AND s.class IS NOT NULL"
    )
    return {
        "study": str(study.folder),
        "id": study.id,
        "created": study.database.one("SELECT value FROM facts WHERE name = 'created'"),
        "format": study.database.version,
        "images": images,
        "cells": len(frame),
        "annotated": int(human.sum()),
        "to_do": int((~human).sum()),
        "disputed": int((frame["effective_source"] == "disputed").sum()),
        "confirmed": int((agreeing["effective"] == agreeing["predicted"]).sum()),
        "annotations_of_gone_cells": int(gone or 0),
        "classes": {
            one.name: {
                "color": one.color,
                "group": one.group,
                "cells": int(effective.get(one.name, 0)),
            }
            for one in study.classes()
        },
        "observers": {name: int(by_observer.get(name, 0)) for name in study.observers()},
        "models": [
            {"run": run.id, "model": run.model, "version": run.version, "sha256": run.sha256}
            for run in study.runs()
        ],
    }


def check_study(study: Study, folder: Path | None = None) -> tuple[list[str], list[str]]:
    """Check that a study is whole; moved images are looked for in `folder`, too.

    Returns
    -------
    list of str and list of str
        What is wrong, and what is merely good to know, a sentence each.
    """
    problems: list[str] = []
    notes: list[str] = []
    damage = study.database.damage()
    if damage:
        return [f"The study {study.name} is damaged ({damage}): use a copy of it."], []
    if folder is not None:
        if not folder.is_dir():
            raise InputError(f"There is no folder {folder}.")
        found = study.find_images(folder)
        if found:
            notes.append(f"Found again in {folder}: {', '.join(found)}.")
    kept = set()
    for image in study.images():
        before = image.path
        try:
            path = image_path(study.database, study.folder, image)
            if str(path.resolve()) != str(Path(before).resolve()):
                notes.append(f"{image.name} is now at {path}.")
        except InputError as error:
            problems.append(str(error))
        if image.labels is not None:
            kept.add(Path(image.labels).name)
            problems += _check_labels(study, image)
    for file in sorted((study.folder / LABELS).glob("*")):
        if file.name not in kept:
            notes.append(
                f"{LABELS}/{file.name} belongs to no image: it was left by work that was stopped, "
                "and can be deleted."
            )
    gone = study_info(study)["annotations_of_gone_cells"]
    if gone:
        cells = "1 cell that is" if gone == 1 else f"{gone:,} cells that are"
        notes.append(f"{cells} gone had a class from people: it is kept, but in no table.")
    return problems, notes


def _check_labels(study: Study, image: StudyImage) -> list[str]:
    file = study.folder / str(image.labels)
    if not file.is_file():
        return [f"The label image {image.labels} of {image.name} is missing."]
    if sha256(file) != image.labels_sha256:
        return [
            f"The label image {image.labels} of {image.name} was changed or damaged: put it back "
            "from a copy."
        ]
    return []
