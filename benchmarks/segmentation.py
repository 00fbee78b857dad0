"""How well the segmentation methods outline cells, and how fast, on public images.

Run ``python benchmarks/segmentation.py --data ../shared/data``; the table is printed as Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from fields_of_sets import (
    BOX_KINDS,
    KNOWN_UM,
    Method,
    best_overlap,
    box_overlap,
    default_data,
    label_boxes,
    matches,
    read,
    read_boxes,
    subset,
    true_scale,
)

from cytodiffusion.segmentation.result import KIND_NAMES, PLATELET, WHITE, Segmentation
from cytodiffusion.segmentation.watershed import watershed


@dataclass
class Tally:
    """Figures of one method on one set."""

    images: int = 0
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    megapixels: list[float] = field(default_factory=list)
    scale_ratios: list[float] = field(default_factory=list)
    rows: list[tuple[str, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def run(self, method: Method, image: np.ndarray, pixel_um: float | None) -> Segmentation:
        """Segment one image with the clock running."""
        start, cpu = time.perf_counter(), time.process_time()
        result = method(image, pixel_um)
        self.cpu_seconds.append(time.process_time() - cpu)
        self.seconds.append(time.perf_counter() - start)
        self.megapixels.append(image.shape[0] * image.shape[1] / 1e6)
        self.images += 1
        return result

    def finish(self) -> list[tuple[str, str]]:
        """All figures, the common ones last."""
        rows = list(self.rows)
        if self.scale_ratios:
            off = np.abs(np.log(self.scale_ratios))
            rows.append(("scale within 20 %", f"{np.mean(off < np.log(1.2)):.3f}"))
            low, middle, high = np.percentile(self.scale_ratios, [5, 50, 95])
            rows.append(("scale / truth, 5-50-95 %", f"{low:.2f} {middle:.2f} {high:.2f}"))
        rows.append(("seconds, median", f"{np.median(self.seconds):.2f}"))
        rows.append(("CPU seconds, median", f"{np.median(self.cpu_seconds):.2f}"))
        per_megapixel = sum(self.seconds) / sum(self.megapixels)
        rows.append(("seconds a megapixel", f"{per_megapixel:.2f}"))
        return rows


def bccd(method: Method, data: Path, limit: int) -> Tally:
    """Recall of the boxes; precision for white cells only, the others are incompletely boxed."""
    tally = Tally()
    total = dict.fromkeys(BOX_KINDS, 0)
    overlaps: dict[str, list[float]] = {name: [] for name in BOX_KINDS}
    any_kind = dict.fromkeys(BOX_KINDS, 0)
    predicted = 0
    for path in subset(sorted((data / "bccd/images").glob("*.jpg")), limit):
        truth = read_boxes(data / "bccd/boxes" / f"{path.stem}.xml")
        image = read(path)
        result = tally.run(method, image, None)
        scale = true_scale(truth["RBC"], image.shape)
        if scale:
            tally.scale_ratios.append(result.pixel_size_um / scale)
        boxes = label_boxes(result.labels)
        for name, (kind, threshold) in BOX_KINDS.items():
            mine = boxes if result.kinds is None else boxes[result.kinds == kind]
            found = matches(box_overlap(truth[name], mine), threshold)
            any_kind[name] += len(matches(box_overlap(truth[name], boxes), threshold))
            total[name] += len(truth[name])
            overlaps[name] += list(found)
            if name == "WBC":
                predicted += len(mine)
                if len(found) != len(truth[name]) or len(found) != len(mine):
                    tally.failures.append(
                        f"{path.stem}: {len(found)} of {len(truth[name])}"
                        f" white cells, {len(mine)} outlined"
                    )
    for name, (kind, threshold) in BOX_KINDS.items():
        label = f"{KIND_NAMES[kind]} cells" if kind != PLATELET else "platelets"
        count = max(total[name], 1)
        tally.rows.append((f"{label}: boxes", str(total[name])))
        tally.rows.append(
            (f"{label}: recall, box IoU {threshold}", f"{len(overlaps[name]) / count:.3f}")
        )
        tally.rows.append((f"{label}: recall whatever the kind", f"{any_kind[name] / count:.3f}"))
        tally.rows.append(
            (f"{label}: median box IoU of those", f"{np.median(overlaps[name] or [0]):.3f}")
        )
    tally.rows.append(("white cells: precision", f"{len(overlaps['WBC']) / max(predicted, 1):.3f}"))
    return tally


def bcisc_crops(method: Method, data: Path, limit: int) -> Tally:
    tally = Tally()
    overlaps, eosinophils = [], []
    for path in subset(sorted((data / "bcisc/crops/images").glob("*.jpg")), limit):
        mask = cv2.imread(str(data / "bcisc/crops/masks" / f"{path.stem}.png"), 0) > 127
        result = tally.run(method, read(path), None)
        tally.scale_ratios.append(result.pixel_size_um / KNOWN_UM["bcisc crops"])
        overlaps.append(best_overlap(result.labels, mask))
        if path.name.startswith("eosi"):
            eosinophils.append(overlaps[-1])
        if overlaps[-1] < 0.7:
            tally.failures.append(f"{path.stem}: IoU {overlaps[-1]:.2f}")
    _mask_rows(tally, "white cells", overlaps)
    _mask_rows(tally, "eosinophils", eosinophils)
    return tally


def _mask_rows(tally: Tally, name: str, overlaps: list[float]) -> None:
    values = np.array(overlaps or [0.0])
    tally.rows.append((f"{name}: masks", str(len(overlaps))))
    tally.rows.append((f"{name}: median mask IoU", f"{np.median(values):.3f}"))
    tally.rows.append((f"{name}: share with IoU >= 0.7", f"{np.mean(values >= 0.7):.3f}"))


def bcisc_fields(method: Method, data: Path, limit: int) -> Tally:
    """Masks of white cells; a white cell that touches no mask is false, on fields with masks."""
    tally = Tally()
    overlaps, false = [], []
    for path in subset(sorted((data / "bcisc/fields").glob("*.jpg")), limit):
        masks = sorted((data / "bcisc/fields/masks").glob(f"{path.stem}.png"))
        masks += sorted((data / "bcisc/fields/masks").glob(f"{path.stem}(*.png"))
        result = tally.run(method, read(path), None)
        tally.scale_ratios.append(result.pixel_size_um / KNOWN_UM["bcisc fields"])
        if not masks:
            continue
        marked = [cv2.imread(str(name), 0) > 127 for name in masks]
        scores = [best_overlap(result.labels, mask) for mask in marked]
        overlaps += scores
        if result.kinds is not None:
            hit = np.zeros(result.n_cells + 1, bool)
            hit[np.unique(result.labels[np.any(marked, axis=0)])] = True
            false.append(int(((result.kinds == WHITE) & ~hit[1:]).sum()))
        if min(scores) < 0.7 or (false and false[-1]):
            tally.failures.append(f"{path.stem}: IoU {np.round(scores, 2)}, false {false[-1:]}")
    _mask_rows(tally, "white cells", overlaps)
    if false:
        tally.rows.append(("false white cells a field", f"{np.mean(false):.2f}"))
    return tally


def segwbc(method: Method, data: Path, limit: int) -> Tally:
    tally = Tally()
    overlaps = []
    for path in subset(sorted((data / "segwbc/images").glob("*.png")), limit):
        mask = cv2.imread(str(data / "segwbc/masks" / path.name), 0) > 64
        result = tally.run(method, read(path), None)
        overlaps.append(best_overlap(result.labels, mask))
        if overlaps[-1] < 0.7:
            tally.failures.append(f"{path.stem}: IoU {overlaps[-1]:.2f}")
    _mask_rows(tally, "white cells", overlaps)
    return tally


def chula(method: Method, data: Path, limit: int) -> Tally:
    """Share of the points that lie on a label which holds no other point."""
    tally = Tally()
    alone = total = 0
    for path in subset(sorted((data / "chula/images").glob("*.jpg")), limit):
        points = np.loadtxt(data / "chula/points" / f"{path.stem}.txt", ndmin=2)[:, :2]
        result = tally.run(method, read(path), None)
        tally.scale_ratios.append(result.pixel_size_um / KNOWN_UM["chula"])
        height, width = result.labels.shape
        columns = np.clip(points[:, 0].astype(int), 0, width - 1)
        rows = np.clip(points[:, 1].astype(int), 0, height - 1)
        hit = result.labels[rows, columns]
        counts = np.bincount(hit, minlength=result.n_cells + 1)
        own = (hit > 0) & (counts[hit] == 1)
        alone += int(own.sum())
        total += len(points)
        tally.failures.append(
            f"{path.stem}: {own.sum()} of {len(points)} points,"
            f" {(hit == 0).sum()} on nothing, {result.n_cells} labels"
        )
    tally.rows.append(("points", str(total)))
    tally.rows.append(("points on a label of their own", f"{alone / max(total, 1):.3f}"))
    return tally


def pbc(method: Method, data: Path, limit: int) -> Tally:
    """Scale of single-cell images, and whether the middle of the image is on a cell."""
    tally = Tally()
    centre = []
    paths = sorted((data / "pbc/val").glob("*/*.jpg"))
    for path in subset(paths, limit or 160):
        result = tally.run(method, read(path), None)
        tally.scale_ratios.append(result.pixel_size_um / KNOWN_UM["pbc"])
        height, width = result.labels.shape
        centre.append(
            result.labels[height // 2 - 8 : height // 2 + 8, width // 2 - 8 : width // 2 + 8].any()
        )
        if abs(np.log(tally.scale_ratios[-1])) > np.log(1.2):
            tally.failures.append(f"{path.stem}: scale {result.pixel_size_um:.3f}")
    tally.rows.append(("images with a label in the middle", f"{np.mean(centre):.3f}"))
    return tally


SETS = {
    "bccd": bccd,
    "bcisc crops": bcisc_crops,
    "bcisc fields": bcisc_fields,
    "segwbc": segwbc,
    "chula": chula,
    "pbc": pbc,
}


def methods(wanted: list[str]) -> Iterator[tuple[str, Method]]:
    """Yield the methods that can run here."""
    if "network" in wanted:
        from cytodiffusion.segmentation import segment

        yield "network", lambda image, pixel_um: segment(image, "network", pixel_um)
    if "watershed" in wanted:
        yield "watershed", lambda image, pixel_um: watershed(image, pixel_um)
    if "cellpose" in wanted:
        try:
            from cytodiffusion.segmentation import segment
            from cytodiffusion.segmentation.cellpose import available_models, weights_present
        except ImportError:
            return
        for model in available_models():
            if weights_present(model):
                yield (
                    f"cellpose {model}",
                    lambda image, pixel_um, model=model: segment(
                        image, "cellpose", pixel_um, model=model
                    ),
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=default_data())
    parser.add_argument("--limit", type=int, default=0, help="images a set at most; 0 is all")
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--methods", nargs="*", default=["network", "watershed", "cellpose"])
    parser.add_argument("--failures", action="store_true", help="list the images that went wrong")
    parser.add_argument("--output", type=Path, help="write the table here as well")
    options = parser.parse_args()
    lines = ["| method | set | images | figure | value |", "|---|---|---|---|---|"]
    print("\n".join(lines))
    for method_name, method in methods(options.methods):
        for name in options.sets:
            tally = SETS[name](method, options.data, options.limit)
            for figure, value in tally.finish() if tally.images else []:
                lines.append(f"| {method_name} | {name} | {tally.images} | {figure} | {value} |")
                print(lines[-1], flush=True)
            if options.failures:
                print(*(f"    {text}" for text in tally.failures), sep="\n")
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
