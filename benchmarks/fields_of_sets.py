"""Public fields of blood smears with what is known of them, and how outlines are held against it.

Shared by the benchmarks of the segmentation. Boxes are (top, left, bottom, right) in pixels.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from cytodiffusion.segmentation.result import PLATELET, RED, WHITE, Segmentation
from cytodiffusion.segmentation.scale import RED_CELL_UM

Method = Callable[[np.ndarray, float | None], Segmentation]

#: Boxes of these kinds in BCCD, and the overlap that counts as found.
BOX_KINDS = {"RBC": (RED, 0.5), "WBC": (WHITE, 0.5), "Platelets": (PLATELET, 0.3)}
#: Pixel sizes (um) taken for true: of `pbc` as published, of `chula` from the scale bars in its
#: images; those of `bcisc` are the median of the estimates, so they measure agreement only.
KNOWN_UM = {"pbc": 0.1, "bcisc fields": 0.058, "bcisc crops": 0.117, "chula": 0.194}

#: Names of the boxes of the dense set, as those of BCCD.
_DENSE = {"rbc": "RBC", "wbc": "WBC"}


def default_data() -> Path:
    """Return the folder of the public images."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("CYTODIFFUSION_DATA", beside))


@dataclass(frozen=True)
class Field:
    """One field and what is known of it."""

    name: str
    path: Path
    boxes: dict[str, np.ndarray] = field(default_factory=dict)
    points: np.ndarray | None = None
    masks: tuple[Path, ...] = ()
    known_um: float | None = None

    def image(self) -> np.ndarray:
        """Return the pixels (Y, X, 3)."""
        return read(self.path)

    def pixel_um(self, shape: tuple[int, ...]) -> float | None:
        """Return the true pixel size: as known, or by the boxes of the red cells."""
        if self.known_um is not None:
            return self.known_um
        return true_scale(self.boxes["RBC"], shape) if len(self.boxes.get("RBC", ())) else None


def held_out(path: Path) -> bool:
    """Whether the smear network was not trained on a field of BCCD: on every third it was not."""
    return int(path.stem.split("_")[-1]) % 3 == 0


def bccd_fields(data: Path, only_held_out: bool = False) -> Iterator[Field]:
    for path in sorted((data / "bccd/images").glob("*.jpg")):
        if only_held_out and not held_out(path):
            continue
        yield Field(path.stem, path, read_boxes(data / "bccd/boxes" / f"{path.stem}.xml"))


def dense_fields(data: Path) -> Iterator[Field]:
    table = pd.read_csv(data / "dense/boxes.csv")
    for name, rows in table.groupby("image"):
        path = data / "dense/images" / str(name)
        if not path.is_file():
            continue
        height, width = read(path).shape[:2]
        sides = np.array([height, width, height, width], float)
        boxes = {
            ours: rows.loc[rows["label"].str.lower() == theirs, ["ymin", "xmin", "ymax", "xmax"]]
            .to_numpy(float)
            .reshape(-1, 4)
            * sides
            for theirs, ours in _DENSE.items()
        }
        yield Field(path.stem, path, boxes)


def bcisc_held_out(number: int) -> bool:
    """Whether the smear network was not trained on the n-th picture of BCISC with a mask."""
    return number % 5 >= 3


def bcisc_fields(data: Path, only_held_out: bool = False) -> Iterator[Field]:
    folder = data / "bcisc/fields"
    with_mask = [
        p for p in sorted(folder.glob("*.jpg")) if (folder / f"masks/{p.stem}.png").is_file()
    ]
    trained_on = {p for number, p in enumerate(with_mask) if not bcisc_held_out(number)}
    for path in sorted(folder.glob("*.jpg")):
        if only_held_out and path in trained_on:
            continue
        masks = sorted((folder / "masks").glob(f"{path.stem}.png"))
        masks += sorted((folder / "masks").glob(f"{path.stem}(*.png"))
        yield Field(path.stem, path, masks=tuple(masks), known_um=KNOWN_UM["bcisc fields"])


def chula_fields(data: Path) -> Iterator[Field]:
    for path in sorted((data / "chula/images").glob("*.jpg")):
        points = np.loadtxt(data / "chula/points" / f"{path.stem}.txt", ndmin=2)[:, :2]
        yield Field(path.stem, path, points=points, known_um=KNOWN_UM["chula"])


def read(path: Path) -> np.ndarray:
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


def read_boxes(path: Path) -> dict[str, np.ndarray]:
    """Boxes (y0, x0, y1, x1) by name from a Pascal VOC file."""
    found: dict[str, list[list[float]]] = {name: [] for name in BOX_KINDS}
    for item in ElementTree.parse(path).iter("object"):
        corner = {c.tag: float(c.text or 0) for c in item.iter() if c.tag[1:] in ("min", "max")}
        box = [corner["ymin"], corner["xmin"], corner["ymax"], corner["xmax"]]
        found[str(item.findtext("name"))].append(box)
    return {name: np.array(boxes).reshape(-1, 4) for name, boxes in found.items()}


def label_boxes(labels: np.ndarray) -> np.ndarray:
    """Bounding boxes (N, 4) of labels 1..N."""
    where = ndimage.find_objects(labels)
    boxes = [[r.start, c.start, r.stop, c.stop] for r, c in where]
    return np.array(boxes, float).reshape(-1, 4)


def box_overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair of boxes, (N, M)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    inner = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (first, second)]
    return np.asarray(inner / np.maximum(areas[0][:, None] + areas[1][None] - inner, 1e-9))


def matches(overlap: np.ndarray, threshold: float) -> np.ndarray:
    """Overlaps of the best one-to-one assignment that reach the threshold."""
    rows, columns = linear_sum_assignment(-np.where(overlap >= threshold, overlap, 0))
    chosen = overlap[rows, columns]
    return np.asarray(chosen[chosen >= threshold])


def true_scale(red: np.ndarray, shape: tuple[int, ...]) -> float | None:
    """Pixel size that makes the median red-cell box inside the field 7.5 um wide."""
    inside = (red[:, :2].min(axis=1) > 2) & (red[:, 2] < shape[0] - 2) & (red[:, 3] < shape[1] - 2)
    sides = np.sqrt(np.prod(red[inside, 2:] - red[inside, :2], axis=1))
    return RED_CELL_UM / float(np.median(sides)) if len(sides) >= 3 else None


def best_overlap(labels: np.ndarray, mask: np.ndarray) -> float:
    """Highest IoU of any label with a mask."""
    inner = np.bincount(labels[mask], minlength=int(labels.max()) + 1)
    areas = np.bincount(labels.ravel(), minlength=len(inner))
    inner[0] = 0
    return float(np.max(inner / (areas + mask.sum() - inner)))


def subset(paths: list[Path], limit: int) -> list[Path]:
    """At most ``limit`` paths spread evenly; all when it is 0."""
    if not limit or limit >= len(paths):
        return paths
    return [paths[int(i)] for i in np.linspace(0, len(paths) - 1, limit)]
