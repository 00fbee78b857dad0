"""Tables of a report for the window: the same as in the HTML page, from ``metrics.json``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from napari_cytodiffusion.evaluate.jobs import NOTHING, Cell, Table, classifiers, figure, short

_Found = Mapping[str, Any]

_KEY_FIGURES = (
    ("Cells", "n"),
    ("Balanced accuracy", "balanced_accuracy"),
    ("Accuracy", "accuracy"),
    ("Macro F1", "macro_f1"),
    ("Calibration error (ECE)", "ece"),
    ("Area under risk (AURC)", "aurc"),
    ("Coverage of the sets", "coverage"),
    ("Mean size of the sets", "set_size"),
    ("Trials a cell", "trials_mean"),
    ("Milliseconds a cell", "ms_per_cell"),
    ("Anomaly AUC", "auc"),
    ("Anomaly sensitivity", "sensitivity"),
    ("Anomaly specificity", "specificity"),
)

_OF_ANOMALIES = ("auc", "sensitivity", "specificity")

_DIGITS = {"aurc": 4, "set_size": 2, "trials_mean": 2, "ms_per_cell": 1}


def measured(found: _Found, key: str, digits: int = 3) -> Cell:
    """Return a figure as a cell of a table, its interval in a second line where it has a width."""
    text, order = figure(found.get(key), digits)
    ends = (found.get("intervals") or {}).get(key)
    if ends is None or any(e is None for e in ends) or ends[0] == ends[1] or text == NOTHING:
        return text, order
    return f"{text}\n{ends[0]:.{digits}f}\u2013{ends[1]:.{digits}f}", order


def counted(number: int) -> Cell:
    """Return a number of cells."""
    return f"{number:,}", number


def named(name: str) -> Cell:
    """Return a name."""
    return name, name


def observer(metrics: _Found, name: str) -> str:
    """Name of the model where ``name`` stands for it."""
    return str(metrics["model"]["name"]) if name == "model" else name


def key_table(metrics: _Found) -> Table:
    """Key figures as rows, classifiers as columns."""
    everyone = classifiers(metrics)
    rows = []
    for title, key in _KEY_FIGURES:
        cells: list[Cell] = [named(title)]
        for _, found in everyone:
            source = found["anomaly"] if key in _OF_ANOMALIES else found
            digits = _DIGITS.get(key, 3)
            cells.append(counted(source[key]) if key == "n" else measured(source, key, digits))
        rows.append(tuple(cells))
    return Table(("", *(name for name, _ in everyone)), tuple(rows))


def class_table(metrics: _Found, found: _Found) -> Table:
    """One row a class; in the model's own table the F1 of each baseline stands beside its own."""
    rivals = metrics["baselines"] if found is metrics else {}
    rows = []
    for name, row in found["per_class"].items():
        of_rivals = [f["per_class"].get(name, {}) for f in rivals.values()]
        rows.append(
            (
                named(name),
                measured(row, "f1"),
                *(measured(other, "f1") for other in of_rivals),
                measured(row, "recall"),
                measured(row, "precision"),
                counted(row["n"]),
                figure(row["coverage"]),
                figure(row["set_size"], 2),
            )
        )
    others = [f"F1,\n{short(name)}" for name in rivals]
    header = ("class", "F1", *others, "recall", "precision", "cells", "coverage", "set size")
    return Table(header, tuple(rows))


def in_bold(metrics: _Found, found: _Found) -> bool:
    """Whether rows of these figures stand out: the model's, where it has rivals."""
    return found is metrics and bool(metrics["baselines"])


def _by_classifier(
    metrics: _Found, cells_of: Callable[[_Found], Iterable[tuple[Cell, ...]]]
) -> tuple[tuple[tuple[Cell, ...], ...], tuple[int, ...]]:
    """Rows of each classifier behind its name, and which of them stand out."""
    rows: list[tuple[Cell, ...]] = []
    main: list[int] = []
    for name, found in classifiers(metrics):
        for cells in cells_of(found):
            main += [len(rows)] if in_bold(metrics, found) else []
            rows.append((named(name), *cells))
    return tuple(rows), tuple(main)


def decided_table(metrics: _Found) -> Table:
    """Share of the cells that can be decided at some error rates, a row a classifier."""
    rows, main = _by_classifier(
        metrics, lambda f: [tuple(figure(r["share"]) for r in f["decided"])]
    )
    errors = [f"error\n\u2264 {100 * row['error']:g} %" for row in metrics["decided"]]
    return Table(("classifier", *errors), rows, main)


def review_table(metrics: _Found) -> Table:
    """Shares held back for review at the error rate asked for, a row a classifier."""

    def cells(found: _Found) -> list[tuple[Cell, ...]]:
        review = found.get("review")
        return [(figure(review["share"]), figure(review["error"], 4))] if review else []

    rows, main = _by_classifier(metrics, cells)
    return Table(("classifier", "held back\nfor review", "wrong among\nthe others"), rows, main)


def set_table(metrics: _Found) -> Table:
    """Coverage and size of the sets, a row a coverage asked for and classifier."""
    rows: list[tuple[Cell, ...]] = []
    main: list[int] = []
    for number in range(len(metrics["sets"])):
        for name, found in classifiers(metrics):
            main += [len(rows)] if in_bold(metrics, found) else []
            row = found["sets"][number]
            keys = (("coverage", 3), ("size", 2), ("singletons", 3), ("empty", 3))
            figures = (figure(row[key], digits) for key, digits in keys)
            rows.append((figure(row["asked"], 2), named(name), *figures))
    header = ("asked", "classifier", "found", "mean\nsize", "of one\nclass", "empty")
    return Table(header, tuple(rows), tuple(main))


def set_class_table(found: _Found) -> Table:
    """Coverage and size of the sets by class, of one classifier."""
    header = ["class"]
    for row in found["sets"]:
        header += [f"{row['asked']:.2f}", "size"]
    rows = []
    for name in found["per_class"]:
        cells = [named(name)]
        for row in found["sets"]:
            of = row["per_class"].get(name, {})
            cells += [figure(of.get("coverage")), figure(of.get("size"), 2)]
        rows.append(tuple(cells))
    return Table(tuple(header), tuple(rows))


def anomaly_table(metrics: _Found) -> Table:
    """How well the class left out is told from the others, a row a classifier."""

    def cells(found: _Found) -> list[tuple[Cell, ...]]:
        anomaly = found["anomaly"]
        there = anomaly["auc"] is not None
        return [tuple(measured(anomaly, key) for key in _OF_ANOMALIES)] if there else []

    rows, main = _by_classifier(metrics, cells)
    return Table(("classifier", "AUC", "sensitivity", "specificity"), rows, main)


def score_table(anomaly: _Found) -> Table:
    """Each anomaly score of one classifier."""
    rows: list[tuple[Cell, ...]] = []
    main: list[int] = []
    for score, row in anomaly["scores"].items():
        if score == "score":
            main.append(len(rows))
            score = f"{anomaly['score_name'] or '1 - gap'} (its own)"
        keys = (*_OF_ANOMALIES, "sensitivity_here")
        rows.append((named(score), *(figure(row[key]) for key in keys)))
    here = f"at {100 * anomaly['false_alarms']:.1f} % false\nalarms here"
    header = ("score", "AUC", "sensitivity", "specificity", f"sensitivity\n{here}")
    return Table(header, tuple(rows), tuple(main))


def shift_table(metrics: _Found) -> Table:
    """One row a set of data and classifier: at home first, then each other laboratory."""
    rows: list[tuple[Cell, ...]] = []
    main: list[int] = []
    for place in (None, *metrics["shift"]):
        for name, found in classifiers(metrics):
            main += [len(rows)] if in_bold(metrics, found) else []
            here = found if place is None else found["shift"][place]
            rows.append((named(place or "this data"), named(name), *_shifted(here)))
    header = (
        "data",
        "classifier",
        "balanced,\nall open",
        "balanced,\nshared",
        "accuracy",
        "cells",
        "ECE",
        "coverage",
        "set\nsize",
        "trials",
        "called\nanomalous",
    )
    return Table(header, tuple(rows), tuple(main))


def _shifted(found: _Found) -> tuple[Cell, ...]:
    return (
        measured(found, "balanced_accuracy"),
        measured(found, "shared_balanced_accuracy"),
        measured(found, "accuracy"),
        counted(found["n"]),
        figure(found["ece"]),
        figure(found["coverage"]),
        figure(found["set_size"], 2),
        figure(found["trials_mean"], 2),
        figure(found.get("anomaly_rate")),
    )


def recall_table(metrics: _Found) -> Table:
    """Recall by class in the other laboratories: a row a class, a column a set and classifier."""
    columns = [
        (f"{short(place, 12)},\n{short(name, 12)}", found["shift"][place]["recall"])
        for place in metrics["shift"]
        for name, found in classifiers(metrics)
    ]
    rows = tuple(
        (named(name), *(figure(recall.get(name)) for _, recall in columns))
        for name in metrics["per_class"]
    )
    return Table(("class", *(title for title, _ in columns)), rows)


def trial_table(metrics: _Found) -> Table:
    """Accuracy after each number of trials."""
    keys = ("accuracy", "balanced_accuracy")
    rows = tuple(
        (counted(p["trials"]), *(figure(p[key]) for key in keys))
        for p in metrics["trials"]["points"]
    )
    return Table(("trials", "accuracy", "balanced accuracy"), rows)


def hierarchy_table(metrics: _Found) -> Table:
    """Strict and tolerant scores of the model and of each baseline that has them."""

    def cells(found: _Found) -> list[tuple[Cell, ...]]:
        part = found.get("hierarchy")
        if not part:
            return []
        kinds = ("strict", "tolerant", "groups")
        keys = ("balanced_accuracy", "accuracy")
        return [tuple(figure(part[kind][key]) for key in keys for kind in kinds)]

    rows, main = _by_classifier(metrics, cells)
    titles = [
        f"{key},\n{kind}"
        for key in ("balanced", "accuracy")
        for kind in ("strict", "tolerant", "groups")
    ]
    return Table(("classifier", *titles), rows, main)


def hierarchy_class_table(part: _Found) -> Table:
    """Strict and tolerant scores by class, of one classifier."""
    keys = ("recall_strict", "recall_tolerant", "precision_strict", "precision_tolerant")
    rows = tuple(
        (
            named(name),
            *(figure(row[key]) for key in keys),
            counted(row["n"]),
            named(str(row["group"])),
        )
        for name, row in part["per_class"].items()
    )
    titles = ("recall,\nstrict", "recall,\ntolerant", "precision,\nstrict", "precision,\ntolerant")
    return Table(("class", *titles, "cells", "group"), rows)


def psychometric_table(metrics: _Found) -> Table:
    """Threshold, width and lapse rate of each observer, with their credible intervals."""
    rows: list[tuple[Cell, ...]] = []
    main: list[int] = []
    observers = metrics["psychometric"]["observers"]
    for name, found in observers.items():
        main += [len(rows)] if name == "model" and len(observers) > 1 else []
        figures = (measured(found, key) for key in ("threshold", "width", "lapse"))
        accuracy = figure(found["accuracy"])
        rows.append((named(observer(metrics, name)), *figures, accuracy, counted(found["n"])))
    header = ("who", "threshold", "width", "lapse\nrate", "accuracy", "cells")
    return Table(header, tuple(rows), tuple(main))


def low_data_table(metrics: _Found) -> Table:
    """Balanced accuracy with few labelled cells a class."""
    rows = tuple(
        (
            named(name),
            counted(p["cells"]),
            figure(p["balanced_accuracy"]),
            figure(p["sd"]),
            counted(p["seeds"]),
        )
        for name, points in metrics["low_data"]["curves"].items()
        for p in points
    )
    header = (
        "classifier",
        "labelled\na class",
        "balanced\naccuracy",
        "SD",
        "seeds",
    )
    return Table(header, rows)


def model_table(metrics: _Found) -> Table:
    """Version, device and checksum of each classifier."""

    def cells(found: _Found) -> list[tuple[Cell, ...]]:
        model = found["model"]
        texts = (model["version"], model["device"], str(model["sha256"])[:16])
        return [(*map(named, texts), counted(len(model["classes"])))]

    rows, main = _by_classifier(metrics, cells)
    return Table(("classifier", "version", "device", "SHA-256", "classes"), rows, main)
