"""A study as AnnData, the table that scanpy and squidpy work on.

``X`` and ``obsm["posterior"]`` are the probabilities of the classes, ``obsm["embedding"]`` what the
network makes of each cell, ``obsm["attributes"]`` the probabilities of attributes where the model
has some, ``obsm["spatial"]`` x and y in pixels of the cell's image (squidpy's ``library_key`` is
``"image"``), and ``obs`` the table of every other export. What is not known is 0 in ``X``, NaN
elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.files.atomic import atomic_file
from cytodiffusion.traits import columns_of

if TYPE_CHECKING:
    import pandas as pd

    from cytodiffusion.study.study import Study

#: Columns of classes, with colours as scanpy's plots look for them.
_CLASSES = ("predicted", "human", "effective")


def write_anndata(study: Study, path: Path, frame: pd.DataFrame) -> list[str]:
    """Write cells as ``.h5ad``; return sentences that the user should read."""
    import anndata
    import pandas as pd

    notes: list[str] = []
    columns = [name for name in map(str, frame.columns) if name.startswith("p_")]
    posterior = frame[columns].to_numpy(np.float64)
    table = frame.drop(columns=columns)
    table.index = pd.Index(
        [f"{image}/{label}" for image, label in zip(table["image"], table["label"], strict=True)],
        dtype=object,
    )
    table = table.rename_axis(None).rename(columns={"_index": "index_"})
    for name in table:
        values = table[name]
        if values.dtype == object and all(isinstance(v, bool) for v in values.dropna()):
            table[name] = values.astype("boolean")  # unknown where no model has said anything
        elif values.dtype == object or pd.api.types.is_string_dtype(values):
            table[name] = values.map(lambda v: v if isinstance(v, str) else "").astype("category")
    data = anndata.AnnData(
        X=np.nan_to_num(posterior).astype(np.float32),
        obs=table,
        var=pd.DataFrame(index=pd.Index([name[2:] for name in columns], dtype=object)),
    )
    data.obsm["posterior"] = posterior
    data.obsm["spatial"] = frame[["x", "y"]].to_numpy(np.float64)
    arrays, names = _arrays(study, frame)
    for name, array in arrays.items():
        missing = int(np.isnan(array).any(axis=1).sum())
        if missing:
            notes.append(
                f"{missing:,} of {len(array):,} cells have no {name}: it is NaN there, which "
                "scanpy's neighbours do not take."
            )
        data.obsm[name] = array
    if "embedding" not in arrays:
        notes.append("The model keeps no embedding of cells: obsm has none.")
    colors = {one.name: one.color for one in study.classes()}
    for name in _CLASSES:
        found = table[name].cat.categories
        data.uns[f"{name}_colors"] = [colors.get(str(one), "#888888") for one in found]
    data.uns["posterior_names"] = [name[2:] for name in columns]
    if names:
        data.uns["attributes_names"] = names
    data.uns["study"] = {
        "id": study.id,
        "name": study.name,
        "models": [f"{run.model} {run.version} {run.sha256[:12]}" for run in study.runs()],
        "pixel_size_um": {
            image.name.replace("/", "\u2215"): image.pixel_size_um for image in study.images()
        },
    }
    with atomic_file(path) as partial:
        data.write_h5ad(partial)
    return notes


def _arrays(study: Study, frame: pd.DataFrame) -> tuple[dict[str, NDArray[np.float32]], list[str]]:
    """Return embedding and attributes of the cells, of the model whose answers count."""
    rows = {int(cell): row for row, cell in enumerate(frame.index)}
    found: dict[str, NDArray[np.float32]] = {}
    names: list[str] = []
    for image in dict.fromkeys(frame["image"]):
        kept = study.classification(image)
        if kept is None:
            continue
        cells, result = kept
        parts: dict[str, Any] = {"embedding": result.embedding}
        if result.trait_probabilities is not None:
            attributes = [
                (trait, part)
                for trait, part in zip(result.traits, columns_of(result.traits), strict=True)
                if not trait.parent
            ]
            if attributes:
                names = [f"{trait.name}: {v}" for trait, _ in attributes for v in trait.values]
                parts["attributes"] = np.concatenate(
                    [result.trait_probabilities[:, part] for _, part in attributes], axis=1
                )
        at = [rows.get(int(cell), -1) for cell in cells]
        chosen = [n for n, row in enumerate(at) if row >= 0]
        for name, values in parts.items():
            if values is None or not chosen:
                continue
            shape = (len(frame), values.shape[1])
            target = found.setdefault(name, np.full(shape, np.nan, np.float32))
            if target.shape == shape:  # another model's embedding is another space
                target[[at[n] for n in chosen]] = values[chosen]
    return found, names
