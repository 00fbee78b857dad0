"""White cells of known class from several laboratories, as a model of any input size sees them.

Shared by the benchmarks of what happens in a laboratory that a model never saw. Single-cell images
are read as a folder of them is; the cells of BCCD are cut from their fields at the boxes, with the
scale that the program finds for the fields of one folder, and the background of the field.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from fields_of_sets import read_boxes
from numpy.typing import NDArray

from cytodiffusion.cells.crops import centre_crop
from cytodiffusion.classification.classifier import gather_evidence
from cytodiffusion.classification.decision import Evidence
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.datasets import Record
from cytodiffusion.evaluation.windows import Frames
from cytodiffusion.image.image import open_image
from cytodiffusion.image.stain import estimate_background
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.segmentation import choose_method
from cytodiffusion.slide_scale import own_scale, slide_scales

#: Folders of the single-cell images of each set in the manifest, and the published pixel size.
SINGLE = {
    "pbc": ("pbc/{split}/", 0.1),
    "bcisc": ("bcisc/crops/images/", None),
    "chulawbc": ("chulawbc/", None),
    "segwbc": ("segwbc/images/", None),
    "allidb2": ("allidb2/", None),
}

#: Sets that can be left out, and those that are for a single look at a finished model.
LEFT_OUT, ONCE = ("bcisc", "chulawbc", "bccd"), ("segwbc", "allidb2")


@dataclass(frozen=True)
class Cells:
    """Cells as a model sees them.

    Attributes
    ----------
    windows : (N, S, S, 3) uint8 array
    backgrounds : (N, 3) float32 array
    names : (N,) str array
        True class.
    slides : (N,) str array
        Empty where it is not known.
    subtypes : (N,) str array
        Finer classes of PBC; empty elsewhere.
    """

    windows: NDArray[np.uint8]
    backgrounds: NDArray[np.float32]
    names: NDArray[np.str_]
    slides: NDArray[np.str_]
    subtypes: NDArray[np.str_]


def read_cells(
    data: Path,
    laboratory: str,
    size: int,
    window_um: float,
    split: str = "val",
    most: int | None = None,
) -> Cells:
    """Cells of a laboratory in windows of ``window_um``, ``size`` pixels wide.

    ``split`` is one of PBC's; ``most`` are drawn of each class of single-cell images.
    """
    if laboratory == "bccd":
        return _of_fields(data, size, window_um)
    folder, known = SINGLE[laboratory]
    table = pd.read_csv(data / "manifest.csv", keep_default_na=False)
    here = table["path"].str.startswith(folder.format(split=split))
    table = table[here & (table["class"] != "") & (table["subtype"] != "mask")]
    if most is not None:
        table = table.sample(frac=1, random_state=0).groupby("class").head(most)
    records = [
        Record(data / path, name, "test", slide)
        for path, name, slide in zip(table["path"], table["class"], table["subtype"], strict=True)
    ]
    found = Frames(records, known).cut(records, size, window_um)
    # what the manifest calls a subtype is the slide in one set and the finer class in another
    told = np.array([r.group or "" for r in found.records])
    nothing = np.full_like(told, "")
    return Cells(
        found.pixels,
        found.backgrounds,
        np.array([str(r.label) for r in found.records]),
        told if laboratory == "chulawbc" else nothing,
        told if laboratory == "pbc" else nothing,
    )


def _of_fields(data: Path, size: int, window_um: float) -> Cells:
    table = pd.read_csv(data / "bccd/white_cells.csv")
    paths = [data / "bccd/images" / f"{name}.jpg" for name in table["image"]]
    table = table[[path.is_file() for path in paths]]
    paths = [path for path in paths if path.is_file()]
    own = [own_scale(path, choose_method("auto")) for path in paths]
    windows, backgrounds, names = [], [], []
    for path, name, by_itself, slide in zip(
        paths, table["class"], own, slide_scales(own), strict=True
    ):
        boxes = read_boxes(data / "bccd/boxes" / f"{path.stem}.xml")["WBC"]
        if not len(boxes):
            continue
        whole = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).argmax()
        centre = (boxes[whole, :2] + boxes[whole, 2:] - 1) / 2
        scale = by_itself.pixel_size_um if slide is None else slide.pixel_size_um
        rgb = open_image(path).rgb()
        windows.append(
            centre_crop(rgb, scale, size, window_um, centre=(float(centre[0]), float(centre[1])))
        )
        backgrounds.append(estimate_background(rgb))
        names.append(str(name))
    return Cells(
        np.stack(windows),
        np.stack(backgrounds).astype(np.float32),
        np.array(names),
        np.array([""] * len(names)),
        np.array([""] * len(names)),
    )


def evidence_of(
    model: ModelBundle, cells: Cells, kept: Path, settings: ClassifySettings | None = None
) -> Evidence:
    """Return what a model makes of cells; kept in the file ``kept`` and read from there again."""
    if kept.is_file():
        with np.load(kept) as stored:
            return Evidence(**{name: stored[name] for name in stored.files})
    found = gather_evidence(
        cells.windows, model, settings or ClassifySettings(), background=cells.backgrounds
    )
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(kept, **vars(found))
    return found
