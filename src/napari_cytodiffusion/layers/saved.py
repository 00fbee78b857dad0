"""Layers saved to files and opened again: pixel size, place and what was noted of them stay.

napari's own writer keeps pixels only. The one here, which *Save All Layers* offers first for
pictures, labels and shapes, writes TIFF files that any program reads, with the pixel size and the
rest in their metadata; whatever it has nothing to add to is left to napari's writer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer

from cytodiffusion.image.calibrated_tiff import read_calibration, write_calibrated
from napari_cytodiffusion.layers.placement import NOTE, note_of, pixel_size

#: What of a layer's place is kept, beside its units.
_PLACE = ("scale", "translate", "rotate", "shear", "affine")

#: Letters that no file name may have.
_UNSAFE = re.compile(r'[\\/:*?"<>|]')

LayerTuple = tuple[Any, Mapping[str, Any], str]


def write_folder(path: str, layers: Sequence[LayerTuple]) -> list[str]:
    """Write layers into a folder, one file each."""
    folder = Path(path)
    own = [layer for layer in layers if _is_ours(*layer)]
    rest = [layer for layer in layers if not _is_ours(*layer)]
    folder.mkdir(parents=True, exist_ok=True)
    files = {meta["name"]: folder / file_name(meta["name"]) for _, meta, _ in own}
    written = [write_layer(str(files[meta["name"]]), data, meta, files) for data, meta, _ in own]
    if rest:
        from napari_builtins.io import (  # type: ignore[import-untyped]
            write_layer_data_with_plugins,
        )

        written += [write_layer_data_with_plugins(path, rest)]
    return [name for names in written for name in names]


def write_image(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Write a picture with its pixel size."""
    return write_layer(path, data, meta)


def write_labels(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Write a label layer with its pixel size."""
    return write_layer(path, data, meta)


def write_layer(
    path: str, data: Any, meta: Mapping[str, Any], files: Mapping[str, Path] | None = None
) -> list[str]:
    """Write one layer; ``files`` are those of the pictures saved with it, by their names."""
    pixels = np.asarray(_full(data, meta))
    if "num_colors" in meta or "contour" in meta:
        # napari takes files of fewer bits for pictures
        pixels = pixels.astype(np.promote_types(pixels.dtype, np.int32), copy=False)
    note = dict(meta["metadata"].get(NOTE, {}))
    if files and isinstance(note.get("images"), list):
        # a picture is known again by its file and name
        note["images"] = [
            {**known, "path": str(files.get(known["name"], known["path"]))}
            if known["name"] in files
            else known
            for known in note["images"]
        ]
    place = {name: np.asarray(getattr(meta[name], "affine_matrix", meta[name])) for name in _PLACE}
    about = {
        "note": note,
        "place": {name: value.tolist() for name, value in place.items()},
        "units": [str(unit) for unit in meta["units"]],
        "axis_labels": list(meta["axis_labels"]),
    }
    write_calibrated(path, pixels, _size(meta), about)
    return [path]


def restore(layer: Layer) -> None:
    """Give a layer back what the file it was opened from says of it."""
    path = layer.source.path
    flat = isinstance(layer, Image | Labels) and layer.ndim == 2
    if not flat or path is None or note_of(layer):
        return
    if Path(path).suffix.lower() not in (".tif", ".tiff") or not Path(path).is_file():
        return
    about = read_calibration(path).note
    if about is None:
        return
    try:
        # the place first: what listens to the units reads the scale
        for name, value in about["place"].items():
            if name in _PLACE:
                setattr(layer, name, np.asarray(value))
        layer.units = about["units"]
        layer.axis_labels = about["axis_labels"]
    except (KeyError, TypeError, ValueError, AttributeError):
        return  # of another version, or of a layer that was another one
    layer.metadata[NOTE] = about.get("note", {})


def file_name(layer_name: str) -> str:
    """Name of the file of a layer."""
    return f"{_UNSAFE.sub('_', layer_name)}.tif"


def _is_ours(data: Any, meta: Mapping[str, Any], kind: str) -> bool:
    """Whether there is something to add to what napari writes of a layer."""
    if kind not in ("image", "labels"):
        return False
    shape = np.shape(_full(data, meta))
    flat = len(shape) == 2 or (bool(meta.get("rgb")) and len(shape) == 3 and shape[2] in (3, 4))
    return flat and (bool(meta["metadata"].get(NOTE)) or _size(meta) is not None)


def _size(meta: Mapping[str, Any]) -> float | None:
    return pixel_size(meta["scale"], meta["units"])


def _full(data: Any, meta: Mapping[str, Any]) -> Any:
    return data[0] if meta.get("multiscale") else data
