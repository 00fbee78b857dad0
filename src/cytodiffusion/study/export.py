"""A study as files for others: tables, outlines for QuPath, AnnData, crops in folders.

Every table has the same columns: ``image``, ``label``, ``predicted`` (what the model says),
``human`` and ``observer`` (what people say), ``effective`` (which counts) and ``effective_source``,
then the columns of ``cells.csv``.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytodiffusion.errors import CytoDiffusionError, InputError
from cytodiffusion.files.atomic import atomic_file, check_folder, new_folder
from cytodiffusion.files.writers import write_cells_csv
from cytodiffusion.progress import Progress, silent
from cytodiffusion.settings import WINDOW_UM
from cytodiffusion.study.annotation_table import AS_EXPORTED, IMAGE

if TYPE_CHECKING:
    import pandas as pd

    from cytodiffusion.study.study import Study

#: Endings of files; anything without one is a folder of crops.
SUFFIXES = (".csv", ".parquet", ".geojson", ".h5ad")
#: Packages that an ending needs, none of which the program itself does.
NEEDED = {".parquet": "pyarrow", ".h5ad": "anndata"}
#: Names that Windows keeps for devices.
_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{d}{n}" for d in ("COM", "LPT") for n in range(1, 10))}
#: Crops have at most so many pixels a side.
_LARGEST = 1024


def export_study(
    study: Study,
    target: str | Path,
    *,
    image: str | None = None,
    progress: Progress = silent,
) -> tuple[list[Path], list[str]]:
    """Write the cells of a study.

    Parameters
    ----------
    study : Study
    target : str or Path
        ``.csv``, ``.parquet``, ``.geojson``, ``.h5ad``, or a folder for a crop of each cell, in a
        folder of its class.
    image : str, optional
        Only of this image.
    progress : callable
        May raise ``Cancelled``.

    Returns
    -------
    list of Path and list of str
        Files (of crops, the folder), and sentences that the user should read.

    Raises
    ------
    InputError
        If the kind of file is not known, needs a package that is not installed, or cannot be
        written.
    """
    path = Path(target)
    suffix = path.suffix.lower()
    check_target(path)
    frame = study.cells(image)
    if not len(frame):
        raise InputError(f"There are no cells in the study {study.name} to export.")
    if suffix == ".csv":
        return [write_cells_csv(path, frame)], []
    if suffix == ".parquet":
        with atomic_file(path) as partial:
            frame.to_parquet(partial, index=False)
        return [path], []
    if suffix == ".geojson":
        return _write_outlines(study, path, frame, progress)
    if suffix == ".h5ad":
        from cytodiffusion.study.anndata_file import write_anndata

        return [path], write_anndata(study, path, frame)
    return write_crops(study, path, frame, progress)


def check_target(path: Path) -> None:
    """Make sure, before any work, that a study can be exported to `path`."""
    suffix = path.suffix.lower()
    if suffix and suffix not in SUFFIXES:
        raise InputError(
            f"{path.name} should end in {', '.join(SUFFIXES)}, or be a folder for crops."
        )
    package = NEEDED.get(suffix)
    if package is not None and importlib.util.find_spec(package) is None:
        raise InputError(
            f"{suffix} files need the package {package}: "
            'pip install "napari-cytodiffusion[study]", or export as .csv.'
        )
    check_folder(path.parent)
    if suffix and path.is_dir():
        raise InputError(f"{path} is a folder: give the name of a file.")
    if not suffix and path.is_dir() and any(path.iterdir()):
        raise InputError(f"{path} is not empty: crops go into a folder of their own.")


# --- outlines ------------------------------------------------------------------------------------


def _write_outlines(
    study: Study, path: Path, frame: pd.DataFrame, progress: Progress
) -> tuple[list[Path], list[str]]:
    """Write all outlines into one file, and with several images those of each into one beside it.

    QuPath takes a file for the image that is open, so it wants the latter.
    """
    fields = [i.name for i in study.images() if not i.single_cell and i.name in set(frame["image"])]
    if not fields:
        raise InputError("Images of one cell have no outlines: export them as .csv or as crops.")
    alone = len(frame) - int(frame["image"].isin(fields).sum())
    notes = [f"{alone:,} images of one cell have no outlines and were left out."] if alone else []
    files = [path]
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as all_of:
        all_of.write('{"type":"FeatureCollection","features":[')
        count = 0
        for number, name in enumerate(fields):
            progress(number / len(fields), name)
            lines = list(_features(study, name, frame[frame["image"] == name]))
            for line in lines:
                all_of.write(",\n" if count else "\n")
                all_of.write(line)
                count += 1
            if len(fields) > 1:
                own = path.with_name(f"{path.stem}-{file_name(Path(name).stem)}{path.suffix}")
                own = _unlike(own, files)
                with atomic_file(own) as part:
                    text = ",\n".join(lines)
                    part.write_text(
                        f'{{"type":"FeatureCollection","features":[\n{text}\n]}}\n',
                        encoding="utf-8",
                    )
                files.append(own)
        all_of.write("\n]}\n")
    if len(fields) > 1:
        notes.append(
            f"{path.name} has the cells of all {len(fields):,} images; QuPath wants those of the "
            f"image that is open, so there is a file for each beside it ({files[1].name}, ...)."
        )
    return files, notes


def _features(study: Study, name: str, frame: pd.DataFrame) -> Iterator[str]:
    from cytodiffusion.image.geojson import cell_features

    # its classes are those that count; what model and people say is in the metadata
    counted = frame.assign(predicted=frame["effective"]).drop(columns=["human", "observer"])
    said = frame.set_index("label")
    for feature in cell_features(study.labels(name), counted, study.classes(), name=name):
        properties = feature["properties"]
        row = said.loc[int(properties["measurements"]["Label"])]
        if not row["effective"]:  # nobody has said anything
            del properties["classification"]
        words = {
            "Predicted class": row["predicted"],
            "Human class": row["human"],
            "Observer": row["observer"],
            AS_EXPORTED: row["effective"],
            IMAGE: name,
        }
        metadata = properties.setdefault("metadata", {})
        metadata.update({key: value for key, value in words.items() if value})
        yield json.dumps(feature, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


# --- crops ---------------------------------------------------------------------------------------


def write_crops(
    study: Study, folder: Path, frame: pd.DataFrame, progress: Progress
) -> tuple[list[Path], list[str]]:
    """Write a picture of each cell into a folder of its class, at the scale of its image."""
    notes: list[str] = []
    written: list[tuple[int, str]] = []
    classes: dict[str, str] = {}
    for name in sorted(set(frame["effective"])):
        classes[name] = _unlike(Path(file_name(name or "unlabelled")), classes.values()).name
    with new_folder(folder) as staging:
        for place in classes.values():
            (staging / place).mkdir()
        names = list(dict.fromkeys(frame["image"]))
        taken: dict[str, str] = {}
        for number, name in enumerate(names):
            progress(number / len(names), name)
            taken[name] = _unlike(Path(file_name(Path(name).stem)), taken.values()).name
            part = frame[frame["image"] == name]
            try:
                for cell, file in _crops_of(study, name, part, staging, classes, taken[name]):
                    written.append((cell, file))
            except CytoDiffusionError as error:
                notes.append(str(error))
        if not written:
            raise InputError(notes[0] if notes else "There was nothing to cut out.")
        table = frame.loc[[cell for cell, _ in written]].copy()
        table.insert(0, "file", [file for _, file in written])
        write_cells_csv(staging / "cells.csv", table)
    return [folder], notes


def _crops_of(
    study: Study,
    name: str,
    frame: pd.DataFrame,
    staging: Path,
    classes: dict[str, str],
    stem: str,
) -> Iterator[tuple[int, str]]:
    from PIL import Image as Picture

    from cytodiffusion.cells.crops import iter_crops
    from cytodiffusion.image.image import open_image

    image, path = study.image(name), study.image_path(name)
    places = {
        int(label): (int(cell), classes[effective])
        for cell, label, effective in zip(
            frame.index, frame["label"], frame["effective"], strict=True
        )
    }
    if image.single_cell:
        cell, place = places[1]
        file = f"{place}/{stem}{path.suffix.lower()}"
        shutil.copyfile(path, staging / file)
        yield cell, file
        return
    side = min(max(16, round(WINDOW_UM / image.pixel_size_um)), _LARGEST)
    dpi = 25_400 * side / WINDOW_UM
    for crops in iter_crops(
        open_image(path), study.labels(name), image.pixel_size_um, side, ids=list(places)
    ):
        for label, pixels in zip(crops.ids.tolist(), crops.pixels, strict=True):
            cell, place = places[label]
            file = f"{place}/{stem}_{label}.png"
            Picture.fromarray(pixels).save(staging / file, compress_level=4, dpi=(dpi, dpi))
            yield cell, file


def file_name(text: str) -> str:
    """Return a text as every system takes it for the name of a file."""
    plain = "".join("_" if c in '<>:"/\\|?*' or not c.isprintable() else c for c in text)
    name = plain.strip(" .")[:80].rstrip(" .") or "_"
    return f"{name}_" if name.partition(".")[0].upper() in _DEVICES else name


def _unlike(path: Path, taken: Any) -> Path:
    """Return a path that is none of those taken, also where upper and lower case are one."""
    known = {str(one).casefold() for one in taken}
    number, found = 1, path
    while str(found).casefold() in known:
        number += 1
        found = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return found
