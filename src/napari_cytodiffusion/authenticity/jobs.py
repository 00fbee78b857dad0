"""Authenticity tests for the window: what is asked for, run and shown, without Qt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from cytodiffusion.authenticity import AuthenticitySettings, Feedback
from cytodiffusion.progress import Progress
from napari_cytodiffusion.engine import Engine
from napari_cytodiffusion.shared.table import NOTHING, Cell, Table, figure, ranged, short

#: Pixels of a side that a cell takes on the screen, about: whole multiples of its own.
SHOWN_SIDE = 400


@dataclass(frozen=True)
class NewTest:
    """What *Make test* asks for."""

    settings: AuthenticitySettings
    engine: Engine = field(compare=False)


@dataclass(frozen=True, eq=False)
class CellExplanation:
    """Picture (S, S, 3) of a cell under its heatmap, and what it compares."""

    picture: np.ndarray
    predicted: str
    target: str


def make_body(request: NewTest) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that makes a test and yields its path."""

    def body(report: Progress) -> Iterator[Any]:
        report(0.0, "Loading the model ...")
        s = request.settings
        model = request.engine.load_model(s.model, s.device, s.allow_download)
        yield request.engine.make_test(s, report, model=model)

    return body


def result_body(
    engine: Engine, paths: Sequence[Path], mode: str
) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields a `cytodiffusion.authenticity.result.AuthenticityResult`."""

    def body(report: Progress) -> Iterator[Any]:
        report(0.0, "Reading the answers ...")
        yield engine.test_results(paths, mode, report)

    return body


def judge_body(engine: Engine, path: Path) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields one thing: what the judge says of all cells, None of few."""

    def body(report: Progress) -> Iterator[Any]:
        yield (engine.judge_test(path, report),)  # a worker passes on no plain None

    return body


def export_body(folder: Path, result: Any) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that writes a result and yields its folder."""

    def body(report: Progress) -> Iterator[Any]:
        from cytodiffusion.authenticity.export import save_result

        yield save_result(folder, result)

    return body


def explain_body(
    pixels: np.ndarray,
    window_um: float,
    class_name: str,
    side: int,
    model: tuple[str, str],
    engine: Engine,
) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields `CellExplanation`."""

    def body(report: Progress) -> Iterator[Any]:
        found = engine.explain(pixels, window_um, class_name, engine.load_model(*model), report)
        from cytodiffusion.authenticity.explain import overlaid

        picture = overlaid(pixels, window_um, found, side)
        yield CellExplanation(picture, found.predicted_name, found.target_name)

    return body


# -- words and tables -----------------------------------------------------------------------------


def headline(test: Any) -> str:
    """Say in a line what an opened test is."""
    record = test.record
    return (
        f"{test.path.name}: {len(test)} trials, {len(test.classes)} classes, "
        f"{record['side']} px of {record['window_um']:.3g} \u00b5m"
    )


def verdict(told: Feedback, said_class: str | None) -> str:
    """Say in teaching mode what a cell was."""
    kind = "Synthetic" if told.synthetic else "Real"
    made = "made as" if told.synthetic else "labelled"
    right, name = "Right" if told.right else "Wrong", escape(told.class_name)
    text = f"<b>{right}.</b> {kind}, {made} <b>{name}</b>."
    if told.class_right is False:
        text += f" You said {escape(str(said_class))}."
    return text


def explained_text(explained: CellExplanation) -> str:
    """Say what the colours of a heatmap mean."""
    return (
        f"What would have to change for {escape(explained.target)}, the next likely class: "
        "<span style='color:#4393c3'>\u25a0</span> darker, "
        "<span style='color:#d6604d'>\u25a0</span> brighter."
    )


def reason_text(judgement: Any, cell: int) -> str:
    """Say what the judge saw in a cell, and how often it is right."""
    if judgement is None:
        return "This test has too few cells for a judge to learn what gives synthetic ones away."
    found = judgement.accuracy
    text = escape(judgement.reason(cell).text)
    if not judgement.can_tell:
        return text
    return f"{text} It is right about {found['right']} of the {found['n']} cells of this test."


def _share(found: Mapping[str, Any] | None) -> Cell:
    if not found or found["value"] is None:
        return NOTHING, float("-inf")
    return ranged(found["value"], found["interval"], 2)


def _p(value: float) -> Cell:
    return ("<0.001" if value < 0.001 else f"{value:.3f}"), value


def _everyone(figures: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found = dict(figures["participants"])
    return found if len(found) == 1 else {**found, "all answers": figures["pooled"]}


def people_table(figures: Mapping[str, Any]) -> Table:
    """One row a participant, all answers last."""
    rows: list[tuple[Cell, ...]] = []
    for name, f in _everyone(figures).items():
        agreed = (f["class_agreement"] or {}).get("all")
        rows.append(
            (
                (short(name), name),
                (f"{f['n']:,}", f["n"]),
                _share(f["accuracy"]),
                figure(f["dprime"], 2),
                figure(f["criterion"], 2),
                _share(agreed),
                figure(f["seconds"]["all"]["median"], 1),
            )
        )
    main = (len(rows) - 1,) if len(rows) > 1 else ()
    header = ("participant", "answers", "accuracy", "d'", "bias", "class", "median s")
    return Table(header, tuple(rows), main)


def class_table(figures: Mapping[str, Any]) -> Table:
    """One row a class, of all participants, and of the judge where it has looked at one test."""
    judges = figures["judges"]
    judge = judges[0]["classes"] if len(judges) == 1 else None
    rows = []
    for name, f in figures["pooled"]["classes"].items():
        cells: tuple[Cell, ...] = (
            (name, name),
            (f"{f['accuracy']['n']:,}", f["accuracy"]["n"]),
            _share(f["accuracy"]),
            figure(f["dprime"], 2),
            _share((f["class_agreement"] or {}).get("all")),
        )
        rows.append(cells if judge is None else (*cells, _share(judge.get(name))))
    header = ("class", "answers", "accuracy", "d'", "class agreement")
    return Table(header if judge is None else (*header, "judge"), tuple(rows))


def pairs_table(figures: Mapping[str, Any]) -> Table:
    """One row a pair of participants."""
    rows = tuple(
        (
            (short(row["first"], 14), row["first"]),
            (short(row["second"], 14), row["second"]),
            (f"{row['difference']:+.3f}", row["difference"]),
            _p(row["p"]),
            _p(row["p_holm"]),
            figure(row["agree"], 2),
            (f"{row['cells']:,}", row["cells"]),
        )
        for row in figures["pairs"]
    )
    return Table(("first", "second", "difference", "p", "p, Holm", "alike", "cells"), rows)


def reasons_table(cells: Any) -> Table:
    """One row a cell that was judged, and what the judge saw in it."""
    rows = tuple(
        (
            (str(row["cell"]), row["cell"]),
            (kind := "synthetic" if row["synthetic"] else "real", kind),
            (row["class"], row["class"]),
            (f"{row['right']} of {row['judged']}", row["right"] / row["judged"]),
            _right_or_wrong(row["judge_right"]),
        )
        for row in cells.to_dict("records")
    )
    return Table(("cell", "kind", "class", "people right", "judge"), rows)


def _right_or_wrong(value: bool | None) -> Cell:
    return (NOTHING, -1) if value is None else ("right" if value else "wrong", int(value))


def times_table(figures: Mapping[str, Any]) -> Table:
    """Answer times of all participants by what the cells were and what was answered."""
    found = figures["pooled"]["seconds"]
    rows = []
    for name, row in found.items():
        if name == "interrupted":
            continue
        low, high = row["quartiles"] or (None, None)
        cells: tuple[Cell, ...] = ((name, name), (f"{row['n']:,}", row["n"]))
        rows.append((*cells, figure(row["median"], 1), figure(low, 1), figure(high, 1)))
    rows.append((("interrupted, left out", ""), (f"{found['interrupted']:,}", 0), *_BLANK))
    return Table(("answers", "n", "median s", "25 %", "75 %"), tuple(rows))


_BLANK: tuple[Cell, ...] = (("", 0.0),) * 3
