"""Heatmaps on disk: the map at the pixels of its image, a figure, and the record of both."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from cytodiffusion import __version__
from cytodiffusion.errors import InputError
from cytodiffusion.export import file_record, to_json, write_run_json
from cytodiffusion.output import atomic_file, staged_folder

from .figure import grid_figure, heatmap_figure, save_figure
from .heatmap import Heatmap
from .placement import Placement, heatmap_on_image

TIFF, FIGURE, RECORD, GRID = "heatmap.tif", "figure.png", "heatmap.json", "all_classes.png"


def save_heatmap(
    folder: str | Path,
    heatmap: Heatmap,
    *,
    placement: Placement | None = None,
    shape: tuple[int, int] | None = None,
    mask: NDArray[Any] | None = None,
    every_class: Sequence[Heatmap] = (),
    record: Mapping[str, Any] | None = None,
) -> dict[str, Path]:
    """Write ``heatmap.tif``, ``figure.png`` and ``heatmap.json`` together or not at all.

    Parameters
    ----------
    folder : str or Path
        Created where missing.
    heatmap : Heatmap
    placement : Placement, optional
        Of the crop in its image; without it the map is written at the pixels of the crop.
    shape : (Y, X), optional
        Of the image; needed with a placement.
    mask : (S, S) array, optional
        The cell in the crop: outlined in the figure, and its share of the energy recorded.
    every_class : sequence of Heatmap
        Where there are any, they are drawn in ``all_classes.png`` and recorded.
    record : mapping, optional
        What ``heatmap.json`` says besides.

    Returns
    -------
    dict
        Path of every file by its name.

    Raises
    ------
    InputError
        If the folder cannot be written, or the heatmap lies outside the image.
    """
    target = Path(folder)
    values, offset = heatmap.values, (0, 0)
    pixel_um = heatmap.window_um / len(heatmap.values)
    if placement is not None:
        if shape is None:
            raise InputError("The shape of the image is needed to place the heatmap in it.")
        values, offset = heatmap_on_image(heatmap, placement, shape)
        pixel_um = heatmap.window_um / placement.side
    content = {
        **heatmap.record(),
        "energy_in_mask": None if mask is None else heatmap.energy_share(mask),
        "area_of_mask": None if mask is None else float(np.asarray(mask).astype(bool).mean()),
        "offset": {"y": offset[0], "x": offset[1]},
        "shape": list(values.shape),
        "pixel_size_um": pixel_um,
        **(record or {}),
    }
    if every_class:
        content["all_classes"] = [_short(h, mask) for h in every_class]
    with staged_folder(target) as staging:
        write_heatmap_tiff(staging / TIFF, values, offset, pixel_um, heatmap)
        save_figure(heatmap_figure(heatmap, mask=mask), staging / FIGURE)
        if every_class:
            save_figure(grid_figure(every_class), staging / GRID)
        outputs = [file_record(path) | {"path": path.name} for path in sorted(staging.iterdir())]
        write_run_json(staging / RECORD, content | {"outputs": outputs})
        names = sorted(path.name for path in staging.iterdir())
    return {name: target / name for name in names}


def write_heatmap_tiff(
    path: str | Path,
    values: NDArray[np.floating],
    offset: tuple[int, int],
    pixel_size_um: float,
    heatmap: Heatmap,
) -> Path:
    """Write a map as float32 OME-TIFF that knows where in its image it lies.

    The offset is the ``PositionY`` and ``PositionX`` of its plane, in pixels of the image. The
    description is JSON: offset, classes and unit.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    target = Path(path)
    about = {
        "offset_y": offset[0],
        "offset_x": offset[1],
        "predicted": heatmap.predicted_name,
        "target": heatmap.target_name,
        "unit": "change of brightness (0 to 1), target less predicted",
        "software": f"cytodiffusion {__version__}",
    }
    # The identifier follows from the content, so that equal maps give equal files
    content = np.ascontiguousarray(values, np.float32)
    identity = uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(content.tobytes()).hexdigest())
    metadata = {
        "axes": "YX",
        "UUID": identity.urn,
        "Name": "counterfactual heatmap",
        "Description": to_json(about),
        "PhysicalSizeX": pixel_size_um,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": pixel_size_um,
        "PhysicalSizeYUnit": "µm",
        "Plane": {
            "PositionX": [float(offset[1])],
            "PositionXUnit": ["pixel"],
            "PositionY": [float(offset[0])],
            "PositionYUnit": ["pixel"],
        },
    }
    per_cm = 1e4 / pixel_size_um
    with atomic_file(target) as partial:
        tifffile.imwrite(
            partial,
            content,
            ome=True,
            photometric="minisblack",
            compression="zlib",
            metadata=metadata,
            resolution=(per_cm, per_cm),
            resolutionunit="CENTIMETER",
        )
    return target


def _short(heatmap: Heatmap, mask: NDArray[Any] | None) -> dict[str, Any]:
    full = heatmap.record()
    kept = ("target", "convergence", "largest_change", "share_beyond_threshold")
    share = None if mask is None else heatmap.energy_share(mask)
    return {name: full[name] for name in kept} | {"energy_in_mask": share}
