"""Many images in one run: which are done already, on what scale, and one table of them all."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytodiffusion import __version__
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import CytoDiffusionError, InputError
from cytodiffusion.files.atomic import atomic_file, sha256
from cytodiffusion.files.record import circumstances
from cytodiffusion.files.writers import write_cells_csv, write_run_json
from cytodiffusion.pipeline import Analysis
from cytodiffusion.predict import Classifier
from cytodiffusion.progress import Progress, silent
from cytodiffusion.results import OUTLINES, files_by_key
from cytodiffusion.segmentation import choose_method
from cytodiffusion.settings import SegmentOptions
from cytodiffusion.slide_scale import (
    SOURCE,
    OwnScale,
    SlideScale,
    own_scale,
    slide_of,
    slide_scales,
)

if TYPE_CHECKING:
    import pandas as pd

    from cytodiffusion.classification.correction_table import CorrectionTable

#: What stands beside the folders of several images: all their cells, a row an image, the record.
CELLS, IMAGES, RECORD = "cells.csv", "images.csv", "images.json"

#: What an image has when it is done.
_RESULTS = ("labels.tif", "cells.csv", OUTLINES, "overlay.png", "uncertainty.png")


@dataclass(frozen=True)
class Task:
    """One image of many: its file, its name in tables, and the folder of its results."""

    path: Path
    name: str
    folder: Path


@dataclass
class Outcome:
    """What became of a task: results, an error, or neither where a run was stopped before."""

    task: Task
    analysis: Analysis | None = None
    error: str = ""
    before: bool = False  #: The results are those of an earlier run

    @property
    def status(self) -> str:
        """``"done"``, ``"failed"`` or ``"not reached"``."""
        if self.analysis is not None:
            return "done"
        return "failed" if self.error else "not reached"


def check_place(out: Path, *, several: bool) -> None:
    """Raise InputError where results would mix with those of another kind or with others' files."""
    if several and (out / "run.json").is_file():
        raise InputError(f"{out} holds the results of one image: choose another folder for these.")
    if not several and (out / RECORD).is_file():
        raise InputError(
            f"{out} holds the results of several images: choose another folder for this one."
        )
    if several and not (out / RECORD).is_file():
        for name in (CELLS, IMAGES):
            if (out / name).exists():
                raise InputError(
                    f"{out / name} is there already and no result of an earlier run: choose "
                    "another folder."
                )


def request_of(
    model: Classifier, settings: ClassifySettings, options: SegmentOptions
) -> dict[str, Any]:
    """Return all that the results of an image depend on, besides the image and its scale."""
    known = model.record()
    method = choose_method(options.method, model=options.model, device=options.device)
    return {
        "version": __version__,
        "model": {name: known[name] for name in ("name", "version", "sha256")},
        "settings": settings.model_dump(mode="json", exclude={"batch_size"}),
        "cells": {
            "method": method,
            "pixel_size_um": options.pixel_size_um,
            "model": options.model,
        },
    }


# --- what an earlier run has left ---------------------------------------------------------------


def earlier_record(task: Task) -> dict[str, Any] | None:
    """Return the record of an earlier run of the same image by this version, if it is whole."""
    file = task.folder / "run.json"
    if not file.is_file() or not all((task.folder / name).is_file() for name in _RESULTS):
        return None
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        same = record["request"]["version"] == __version__
        same = same and record["inputs"][0]["sha256"] == sha256(task.path)
        return record if same else None
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None  # of another program or version, or damaged: it is done again


def with_scale(request: Mapping[str, Any], slide: SlideScale | None) -> dict[str, Any]:
    """Return a request with the scale that the slide of an image gives it."""
    return {**request, "slide_um": None if slide is None else slide.pixel_size_um}


def with_corrections(request: dict[str, Any], table: CorrectionTable | None) -> dict[str, Any]:
    """Return a request with what people said of the cells of an image, where they said anything."""
    if table is None:
        return request
    rows = sorted([row.cell, row.name, row.observer] for row in table.rows)
    return {**request, "corrections": rows}


def done_before(
    task: Task, record: Mapping[str, Any] | None, request: Mapping[str, Any]
) -> Analysis | None:
    """Return the results of an earlier run where they are what is asked for now, else None."""
    if record is None or record["request"] != request:
        return None
    try:
        results, found = record["results"], record["segmentation"]
        return Analysis(
            image=str(task.path),
            folder=task.folder,
            files=files_by_key(task.folder, (*_RESULTS, "run.json")),
            cells=results["cells"],
            anomalies=results["anomalies"],
            counts=results["counts"],
            pixel_size_um=found["pixel_size_um"],
            pixel_size_source=found["pixel_size_source"],
            own_pixel_size_um=found.get("slide", {}).get("own_um"),
            warnings=tuple(record["warnings"]),
            seconds=record["seconds"],
            review=results["review"],
            contradictions=results["contradictions"],
        )
    except (KeyError, TypeError, AttributeError):
        return None


# --- one scale a slide --------------------------------------------------------------------------


def slides_of(
    tasks: Sequence[Task],
    records: Mapping[Path, Mapping[str, Any] | None],
    request: Mapping[str, Any],
    progress: Progress = silent,
) -> dict[Path, SlideScale | None]:
    """Return the scale that the slide of each image gives it, by the path of the image.

    Images that cannot be opened are left out; the analysis says why. What an earlier run has
    measured is not measured again, and its scale stays while it fits.
    """
    cells = request["cells"]
    beside = Counter(task.path.parent.resolve() for task in tasks)
    several = [task for task in tasks if beside[task.path.parent.resolve()] > 1]
    groups: dict[tuple[Path, int, int], list[tuple[Task, OwnScale]]] = {}
    for number, task in enumerate(several):
        progress(number / len(several), task.path.name)
        own = _measured_before(records.get(task.path), cells)
        with contextlib.suppress(CytoDiffusionError):
            own = own or own_scale(task.path, cells["method"])
            slide = slide_of(task.path.parent.resolve(), own.shape)
            groups.setdefault(slide, []).append((task, own))
    scales: dict[Path, SlideScale | None] = {}
    for images in groups.values():
        earlier = Counter(
            record["segmentation"]["pixel_size_um"]
            for task, _ in images
            if (record := records.get(task.path)) is not None
            and record["segmentation"]["pixel_size_source"] == SOURCE
            and with_scale(request, None) == {**record["request"], "slide_um": None}
        )
        kept = earlier.most_common(1)[0][0] if earlier else None
        found = slide_scales([own for _, own in images], kept)
        scales |= {task.path: scale for (task, _), scale in zip(images, found, strict=True)}
    return scales


def _measured_before(record: Mapping[str, Any] | None, cells: Mapping[str, Any]) -> OwnScale | None:
    """Return what an earlier run has noted of the scale of an image, measured in the same way."""
    if record is None:
        return None
    try:
        if record["request"]["cells"] != cells:
            return None
        height, width = record["image"]["shape"][:2]
        slide = record["segmentation"].get("slide")
        if slide is not None:
            numbers = slide["own_um"], slide["own_source"], slide["own_cells"]
            return OwnScale(*numbers, (height, width))
        stated = record["image"]["pixel_size_um"]
        return None if stated is None else OwnScale(stated, "file", 0, (height, width))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


# --- tables over all images ---------------------------------------------------------------------


def write_tables(
    out: Path,
    outcomes: Sequence[Outcome],
    request: Mapping[str, Any],
    *,
    not_read: Sequence[str] = (),
) -> dict[str, Path]:
    """Write all cells, a row an image and the record of the run beside the images' folders."""
    done = [outcome for outcome in outcomes if outcome.analysis is not None]
    if done:
        _write_all_cells(out / CELLS, done)
    write_cells_csv(out / IMAGES, images_frame(outcomes))
    record = {
        "program": "cytodiffusion",
        **circumstances(),
        "request": request,
        "images": [
            {"image": o.task.name, "folder": o.task.folder.name, "status": o.status}
            for o in outcomes
        ],
        "failed": {o.task.name: o.error for o in outcomes if o.error},
        "not_read": list(not_read),
    }
    write_run_json(out / RECORD, record)
    files = [CELLS, IMAGES, RECORD] if done else [IMAGES, RECORD]
    return {Path(name).stem if name != RECORD else "record": out / name for name in files}


def images_frame(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Return a table of one row an image: cells of each class, scale, what was said."""
    import pandas as pd

    rows = []
    for outcome in outcomes:
        task, found = outcome.task, outcome.analysis
        row: dict[str, Any] = {
            "image": task.name,
            "folder": task.folder.name,
            "status": outcome.status,
            "cells": None,
        }
        if found is not None:
            row |= {"cells": found.cells, **{f"n_{n}": count for n, count in found.counts.items()}}
            row |= {
                "anomalies": found.anomalies,
                "review": found.review,
                "contradictions": found.contradictions,
                "pixel_size_um": found.pixel_size_um,
                "pixel_size_source": found.pixel_size_source,
                "own_pixel_size_um": found.own_pixel_size_um,
                "said": " ".join(found.warnings),
            }
        rows.append(row | {"error": outcome.error})
    frame = pd.DataFrame(rows)
    counts = ("cells", "anomalies", "review", "contradictions")
    whole = [n for n in map(str, frame) if n in counts or n.startswith("n_")]
    last = frame.pop("error")
    frame["error"] = last
    return frame.astype(dict.fromkeys(whole, "Int64"))


def _write_all_cells(path: Path, done: Sequence[Outcome]) -> None:
    """Write the tables of all images as one, image by image: together they may be large."""
    import pandas as pd

    tables = [outcome.task.folder / "cells.csv" for outcome in done]
    # cells that people corrected have more columns
    heads = sorted((list(pd.read_csv(t, nrows=0).columns) for t in tables), key=len, reverse=True)
    columns = ["image", *dict.fromkeys(name for head in heads for name in head)]
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        for number, (outcome, table) in enumerate(zip(done, tables, strict=True)):
            frame = pd.read_csv(table, dtype=str, keep_default_na=False)  # every digit as it is
            frame.insert(0, "image", outcome.task.name)
            frame = frame.reindex(columns=columns)
            frame.to_csv(file, index=False, header=not number, lineterminator="\n")
