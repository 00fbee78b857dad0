"""Counterfactual cells and morphs as files, each of which says that it is synthetic."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image as Picture

from cytodiffusion import __version__
from cytodiffusion.counterfactual.captions import film_captions
from cytodiffusion.counterfactual.figures import (
    grid_figure,
    heatmap_figure,
    mean_figure,
    saliency_figure,
    save_figure,
)
from cytodiffusion.counterfactual.heatmap import Heatmap
from cytodiffusion.counterfactual.mean_map import MeanMap
from cytodiffusion.counterfactual.placement import Placement, heatmap_on_image
from cytodiffusion.counterfactual.saliency import Saliency
from cytodiffusion.drawing.caption import captioned
from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import atomic_file, staged_folder
from cytodiffusion.files.synthetic_mark import STATEMENT, png_mark
from cytodiffusion.files.writers import file_record, to_json, write_run_json

#: Kinds of file that a morph can be saved as.
MORPH_SUFFIXES = (".gif", ".png", ".tif", ".tiff")

#: Frames of films are enlarged to at least this side, in pixels; players show small ones badly.
FILM_SIDE = 384


def save_morph(
    frames: NDArray[np.uint8],
    path: str | Path,
    record: Mapping[str, Any] | None = None,
    *,
    frames_per_second: float = 10.0,
    pixel_size_um: float | None = None,
) -> Path:
    """Write a morph as GIF, as animated PNG or as a stack of TIFF pages.

    GIF (256 colours) and PNG (all colours) are films: enlarged where frames are small, forward
    and back again, with a caption under each frame that says that it is synthetic. TIFF keeps the
    frames as they are.

    Parameters
    ----------
    frames : (F, S, S, 3) uint8
    path : str or Path
        Its ending says which.
    record : mapping, optional
        What is known of how it was made, written into the file beside the word that it is
        synthetic.
    pixel_size_um : float, optional
        Kept in a TIFF.
    """
    target = Path(path)
    kind = target.suffix.lower()
    if kind not in MORPH_SUFFIXES:
        raise InputError(
            f"A morph is saved as GIF, PNG or TIFF: {target.name} should end in .gif, .png or .tif."
        )
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise InputError("A morph needs frames of shape (F, S, S, 3) and type uint8.")
    if not 0.1 <= frames_per_second <= 100:
        raise InputError(f"A film has 0.1 to 100 frames a second, not {frames_per_second:g}.")
    with atomic_file(target) as partial:
        if kind in (".tif", ".tiff"):
            _write_tiff(partial, frames, pixel_size_um, _text(record or {}))
        else:
            _write_film(partial, kind, frames, frames_per_second, record or {})
    return target


def _film(frames: NDArray[np.uint8], captions: Sequence[str]) -> list[NDArray[np.uint8]]:
    """Frames forward and back, large enough, with captions."""
    side = frames.shape[1]
    factor = max(1, -(-FILM_SIDE // side))
    size = (frames.shape[2] * factor, side * factor)
    large = [
        captioned(cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC), caption)
        for frame, caption in zip(frames, captions, strict=True)
    ]
    return [*large, *large[-2:0:-1]]


def _write_film(
    path: Path, kind: str, frames: NDArray[np.uint8], speed: float, record: Mapping[str, Any]
) -> None:
    pictures = [
        Picture.fromarray(frame) for frame in _film(frames, film_captions(len(frames), record))
    ]
    options: dict[str, Any] = {"format": "PNG", "pnginfo": png_mark(record)}
    if kind == ".gif":
        pictures = [p.quantize(256, dither=Picture.Dither.NONE) for p in pictures]
        options = {"format": "GIF", "comment": _text(record).encode()}
    duration = round(1000 / speed)
    first, *rest = pictures
    first.save(path, save_all=True, append_images=rest, duration=duration, loop=0, **options)


def _text(record: Mapping[str, Any]) -> str:
    return f"{STATEMENT}\n{to_json(dict(record))}"


def _write_tiff(
    path: Path, frames: NDArray[np.uint8], pixel_size_um: float | None, text: str
) -> None:
    metadata: dict[str, Any] = {"axes": "TYXS", "Description": text}
    if pixel_size_um:
        for axis in "XY":
            metadata |= {f"PhysicalSize{axis}": pixel_size_um, f"PhysicalSize{axis}Unit": "µm"}
    tifffile.imwrite(
        path,
        frames,
        photometric="rgb",
        ome=True,
        compression="zlib",
        predictor=True,
        software=f"cytodiffusion {__version__} (synthetic image)",
        metadata=metadata,
    )


TIFF, FIGURE, RECORD, GRID = "heatmap.tif", "figure.png", "heatmap.json", "all_classes.png"
SALIENCY_TIFF, SALIENCY_FIGURE = "saliency.tif", "saliency.png"
MEAN_TIFF, MEAN_FIGURE, MEAN_RECORD = "mean.tif", "mean.png", "mean.json"


def save_heatmap(
    folder: str | Path,
    heatmap: Heatmap,
    *,
    placement: Placement | None = None,
    shape: tuple[int, int] | None = None,
    mask: NDArray[Any] | None = None,
    every_class: Sequence[Heatmap] = (),
    record: Mapping[str, Any] | None = None,
    saliency: Saliency | None = None,
) -> dict[str, Path]:
    """Write ``heatmap.tif``, ``figure.png`` and ``heatmap.json`` together or not at all.

    Parameters
    ----------
    folder : str or Path
        Created where missing.
    placement : Placement, optional
        Of the crop in its image; without it the map is written at the pixels of the crop.
    shape : (Y, X), optional
        Of the image; needed with a placement.
    mask : (S, S) array, optional
        The cell in the crop: outlined in the figure, and its share of the energy recorded.
    every_class : sequence of Heatmap
        Where there are any, they are drawn in ``all_classes.png``, written as
        ``heatmap-CLASS.tif`` and recorded.
    record : mapping, optional
        What ``heatmap.json`` says besides.
    saliency : Saliency, optional
        Of the same crop; written as ``saliency.tif`` and drawn in ``saliency.png``.
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
    if saliency is not None:
        content["saliency"] = {"class": saliency.predicted_name, "score": saliency.score}
    with staged_folder(target) as staging:
        write_heatmap_tiff(staging / TIFF, values, offset, pixel_um, heatmap)
        save_figure(heatmap_figure(heatmap, mask=mask), staging / FIGURE)
        if every_class:
            save_figure(grid_figure(every_class), staging / GRID)
        for one in every_class:
            values = one.values
            if placement is not None and shape is not None:
                values, _ = heatmap_on_image(one, placement, shape)
            name = f"heatmap-{name_in_files(one.target_name)}.tif"
            write_heatmap_tiff(staging / name, values, offset, pixel_um, one)
        if saliency is not None:
            place = staging / SALIENCY_TIFF
            _write_saliency(place, saliency, placement, shape, pixel_um)
            figure = saliency_figure(saliency, mask=mask, sigmas=heatmap.settings.sigmas)
            save_figure(figure, staging / SALIENCY_FIGURE)
        outputs = [file_record(path) | {"path": path.name} for path in sorted(staging.iterdir())]
        write_run_json(staging / RECORD, content | {"outputs": outputs})
        names = sorted(path.name for path in staging.iterdir())
    return {name: target / name for name in names}


def save_mean_map(
    folder: str | Path, mean: MeanMap, record: Mapping[str, Any] | None = None
) -> dict[str, Path]:
    """Write ``mean.tif``, ``mean.png`` and ``mean.json`` together or not at all.

    Parameters
    ----------
    folder : str or Path
        Created where missing.
    record : mapping, optional
        What ``mean.json`` says besides.
    """
    target, heatmap = Path(folder), mean.heatmap
    pixel_um = heatmap.window_um / len(heatmap.values)
    with staged_folder(target) as staging:
        write_heatmap_tiff(staging / MEAN_TIFF, heatmap.values, (0, 0), pixel_um, heatmap)
        save_figure(mean_figure(mean), staging / MEAN_FIGURE)
        outputs = [file_record(path) | {"path": path.name} for path in sorted(staging.iterdir())]
        content = {**mean.record(), **(record or {}), "outputs": outputs}
        write_run_json(staging / MEAN_RECORD, content)
        names = sorted(path.name for path in staging.iterdir())
    return {name: target / name for name in names}


def name_in_files(class_name: str) -> str:
    """Return the name of a class as a part of the name of a file or folder."""
    return "".join(c if c.isalnum() else "-" for c in class_name)


def write_heatmap_tiff(
    path: str | Path,
    values: NDArray[np.floating],
    offset: tuple[int, int],
    pixel_size_um: float,
    heatmap: Heatmap,
) -> Path:
    """Write a heatmap at the pixels of its image; see `_write_map`."""
    about = {
        "predicted": heatmap.predicted_name,
        "target": heatmap.target_name,
        "unit": "change of brightness (0 to 1), target less predicted",
    }
    return _write_map(Path(path), values, offset, pixel_size_um, "counterfactual heatmap", about)


def _write_saliency(
    path: Path,
    saliency: Saliency,
    placement: Placement | None,
    shape: tuple[int, int] | None,
    pixel_size_um: float,
) -> Path:
    values, offset = saliency.values, (0, 0)
    if placement is not None and shape is not None:
        values, offset = placement.to_image(values, shape)
    about = {
        "predicted": saliency.predicted_name,
        "unit": "share of the logit of the class less the mean of the others",
    }
    return _write_map(path, values, offset, pixel_size_um, "saliency", about)


def _write_map(
    path: Path,
    values: NDArray[np.floating],
    offset: tuple[int, int],
    pixel_size_um: float,
    name: str,
    about: Mapping[str, Any],
) -> Path:
    """Write a map as float32 OME-TIFF that knows where in its image it lies.

    The offset is the ``PositionY`` and ``PositionX`` of its plane, in pixels of the image. The
    description is JSON: offset and what is said ``about`` the map.
    """
    said = {
        "offset_y": offset[0],
        "offset_x": offset[1],
        **about,
        "software": f"cytodiffusion {__version__}",
    }
    # The identifier follows from the content, so that equal maps give equal files
    content = np.ascontiguousarray(values, np.float32)
    identity = uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(content.tobytes()).hexdigest())
    metadata = {
        "axes": "YX",
        "UUID": identity.urn,
        "Name": name,
        "Description": to_json(said),
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
    with atomic_file(path) as partial:
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
    return path


def _short(heatmap: Heatmap, mask: NDArray[Any] | None) -> dict[str, Any]:
    full = heatmap.record()
    kept = ("target", "convergence", "largest_change", "share_beyond_threshold")
    share = None if mask is None else heatmap.energy_share(mask)
    return {name: full[name] for name in kept} | {"energy_in_mask": share}
