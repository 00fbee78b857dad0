"""How often outlines and classifier contradict each other, and which of them is right.

A cell that was outlined without a nucleus (red cell, platelet) but classified as one with a nucleus
is a contradiction. On fields with boxes the truth is known; stains that are new to the classifier
are imitated by turning the colours of the same fields. Compared are: the class as it is, the most
probable class without a nucleus in its place (vote), and that only where its probability is above a
tenth (prior). Run

    OMP_NUM_THREADS=1 python benchmarks/contradictions.py --limit 40
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from fields_of_sets import (
    BOX_KINDS,
    bccd_fields,
    box_overlap,
    default_data,
    dense_fields,
    label_boxes,
    read,
    subset,
)
from scipy.optimize import linear_sum_assignment

from cytodiffusion.classification.contradiction import has_nucleus
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.pipeline import classify_labels
from cytodiffusion.predict import load_classifier
from cytodiffusion.segmentation import segment

#: Boxes of cells with a nucleus.
NUCLEATED = ("WBC",)
#: A class without a nucleus takes the place of the contradicted one from this probability on.
PRIOR = 0.1


def as_is(rgb: np.ndarray) -> np.ndarray:
    return rgb


def bluish(rgb: np.ndarray) -> np.ndarray:
    """Return a field whose red cells are blue, as in stains of thin malaria films."""
    density = -np.log((rgb.astype(np.float32) + 1) / 256)
    mixed = density @ np.float32([[0.2, 0.1, 0.6], [0.7, 0.7, 0.1], [0.3, 0.3, 0.3]])
    return np.uint8(np.clip(256 * np.exp(-mixed) - 1, 0, 255))


def soft(rgb: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(rgb, (0, 0), 2.5)


def truth_of(boxes: dict[str, np.ndarray], labels: np.ndarray) -> np.ndarray:
    """Return the kind of the box that each label matches, one to one; empty where none."""
    found = label_boxes(labels)
    names = [name for name, own in boxes.items() for _ in own]
    every = np.concatenate(list(boxes.values()))
    overlap = box_overlap(every, found)
    truth = np.full(len(found), "", object)
    rows, columns = linear_sum_assignment(-overlap)
    for row, column in zip(rows, columns, strict=True):
        if overlap[row, column] >= BOX_KINDS[names[row]][1]:
            truth[column] = names[row]
    return truth


def classified(model, image: np.ndarray, method: str, settings: ClassifySettings) -> pd.DataFrame:
    """Return the table of a field with the kinds of its outlines."""
    found = segment(image, method)
    if not found.n_cells or found.kinds is None:
        return pd.DataFrame()
    frame = classify_labels(
        image,
        found.labels,
        model,
        settings,
        pixel_size_um=found.pixel_size_um,
        kinds=found.kinds,
    ).frame
    frame["kind"] = found.kinds[frame["label"] - 1]
    frame.attrs["labels"] = found.labels
    return frame


def figures(frame: pd.DataFrame) -> dict[str, object]:
    """Count contradictions, and what each way of dealing with them gets right."""
    flagged = frame[frame["contradiction"]]
    known = flagged[flagged["truth"] != ""]
    bare = [c for c in frame if c.startswith("p_") and not has_nucleus(c[2:])]
    without = ~known["truth"].isin(NUCLEATED)
    prior = known[bare].max(axis=1) > PRIOR
    boxed = frame[frame["truth"] != ""]
    said = boxed["predicted"].map(has_nucleus)
    real = boxed["truth"].isin(NUCLEATED)
    return {
        "cells": len(frame),
        "boxed, nucleus told wrongly by the classifier": f"{(said != real).sum()} of {len(boxed)}",
        "contradictions": len(flagged),
        "with a box": len(known),
        "class right": int((~without).sum()),
        "vote right": int(without.sum()),
        "prior right": int((prior == without).sum()),
        "anomalous as well": int(flagged["anomaly"].sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = default_data()
    cases = Path(os.environ.get("CYTODIFFUSION_CASES", data.parent / "cases"))
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--cases", type=Path, default=cases)
    parser.add_argument("--method", default="watershed")
    parser.add_argument("--limit", type=int, default=40, help="fields a set at most; 0 is all")
    options = parser.parse_args()
    model, settings = load_classifier(device="cpu"), ClassifySettings()
    rows: dict[str, dict[str, object]] = {}
    sets = {"bccd": bccd_fields, "dense": dense_fields}
    for name, fields_of in sets.items():
        fields = subset(list(fields_of(options.data)), options.limit)
        for change in (as_is, bluish, soft):
            parts = []
            for one in fields:
                frame = classified(model, change(one.image()), options.method, settings)
                if len(frame):
                    truth = truth_of(one.boxes, frame.attrs.pop("labels"))
                    parts.append(frame.assign(truth=truth[frame["label"] - 1]))
            shown = name if change is as_is else f"{name}, {change.__name__}"
            rows[shown] = figures(pd.concat(parts, ignore_index=True))
            print(shown, rows[shown], flush=True)
    for path in sorted(options.cases.glob("E_*")):
        frame = classified(model, read(path), options.method, settings)
        frame.attrs.clear()
        rows[path.stem] = figures(frame.assign(truth="RBC"))  # there is no white cell in them
    table = pd.DataFrame(rows).T
    print("| set | " + " | ".join(table.columns) + " |")
    print("|---|" + "---:|" * len(table.columns))
    for name, row in table.iterrows():
        print(f"| {name} | " + " | ".join(map(str, row)) + " |")


if __name__ == "__main__":
    main()
