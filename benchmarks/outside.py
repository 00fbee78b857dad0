"""How segmentation methods cope with what comes from outside, in one table.

Public fields with boxes, masks or points; the same fields under dark surrounds (eyepieces, frames,
corners); and single files with their right values, reported by users of tools of this kind. Run

    OMP_NUM_THREADS=1 python benchmarks/outside.py --methods watershed

``--quick`` takes a few fields of each set. Pixel sizes are never given, except where files state
them.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from fields_of_sets import (
    BOX_KINDS,
    Field,
    Method,
    bccd_fields,
    bcisc_fields,
    best_overlap,
    box_overlap,
    chula_fields,
    default_data,
    dense_fields,
    label_boxes,
    matches,
    subset,
)

from cytodiffusion.errors import CytoDiffusionError, InputError
from cytodiffusion.field import open_field
from cytodiffusion.image.colours import colour_doubts
from cytodiffusion.image.image import open_image
from cytodiffusion.image.labels import open_label_image
from cytodiffusion.segmentation import METHODS, Segmentation, segment
from cytodiffusion.segmentation.result import RED, WHITE

#: Fields of a set with --quick, and those that are laid under dark surrounds, with and without.
FEW, UNDER, UNDER_FEW = 5, 16, 3
#: No red cell is larger than this.
LARGEST_RED_UM2 = 150.0
#: Outlines that overlap by this are the same cell.
SAME = 0.8
#: Share of the cells that should be the same, and how far scales may differ.
ENOUGH, SCALE = 0.97, 1.05
#: Plain pictures beside the same ones in other clothes.
BASE_UM = 0.14

Rows = dict[tuple[str, str], str]


@dataclass
class Counts:
    """What is counted over all fields of a method."""

    fields: int = 0
    large_red: int = 0
    seconds: list[float] = field(default_factory=list)


def run(method: Method, image: np.ndarray, counts: Counts, pixel_um: float | None = None):
    """Segment one field with the clock running."""
    start = time.perf_counter()
    found = method(image, pixel_um)
    if image.shape[:2] == (480, 640):
        counts.seconds.append(time.perf_counter() - start)
    counts.fields += 1
    if found.kinds is not None:
        areas = np.bincount(found.labels.ravel(), minlength=found.n_cells + 1)[1:]
        large = areas * found.pixel_size_um**2 > LARGEST_RED_UM2
        counts.large_red += int((large & (found.kinds == RED)).sum())
    return found


# --- public sets ---------------------------------------------------------------------------------


def boxed(name: str, fields: list[Field], method: Method, counts: Counts) -> Rows:
    """Recall by kind, objects that are matched, and the scale, of fields with boxes."""
    total, hit = dict.fromkeys(BOX_KINDS, 0), dict.fromkeys(BOX_KINDS, 0)
    objects = matched = 0
    scales: list[float] = []
    sizes: list[float] = []
    for one in fields:
        image = one.image()
        found = run(method, image, counts)
        boxes = label_boxes(found.labels)
        truth = one.pixel_um(image.shape)
        if truth:
            scales.append(found.pixel_size_um / truth)
            sizes.append(found.pixel_size_um)
        for kind, (number, least) in BOX_KINDS.items():
            own = one.boxes.get(kind, np.zeros((0, 4)))
            mine = boxes if found.kinds is None else boxes[found.kinds == number]
            total[kind] += len(own)
            hit[kind] += len(matches(box_overlap(own, mine), least))
        everything = np.concatenate(list(one.boxes.values()))
        objects += len(boxes)
        matched += len(matches(box_overlap(everything, boxes), 0.5))
    rows = {
        (name, f"recall of {kind}, IoU {BOX_KINDS[kind][1]}"): f"{hit[kind] / total[kind]:.3f}"
        for kind in BOX_KINDS
        if total[kind]
    }
    rows[name, "objects that match a box, IoU 0.5"] = f"{matched / max(objects, 1):.3f}"
    if not scales:
        return rows
    true = np.array(sizes) / scales
    slide = np.abs(np.log(np.median(sizes) / true)) < np.log(1.2)
    each = np.abs(np.log(scales)) < np.log(1.2)
    rows[name, "scale within 20 %: each by itself"] = f"{each.mean():.3f}"
    rows[name, "scale within 20 %: the median of all"] = f"{slide.mean():.3f}"
    return rows | scale_rows(name, scales)


def scale_rows(name: str, ratios: list[float]) -> Rows:
    off = np.exp(np.abs(np.log(ratios or [np.nan])))
    return {
        (name, "scale, times too large or small: median"): f"{np.median(off):.3f}",
        (name, "scale, times too large or small: worst"): f"{np.max(off):.2f}",
    }


def masked(name: str, fields: list[Field], method: Method, counts: Counts) -> Rows:
    """White cells with masks."""
    overlaps: list[float] = []
    false = with_masks = 0
    scales: list[float] = []
    for one in fields:
        found = run(method, one.image(), counts)
        scales.append(found.pixel_size_um / float(one.known_um or 1))
        masks = [cv2.imread(str(path), 0) > 127 for path in one.masks]
        if not masks:
            continue
        with_masks += 1
        overlaps += [best_overlap(found.labels, mask) for mask in masks]
        if found.kinds is not None:
            hit = np.zeros(found.n_cells + 1, bool)
            hit[np.unique(found.labels[np.any(masks, axis=0)])] = True
            false += int(((found.kinds == WHITE) & ~hit[1:]).sum())
    return {
        (name, "white cells with mask IoU 0.7"): f"{np.mean(np.array(overlaps) >= 0.7):.3f}",
        (name, "false white cells a field"): f"{false / max(with_masks, 1):.2f}",
        **scale_rows(name, scales),
    }


def pointed(name: str, fields: list[Field], method: Method, counts: Counts) -> Rows:
    """Red cells with points."""
    alone = total = 0
    scales: list[float] = []
    for one in fields:
        found = run(method, one.image(), counts)
        scales.append(found.pixel_size_um / float(one.known_um or 1))
        assert one.points is not None
        height, width = found.labels.shape
        columns = np.clip(one.points[:, 0].astype(int), 0, width - 1)
        rows = np.clip(one.points[:, 1].astype(int), 0, height - 1)
        hit = found.labels[rows, columns]
        times = np.bincount(hit, minlength=found.n_cells + 1)
        alone += int(((hit > 0) & (times[hit] == 1)).sum())
        total += len(hit)
    figure = "points on an object of their own"
    return {(name, figure): f"{alone / max(total, 1):.3f}", **scale_rows(name, scales)}


# --- dark surrounds ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Surround:
    """A field under a dark surround."""

    name: str
    image: np.ndarray
    inside: np.ndarray  #: (Y, X) of the plain field: what is still to be seen
    offset: tuple[int, int] = (0, 0)  #: where its first pixel has gone


def surrounds(rgb: np.ndarray) -> Iterator[Surround]:
    """Yield a field as eyepieces, screenshots and cropped exports show it."""
    height, width = rgb.shape[:2]
    y, x = np.mgrid[:height, :width]
    side = min(height, width)
    for name, centre, radius, value in (
        ("eyepiece", (0.5, 0.5), 0.48, 0),
        ("eyepiece, small", (0.5, 0.5), 0.36, 0),
        ("eyepiece, off-centre", (0.42, 0.6), 0.45, 8),
        ("eyepiece, grey", (0.5, 0.5), 0.48, 70),
        ("corners", (0.5, 0.5), 0.66, 0),
    ):
        away = np.hypot(y - centre[0] * height, x - centre[1] * width)
        inside = away < radius * side
        soft = np.clip(radius * side - away + 0.5, 0, 1)[..., None]
        yield Surround(name, np.uint8(rgb * soft + value * (1 - soft)), inside)
    everything = np.ones((height, width), bool)
    for pixels, value in ((1, 0), (2, 0), (5, 0), (20, 0), (60, 0), (2, 90), (20, 90)):
        framed = np.pad(rgb, ((pixels,) * 2, (pixels,) * 2, (0, 0)), constant_values=value)
        shade = "black" if not value else "grey"
        yield Surround(f"frame of {pixels} px, {shade}", framed, everything, (pixels, pixels))
    framed = np.pad(rgb, ((0, 12), (40, 3), (0, 0)), constant_values=0)
    yield Surround("frame, uneven", framed, everything, (0, 40))


def same_cells(plain: np.ndarray, other: np.ndarray, inside: np.ndarray) -> tuple[int, int]:
    """Return how many cells wholly inside are outlined the same in both, and how many there are."""
    edge = cv2.erode(np.pad(inside, 1).astype(np.uint8), np.ones((5, 5), np.uint8))[1:-1, 1:-1] > 0
    edge[[0, -1]] = edge[:, [0, -1]] = False
    areas = np.bincount(plain.ravel())
    within = np.bincount(plain[edge], minlength=len(areas))
    chosen = [i for i in range(1, len(areas)) if areas[i] and within[i] == areas[i]]
    same = sum(best_overlap(other, plain == i) >= SAME for i in chosen) if other.any() else 0
    return same, len(chosen)


def surrounded(name: str, fields: list[Field], method: Method, counts: Counts) -> Rows:
    """Compare the cells of fields with those of the same fields under dark surrounds."""
    same: dict[str, list[int]] = {}
    scales: list[float] = []
    surround_cells = 0
    for one in fields:
        rgb = one.image()
        plain = method(rgb, None)
        for dark in surrounds(rgb):
            found = method(dark.image, None)
            top, left = dark.offset
            part = found.labels[top : top + rgb.shape[0], left : left + rgb.shape[1]]
            pair = same.setdefault(dark.name, [0, 0])
            for index, number in enumerate(same_cells(plain.labels, part, dark.inside)):
                pair[index] += number
            scales.append(found.pixel_size_um / plain.pixel_size_um)
            surround_cells += outside_objects(found, dark, rgb.shape)
    shares = {key: hit / max(all_, 1) for key, (hit, all_) in same.items()}
    worst = min(shares, key=lambda key: shares[key])
    every = np.sum(list(same.values()), axis=0)
    off = np.exp(np.abs(np.log(scales)))
    return {
        (name, f"same cells, IoU {SAME} (wanted {ENOUGH})"): f"{every[0] / max(every[1], 1):.3f}",
        (name, "same cells, worst surround"): f"{shares[worst]:.3f} ({worst})",
        (name, f"scale within {100 * (SCALE - 1):.0f} %"): f"{np.mean(off <= SCALE):.3f}",
        (name, "objects that are the surround, a field"): f"{surround_cells / len(scales):.2f}",
    }


def outside_objects(found: Segmentation, dark: Surround, shape: tuple[int, ...]) -> int:
    """Count objects of which most lies in the dark surround."""
    seen = np.zeros(found.labels.shape, bool)
    top, left = dark.offset
    seen[top : top + shape[0], left : left + shape[1]] = dark.inside
    areas = np.bincount(found.labels.ravel())[1:]
    inside = np.bincount(found.labels[seen], minlength=len(areas) + 1)[1:]
    return int((inside < 0.5 * areas).sum())


# --- files from outside --------------------------------------------------------------------------

#: Files of the pixels of ``base.png``, and whether they state its scale.
AS_BASE = {
    "01_aperio_decimal_comma.svs": True,
    "01_aperio_decimal_point.svs": True,
    "02_ome_cyx_rgb.ome.tif": True,
    "02_ome_cyx_4ch.ome.tif": None,
    "02_ome_cyx_bgr_named.ome.tif": None,
    "05_imagej_micron.tif": True,
    "05_imagej_mikrometer.tif": True,
    "07_alpha_all_zero.png": False,
    "07_alpha_all_zero.tif": False,
    "07_alpha_associated_half.tif": False,
    "07_extrasample_unspecified_ramp.tif": False,
    "07_extrasample_unspecified_zero.tif": False,
    "10_float01_one_nan.tif": False,
    "10_float01_tiny_negative.tif": False,
    "10_rgb12in16.png": False,
    "10_rgb12in16_hotpixel.tif": False,
    "10_rgb12in16_gain.tif": False,
    "11_picture.JPE": False,
    "11_picture.jfif": False,
    "12_imagej_1micron.tif": False,
    "12_ome_physicalsize_1um.ome.tif": False,
    "13_tiff_orientation_1.tif": False,
    "16_imagej_composite_c3.tif": True,
    "18_ventana_xmp.tif": True,
}

#: Pictures beside the plain one that they were made of: the same cells where both show the same.
AS_PLAIN = {
    "M3_text_blue.jpg": "M0_plain.jpg",
    "M4_eyepiece_r300.jpg": "M0_plain.jpg",
    "M5_eyepiece_r200.jpg": "M0_plain.jpg",
    "M9_black_frame.jpg": "M0_plain.jpg",
    "N1_bccd_eyepiece_r240.jpg": "N0_bccd_plain.jpg",
    "N2_bccd_frame_2px.jpg": "N0_bccd_plain.jpg",
    "N2_bccd_frame_5px.jpg": "N0_bccd_plain.jpg",
}

#: Label images and the cells that are in them.
LABELS = {
    name: (20, 24)
    for name in (
        *("L0_plain_uint16.tif", "L1_cellprofiler_float01.tif", "L2_ids_twice_uint8.png"),
        *("L6_binary_255.png", "base_seg.npy"),
    )
}


def read_rightly(cases: Path) -> dict[str, str]:
    """Return what is wrong with how files are read, by name; this is the same for all methods."""
    wrong: dict[str, str] = {}

    def check(name: str, right: Callable[[], bool], what: str) -> None:
        try:
            if not right():
                wrong[name] = what
        except CytoDiffusionError as error:
            wrong[name] = str(error)

    def refused() -> bool:
        try:
            open_image(cases / "02_ome_cyx_2ch.ome.tif")
        except InputError:
            return True
        return False

    check("02_ome_cyx_2ch.ome.tif", refused, "two fluorescence channels were taken")
    check(
        "08_zstack_rgb.ome.tif",
        lambda: "stack" in open_image(cases / "08_zstack_rgb.ome.tif").notes[0],
        "the plane that was chosen is not said",
    )
    check(
        "03_exif6_phone.jpg",
        lambda: open_image(cases / "03_exif6_phone.jpg").shape == (256, 180),
        "lies on its side",
    )
    check(
        "M8_inverted.jpg",
        lambda: bool(colour_doubts(open_image(cases / "M8_inverted.jpg").rgb())),
        "the negative is not said",
    )
    for name, (low, high) in LABELS.items():
        check(
            name,
            lambda name=name, low=low, high=high: (
                low <= len(np.unique(open_label_image(cases / name).labels)) - 1 <= high
            ),
            "cells are lost or merged",
        )
    return wrong


def as_base(cases: Path, method: Method) -> dict[str, str]:
    """Return the files that are not segmented as ``base.png``, and why."""
    wrong: dict[str, str] = {}
    rgb = open_image(cases / "base.png").rgb()
    plain = {None: method(rgb, None), BASE_UM: method(rgb, BASE_UM)}
    for name, stated in AS_BASE.items():
        try:
            opened = open_field(cases / name)
            found = method(opened.rgb(), opened.pixel_size_um)
        except CytoDiffusionError as error:
            wrong[name] = str(error)
            continue
        known = BASE_UM if (opened.pixel_size_um if stated is None else stated) else None
        if (opened.pixel_size_um is None) != (known is None):
            wrong[name] = "its scale was not read" if known else "its scale is untrue"
            continue
        wrong |= compared(name, plain[known], found, np.ones(rgb.shape[:2], bool))
    return wrong


def compared(
    name: str, plain: Segmentation, found: Segmentation, inside: np.ndarray
) -> dict[str, str]:
    """Return why a picture is not segmented as another, by its name; empty where it is."""
    same, every = same_cells(plain.labels, found.labels, inside)
    off = found.pixel_size_um / plain.pixel_size_um
    said = []
    if same < ENOUGH * every - 1:  # one cell of so few is no share
        said.append(f"{same} of {every} cells")
    if not 1 / SCALE <= off <= SCALE:
        said.append(f"scale {off:.2f} times")
    seen = np.bincount(found.labels[~inside], minlength=found.n_cells + 1)[1:]
    areas = np.bincount(found.labels.ravel(), minlength=found.n_cells + 1)[1:]
    if marks := int((seen > 0.5 * np.maximum(areas, 1)).sum()):
        said.append(f"{marks} that are no cells")
    return {name: ", ".join(said)} if said else {}


def as_plain(cases: Path, method: Method) -> dict[str, str]:
    """Return the pictures with surrounds or marks that are segmented otherwise, and how."""
    wrong: dict[str, str] = {}
    known: dict[str, tuple[np.ndarray, Segmentation]] = {}
    for name, plain in AS_PLAIN.items():
        if plain not in known:
            rgb = open_image(cases / plain).rgb()
            known[plain] = rgb, method(rgb, None)
        rgb, found = known[plain]
        other = open_image(cases / name).rgb()
        if other.shape != rgb.shape:
            wrong[name] = f"{other.shape} is another size than {rgb.shape}"
            continue
        alike = np.abs(other.astype(int) - rgb).max(axis=2) < 60
        alike = cv2.medianBlur(alike.astype(np.uint8), 9) > 0
        wrong |= compared(name, found, method(other, None), alike)
    return wrong


def malaria(cases: Path, method: Method, counts: Counts) -> Rows:
    rows: Rows = {}
    for path in sorted(cases.glob("E_*")):
        found = run(method, open_image(path).rgb(), counts)
        kinds = np.zeros(0) if found.kinds is None else found.kinds
        share = f"{np.mean(kinds == RED):.3f} of {len(kinds)}" if len(kinds) else "kinds unknown"
        rows["files", f"{path.stem}: objects that are red cells"] = share
    return rows


def files(cases: Path, method: Method, counts: Counts, failures: bool) -> Rows:
    """Files from outside that are right, of all."""
    wrong = {"read": read_rightly(cases)}
    wrong |= {"as base.png": as_base(cases, method), "as plain": as_plain(cases, method)}
    totals = {"read": 4 + len(LABELS), "as base.png": len(AS_BASE), "as plain": len(AS_PLAIN)}
    rows: Rows = {}
    for kind, found in wrong.items():
        rows["files", f"{kind}: right"] = f"{totals[kind] - len(found)} of {totals[kind]}"
        if failures:
            print(*(f"    {name}: {why}" for name, why in found.items()), sep="\n")
    return rows | malaria(cases, method, counts)


# --- the table -----------------------------------------------------------------------------------


def measure(method: Method, options: argparse.Namespace) -> Rows:
    """All figures of one method."""
    data, counts, rows = options.data, Counts(), {}
    limit = FEW if options.quick else options.limit
    under = UNDER_FEW if options.quick else UNDER
    kinds = {
        "bccd": (partial(bccd_fields, only_held_out=options.held_out), boxed),
        "dense": (dense_fields, boxed),
        "bcisc": (partial(bcisc_fields, only_held_out=options.held_out), masked),
        "chula": (chula_fields, pointed),
    }
    for name, (fields_of, of) in kinds.items():
        fields = list(fields_of(data))
        rows |= of(name, subset(fields, limit), method, counts)
        if of is boxed:
            rows |= surrounded(f"{name}, dark surround", subset(fields, under), method, counts)
    rows |= files(options.cases, method, counts, options.failures)
    hundred = 100 * counts.large_red / max(counts.fields, 1)
    rows["all", "red cells above 150 um2, per 100 fields"] = f"{hundred:.1f}"
    rows["all", "seconds for 640 x 480, median"] = f"{np.median(counts.seconds or [np.nan]):.2f}"
    return rows


def can_run(name: str) -> bool:
    """Whether a method has what it needs here; else say what is missing."""
    if name == "cellpose":
        from cytodiffusion.segmentation.cellpose_weights import default_model, weights_present

        if not weights_present(default_model()):
            print("cellpose is left out: its weights are not here.")
            return False
    try:
        segment(np.full((64, 64, 3), 230, np.uint8), name, 0.2)
    except CytoDiffusionError as error:
        print(f"{name} is left out: {error}")
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = default_data()
    cases = Path(os.environ.get("CYTODIFFUSION_CASES", data.parent / "cases"))
    known = [name for name in METHODS if name != "auto"]
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--cases", type=Path, default=cases, help="the files from outside")
    parser.add_argument("--methods", nargs="*", default=known, choices=known)
    parser.add_argument("--quick", action="store_true", help="a few fields of each set")
    parser.add_argument("--limit", type=int, default=0, help="fields a set at most; 0 is all")
    parser.add_argument(
        "--held-out", action="store_true", help="only fields that the network was not trained on"
    )
    parser.add_argument("--failures", action="store_true", help="list the files that went wrong")
    parser.add_argument("--output", type=Path, help="write the table here as well")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    columns = {
        name: measure(partial(_outlined, name), options)
        for name in options.methods
        if can_run(name)
    }
    if not columns:
        parser.exit(1, "None of these methods can run here.\n")
    table = pd.DataFrame({name: pd.Series(rows) for name, rows in columns.items()})
    table.index.names = ["set", "figure"]
    lines = ["| " + " | ".join(["set", "figure", *table.columns]) + " |"]
    lines.append("|---|---|" + "---|" * len(table.columns))
    for key, row in zip(table.index, table.fillna("").to_numpy(), strict=True):
        lines.append("| " + " | ".join([*key, *row]) + " |")
    print("\n".join(lines))
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _outlined(name: str, image: np.ndarray, pixel_um: float | None) -> Segmentation:
    return segment(image, name, pixel_um)


if __name__ == "__main__":
    main()
