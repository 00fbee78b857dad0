"""The whole network trained further on the cells of a study, beside cells of its own classes.

Without those it would forget them (catastrophic forgetting). Where nobody has images of the
original classes, the model's own generator draws some (generative replay: Shin et al., Continual
Learning with Deep Generative Replay, 2017).
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cytodiffusion.classification.classifier import classify
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.datasets.layouts import Record
from cytodiffusion.errors import InputError
from cytodiffusion.files.writers import to_json, write_cells_csv
from cytodiffusion.generation.save import generate_into
from cytodiffusion.generation.settings import GenerationSettings
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.saving import save_bundle
from cytodiffusion.progress import Progress, part_of
from cytodiffusion.teaching.labelled import LabelledCells
from cytodiffusion.teaching.settings import TeachSettings
from cytodiffusion.teaching.teacher import (
    RECORD,
    Figures,
    Taught,
    card_lines,
    record_of,
    version_of,
)
from cytodiffusion.training.card import with_section
from cytodiffusion.training.data import find_records
from cytodiffusion.training.sets import load_sets
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.train import train

if TYPE_CHECKING:
    import pandas as pd

    from cytodiffusion.study import Study

log = logging.getLogger(__name__)

#: Table of the images, and what they are of, in a folder beside the model.
TABLE, LABELLED = "images.csv", "lesson.json"

#: Of so many cells that are learnt from, one calibrates.
CALIBRATING = 5

#: Largest learning rate: below that of a training from nothing, which would undo what is there.
LEARNING_RATE = 2e-4

#: Share of the weights that the network keeps of those it started from, against forgetting.
START_SHARE = 0.3


def teach_deep(
    study: Study,
    folder: Path,
    model: ModelBundle,
    labelled: LabelledCells,
    settings: TeachSettings,
    number: int | None,
    progress: Progress,
) -> Taught:
    """Train on crops of the labelled cells; a run that was stopped goes on where it was."""
    run = run_of(folder)
    table = _images(study, folder, model, labelled, settings, part_of(progress, 0.0, 0.15))
    wanted = TrainSettings(
        data=table,
        output=folder,
        init=model.source,
        name=model.name,
        seed=settings.seed,
        steps=settings.steps,
        learning_rate=LEARNING_RATE,
        start_share=START_SHARE,
        device=settings.device,
        duplicates="allow",
        trait_loss=0.0,
        resume=run.is_dir(),
    )
    train(wanted, part_of(progress, 0.15, 0.95))
    made = load_bundle(folder, device=str(model.device))
    names, before, after = _tried(model, made, wanted, labelled)
    labelled = _ordered(labelled, names)
    record = record_of(study, model, labelled, settings, (before, after), number)
    made = replace(
        made,
        version=version_of(model, record["version"]),
        card=with_section(made.card, "## Taught", card_lines(record)),
        training=made.training | {RECORD: record},
    )
    save_bundle(folder, made)
    for beside in (run, table.parent):
        shutil.rmtree(beside, ignore_errors=True)
    progress(1.0, "Taught")
    lost = "What belongs to the old weights (slide correction, attributes, finer classes) is gone."
    return Taught(folder, names, labelled, before, after, [], record, (*labelled.notes, lost))


def _images(
    study: Study,
    folder: Path,
    model: ModelBundle,
    labelled: LabelledCells,
    settings: TeachSettings,
    progress: Progress,
) -> Path:
    """Write the crops to train on and their table, where a run that was stopped has not."""
    import pandas as pd

    # a table's paths are relative to the table: they are written in full
    place = folder.resolve().with_name(f"{folder.name}.cells")
    table = place / TABLE
    if table.is_file() and _same(place / LABELLED, model, labelled, settings):
        return table
    for begun in (place, run_of(folder)):  # of other labels, or stopped before its table was there
        shutil.rmtree(begun, ignore_errors=True)
    rows = _rehearsed(place, model, settings, part_of(progress, 0.0, 0.8))
    crops = part_of(progress, 0.8, 1.0)
    for sentence in study.export_crops(place / "taught", labelled.cells, crops):
        log.warning(sentence)
    rows = pd.concat([_taught(study, place / "taught", labelled), rows], ignore_index=True)
    (place / LABELLED).write_text(_meant(model, labelled, settings), encoding="utf-8")
    write_cells_csv(table, rows)
    return table


def run_of(folder: Path) -> Path:
    """Return where the training of a model keeps what it has done so far."""
    return folder.with_name(f"{folder.name}.run")


def _meant(model: ModelBundle, labelled: LabelledCells, settings: TeachSettings) -> str:
    """Return what makes two runs the same: model, cells, classes and settings."""
    names = [labelled.class_names[k] for k in labelled.classes]
    cells = sorted(zip(labelled.keys.tolist(), names, labelled.held_back.tolist(), strict=True))
    values = settings.model_dump(mode="json", exclude={"device"})
    return to_json([model.checksum, values, cells])


def _same(file: Path, model: ModelBundle, labelled: LabelledCells, settings: TeachSettings) -> bool:
    try:
        return file.read_text(encoding="utf-8") == _meant(model, labelled, settings)
    except (OSError, ValueError):
        return False


def _taught(study: Study, folder: Path, labelled: LabelledCells) -> pd.DataFrame:
    """Return path, class, split and pixel size of the crops of labelled cells."""
    import pandas as pd

    found = pd.read_csv(folder / "cells.csv", keep_default_na=False)
    number = {
        (str(image), int(label)): row
        for row, (image, label) in enumerate(zip(labelled.images, labelled.labels, strict=True))
    }
    row = np.array(
        [
            number[str(image), int(label)]
            for image, label in zip(found["image"], found["label"], strict=True)
        ]
    )
    scale = {image.name: image.pixel_size_um for image in study.images()}
    names = np.array(labelled.class_names, object)[labelled.classes[row]]
    single = {image.name for image in study.images() if image.single_cell}
    return pd.DataFrame(
        {
            "path": [str(folder / file) for file in found["file"]],
            "class": names,
            "split": _splits(names, labelled.keys[row], labelled.held_back[row]),
            # a crop states its own scale; a copy of an image of one cell may not
            "pixel size um": [scale[n] if n in single else "" for n in found["image"]],
        }
    )


def _splits(names: Any, keys: Any, held_back: Any) -> list[str]:
    """Return the split of each cell; of each class at least one cell calibrates, if it has two."""
    splits = np.where((keys >> 32) % CALIBRATING == 0, "val", "train").astype(object)
    for name in set(names):
        own = np.flatnonzero((names == name) & ~held_back)
        for lacking, other in (("val", "train"), ("train", "val")):
            if len(own) > 1 and not (splits[own] == lacking).any():
                splits[own[(splits[own] == other)][:1]] = lacking
    splits[held_back] = "test"
    return [str(split) for split in splits]


def _rehearsed(
    folder: Path, model: ModelBundle, settings: TeachSettings, progress: Progress
) -> pd.DataFrame:
    """Return path, class, split and pixel size of cells of the original classes."""
    import pandas as pd

    network = model.untaught
    if settings.rehearsal is not None:
        records = _some(find_records(settings.rehearsal, "auto"), network, settings)
        paths = [str(Path(record.path).resolve()) for record in records]
        names = [str(record.label) for record in records]
    elif network.generator is not None:
        wanted = dict.fromkeys(network.class_names, settings.rehearsed)
        drawn = generate_into(
            folder / "rehearsed",
            network,
            wanted,
            GenerationSettings(seed=settings.seed),
            progress=progress,
            insist=True,
        )
        paths = [str(folder / "rehearsed" / path) for path in drawn.frame["path"]]
        names = drawn.frame["class"].astype(str).tolist()
        if poor := [name for name in network.class_names if names.count(name) < 2]:
            raise InputError(
                f"The generator of {model.name} draws no {poor[0]} that the model takes for one: "
                "name a folder of labelled images of its classes (rehearsal)."
            )
    else:
        raise InputError(
            f"The model {model.name} has no generator to draw cells of its classes, and would "
            "forget them: name a folder of labelled images of them (rehearsal)."
        )
    seen: dict[str, int] = {}
    splits = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        splits.append("val" if seen[name] % CALIBRATING == 2 else "train")
    return pd.DataFrame({"path": paths, "class": names, "split": splits, "pixel size um": ""})


def _some(records: list[Record], network: ModelBundle, settings: TeachSettings) -> list[Record]:
    """Draw images of each class of the network; InputError where it has none of one."""
    rng = np.random.default_rng(settings.seed)
    found: list[Record] = []
    for name in network.class_names:
        own = [record for record in records if record.label == name]
        if len(own) < 2:
            raise InputError(
                f"{settings.rehearsal} has fewer than 2 images of {name}, which the model would "
                "forget: each of its classes needs some."
            )
        found += [own[i] for i in rng.permutation(len(own))[: settings.rehearsed]]
    return found


def _tried(
    old: ModelBundle, new: ModelBundle, settings: TrainSettings, labelled: LabelledCells
) -> tuple[tuple[str, ...], Figures, Figures]:
    """Try both models on the held-back cells; both see the same crops."""
    names = new.class_names
    if not labelled.held_back.any():
        none = Figures.of(np.zeros(0, np.int64), np.zeros(0, np.int64), len(names))
        return names, none, none
    own = settings.model_copy(update={"input_size": new.input_size, "window_um": new.window_um})
    loaded, sets = load_sets(own)
    cells = sets["test"]
    truth = np.array([names.index(loaded[k]) for k in cells.labels.tolist()], np.int64)
    found = []
    for model in (old, new):
        result = classify(
            cells.windows(model.input_size),
            model,
            ClassifySettings(seed=settings.seed),
            background=cells.backgrounds.numpy(),
        )
        number = np.array([names.index(n) for n in result.class_names], np.int64)
        found.append(Figures.of(truth, number[result.predicted], len(names)))
    return names, found[0], found[1]


def _ordered(labelled: LabelledCells, names: tuple[str, ...]) -> LabelledCells:
    """Return labelled cells whose classes are in the order of the trained model."""
    moved = np.array([names.index(name) for name in labelled.class_names], np.int64)
    return replace(labelled, class_names=names, classes=moved[labelled.classes])
