"""What the program makes of whole fields: the marked white cell, platelets and red cells.

Run ``python benchmarks/fields.py --data ../shared/data --prior even --prior normal-blood``. Every
field is opened, outlined and classified as ``cytodiffusion run IMAGE`` does it, and what is known
of it is held against that:

- BCISC: the class of the white cell, which the file is named after. It is the cell under the mask,
  or the largest white one where there is no mask.
- BCCD: the class of the white cell, platelets and red cells, by their boxes. Not every platelet
  has a box, so their precision is a lower bound.
- dense: red cells by their boxes.

The table is printed as Markdown. A prior only moves posteriors, so a field is classified once for
all of them. With ``--table FILE.csv`` every cell goes there, field by field, and fields that are in
it already are not done again.
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from fields_of_sets import (
    Field,
    bccd_fields,
    bcisc_fields,
    box_overlap,
    default_data,
    dense_fields,
    label_boxes,
    read,
    subset,
)

from cytodiffusion.classification.prior import with_prior
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import InputError
from cytodiffusion.field import open_field
from cytodiffusion.pipeline import find_cells, iter_classify_labels
from cytodiffusion.predict import Classifier, load_classifier
from cytodiffusion.segmentation.result import WHITE
from cytodiffusion.settings import SegmentOptions
from cytodiffusion.taxonomy import white_classes

#: Classes of BCISC by the beginning of a file's name.
BCISC = {
    "baso": "basophil",
    "eosi": "eosinophil",
    "lymp": "lymphocyte",
    "mono": "monocyte",
    "neut": "neutrophil",
}

#: Overlap (intersection over union) of boxes that are of one object: as in the table of the
#: segmentation, and less for platelets, which are small.
OVERLAP = {"white": 0.5, "red": 0.5, "platelet": 0.3}

#: Priors that are compared unless others are asked for.
PRIORS = ("even", "normal-blood")


@dataclass
class Cells:
    """All cells of a field, classified without a prior.

    Attributes
    ----------
    labels : (Y, X) int array
    ids : (N,) int array
    posterior : (N, K) array
    white : (N,) bool array
        Which the segmentation outlined as white cells.
    boxes : (N, 4) array
    """

    labels: np.ndarray
    ids: np.ndarray
    posterior: np.ndarray
    white: np.ndarray
    boxes: np.ndarray


def analysed(field: Field, model: Classifier, trials: int) -> Cells:
    """Find and classify the cells of a field as the program does, all classes alike."""
    options = SegmentOptions()
    image = open_field(field.path)
    found = find_cells(image, options, segmenter=getattr(model, "segmenter", None))
    settings = ClassifySettings(prior="even", trials=trials)
    latest = {}
    for batch in iter_classify_labels(
        image.rgb(),
        found.labels,
        model,
        settings,
        pixel_size_um=found.pixel_size_um,
        kinds=found.kinds,
    ):
        latest[len(latest) if batch.revises is None else batch.revises] = batch
    ids = np.concatenate([batch.crops.ids for batch in latest.values()])
    posterior = np.concatenate([batch.result.posterior for batch in latest.values()])
    kinds = np.zeros(int(found.labels.max()), np.uint8) if found.kinds is None else found.kinds
    boxes = label_boxes(found.labels)
    return Cells(found.labels, ids, posterior, kinds[ids - 1] == WHITE, boxes[ids - 1])


def marked(field: Field, cells: Cells) -> int | None:
    """Place of the white cell that a field of BCISC is named after."""
    masks = [read(path)[..., 0] > 127 for path in field.masks]
    masks = [mask for mask in masks if mask.shape == cells.labels.shape and mask.any()]
    areas = np.bincount(cells.labels.ravel(), minlength=int(cells.ids.max()) + 1)
    if masks:
        mask = max(masks, key=np.count_nonzero)
        inside = np.bincount(cells.labels[mask], minlength=len(areas))
        inside[0] = 0
        best = int(inside.argmax())
        return int(np.flatnonzero(cells.ids == best)[0]) if inside[best] else None
    chosen = np.flatnonzero(cells.white)
    return int(chosen[areas[cells.ids[chosen]].argmax()]) if len(chosen) else None


def at_boxes(boxes: np.ndarray, cells: Cells, least: float) -> list[int | None]:
    """Place of the cell at each box, None where none overlaps it enough."""
    if not len(boxes) or not len(cells.boxes):
        return [None] * len(boxes)
    overlap = box_overlap(boxes, cells.boxes)
    best = overlap.argmax(axis=1)
    return [int(k) if overlap[row, k] >= least else None for row, k in enumerate(best)]


class Rows:
    """One row an object that is known, with what it was called under every prior."""

    def __init__(self, model: Classifier, priors: list[str], table: Path | None) -> None:
        self.model = model
        self.asked = {name: _settings(name) for name in priors}
        self.table = table
        self.frame = pd.DataFrame(columns=["set", "field", "truth", *priors])
        if table is not None and table.is_file():
            self.frame = pd.read_csv(table, keep_default_na=False)
            missing = set(priors) - set(self.frame.columns)
            if missing:
                raise SystemExit(f"{table} was made without {', '.join(missing)}: remove it.")

    def has(self, name: str, field: Field) -> bool:
        """Whether a field of a set was done before."""
        return bool(((self.frame["set"] == name) & (self.frame["field"] == field.name)).any())

    def add(
        self, name: str, field: Field, cells: Cells, known: dict[int, str], lost: list[str]
    ) -> None:
        """Add the cells of a field: what is known of them by place, and what was not found."""
        names = np.array(self.model.class_names, object)
        called = {
            prior: with_prior(cells.posterior, self.model, settings)
            for prior, settings in self.asked.items()
        }
        rows: list[dict[str, object]] = []
        for place in range(len(cells.ids)):
            row: dict[str, object] = {"set": name, "field": field.name}
            row["truth"] = known.get(place, "")
            row |= {prior: names[p[place].argmax()] for prior, p in called.items()}
            row |= {f"{prior} confidence": p[place].max() for prior, p in called.items()}
            rows.append(row)
        for truth in lost:
            missing = dict.fromkeys(self.asked, "not found")
            rows.append({"set": name, "field": field.name, "truth": truth, **missing})
        self.frame = pd.concat([self.frame, pd.DataFrame(rows)], ignore_index=True)
        if self.table is not None:
            self.frame.to_csv(self.table, index=False)


def _settings(prior: str) -> ClassifySettings:
    if "=" in prior:
        return ClassifySettings(prior_shares=prior)
    return ClassifySettings(prior=prior)


def in_bcisc(field: Field, data: Path, rows: Rows, trials: int) -> None:
    cells = analysed(field, rows.model, trials)
    truth = BCISC[field.name.split("-")[0]]
    place = marked(field, cells)
    known = {} if place is None else {place: truth}
    rows.add("BCISC", field, cells, known, [] if known else [truth])


def in_bccd(field: Field, data: Path, rows: Rows, trials: int) -> None:
    table = pd.read_csv(data / "bccd/white_cells.csv", index_col="image")["class"]
    cells = analysed(field, rows.model, trials)
    truths = {"red cell": field.boxes["RBC"], "platelet": field.boxes["Platelets"]}
    if field.name in table.index and len(field.boxes["WBC"]) == 1:
        truths[str(table[field.name])] = field.boxes["WBC"]
    rows.add("BCCD", field, cells, *_known(truths, cells))


def in_dense(field: Field, data: Path, rows: Rows, trials: int) -> None:
    try:
        cells = analysed(field, rows.model, trials)
    except InputError as error:
        print(f"{field.name}: {error}")
        return
    rows.add("dense", field, cells, *_known({"red cell": field.boxes["RBC"]}, cells))


#: Sets by name: what they are called in the table, their fields, and how they are held against
#: what is known.
SETS = {
    "bcisc": ("BCISC", bcisc_fields, in_bcisc),
    "bccd": ("BCCD", bccd_fields, in_bccd),
    "dense": ("dense", dense_fields, in_dense),
}


def _known(truths: dict[str, np.ndarray], cells: Cells) -> tuple[dict[int, str], list[str]]:
    known: dict[int, str] = {}
    lost: list[str] = []
    for truth, boxes in truths.items():
        least = OVERLAP.get({"red cell": "red"}.get(truth, truth), OVERLAP["white"])
        places = at_boxes(boxes, cells, least)
        known |= {place: truth for place in places if place is not None}
        lost += [truth] * places.count(None)
    return known, lost


def figures(frame: pd.DataFrame, prior: str, nucleated: set[str]) -> dict[str, str]:
    """Return the figures of one prior by what they say."""
    right = frame["truth"] == frame[prior]
    known = {}
    for name in ("BCISC", "BCCD"):
        of_set = frame[(frame["set"] == name) & frame["truth"].isin(nucleated)]
        if len(of_set):
            good = right[of_set.index]
            known[f"{name}: white cell"] = f"{good.sum()} of {len(good)}"
            for truth, part in good.groupby(of_set["truth"]):
                known[f"{name}: {truth}"] = f"{part.sum()} of {len(part)}"
    bccd = frame[frame["set"] == "BCCD"]
    boxed = bccd[bccd["truth"] == "platelet"]
    if len(boxed):
        found = boxed[prior] != "not found"
        called = bccd[bccd[prior] == "platelet"]
        known["BCCD: boxes of platelets outlined"] = f"{found.sum()} of {len(boxed)}"
        known["BCCD: platelets, recall"] = f"{right[boxed.index].sum()} of {len(boxed)}"
        hits = int((called["truth"] == "platelet").sum())
        known["BCCD: platelets, precision at the boxes"] = f"{hits} of {len(called)}"
        others = Counter(boxed.loc[found & ~right[boxed.index], prior])
        known["BCCD: platelets, called otherwise"] = (
            ", ".join(f"{n} {name}" for name, n in others.most_common()) or "none"
        )
    for name in ("BCCD", "dense"):
        red = frame[(frame["set"] == name) & (frame["truth"] == "red cell")]
        red = red[red[prior] != "not found"]
        if len(red):
            known[f"{name}: red cells that stay red cells"] = (
                f"{right[red.index].sum()} of {len(red)} ({right[red.index].mean():.3f})"
            )
            wrong = red[prior].isin(nucleated).sum()
            known[f"{name}: red cells called nucleated"] = f"{wrong} of {len(red)}"
    return known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=default_data())
    parser.add_argument("--model", default="default")
    parser.add_argument("--prior", action="append", help="even, normal-blood or CLASS=SHARE,...")
    parser.add_argument("--sets", default="bcisc,bccd,dense")
    parser.add_argument("--limit", type=int, default=20, help="fields of a set; 0 takes all")
    parser.add_argument("--trials", type=int, default=ClassifySettings().trials)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--table", type=Path, help="CSV to write every cell to")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    model = load_classifier(options.model, options.device)
    priors = options.prior or list(PRIORS)
    rows = Rows(model, priors, options.table)
    for name in options.sets.split(","):
        called, fields_of, work = SETS[name]
        found = list(fields_of(options.data))
        wanted = subset([field.path for field in found], options.limit)
        for field in found:
            if field.path in wanted and not rows.has(called, field):
                work(field, options.data, rows, options.trials)
    frame = rows.frame
    white = white_classes(model.class_names, [c.group for c in model.classes])
    nucleated = {n for n, w in zip(model.class_names, white, strict=True) if w} | {"erythroblast"}
    columns = {prior: figures(frame, prior, nucleated) for prior in priors}
    counts = frame.groupby("set")["field"].nunique()
    said = ", ".join(f"{n} of {name}" for name, n in counts.items())
    print(f"Model {model.name} {model.version}; fields: {said}; {len(frame)} cells.\n")
    print("| | " + " | ".join(priors) + " |")
    print("|---|" + "---|" * len(priors))
    for figure in dict.fromkeys(key for column in columns.values() for key in column):
        print(f"| {figure} | " + " | ".join(c.get(figure, "") for c in columns.values()) + " |")


if __name__ == "__main__":
    main()
