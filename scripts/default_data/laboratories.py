"""Make the training table of several laboratories: PBC, BCISC, Chulalongkorn, BCCD, and red cells.

    python -m scripts.default_data.laboratories DATA results/default-data/cells.csv OUT

``DATA`` holds ``pbc``, ``bcisc``, ``chulawbc``, ``bccd``, ``dense`` and ``chula``; the second
table is that of `scripts.default_data.make`. White cells and platelets of BCCD and red cells of
all fields are cut out at their boxes or points; those of BCISC's fields are found by the smear
network. Slides validate as a whole. ``without-NAME.csv`` is the table without a laboratory.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from benchmarks.fields_of_sets import (
    KNOWN_UM,
    bccd_fields,
    bcisc_fields,
    chula_fields,
    dense_fields,
    label_boxes,
)
from rich.progress import track

from cytodiffusion.datasets.wbcatt import ATTRIBUTES
from cytodiffusion.segmentation import segment
from cytodiffusion.segmentation.result import PLATELET, RED, WHITE

#: Side of what is cut out of a field, in micrometres; the window is 20 um wide, a context 27.
CUT_UM = 30.0

#: Slides that validate; a class of Chulalongkorn comes from slides of its own.
VALIDATES = {
    "bcisc": {"10"},
    "chulalongkorn": {"B-30", "B-42", "E-12", "E-14", "L-9", "M-3B", "M-4B", "N-2B"},
}
BCISC_CLASSES = {
    "baso": "basophil",
    "eosi": "eosinophil",
    "lymp": "lymphocyte",
    "mono": "monocyte",
    "neut": "neutrophil",
}
#: Cells of a kind that are taken of one field, at most.
RED_OF_FIELD, FOUND_OF_FIELD = 3, 8


def pbc(table: Path, data: Path) -> list[dict[str, object]]:
    """Images of PBC, and what is made from them, with attributes and finer classes."""
    rows = pd.read_csv(table, keep_default_na=False)
    told = pd.read_csv(data / "pbc" / "attributes.csv", keep_default_na=False)
    attributes = told.set_index("img_name")[list(ATTRIBUTES)].to_dict("index")
    found = []
    for row in rows.to_dict("records"):
        path = Path(row["path"])
        found.append(
            {
                "path": str(path),
                "class": row["class"],
                "split": row["split"],
                "laboratory": "pbc",
                "subtype": "" if row["made"] else path.stem.split("_")[0],
                "pixel_size_um": KNOWN_UM["pbc"],
                "centred": "yes" if row["made"] else "",
                **attributes.get(path.name, {}),
            }
        )
    return found


def bcisc(data: Path) -> list[dict[str, object]]:
    """White cells of BCISC; the first number of a name is the slide."""
    return [
        {
            "path": str(path),
            "class": BCISC_CLASSES[path.stem.split("_")[0]],
            "laboratory": "bcisc",
            "slide": path.stem.split("_")[1].split("-")[0],
            "pixel_size_um": KNOWN_UM["bcisc crops"],
        }
        for path in sorted((data / "bcisc/crops/images").iterdir())
        if path.is_file()
    ]


def chulalongkorn(data: Path) -> list[dict[str, object]]:
    """White cells of Chulalongkorn University, whose scale is measured."""
    return [
        {
            "path": str(path),
            "class": path.parent.name,
            "laboratory": "chulalongkorn",
            "slide": path.stem.split("_")[0],
        }
        for path in sorted((data / "chulawbc").glob("*/*.jpg"))
    ]


class Cutter:
    """Cuts cells out of fields and writes them as images of single cells."""

    def __init__(self, out: Path, rng: np.random.Generator):
        self.out, self.rng = out, rng
        self.rows: list[dict[str, object]] = []

    def cut(
        self, image: np.ndarray, boxes: np.ndarray, pixel_um: float, name: str, **told: object
    ) -> None:
        """Cut around boxes ``(n, 4)``; what lies beyond the border is mirrored."""
        half = round(CUT_UM / 2 / pixel_um)
        wide = cv2.copyMakeBorder(image, half, half, half, half, cv2.BORDER_REFLECT_101)
        for number, (y0, x0, y1, x1) in enumerate(boxes):
            y, x = round((y0 + y1) / 2), round((x0 + x1) / 2)
            cell = wide[y : y + 2 * half, x : x + 2 * half]
            kind = str(told["class"] or "unlabelled").replace(" ", "-")
            target = self.out / str(told["laboratory"]) / f"{name}-{kind}-{number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(target), cell[..., ::-1])
            row = {
                "path": str(target.resolve()),
                "pixel_size_um": round(pixel_um, 5),
                "centred": "yes",
                **told,
            }
            self.rows.append(row)

    def some(self, boxes: np.ndarray, most: int) -> np.ndarray:
        """Draw at most so many."""
        return boxes[np.sort(self.rng.permutation(len(boxes))[:most])]


def inside(boxes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Boxes that no border cuts."""
    whole = (boxes[:, :2].min(axis=1) > 1) & (boxes[:, 2] < shape[0] - 1)
    return boxes[whole & (boxes[:, 3] < shape[1] - 1)]


def cut_bccd(data: Path, cutter: Cutter) -> None:
    """White cells whose class is known, platelets and red cells of BCCD."""
    classes = pd.read_csv(data / "bccd/white_cells.csv").set_index("image")["class"].to_dict()
    for field in track(list(bccd_fields(data)), "BCCD"):
        image = field.image()
        scale = field.pixel_um(image.shape)
        if scale is None:
            continue
        number = int(field.path.stem.split("_")[-1])
        told = {
            "laboratory": "bccd",
            "slide": field.path.stem,
            "split": "val" if number % 6 == 0 else "train",
        }
        white = inside(field.boxes["WBC"], image.shape)
        known = classes.get(field.path.stem) if len(field.boxes["WBC"]) == 1 else None
        cutter.cut(image, white, scale, field.path.stem, **told | {"class": known or ""})
        for name, box, most in (
            ("platelet", inside(field.boxes["Platelets"], image.shape), 4),
            ("red cell", inside(field.boxes["RBC"], image.shape), RED_OF_FIELD),
        ):
            cutter.cut(
                image, cutter.some(box, most), scale, field.path.stem, **told | {"class": name}
            )


def cut_red_cells(data: Path, cutter: Cutter) -> None:
    """Red cells of the dense and the thalassaemia fields."""
    for laboratory, fields, most in (
        ("dense", list(dense_fields(data)), RED_OF_FIELD),
        ("thalassaemia", list(chula_fields(data)), 30),
    ):
        for number, field in enumerate(track(fields, laboratory)):
            image = field.image()
            scale = field.pixel_um(image.shape)
            if scale is None:
                continue
            if field.points is not None:
                boxes = np.concatenate([field.points[:, ::-1] - 15, field.points[:, ::-1] + 15], 1)
            else:
                boxes = field.boxes["RBC"]
            boxes = cutter.some(inside(boxes, image.shape), most)
            split = "val" if number % 6 == 0 else "train"
            told = {"laboratory": laboratory, "slide": field.path.stem, "split": split}
            cutter.cut(image, boxes, scale, field.path.stem, **told | {"class": "red cell"})


def cut_found(data: Path, cutter: Cutter) -> None:
    """Red cells and platelets of BCISC's fields, as the smear network finds them."""
    for field in track(list(bcisc_fields(data)), "BCISC fields"):
        image = field.image()
        scale = KNOWN_UM["bcisc fields"]
        found = segment(image, "network", scale)
        assert found.kinds is not None
        boxes = label_boxes(found.labels)
        areas = np.bincount(found.labels.ravel())[1:] * scale**2
        slide = field.path.stem.split("-")[1]
        told = {"laboratory": "bcisc", "slide": slide}
        for kind, name, low, high in ((RED, "red cell", 25, 75), (PLATELET, "platelet", 2, 12)):
            chosen = (found.kinds == kind) & (areas > low) & (areas < high)
            some = cutter.some(inside(boxes[chosen], image.shape), FOUND_OF_FIELD)
            cutter.cut(image, some, scale, field.path.stem, **told | {"class": name})
        white = inside(boxes[found.kinds == WHITE], image.shape)
        cutter.cut(image, white, scale, field.path.stem, **told | {"class": ""})


def main() -> None:
    """Write the table and what is cut out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("pbc", type=Path, help="cells.csv of scripts.default_data.make")
    parser.add_argument("out", type=Path, help="folder for what is cut out, and cells.csv")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    cutter = Cutter(options.out, np.random.default_rng(options.seed))
    data = options.data.resolve()
    rows = pbc(options.pbc, data) + bcisc(data) + chulalongkorn(data)
    cut_bccd(data, cutter)
    cut_red_cells(data, cutter)
    cut_found(data, cutter)
    rows += cutter.rows
    for row in rows:
        laboratory, slide = str(row["laboratory"]), str(row.get("slide", ""))
        validates = slide in VALIDATES.get(laboratory, set())
        row.setdefault("split", "val" if validates else "train")
        row["slide"] = f"{laboratory} {slide}" if slide else ""
    table = pd.DataFrame(rows)
    table.to_csv(options.out / "cells.csv", index=False)
    for laboratory in sorted(set(table["laboratory"]) - {"pbc"}):
        rest = table[table["laboratory"] != laboratory]
        rest.to_csv(options.out / f"without-{laboratory}.csv", index=False)
    print(table.groupby(["laboratory", "split", "class"]).size().unstack(fill_value=0).to_string())


if __name__ == "__main__":
    main()
