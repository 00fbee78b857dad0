"""Fields that the smear network is trained on: drawn ones, and photographs with known outlines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import tifffile
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import atomic_file
from cytodiffusion.image.image import as_rgb8, open_image
from cytodiffusion.image.stain import optical_density
from cytodiffusion.model.segmenter import WORKING_UM
from cytodiffusion.progress import Progress, silent
from cytodiffusion.smear.outline import central_outline
from cytodiffusion.smear.patches import Patch, blur
from cytodiffusion.smear.training_fields import (
    PLATELET,
    SIDE,
    WHITE,
    TrainingField,
    training_field,
)
from cytodiffusion.training.data import CONTEXT, CellSet, find_records, load_cells
from cytodiffusion.training.settings import TrainSettings

#: Classes of single-cell images that are no white cells.
NOT_WHITE = ("red cell", "platelet", "artefact")

#: Images of a class from which cells are cut out, to stand in drawn fields.
CUT_PER_CLASS = 60

#: What a label image of a photographed field has where nobody knows what is there.
UNKNOWN = 65535

#: Columns of the table of photographed fields.
COLUMNS = ("image", "labels", "kinds", "pixel_size_um")
KINDS = {"red cell": 1, "white cell": 2, "platelet": 3}


@dataclass(frozen=True, eq=False)
class FlowField:
    """A field at the resolution of the network, with what it is to learn.

    Attributes
    ----------
    rgb : (Y, X, 3) uint8
    cells : (Y, X) uint8
        1 where a cell is, 0 where none is, 255 where nobody knows.
    flows : (2, Y / patch, X / patch) float16
        Unit vectors, down and right.
    kinds : (Y / patch, X / patch) uint8
        1 red cell, 2 white cell, 3 platelet; 0 none or unknown.
    """

    rgb: NDArray[np.uint8]
    cells: NDArray[np.uint8]
    flows: NDArray[np.float16]
    kinds: NDArray[np.uint8]


def with_flows(field: TrainingField, patch: int) -> FlowField:
    """Work out the flows of a field, as Cellpose defines them."""
    from cellpose.dynamics import masks_to_flows_gpu  # slow to import

    height, width = (side - side % patch for side in field.labels.shape)
    labels = field.labels[:height, :width]
    small = labels[patch // 2 :: patch, patch // 2 :: patch]
    _, dense = np.unique(np.maximum(small, 0), return_inverse=True)
    if not (small <= 0).any():
        dense = dense + 1
    flows, _ = masks_to_flows_gpu(dense.reshape(small.shape).astype(np.int32), torch.device("cpu"))
    kind_of = np.concatenate([[0], field.kinds])
    return FlowField(
        rgb=np.ascontiguousarray(field.rgb[:height, :width]),
        cells=np.where(labels < 0, 255, labels > 0).astype(np.uint8),
        flows=flows.astype(np.float16),
        kinds=kind_of[np.maximum(small, 0)].astype(np.uint8),
    )


def drawn_fields(
    settings: TrainSettings, run: Path, progress: Progress = silent
) -> list[FlowField]:
    """Draw the fields of a run, or find them in its folder."""
    path = run / "fields.safetensors"
    kept = _read_fields(path)
    if len(kept) >= settings.fields:
        return kept[: settings.fields]
    progress(0.0, "cutting out cells")
    real = cut_cells(settings, progress)
    for number in range(len(kept), settings.fields):
        if number % 10 == 0:
            progress(number / settings.fields, f"drawing fields, {number} of {settings.fields}")
        seed = int(np.random.SeedSequence([settings.seed, number]).generate_state(1)[0])
        kept.append(with_flows(training_field(seed, real, SIDE, WORKING_UM), settings.patch))
        if (number + 1) % 100 == 0 or number + 1 == settings.fields:
            _write_fields(path, kept)
    return kept


def _write_fields(path: Path, fields: Sequence[FlowField]) -> None:
    tensors = {}
    for number, field in enumerate(fields):
        for name in ("rgb", "cells", "flows", "kinds"):
            tensors[f"{number}.{name}"] = np.ascontiguousarray(getattr(field, name))
    with atomic_file(path) as part:
        save_file(tensors, part)


def _read_fields(path: Path) -> list[FlowField]:
    if not path.is_file():
        return []
    try:
        tensors = load_file(path)
        count = 1 + max(int(name.split(".")[0]) for name in tensors)
        names = ("rgb", "cells", "flows", "kinds")
        return [FlowField(**{n: tensors[f"{i}.{n}"] for n in names}) for i in range(count)]
    except (KeyError, OSError, SafetensorError, ValueError) as error:
        raise InputError(f"{path} is damaged; remove it to draw the fields again.") from error


def cut_cells(settings: TrainSettings, progress: Progress = silent) -> dict[str, list[Patch]]:
    """Cut white cells and platelets out of the training images."""
    records = [
        r for r in find_records(settings.data, settings.layout) if r.split == "train" and r.label
    ]
    names = sorted({str(r.label) for r in records} - set(NOT_WHITE[::2]))
    rng = np.random.default_rng([settings.seed, 0xC07])
    chosen = []
    for name in names:
        own = [r for r in records if r.label == name]
        chosen += [own[i] for i in rng.permutation(len(own))[:CUT_PER_CLASS]]
    if not chosen:
        return {}
    size = round(settings.window_um / WORKING_UM)
    cells, _ = load_cells(
        chosen,
        names,
        size=size,
        window_um=settings.window_um,
        pixel_size_um=settings.pixel_size_um,
        progress=progress,
    )
    pixel_um = settings.window_um * CONTEXT / round(size * CONTEXT)
    cut: dict[str, list[Patch]] = {WHITE: [], PLATELET: []}
    for index in range(len(cells)):
        patch = _cut(cells, index, 1 / pixel_um)
        if patch is not None:
            platelet = names[int(cells.labels[index])] == "platelet"
            cut[PLATELET if platelet else WHITE].append(patch)
    return cut


def _cut(cells: CellSet, index: int, px_um: float) -> Patch | None:
    """Cut out the cell in the middle of a crop; None where it reaches the border."""
    rgb = cells.pixels[index].permute(1, 2, 0).numpy()
    density = optical_density(rgb, cells.backgrounds[index].numpy())
    solid = central_outline(density, px_um)
    if solid is None or solid[0].any() or solid[-1].any() or solid[:, [0, -1]].any():
        return None
    rows, columns = (np.flatnonzero(solid.any(axis=axis)) for axis in (1, 0))
    margin = 3
    box = np.s_[
        max(rows[0] - margin, 0) : rows[-1] + 1 + margin,
        max(columns[0] - margin, 0) : columns[-1] + 1 + margin,
    ]
    soft = blur(solid.astype(np.float32), 0.1 * px_um)[..., None]
    return Patch(np.asarray((np.clip(density, 0, None) * soft)[box], np.float32), solid[box])


def photographed_fields(
    folder: Path, patch: int, progress: Progress = silent
) -> tuple[list[FlowField], list[FlowField]]:
    """Read photographed fields for training and for validation.

    ``fields.csv`` in the folder names them: ``image``, ``labels`` (a label image; 65535 where
    nobody knows), ``kinds`` (a table with the columns ``label`` and ``kind``, or the kind of all),
    ``pixel_size_um`` and perhaps ``split`` (train or val).
    """
    path = folder / "fields.csv"
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a table of fields: {error}.") from error
    if missing := [name for name in COLUMNS if name not in table]:
        raise InputError(f"{path} lacks the column {missing[0]}; it needs {', '.join(COLUMNS)}.")
    found: tuple[list[FlowField], list[FlowField]] = ([], [])
    for number, row in enumerate(table.to_dict("records")):
        progress(number / len(table), f"reading fields, {number} of {len(table)}")
        field = _photographed(folder, {str(k): v for k, v in row.items()})
        found[row.get("split") == "val"].append(with_flows(field, patch))
    return found


def _photographed(folder: Path, row: dict[str, object]) -> TrainingField:
    rgb = as_rgb8(open_image(folder / str(row["image"])))
    labels = _labels(folder / str(row["labels"]))
    labels = np.where(labels == UNKNOWN, -1, labels)
    if labels.shape != rgb.shape[:2]:
        raise InputError(f"{row['labels']} is not as large as {row['image']}.")
    try:
        factor = float(str(row["pixel_size_um"])) / WORKING_UM
    except ValueError:
        factor = 0.0
    if not 0.01 < factor < 20:
        raise InputError(
            f"{row['pixel_size_um']} is no pixel_size_um of {row['image']}: it must be a number of "
            "micrometres."
        )
    size = (max(16, round(rgb.shape[1] * factor)), max(16, round(rgb.shape[0] * factor)))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    rgb = np.asarray(cv2.resize(rgb, size, interpolation=how), np.uint8)
    labels = np.asarray(
        cv2.resize(labels.astype(np.int32), size, interpolation=cv2.INTER_NEAREST), np.int32
    )
    return TrainingField(rgb, labels, _kinds(folder, str(row["kinds"]), int(labels.max())))


def _labels(path: Path) -> NDArray[np.int32]:
    try:
        return np.asarray(tifffile.imread(path), np.int32)
    except (OSError, ValueError, tifffile.TiffFileError) as error:
        raise InputError(f"{path} cannot be read as a label image (TIFF): {error}.") from error


def _kinds(folder: Path, said: str, count: int) -> NDArray[np.uint8]:
    if said in KINDS:
        return np.full(count, KINDS[said], np.uint8)
    try:
        table = pd.read_csv(folder / said)
        table["label"], table["kind"]
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            f"{said} is neither a kind ({', '.join(KINDS)}) nor a table with the columns label and "
            "kind."
        ) from error
    kinds = np.zeros(max(count, int(table["label"].max() if len(table) else 0)) + 1, np.uint8)
    kinds[table["label"]] = table["kind"].map(KINDS).fillna(0)
    return kinds[1 : count + 1]
