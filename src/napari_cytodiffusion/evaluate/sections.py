"""The sections of a report for the window, those of the HTML page, without Qt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cytodiffusion.errors import InputError
from napari_cytodiffusion.evaluate import tables
from napari_cytodiffusion.evaluate.jobs import Table, classifiers, figure, in_window

_Metrics = Mapping[str, Any]


@dataclass(frozen=True)
class Text:
    """A paragraph, or a heading where it is ``bold``."""

    text: str
    bold: bool = False


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """A table; a click on a header sorts it where it is ``sortable``."""

    table: Table
    sortable: bool = False


@dataclass(frozen=True)
class Plot:
    """A plot by its key."""

    key: str


@dataclass(frozen=True)
class Source:
    """Text of a machine, such as settings."""

    text: str


@dataclass(frozen=True)
class Folded:
    """Blocks that show when asked for."""

    title: str
    blocks: tuple[Block, ...]
    open: bool = False


Block = Text | Points | Grid | Plot | Source | Folded


@dataclass(frozen=True)
class Section:
    """A part of the report; the cells to look at have no blocks."""

    key: str
    title: str
    blocks: tuple[Block, ...] = ()


WORDS = (
    "Balanced accuracy: mean of the recalls of the classes, so that rare classes count as much as "
    "frequent ones. Classes without a cell here are in no mean.",
    "Precision: share of the cells called so that are so. Recall: share of the cells that are so "
    "that are called so. F1: their harmonic mean; macro: its mean over the classes.",
    "Calibration error (ECE): mean gap between confidence and accuracy over 15 bins of confidence; "
    "0 is best.",
    "AURC: area under the risk-coverage curve, the mean error when ever more cells are decided, "
    "the most confident first; 0 is best.",
    "Confidence: of the model, the probability of the predicted class. Of a baseline, the same "
    "where it is held against accuracy (reliability, calibration error); where cells are put in "
    "order or held back for review, the gap of its two largest probabilities.",
    "Prediction set: the classes that cannot be ruled out. Coverage: share of cells whose set has "
    "the true class; sets are made so that it is as asked for on cells like those of the "
    "validation.",
    "Anomaly AUC: chance that a cell of the unknown class has a higher anomaly score than a known "
    "one; 0.5 is guessing, 1 is best.",
    "Trials: looks at a cell, each with other noise, before the model decides. A baseline has one.",
)

_SPLITS = {"val": "validation split", "test": "test split", "train": "training split"}


def sections(metrics: _Metrics) -> list[Section]:
    """Return what a report shows, in the order of the HTML page.

    Raises
    ------
    InputError
        If figures are missing that every report of this version has.
    """
    try:
        return list(_sections(metrics))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(
            "This report lacks figures that the window shows (it was written by another version): "
            "open its report.html in a browser, or evaluate again."
        ) from error


def _sections(m: _Metrics) -> Iterator[Section]:
    yield Section("overview", "Overview", tuple(_overview(m)))
    yield Section("classes", "Classes", tuple(_classes(m)))
    yield Section("confidence", "Confidence", tuple(_confidence(m)))
    yield Section("sets", "Prediction sets", tuple(_sets(m)))
    yield Section("anomalies", "Anomalies", tuple(_anomalies(m)))
    yield Section("shift", "Other laboratories", tuple(_shift(m)))
    yield Section("trials", "Trials", tuple(_trials(m)))
    if m.get("hierarchy"):
        yield Section("hierarchy", "Class hierarchy", tuple(_hierarchy(m)))
    if m.get("psychometric"):
        yield Section("psychometric", "Psychometric curves", tuple(_psychometric(m)))
    if m.get("low_data"):
        yield Section("low_data", "Few labels", tuple(_low_data(m)))
    yield Section("cells", "Cells to look at")
    yield Section("model", "What was evaluated", tuple(_model(m)))
    yield Section("words", "Words and limits", tuple(_words(m)))


def _share(value: float | None, digits: int = 3) -> str:
    return figure(value, digits)[0]


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "\u2212")


def _overview(m: _Metrics) -> Iterator[Block]:
    if m.get("warnings"):
        yield Points(tuple(m["warnings"]))
    yield Grid(tables.key_table(m))
    yield Text(
        "Small ranges are 95 % intervals: bootstrap over cells; exact (Clopper\u2013Pearson) for a "
        "share of which every cell is right; none where resampling sees no spread."
    )
    for name, found in m["baselines"].items():
        if found.get("difference"):
            gain = found["difference"]["balanced_accuracy"]
            low, high = gain["interval"]
            yield Text(
                f"{m['model']['name']} less {name}, on the same cells: balanced accuracy "
                f"{_signed(gain['difference'])} ({_signed(low)} to {_signed(high)})."
            )
    yield Text(str(m["limits"][0]))


def _classes(m: _Metrics) -> Iterator[Block]:
    yield Grid(tables.class_table(m, m), True)
    for name, found in m["baselines"].items():
        yield Folded(f"Classes, {name}", (Grid(tables.class_table(m, found), True),))
    yield Plot("confusion")


def _confidence(m: _Metrics) -> Iterator[Block]:
    yield from (Plot("reliability"), Plot("risk"))
    yield Text("Share of the cells that can be decided", bold=True)
    yield Grid(tables.decided_table(m))
    if m.get("review"):
        yield Text(f"Asked for an error rate of {100 * m['settings']['error_rate']:.1f} %:")
        yield Grid(tables.review_table(m))


def _sets(m: _Metrics) -> Iterator[Block]:
    yield Plot("sets")
    yield Grid(tables.set_table(m))
    for name, found in classifiers(m):
        grid = Grid(tables.set_class_table(found), sortable=True)
        yield Folded(f"Coverage and size by class, {name}", (grid,))


def _anomalies(m: _Metrics) -> Iterator[Block]:
    anomaly = m["anomaly"]
    if anomaly["auc"] is None:
        yield Text(
            f"Not measured: {in_window(anomaly['why'])}. Of the known cells, "
            f"{_share(anomaly['specificity'])} are not called anomalous."
        )
        return
    copies = (
        "For this a copy of each classifier was trained without the class."
        if anomaly["trained_for_it"]
        else "The model has never had this class."
    )
    yield Text(
        f"The cells of the class {anomaly['left_out']} ({anomaly['n_unknown']:,}) are to be told "
        f"from {anomaly['n_known']:,} cells of classes that the model knows. {copies} Sensitivity "
        f"and specificity are those at the stated threshold ({100 * anomaly['false_alarms']:.1f} "
        "% false alarms on validation cells)."
    )
    yield Grid(tables.anomaly_table(m))
    yield Plot("anomaly")
    for name, found in classifiers(m):
        if found["anomaly"]["auc"] is not None:
            grid = Grid(tables.score_table(found["anomaly"]), sortable=True)
            yield Folded(f"Scores of {name}", (grid,), found is m)


def _shift(m: _Metrics) -> Iterator[Block]:
    if not m["shift"]:
        yield Text("Not measured: no other laboratory's data was given.")
        return
    yield Grid(tables.shift_table(m))
    yield Text(
        "All open: every class of the classifier competes. Shared: only the classes that occur in "
        "the set. Balanced accuracy is the mean recall over the classes that occur."
    )
    yield Plot("shift")
    yield Folded("Recall by class", (Grid(tables.recall_table(m), sortable=True),))


def _trials(m: _Metrics) -> Iterator[Block]:
    if not m["trials"]["points"]:
        yield Text(f"Not measured: {m['trials']['why']}.")
        return
    yield Plot("trials")
    yield Text(
        f"With early stopping a cell takes {m['trials_mean']:.2f} trials on average, of at most "
        f"{m['settings']['trials']}. The line is of {m['trials']['n']:,} cells."
    )
    yield Folded("The line as numbers", (Grid(tables.trial_table(m)),))


def _hierarchy(m: _Metrics) -> Iterator[Block]:
    part = m["hierarchy"]
    pairs = "; ".join(f"{a} and {b}" for a, b in part["neighbours"])
    yield Text(
        f"{part['title']}. Strict scores count every other class as wrong; tolerant scores accept "
        f"a neighbour ({pairs or 'none among these classes'})."
    )
    yield Grid(tables.hierarchy_table(m))
    for name, found in classifiers(m):
        if found.get("hierarchy"):
            grid = Grid(tables.hierarchy_class_table(found["hierarchy"]), sortable=True)
            yield Folded(f"Classes, {name}", (grid,), found is m)
    for name, found in classifiers(m):
        if found.get("hierarchy"):
            recall = found["hierarchy"]["groups"]["recall"].items()
            said = ", ".join(f"{group} {_share(value)}" for group, value in recall)
            yield Text(f"Recall of groups instead of classes, {name}: {said}.")


def _psychometric(m: _Metrics) -> Iterator[Block]:
    part = m["psychometric"]
    if "why" in part:
        yield Text(f"Not measured: {part['why']}.")
        return
    yield Text(
        "Share of right answers against how easy a cell is. The index of difficulty here is the "
        f"{part['index']['stated']}."
    )
    yield Grid(tables.psychometric_table(m))
    remarks = [
        f"{tables.observer(m, name)}: {remark}."
        for name, found in part["observers"].items()
        for remark in (found.get("why"), "; ".join(found.get("cautions", ())))
        if remark
    ]
    if remarks:
        yield Points(tuple(remarks))
    if any("curve" in found for found in part["observers"].values()):
        yield Plot("psychometric")
    yield Text(
        f"Guesses are right with {_share(part['guess_rate'])} (one over the number of classes). "
        f"The threshold is where the curve, before guesses and lapses, reaches "
        f"{part['threshold_at']:.1f}: the lower, the harder the cells that are still told apart. "
        "Lapses are errors on easy cells. Ranges are 95 % credible intervals."
    )


def _low_data(m: _Metrics) -> Iterator[Block]:
    yield Plot("low_data")
    yield Grid(tables.low_data_table(m))
    split = _SPLITS.get(m["low_data"]["split"], m["low_data"]["split"])
    yield Text(
        f"Measured on the {split} of the data with small networks trained for it, not with the "
        "model above; the rest of the training split is used without its labels by the diffusion "
        "model and those with a plus."
    )


def _model(m: _Metrics) -> Iterator[Block]:
    yield Grid(tables.model_table(m))
    for name, found in classifiers(m):
        yield Text(f"Classes of {name}: {', '.join(found['model']['classes'])}.")
    versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items())
    settings = m["settings"]
    yield Text(
        f"Data: {m['data']['path']}, made {str(m['created'])[:16].replace('T', ' ')} UTC with seed "
        f"{m['seed']}, {settings['trials']} trials at most, coverage {settings['coverage']}; "
        f"{versions}; Python {m['python']}, {m['platform']}. It took {m['seconds']:,.0f} s."
    )
    for title, key in (
        ("Settings of the evaluation", "evaluation"),
        ("Of the training", "training"),
    ):
        yield Folded(title, (Source(json.dumps(m[key], indent=1)),))


def _words(m: _Metrics) -> Iterator[Block]:
    yield Text("Limits", bold=True)
    yield Points(tuple(map(in_window, m["limits"])))
    yield Text("What the words mean", bold=True)
    yield Points(WORDS)
