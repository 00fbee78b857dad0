"""Attributes of single-cell images as a table, and how far a table of true ones agrees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cytodiffusion.classification.levels import attribute_columns, attributes_of, traits_of
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.datasets.tables import read_csv
from cytodiffusion.errors import InputError
from cytodiffusion.predict import Classifier
from cytodiffusion.progress import Progress, silent
from cytodiffusion.single_cells import classified_images

if TYPE_CHECKING:
    import pandas as pd

#: Columns of a table of true attributes that may name the image.
IMAGE_COLUMNS = ("img_name", "path", "image", "file", "filename")


def check_attributes(model: Classifier) -> None:
    """Raise InputError for a model that tells no attributes."""
    if not attributes_of(traits_of(model)):
        raise InputError(
            f"The model {model.name} tells no attributes of cells: it was trained on images "
            "without any."
        )


def attribute_table(
    images: Sequence[str | Path],
    model: Classifier,
    settings: ClassifySettings | None = None,
    *,
    pixel_size_um: float | None = None,
    progress: Progress = silent,
) -> tuple[pd.DataFrame, list[str]]:
    """Tell the attributes of single-cell images, the cell in the centre.

    Returns
    -------
    frame : DataFrame
        One row an image that could be read: ``path``, ``predicted`` (the coarse class),
        ``confidence``, and for each attribute ``attr_NAME``, the likeliest value, with
        ``attr_NAME_confidence``, its probability. Both are empty where the predicted class was
        never seen with the attribute in training.
    skipped : list of str
        A sentence for each image that could not be read.
    """
    import pandas as pd

    check_attributes(model)
    settings = settings or ClassifySettings()
    found = classified_images(
        images, model, settings, pixel_size_um=pixel_size_um, progress=progress
    )
    result = found.result
    assert result.trait_probabilities is not None
    names = np.array(result.class_names, object)
    columns: dict[str, Any] = {
        "path": [str(cell.path) for cell in found.cells],
        "predicted": names[result.predicted],
        "confidence": result.confidence,
    }
    values = attribute_columns(result)
    for trait, part in attributes_of(result.traits):
        key = f"attr_{trait.name}"
        sure = result.trait_probabilities[:, part].max(axis=1).astype(np.float64)
        columns[key] = values[key]
        columns[f"{key}_confidence"] = np.where(values[key] == "", np.nan, sure)
    frame = pd.DataFrame(columns)
    frame.attrs["notes"] = found.notes
    return frame, found.skipped


def attribute_scores(frame: pd.DataFrame, truth: Path) -> dict[str, float]:
    """Macro F1 of each attribute against a table of true ones such as that of WBCAtt.

    The table is a CSV with a column that names the image (its file name or path) and columns of
    attributes, with or without ``attr_`` before their names. An attribute that was not told of a
    cell counts as wrong; the mean is over the values that the table has for these images.
    """
    from sklearn.metrics import f1_score

    told = [c for c in map(str, frame) if c.startswith("attr_") and not c.endswith("_confidence")]
    true = _read_truth(truth, {c[5:] for c in told})
    files = [Path(path).name for path in frame["path"]]
    rows = [row for row, name in enumerate(files) if name in true.index]
    if not rows:
        raise InputError(f"{truth} names none of the {len(files)} images.")
    known = true.loc[[files[row] for row in rows]]
    scores = {}
    for column in told:
        if column[5:] not in known:
            continue
        right = known[column[5:]].to_numpy(str)
        said = frame[column].iloc[rows].to_numpy(str)
        some = right != ""
        if some.any():
            values = sorted(set(right[some]))
            scores[column[5:]] = float(
                f1_score(right[some], said[some], labels=values, average="macro", zero_division=0)
            )
    if not scores:
        raise InputError(f"{truth} has no attribute of these images.")
    return scores


def _read_truth(path: Path, names: set[str]) -> pd.DataFrame:
    """Read a table of true attributes by the file names of the images."""
    table = read_csv(path).fillna("")
    table = table.rename(columns={c: c.removeprefix("attr_") for c in table.columns})
    key = next((c for c in IMAGE_COLUMNS if c in table), None)
    found = [c for c in table if c in names]
    if key is None or not found:
        raise InputError(
            f"{path} is no table of attributes: it needs a column {IMAGE_COLUMNS[0]} or "
            f"{IMAGE_COLUMNS[1]}, and some of {', '.join(sorted(names))}."
        )
    files = table[key].astype(str).str.replace("\\", "/").str.rpartition("/")[2]
    return table.set_index(files)[found].loc[~files.duplicated().to_numpy()]
