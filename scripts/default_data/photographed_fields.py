"""Make photographed fields with known outlines for the smear network: BCCD and BCISC.

    python -m scripts.default_data.photographed_fields DATA results/default-fields

Outlines on BCCD are those of a segmentation that agree with the boxes; what does not agree is
marked as unknown. The white cells of BCISC have masks; what else is there is unknown. Every third
field of BCCD and two in five pictures of BCISC stay out, to measure on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import tifffile
from benchmarks.fields_of_sets import (
    KNOWN_UM,
    bcisc_held_out,
    box_overlap,
    held_out,
    label_boxes,
    read,
    read_boxes,
    true_scale,
)
from rich.progress import track
from scipy import ndimage

from cytodiffusion.model.loading import load_segmenter_of
from cytodiffusion.segmentation import segment
from cytodiffusion.segmentation.result import PLATELET, RED, WHITE

#: Kinds of boxes, and the least overlap of box and outline.
BOXES = {
    "RBC": (RED, "red cell", 0.8),
    "WBC": (WHITE, "white cell", 0.8),
    "Platelets": (PLATELET, "platelet", 0.5),
}
UNKNOWN = 65535


def outlines(
    image: np.ndarray, boxes: dict[str, np.ndarray], pixel_um: float, method: str, model: str | None
) -> tuple[np.ndarray, pd.DataFrame]:
    """Labels that agree with the boxes and their kinds; the rest is unknown."""
    own = None if model is None else load_segmenter_of(model)
    found = segment(image, method, pixel_um, segmenter=own)
    assert found.kinds is not None
    labels = np.where(found.labels > 0, UNKNOWN, 0).astype(np.uint16)
    for own in boxes.values():
        for y0, x0, y1, x1 in own.round().astype(int):  # whoever is boxed is no background
            part = labels[max(y0, 0) : y1, max(x0, 0) : x1]
            inner = cv2.ellipse(
                np.zeros(part.shape, np.uint8),
                (part.shape[1] // 2, part.shape[0] // 2),
                (max(part.shape[1] // 2, 1), max(part.shape[0] // 2, 1)),
                0, 0, 360, 1, -1,
            )  # fmt: skip
            part[inner > 0] = UNKNOWN
    rows = []
    mine = label_boxes(found.labels)
    for name, (kind, word, least) in BOXES.items():
        index = np.flatnonzero(found.kinds == kind)
        if not len(index) or not len(boxes[name]):
            continue
        overlap = box_overlap(mine[index], boxes[name])
        for i, label in enumerate(index + 1):
            if overlap[i].max() >= least:
                own = found.labels == label
                labels[own] = len(rows) + 1
                rows.append({"label": len(rows) + 1, "kind": word})
    # The rim of what is unknown is unknown.
    near = ndimage.binary_dilation(labels == UNKNOWN, iterations=max(1, round(0.4 / pixel_um)))
    labels[near & (labels == 0)] = UNKNOWN
    return labels, pd.DataFrame(rows, columns=["label", "kind"])


def bccd(data: Path, folder: Path, method: str, model: str | None) -> list[dict[str, object]]:
    """Fields of BCCD."""
    rows = []
    for path in track(sorted((data / "bccd/images").glob("*.jpg")), "BCCD"):
        number = int(path.stem.split("_")[-1])
        boxes = read_boxes(data / "bccd/boxes" / f"{path.stem}.xml")
        image = read(path)
        scale = true_scale(boxes["RBC"], image.shape)
        if held_out(path) or scale is None:
            continue
        labels, kinds = outlines(image, boxes, scale, method, model)
        rows.append(_written(folder, path.stem, image, labels, kinds, scale, number % 9 == 1))
    return rows


def bcisc(data: Path, folder: Path) -> list[dict[str, object]]:
    """White cells of BCISC: crops, and fields."""
    rows = []
    sets = {
        "bcisc crops": ("bcisc/crops/images", "bcisc/crops/masks"),
        "bcisc fields": ("bcisc/fields", "bcisc/fields/masks"),
    }
    for name, (images, masks) in sets.items():
        by_stem = {p.stem: p for p in (data / masks).iterdir()}
        paths = sorted(p for p in (data / images).iterdir() if p.is_file() and p.stem in by_stem)
        for number, path in enumerate(track(paths, name)):
            if bcisc_held_out(number):
                continue
            image = read(path)
            white = cv2.imread(str(by_stem[path.stem]), cv2.IMREAD_GRAYSCALE) > 127
            pieces, _ = ndimage.label(white)
            labels = np.where(pieces > 0, pieces, UNKNOWN).astype(np.uint16)
            rim = ndimage.binary_dilation(white, iterations=round(0.5 / KNOWN_UM[name])) & ~white
            labels[rim] = UNKNOWN
            if name == "bcisc fields":  # keep what is around the white cells only
                y, x = np.nonzero(white)
                half = round(30 / KNOWN_UM[name])
                cut = np.s_[
                    max(int(y.mean()) - half, 0) : int(y.mean()) + half,
                    max(int(x.mean()) - half, 0) : int(x.mean()) + half,
                ]
                image, labels = np.ascontiguousarray(image[cut]), labels[cut]
            stem = f"{name.replace(' ', '-')}-{path.stem}"
            kinds = "white cell"
            rows.append(
                _written(folder, stem, image, labels, kinds, KNOWN_UM[name], number % 10 == 1)
            )
    return rows


def _written(folder, stem, image, labels, kinds, pixel_um, val) -> dict[str, object]:
    cv2.imwrite(str(folder / f"{stem}.png"), image[..., ::-1])
    tifffile.imwrite(folder / f"{stem}.labels.tif", labels, compression="zlib")
    said = kinds
    if not isinstance(kinds, str):
        said = f"{stem}.kinds.csv"
        kinds.to_csv(folder / said, index=False)
    return {
        "image": f"{stem}.png",
        "labels": f"{stem}.labels.tif",
        "kinds": said,
        "pixel_size_um": pixel_um,
        "split": "val" if val else "train",
    }


def main() -> None:
    """Write all fields and their table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--method", default="auto", help="segmentation whose outlines are taken")
    parser.add_argument("--model", help="model whose smear network is used")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    rows = bccd(options.data, options.output, options.method, options.model)
    rows += bcisc(options.data, options.output)
    pd.DataFrame(rows).to_csv(options.output / "fields.csv", index=False)
    print(f"{len(rows)} fields in {options.output}")


if __name__ == "__main__":
    main()
