"""What came of a test: figures of each participant, and of all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cytodiffusion.authenticity.answers import read_answers
from cytodiffusion.authenticity.judge import Judgement, judge_test
from cytodiffusion.authenticity.leaks import leak_note
from cytodiffusion.authenticity.statistics import (
    chance,
    detection,
    holm,
    paired_p,
    psychometric_curves,
    share,
    unpaired_p,
)
from cytodiffusion.authenticity.store import AuthenticityTest
from cytodiffusion.evaluation.psychometric.curve import LEVEL
from cytodiffusion.metrics.intervals import resampled_intervals
from cytodiffusion.progress import Progress, silent

#: Version of ``result.json``.
FORMAT = 1
#: Fewer participants than this have no spread to speak of.
FEW = 3
#: What any reader has to know.
LIMITS = (
    "The exact intervals take answers as independent. Answers of one participant, and about one "
    "cell, are not quite: with several participants look at the interval over participants too.",
    "Whether synthetic cells look real says nothing about whether they are of use for training or "
    "diagnosis. Research and teaching use; not a medical device.",
)


@dataclass(frozen=True, eq=False)
class AuthenticityResult:
    """What came of one or several tests.

    Attributes
    ----------
    figures : dict
        Content of ``result.json``: ``pooled``, ``participants``, ``pairs``, ``psychometric``,
        ``judges``, ``leaks``, ``notes``, ``limits``.
    answers : DataFrame
        One row an answer.
    cells : DataFrame
        One row a cell that was judged: how many called it synthetic, how many were right, and
        what a simple judge says of it (`cytodiffusion.authenticity.judge`).
    """

    figures: dict[str, Any]
    answers: pd.DataFrame
    cells: pd.DataFrame

    def sentence(self) -> str:
        """Key figures in a line a participant, and one for all."""
        lines = [_line(name, f) for name, f in self.figures["participants"].items()]
        if len(lines) > 1:
            lines.append(_line("all", self.figures["pooled"]))
        lines += [found["sentence"] for found in self.figures["judges"]]
        return "\n".join(lines)


def read_results(
    paths: Sequence[Path],
    mode: str = "blind",
    *,
    curves: bool = True,
    judge: bool = True,
    seed: int = 0,
    progress: Progress = silent,
) -> AuthenticityResult:
    """Read the answers of tests and make figures of them."""
    answers = read_answers(paths, mode)
    judges = _judges(paths, progress) if judge else {}
    table = answers.table
    own = {name: table[table["participant"] == name] for name in answers.participants}
    figures: dict[str, Any] = {
        "format": FORMAT,
        "mode": mode,
        "level": LEVEL,
        "pooled": figures_of(table, answers.asks_class) | _over_participants(own, seed),
        "participants": {
            name: {"of": answers.trials[name]} | figures_of(rows, answers.asks_class)
            for name, rows in own.items()
        },
        "pairs": pairs(own),
        "psychometric": psychometric_curves(answers, seed, progress) if curves else {},
        "judges": [{"test": test, **found.record()} for test, found in judges.items()],
        "leaks": _leak_notes(paths),
        "notes": list(answers.notes),
        "limits": list(LIMITS),
    }
    return AuthenticityResult(figures, table, with_reasons(cells_table(table), judges))


def _judges(paths: Sequence[Path], progress: Progress) -> dict[str, Judgement]:
    """Return what the judge says of each test with enough cells, by the number of the test."""
    found: dict[str, Judgement] = {}
    for path in paths:
        with AuthenticityTest(path, writable=False) as test:
            key = test.id
        if key not in found and (judgement := judge_test(path, progress)) is not None:
            found[key] = judgement
    return found


def _leak_notes(paths: Sequence[Path]) -> list[str]:
    """Return what could have given the answers away, one sentence or two a test."""
    notes = []
    for path in paths:
        with AuthenticityTest(path, writable=False) as test:
            notes.append(leak_note(test))
    return list(dict.fromkeys(notes))


def with_reasons(cells: pd.DataFrame, judges: Mapping[str, Judgement]) -> pd.DataFrame:
    """Add what the judge says of each cell: ``judge_synthetic``, ``judge_right``, ``reason``."""
    rows = [
        (float("nan"), None, "")
        if (judge := judges.get(str(test))) is None
        else (
            float(judge.probability[cell]),
            bool(judge.right[cell]),
            judge.reason(int(cell)).text,
        )
        for test, cell in zip(cells["test"], cells["cell"], strict=True)
    ]
    columns = ["judge_synthetic", "judge_right", "reason"]
    return cells.join(pd.DataFrame(rows, columns=columns, index=cells.index))


def figures_of(table: pd.DataFrame, asks_class: bool = False) -> dict[str, Any]:
    """Return figures of some answers."""
    return {
        "n": len(table),
        **_decided(table),
        "classes": {
            str(name): {
                **_decided(rows),
                "class_agreement": _agreement(rows) if asks_class else None,
            }
            for name, rows in table.groupby("class")
        },
        "class_agreement": _agreement(table) if asks_class else None,
        "seconds": _seconds(table),
    }


def _decided(table: pd.DataFrame) -> dict[str, Any]:
    made, said = table["synthetic"], table["said_synthetic"]
    hits, alarms = int((made & said).sum()), int((~made & said).sum())
    signals, noises = int(made.sum()), int((~made).sum())
    right = int(table["right"].sum())
    return {
        "accuracy": share(right, len(table)),
        "p_chance": chance(right, len(table)),
        "hits": share(hits, signals),
        "false_alarms": share(alarms, noises),
        **detection(hits, signals, alarms, noises),
    }


def _agreement(table: pd.DataFrame) -> dict[str, Any]:
    said = table[table["said_class"].notna()]
    parts = {"all": said, "real": said[~said["synthetic"]], "synthetic": said[said["synthetic"]]}
    return {key: share(int(rows["class_right"].sum()), len(rows)) for key, rows in parts.items()}


def _seconds(table: pd.DataFrame) -> dict[str, Any]:
    """Quartiles of the answer times, of cells that were shown once without a break."""
    clean = table[table["showings"] == 1]
    groups = {"all": clean, "right": clean[clean["right"]], "wrong": clean[~clean["right"]]}
    for made, truth in ((False, "real"), (True, "synthetic")):
        for said, called in ((False, "real"), (True, "synthetic")):
            rows = clean[(clean["synthetic"] == made) & (clean["said_synthetic"] == said)]
            groups[f"{truth} called {called}"] = rows
    return {
        "interrupted": len(table) - len(clean),
        **{name: _quartiles(rows["seconds"]) for name, rows in groups.items()},
    }


def _quartiles(seconds: pd.Series) -> dict[str, Any]:
    if not len(seconds):
        return {"n": 0, "median": None, "quartiles": None}
    low, middle, high = (float(v) for v in np.quantile(seconds, [0.25, 0.5, 0.75]))
    return {"n": len(seconds), "median": middle, "quartiles": [low, high]}


def _over_participants(own: dict[str, pd.DataFrame], seed: int) -> dict[str, Any]:
    """Mean accuracy of the participants, and its interval by resampling them."""
    each = np.array([rows["right"].mean() for rows in own.values()])
    found: dict[str, Any] = {"mean": float(each.mean()), "participants": len(each)}
    if len(each) < FEW:
        return {"over_participants": {**found, "interval": None}}
    drawn = resampled_intervals(lambda i: {"mean": float(each[i].mean())}, len(each), seed=seed)
    return {"over_participants": {**found, "interval": list(drawn["mean"])}}


def pairs(own: dict[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Compare the accuracy of every two participants by an exact test."""
    found = [_pair(a, own[a], b, own[b]) for a, b in combinations(own, 2)]
    for row, p in zip(found, holm([row["p"] for row in found]), strict=True):
        row["p_holm"] = p
    return found


def _pair(a: str, first: pd.DataFrame, b: str, second: pd.DataFrame) -> dict[str, Any]:
    both = first.merge(second, on=["test", "cell"], suffixes=("_a", "_b"))
    row: dict[str, Any] = {"first": a, "second": b, "cells": len(both)}
    if len(both):
        right_a, right_b = both["right_a"], both["right_b"]
        p = paired_p(int((right_a & ~right_b).sum()), int((~right_a & right_b).sum()))
        difference = float(right_a.mean() - right_b.mean())
        agree = float((both["said_synthetic_a"] == both["said_synthetic_b"]).mean())
        return row | {"test": "mcnemar", "difference": difference, "agree": agree, "p": p}
    counts = [(int(t["right"].sum()), len(t)) for t in (first, second)]
    difference = float(first["right"].mean() - second["right"].mean())
    p = unpaired_p(counts[0], counts[1])
    return row | {"test": "fisher", "difference": difference, "agree": None, "p": p}


def cells_table(table: pd.DataFrame) -> pd.DataFrame:
    """One row a cell that was judged: ``judged``, ``called_synthetic``, ``right`` (counts)."""
    keys = ["test", "cell", "synthetic", "class", "confidence", "source"]
    found = table.groupby(keys, dropna=False, sort=True).agg(
        judged=("right", "size"),
        called_synthetic=("said_synthetic", "sum"),
        right=("right", "sum"),
        median_seconds=("seconds", "median"),
    )
    return found.reset_index()


def _line(name: str, found: dict[str, Any]) -> str:
    accuracy = found["accuracy"]
    low, high = accuracy["interval"]
    text = (
        f"{name}: {accuracy['right']} of {accuracy['n']} right, accuracy {accuracy['value']:.3f} "
        f"({low:.3f} to {high:.3f})"
    )
    if found["dprime"] is not None:
        text += f", d' {found['dprime']:.2f}, criterion {found['criterion']:+.2f}"
    agreement = found["class_agreement"]
    if agreement and agreement["all"]["n"]:
        text += f", class agreement {agreement['all']['value']:.3f} of {agreement['all']['n']}"
    median = found["seconds"]["all"]["median"]
    return text if median is None else f"{text}, median {median:.1f} s"
