"""What a prior over classes changes on cells that are mixed as it says, and on cells that are not.

Run ``python benchmarks/prior.py PBC`` with the folder of the data set. The validation cells are
classified once, each by itself; then they are weighed so that the nucleated ones are mixed as in
normal blood, or all classes alike. Prediction sets and the threshold of the accepted cells come
from nine tenths of the cells and are measured on the last tenth, in turn, as they are made from
other cells in use. The table is printed as Markdown.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from cytodiffusion.cells.single_cell import SingleCells
from cytodiffusion.classification.conformal import conformal_sets
from cytodiffusion.classification.prior import Prior, prior_of
from cytodiffusion.classification.scores import softmax
from cytodiffusion.classification.selective import find_stricter
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.model import ModelBundle, load_bundle
from cytodiffusion.predict import predict

#: Parts of the cross-validation, and bins of the calibration error.
FOLDS, BINS = 10, 15


def classified(folder: Path, model: ModelBundle, kept: Path | None) -> tuple[np.ndarray, ...]:
    """Logits ``(N, K)`` of the validation cells and their classes ``(N,)``."""
    if kept is not None and kept.is_file():
        found = np.load(kept)
        return found["logits"], found["labels"]
    names = list(model.class_names)
    paths = [p for p in sorted((folder / "val").glob("*/*.jpg")) if p.parent.name in names]
    cells = SingleCells(paths, 0.1)
    read = [cells.read(path) for path in paths]
    result = predict(
        model,
        np.stack([cell.crop(model.input_size, model.window_um) for cell in read]),
        ClassifySettings(),
        background=np.stack([cell.background for cell in read]),
    )
    labels = np.array([names.index(path.parent.name) for path in paths])
    if kept is not None:
        np.savez(kept, logits=result.logits, labels=labels)
    return result.logits, labels


def weights(labels: np.ndarray, prior: Prior, mixture: str) -> np.ndarray:
    """Weight ``(N,)`` of each cell in a mixture of nucleated cells; they add up to 1."""
    shares = prior.shares if mixture == "normal blood" else prior.acting / prior.acting.sum()
    counts = np.bincount(labels, minlength=len(shares))
    found = shares[labels] / counts[labels]
    return np.asarray(found / found.sum())


class Measured:
    """Figures of posteriors that have a prior or not."""

    def __init__(self, plain: np.ndarray, labels: np.ndarray, prior: Prior) -> None:
        self.plain, self.labels = plain, labels
        self.moved = prior.applied(plain)
        self.rows = np.arange(len(labels))
        self.fold = np.random.default_rng(0).permutation(len(labels)) % FOLDS

    def column(self, posterior: np.ndarray, share: np.ndarray) -> dict[str, str]:
        """Return the figures of one kind of posterior in one mixture."""
        predicted, confidence = posterior.argmax(axis=1), posterior.max(axis=1)
        right = predicted == self.labels
        moved = predicted != self.plain.argmax(axis=1)
        bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
        off = [abs((share * (right - confidence))[bins == b].sum()) for b in range(BINS)]
        sets, above = self.promised()
        sets[self.rows, predicted] |= moved & sets.any(axis=1)
        held = sets[self.rows, self.labels]
        known = np.unique(self.labels)
        accepted = confidence > above
        figures = {
            "accuracy": (share * right).sum(),
            "calibration error": sum(off),
            "log loss": -(share * np.log(posterior[self.rows, self.labels] + 1e-12)).sum(),
            "prediction sets hold the class": (share * held).sum(),
            "... in the class where they do least": min(
                held[self.labels == k].mean() for k in known if share[self.labels == k].any()
            ),
            "classes in a set": (share * sets[:, known].sum(axis=1)).sum(),
            "accepted by confidence": (share * accepted).sum(),
            "... wrong of them": (share * accepted * ~right).sum() / (share * accepted).sum(),
        }
        accepted &= ~moved
        figures |= {
            "accepted, and not decided by the prior": (share * accepted).sum(),
            "... wrong of them ": (share * accepted * ~right).sum() / (share * accepted).sum(),
        }
        return {name: f"{value:.4f}" for name, value in figures.items()}

    def promised(self) -> tuple[np.ndarray, np.ndarray]:
        """Return sets ``(N, K)`` and thresholds ``(N,)`` from the other parts, without a prior."""
        sets = np.zeros(self.plain.shape, bool)
        above = np.ones(len(self.plain))
        for number in range(FOLDS):
            here, rest = self.fold == number, self.fold != number
            labels = self.labels[rest]
            true = self.plain[rest, labels]
            sets[here] = conformal_sets(self.plain[here], 1 - true, 0.95, labels)
            right = self.plain[rest].argmax(axis=1) == labels
            found = find_stricter(self.plain[rest].max(axis=1), right, 0.02, None)
            above[here] = 1.0 if found is None else found.above
        return sets, above


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pbc", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--keep", type=Path, help="NPZ to keep the logits in, or to take them from")
    options = parser.parse_args()
    model = load_bundle(options.model, device=options.device)
    logits, labels = classified(options.pbc, model, options.keep)
    prior = prior_of(ClassifySettings(prior="normal-blood"), model.class_names)
    assert prior is not None
    nucleated = prior.acting[labels]
    plain = softmax(logits[nucleated] / model.calibration.temperature)
    measured = Measured(plain, labels[nucleated], prior)
    columns = {}
    for mixture in ("normal blood", "all classes alike"):
        share = weights(measured.labels, prior, mixture)
        columns[f"{mixture}, prior even"] = measured.column(plain, share)
        columns[f"{mixture}, prior normal-blood"] = measured.column(measured.moved, share)
    print(f"{nucleated.sum()} nucleated validation cells, {model.name} {model.version}.\n")
    print("| | " + " | ".join(columns) + " |")
    print("|---|" + "---:|" * len(columns))
    for figure in next(iter(columns.values())):
        print(f"| {figure} | " + " | ".join(c[figure] for c in columns.values()) + " |")


if __name__ == "__main__":
    main()
