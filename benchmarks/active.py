"""How few labels suffice, and whether cells without a label help.

    python benchmarks/active.py "$DATA" default --keep results/active -o results/active/active.json

Every strategy of `cytodiffusion.teaching.choose` chooses cells of a pool to be labelled, a few
percent of it at a time, and the model learns from all labels so far; others of the same laboratory
are scored (balanced accuracy). Network and features are frozen: a round takes milliseconds.

- `bcisc`, `bccd` and `chulawbc` are laboratories that the default model was not trained on. It is
  taught by corrections (`cytodiffusion.classification.corrections`), starting from what it says by
  itself. ``others`` is all three as if they were one. Half of the cells are the pool; those of a
  slide of Chulalongkorn are near copies, so there it is half of the slides.
- `pbc` is the laboratory of the training: cells of its validation and test split, whose classes
  are told to a head that knows nothing: a logistic regression on what the frozen network makes of
  a cell, the principal components of its embedding and the logits of its ten classes. It has
  learned these very classes from the training split, which makes it easier.
- `finer` are the same cells with eleven finer classes, which the network was not told of: band and
  segmented neutrophils, promyelocytes, myelocytes and metamyelocytes beside the others.

The first cells, when nothing is labelled and no model has said anything, are those of ``clusters``
for every strategy but ``random``. Means of five seeds; ``needed`` is the share of the pool's labels
at which the accuracy first reaches that of all labels, less half a point, and ``kept`` from which
on it stays there.

Then, with ten labels a class at random: what unlabelled cells of the same laboratory add, as the
anchors that corrections have, by self-training and by spreading labels to neighbours.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from laboratory_cells import LEFT_OUT, evidence_of, read_cells
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.semi_supervised import LabelSpreading

from cytodiffusion.classification.corrections import (
    COMPONENTS,
    HumanLabel,
    fit_head,
    log_posterior,
    principal_components,
)
from cytodiffusion.classification.decision import Evidence, decide
from cytodiffusion.classification.result import Classification, join
from cytodiffusion.classification.scores import softmax
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.classification.slide_correction import adjust
from cytodiffusion.metrics.scores import balanced_accuracy
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.teaching.choose import STRATEGIES, choose

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Shares of the pool that are labelled, in percent.
SHARES = (0, 1, 2, 3, 5, 7.5, 10, 13.3, 20, 30, 50, 100)
SEEDS = 5
#: Points of accuracy that count as none.
AS_GOOD = 0.005
#: Trials of every cell, as a slide's clear cells have.
SETTINGS = ClassifySettings(trials=3, min_trials=3)
#: Finer classes with fewer cells are left out.
ENOUGH = 20
#: Cells of each class of PBC's test split.
MOST = 120
#: Tasks of the laboratory that the network was trained on.
OF_TRAINING = ("pbc", "finer")
#: Labels of a class, and draws, for what unlabelled cells add.
EACH, DRAWS = 10, 20
#: What cells without a label do in corrections already: they hold the head to what the model says.
CORRECTIONS = "corrections, others as anchors"


@dataclass
class Task:
    """Cells of known class, what the model says of them, and how it is taught.

    Attributes
    ----------
    truth : (N,) int64 array
        Rows of ``names``.
    groups : (N,) str array
        Cells of one are near copies of each other.
    learn : callable
        Posterior ``(N, J)`` from rows that have a label and their classes, None where no model says
        anything before the first label.
    alone : callable or None
        The same from these rows and no other.
    """

    name: str
    names: list[str]
    truth: Ints
    groups: NDArray[np.str_]
    embedding: Floats
    learn: Callable[[Ints, Ints], Floats | None]
    alone: Callable[[Ints, Ints], Floats] | None = None


def classified(
    name: str, split: str, data: Path, model: ModelBundle, kept: Path
) -> tuple[Classification, dict[str, NDArray[np.str_]]]:
    """Cells of a laboratory, each classified alone; kept, as reading them takes minutes."""
    file = kept / f"{name}-{split}-names.npz"
    evidence = kept / f"{name}-{split}.npz"
    if not (file.is_file() and evidence.is_file()):
        most = MOST if split == "test" else None
        cells = read_cells(data, name, model.input_size, model.window_um, split, most)
        evidence_of(model, cells, evidence, SETTINGS)
        np.savez(file, names=cells.names, slides=cells.slides, subtypes=cells.subtypes)
    with np.load(evidence) as stored:
        found = Evidence(**{key: stored[key] for key in stored.files})
    with np.load(file) as stored:
        return decide(found, model, SETTINGS), {key: stored[key] for key in stored.files}


def laboratory(name: str, data: Path, model: ModelBundle, kept: Path) -> tuple[Any, Any, Any]:
    """Cells of a laboratory that the model never saw, classified together."""
    alone, told = classified(name, "val", data, model, kept)
    one_a_cell = np.char.add(f"{name} ", np.arange(len(alone)).astype(str))
    groups = told["slides"] if (told["slides"] != "").all() else one_a_cell
    return adjust(alone, model, SETTINGS), told["names"], groups


def task_of(
    name: str, result: Classification, classes: Any, groups: Any, model: ModelBundle
) -> Task:
    """Return what is taught by corrections."""
    names = list(model.class_names)
    truth = np.array([names.index(c) for c in classes])

    place = principal_components(result, model)
    start = log_posterior(result, len(names))

    def head_from(rows: Ints, said: Ints, seen: Ints) -> Floats:
        # what `correct` does for the classes, without its prediction sets and anomalies
        number = {int(row): at for at, row in enumerate(seen)}
        labels = [HumanLabel(number[int(r)], names[c]) for r, c in zip(rows, said, strict=True)]
        head = fit_head(start[seen], place[seen], labels, names, len(names))
        return softmax(head.logits(start, place))

    def learn(rows: Ints, said: Ints) -> Floats:
        if not len(rows):
            return result.posterior
        return head_from(rows, said, np.arange(len(start)))

    return Task(name, names, truth, groups, place, learn, lambda r, c: head_from(r, c, r))


def from_nothing(name: str, data: Path, model: ModelBundle, kept: Path) -> Task:
    """Classes of PBC's cells that are not of the training, by a head that knows nothing of them."""
    parts = []
    for split in ("val", "test"):
        alone, told = classified("pbc", split, data, model, kept)
        parts.append((alone, told["subtypes" if name == "finer" else "names"]))
    result = join([part for part, _ in parts])
    kinds = np.concatenate([names for _, names in parts])
    found, counts = np.unique(kinds, return_counts=True)
    names = [str(n) for n, count in zip(found, counts, strict=True) if count >= ENOUGH]
    here = np.isin(kinds, names)
    place = features(result[here], model)
    truth = np.array([names.index(k) for k in kinds[here]])

    def learn(rows: Ints, said: Ints) -> Floats | None:
        posterior = np.zeros((len(place), len(names)))
        if len(np.unique(said)) < 2:
            return None
        head = LogisticRegression(C=1.0, max_iter=400).fit(place[rows], said)
        posterior[:, head.classes_] = head.predict_proba(place)
        return posterior

    groups = np.arange(len(truth)).astype(str)
    return Task(name, names, truth, groups, place, learn)


def features(result: Classification, model: ModelBundle) -> Floats:
    """Principal components with their own spreads, the first of which is 3, and the logits."""
    spread = model.calibration.principal_axes[1][:COMPONENTS]
    seen = principal_components(result, model) * np.sqrt(COMPONENTS) * 3 * spread / spread[0]
    lead = result.logits - result.logits.mean(axis=1, keepdims=True)
    return np.concatenate([seen, 3 * lead / lead.std()], axis=1)


def halves(task: Task, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Return the pool and the cells that are scored, both with cells of all classes."""
    groups, there = np.unique(task.groups), len(np.unique(task.truth))
    for _ in range(200):
        here = np.isin(task.groups, rng.permutation(groups)[: len(groups) // 2])
        if all(len(np.unique(task.truth[half])) == there for half in (here, ~here)):
            return np.flatnonzero(here), np.flatnonzero(~here)
    raise SystemExit(f"{task.name}: no half has all classes.")


def curve(task: Task, strategy: str, seed: int) -> list[float]:
    """Return the accuracy after each of `SHARES`."""
    pool, scored = halves(task, np.random.default_rng(seed))
    labelled, found = np.zeros(len(pool), bool), []
    even = np.full((len(task.truth), len(task.names)), 1 / len(task.names))
    for share in SHARES:
        wanted = int(np.ceil(share / 100 * len(pool))) - int(labelled.sum())
        said = task.learn(pool[labelled], task.truth[pool[labelled]])
        if wanted > 0:
            how = "clusters" if said is None and strategy != "random" else strategy
            posterior = even if said is None else said
            draw = 1000 * seed + int(10 * share)
            chosen = choose(posterior[pool], task.embedding[pool], labelled, how, wanted, draw)
            labelled[chosen] = True
            said = task.learn(pool[labelled], task.truth[pool[labelled]])
        best = np.zeros(len(scored)) if said is None else said[scored].argmax(axis=1)
        found.append(balanced_accuracy(task.truth[scored], best))
    return found


def needed(accuracy: list[float], *, kept: bool = False) -> float:
    """Percent of the labels at which the accuracy reaches that of all, or from which it stays."""
    good = np.array(accuracy) >= accuracy[-1] - AS_GOOD
    first = int(len(good) - good[::-1].argmin()) if kept and not good.all() else int(good.argmax())
    if first == 0:
        return 0.0
    low, high = accuracy[first - 1], accuracy[first]
    part = (accuracy[-1] - AS_GOOD - low) / (high - low)
    return float(SHARES[first - 1] + part * (SHARES[first] - SHARES[first - 1]))


def unlabelled(task: Task) -> dict[str, list[float]]:
    """Accuracy with `EACH` labels a class, by what is made of cells without a label."""
    found: dict[str, list[float]] = {}
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        pool, scored = halves(task, rng)
        rows = np.concatenate(
            [
                (own := rng.permutation(pool[task.truth[pool] == k]))[: min(EACH, len(own))]
                for k in np.unique(task.truth)
            ]
        )
        for how, posterior in with_unlabelled(task, rows):
            accuracy = balanced_accuracy(task.truth[scored], posterior[scored].argmax(axis=1))
            found.setdefault(how, []).append(accuracy)
    return found


def with_unlabelled(task: Task, rows: Ints) -> Iterator[tuple[str, Floats]]:
    """Posteriors by corrections, without cells that have no label, and with more made of them."""
    truth = task.truth[rows]
    plain = task.learn(rows, truth)
    assert plain is not None
    assert task.alone is not None
    yield CORRECTIONS, plain
    yield "labelled cells alone, no anchors", task.alone(rows, truth)
    taken = np.isin(np.arange(len(plain)), rows)
    for sure in (0.9, 0.99):
        yield f"self-training, from {sure}", self_trained(task, rows, plain, taken, sure, 99)
        yield (
            f"as many of each class, from {sure}",
            self_trained(task, rows, plain, taken, sure, EACH),
        )
    classes = np.unique(truth)
    given = np.full(len(plain), -1)
    given[rows] = truth
    spread = LabelSpreading(kernel="knn", n_neighbors=7, alpha=0.2, max_iter=100)
    spread.fit(task.embedding, given)
    neighbours = np.zeros_like(plain)
    neighbours[:, classes] = spread.label_distributions_
    yield "labels spread to neighbours", neighbours
    mixed = np.log(np.maximum(plain, 1e-9)) + np.log(np.maximum(neighbours, 1e-2))
    yield "both, multiplied", mixed


def self_trained(
    task: Task, rows: Ints, plain: Floats, taken: NDArray[np.bool_], sure: float, most: int
) -> Floats:
    """Learn again with the classes that the first answer is sure of, ``most`` cells of each."""
    best, confidence = plain.argmax(axis=1), plain.max(axis=1)
    more = []
    for k in np.unique(task.truth[rows]):
        own = np.flatnonzero((best == k) & (confidence >= sure) & ~taken)
        more.append(own[np.argsort(-confidence[own], kind="stable")][:most])
    extra = np.concatenate(more)
    again = task.learn(
        np.concatenate([rows, extra]), np.concatenate([task.truth[rows], best[extra]])
    )
    assert again is not None
    return again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the public images")
    parser.add_argument("model", nargs="?", default="default")
    parser.add_argument("--keep", type=Path, required=True, help="folder for what models say")
    parser.add_argument("--only", nargs="+", help="tasks, such as bccd others")
    parser.add_argument("-o", "--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    model = load_bundle(options.model, device="cpu")
    console, found = Console(width=140), {}
    wanted = options.only or [*LEFT_OUT, "others", *OF_TRAINING]
    parts = {}
    if set(wanted) - set(OF_TRAINING):
        parts = {name: laboratory(name, options.data, model, options.keep) for name in LEFT_OUT}
    for name in wanted:
        if name in OF_TRAINING:
            task = from_nothing(name, options.data, model, options.keep)
        elif name == "others":
            results, classes, groups = zip(*parts.values(), strict=True)
            whole = join(results)
            task = task_of(name, whole, np.concatenate(classes), np.concatenate(groups), model)
        else:
            task = task_of(name, *parts[name], model)
        found[name] = report(task, console)
        if options.output:
            options.output.parent.mkdir(parents=True, exist_ok=True)
            options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def report(task: Task, console: Console) -> dict[str, Any]:
    """Measure one task and print it."""
    curves = {
        how: np.mean([curve(task, how, seed) for seed in range(SEEDS)], axis=0).tolist()
        for how in STRATEGIES
    }
    pool = len(halves(task, np.random.default_rng(0))[0])
    table = Table(
        f"{task.name}: {pool} of {len(task.truth)}", *(f"{s} %" for s in SHARES), "needed"
    )
    for how, accuracy in curves.items():
        table.add_row(
            how,
            *(f"{a:.3f}" for a in accuracy),
            f"{needed(accuracy):.1f} %",
            f"{needed(accuracy, kept=True):.1f} %",
        )
    console.print(table)
    result: dict[str, Any] = {
        "pool": pool,
        "shares": SHARES,
        "curves": curves,
        "needed": {how: needed(accuracy) for how, accuracy in curves.items()},
        "kept": {how: needed(accuracy, kept=True) for how, accuracy in curves.items()},
    }
    if task.alone is not None:
        more = unlabelled(task)
        result["unlabelled"] = {how: float(np.mean(values)) for how, values in more.items()}
        alone = np.array(more[CORRECTIONS])
        table = Table(f"{task.name}, {EACH} labels a class", "accuracy", "change", "worst change")
        for how, values in more.items():
            change = np.array(values) - alone
            table.add_row(
                how, f"{np.mean(values):.3f}", f"{change.mean():+.3f}", f"{change.min():+.3f}"
            )
        console.print(table)
    return result


if __name__ == "__main__":
    main()
