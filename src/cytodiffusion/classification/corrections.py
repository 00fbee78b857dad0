"""Cells that a person corrected change the whole slide at once.

What is learned is small, so that a few cells suffice: an offset a class, one scale of all logits,
and a linear head on the first principal components of the embedding, added to the logarithm of the
posterior. Each has a fixed normal prior; the maximum a posteriori is found by L-BFGS, in
milliseconds. It goes on top of the correction for the slide, which is better than without (see
``docs/experiments/corrections.md``, also for how the constants were chosen).

Three things keep a slide from being broken:

- **Anchors.** Cells that nobody looked at are held to what the model says of them: strongly where
  it calls them a class that no correction speaks of, weakly where a person contradicted that class,
  hardly at all where a person named cells of it. So correcting lymphocytes leaves eosinophils
  alone, and the more classes a person has named, the less the model's word counts.
- **Label noise.** One answer in `NOISE` is taken for a slip, so that the loss of a wrong one is
  bounded (a mixture of the likelihood with a uniform one).
- **Weights.** ``n`` cells of a class count like ``sqrt(n)``, so that none outweighs others.

Prediction sets: on another laboratory's slides the validation cells promise too much. Each
corrected cell is classified by what was learned without it (in `FOLDS` parts), and joins the
validation cells, which weigh as much as `KEPT` of them, with a weight that tells slips from
answers.

Unusual cells: where a person called a cell one of the model's classes, its anomaly score is known
to be that of an ordinary cell of this slide. By how much it is above the usual is carried over to
all cells a little and to similar ones more (the mean of a Gaussian process), and taken off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.classification.conformal import conformal_p_values
from cytodiffusion.classification.decision import p_values, record_of
from cytodiffusion.classification.prior import prior_for
from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.scores import entropy, margin, softmax
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.classification.slide_distance import FAR, likeliest_sets
from cytodiffusion.errors import InputError
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.traits import Trait

if TYPE_CHECKING:
    from cytodiffusion.baselines.baseline import Baseline

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Principal components of the embedding that the head sees.
COMPONENTS = 48

#: Standard deviations of the priors: offset of a class in logits, a cell's share of the head in
#: logits where the cell is an ordinary one, and the logarithm of the scale.
OFFSET, HEAD, SCALE = 3.0, 1.5, 0.5

#: Share of a person's answers that are slips.
NOISE = 0.05

#: Weights of the anchors of a class, in corrected cells: where no correction speaks of it (times
#: the share of such classes to the power below), where it was contradicted, where cells were named.
UNTOUCHED, CONTRADICTED, NAMED = 30.0, 2.0, 0.3
POWER = 2.5

#: Anchors of a class at most; with fewer cells than `FEW` they weigh less.
ANCHORS, FEW = 30, 5

#: Probability that a cell is of a class that the model does not know, before any is named.
NEW = 0.03

#: A new class's head may be so much larger than that of others.
NEW_HEAD = 5.0

#: Logarithms of posteriors are cut off here: beyond, a class is not there for the model.
LEAST = -30.0

#: Parts in which corrected cells are held out, and what the validation cells weigh beside them.
FOLDS, KEPT = 4, 10.0

#: Named cells at most that anomaly scores are carried over from; of more, every so many.
MOST = 1000

#: Length over which anomaly scores of similar cells are alike, where 1 is the distance of a usual
#: training cell from the middle of all.
ALIKE = 0.5


@dataclass(frozen=True, order=True)
class HumanLabel:
    """The class that a person gave a cell.

    Attributes
    ----------
    row : int
        Of the cell in the classification.
    name : str
        Of the class, as the classification spells it; any other is a new class.
    observer : str
        Who said so.
    """

    row: int
    name: str
    observer: str = ""


@dataclass(frozen=True, eq=False)
class SlideHead:
    """What was learned from corrected cells; it can be used on other cells of the same slide.

    Attributes
    ----------
    class_names : tuple of str
        The model's K classes and then new ones, J together.
    scale : float
        Of the logarithms of the posterior.
    weights : (1 + C, J) float64 array
        Offsets, and a row for each principal component.
    """

    class_names: tuple[str, ...]
    scale: float
    weights: Floats

    def logits(self, base: Floats, components: Floats) -> Floats:
        """Return logits ``(N, J)`` of log posteriors ``(N, J)`` and components ``(N, C)``."""
        return np.asarray(self.scale * base + self.weights[0] + components @ self.weights[1:])


def correct(
    result: Classification,
    labels: Iterable[HumanLabel],
    model: ModelBundle | Baseline,
    settings: ClassifySettings | None = None,
) -> Classification:
    """Learn from corrected cells, and update what is said of all cells of their slide.

    Parameters
    ----------
    result : Classification
        All cells of a slide, as the model and the correction for the slide left them: not
        corrected by people before. Give all corrections together, in any order.
    labels : iterable of HumanLabel
        A cell that several people, or one person twice, called different classes counts a part
        for each.
    model : ModelBundle or Baseline
        That classified the cells. Baselines keep no embedding: of those, offsets and the scale are
        learned only.

    Returns
    -------
    Classification
        With new posterior, classes, prediction sets and anomalies, and what people said in
        ``human`` and ``observer``. The same object where there are no corrections.

    Raises
    ------
    InputError
        If a correction is of a cell that is not there, or names no class.
    """
    said = _checked(labels, len(result))
    if not said:
        return result
    settings = settings or ClassifySettings()
    human, observer = _columns(said, len(result))
    said = _of_the_model(said, result.traits, result.class_names)
    names = with_new(result.class_names, (label.name for label in said))
    base = log_posterior(result, len(names))
    components = principal_components(result, model)
    known = len(result.class_names)
    head = fit_head(base, components, said, names, known)
    posterior = softmax(head.logits(base, components))
    scores = usual_scores(result, model, said)
    extra = len(names) - known
    plain = _without_prior(posterior, model, settings)
    usual = _p_values(plain, result, model, settings)
    usual = _with_corrected(usual, posterior, base, components, said, names, known)
    predicted = posterior.argmax(axis=1).astype(np.int64)
    sets = usual > 1.0 - settings.coverage
    if (result.slide_distance or 0.0) >= FAR:  # as wide as without corrections, at least
        sets |= likeliest_sets(plain, settings.coverage)
    by_prior = result.decided_by_prior & (predicted == result.predicted)
    sets[np.arange(len(sets)), predicted] |= by_prior & sets.any(axis=1)
    return replace(
        result,
        class_names=names,
        posterior=posterior,
        predicted=predicted,
        confidence=posterior.max(axis=1),
        entropy=entropy(posterior),
        margin=margin(posterior),
        prediction_set=sets,
        anomaly_score=scores,
        anomaly=scores > result.anomaly_threshold,
        logits=widened(result.logits, extra).astype(np.float64),
        errors_by_level=widened(result.errors_by_level, extra),
        contradiction=None,  # that of the classes before
        by_prior=None if result.by_prior is None else by_prior,
        human=human,
        observer=observer,
        human_class=_meant(said, names, len(result)),
    )


def _of_the_model(
    labels: Sequence[HumanLabel], traits: Sequence[Trait], names: Sequence[str]
) -> list[HumanLabel]:
    """Return labels whose finer classes are the classes that these are kinds of."""
    coarser = {value: t.parent for t in traits if t.parent for value in t.values}
    found = {
        replace(
            label, name=label.name if label.name in names else coarser.get(label.name, label.name)
        )
        for label in labels
    }
    return sorted(found)


def _meant(labels: Sequence[HumanLabel], names: Sequence[str], n: int) -> Ints:
    """Return the class ``(N,)`` that people meant; -1 where nobody spoke, or they disagree."""
    said: dict[int, set[str]] = {}
    for label in labels:
        said.setdefault(label.row, set()).add(label.name)
    meant = np.full(n, -1, np.int64)
    for row, words in said.items():
        if len(words) == 1:
            meant[row] = list(names).index(next(iter(words)))
    return meant


def _without_prior(
    posterior: Floats, model: ModelBundle | Baseline, settings: ClassifySettings
) -> Floats:
    """Return posteriors ``(N, J)`` less the prior, as the validation cells have theirs."""
    prior = prior_for(model, settings)
    if prior is None:
        return posterior
    known = len(model.class_names)
    return np.concatenate([prior.removed(posterior[:, :known]), posterior[:, known:]], axis=1)


def with_new(names: Sequence[str], said: Iterable[str]) -> tuple[str, ...]:
    """Return the model's classes, and then those that only people know, by name."""
    return (*names, *sorted(set(said) - set(names)))


def log_posterior(result: Classification, n_classes: int) -> Floats:
    """Log posterior ``(N, J)``; the model gives a class that it does not know `NEW` each."""
    known = np.maximum(np.log(np.maximum(result.posterior, 1e-300)), LEAST)
    extra = n_classes - known.shape[1]
    return np.concatenate([known, np.full((len(known), extra), np.log(NEW))], axis=1)


def principal_components(result: Classification, model: ModelBundle | Baseline) -> Floats:
    """Embeddings ``(N, C)`` along the first axes of the training cells, of mean square 1 in all."""
    if result.embedding is None or not isinstance(model, ModelBundle):
        return np.zeros((len(result), 0))
    return components(result.embedding, model)


def components(embedding: NDArray[np.floating], model: ModelBundle) -> Floats:
    """Embeddings ``(N, D)`` along the first axes of the training cells, ``(N, C)``."""
    return away_from_mean(embedding, model) @ component_axes(model)


def component_axes(model: ModelBundle, count: int = COMPONENTS) -> Floats:
    """Axes ``(D, C)`` that give `components`; their signs may differ from computer to computer."""
    axes, _ = model.calibration.principal_axes
    return np.asarray(axes[:, :count] / np.sqrt(min(count, axes.shape[1])))


def away_from_mean(embedding: NDArray[np.floating], model: ModelBundle) -> Floats:
    """Embeddings ``(N, D)`` less the mean over training cells."""
    mean = model.calibration.embedding_mean.double().numpy()
    return np.asarray(np.asarray(embedding, np.float64) - mean)


# --- the head -----------------------------------------------------------------------------------


def fit_head(
    base: Floats,
    components: Floats,
    labels: Sequence[HumanLabel],
    names: Sequence[str],
    n_known: int,
) -> SlideHead:
    """Find offsets, scale and head by maximum a posteriori.

    Parameters
    ----------
    base : (N, J) array
        Log posterior of all cells of the slide.
    components : (N, C) array
    labels : sequence of HumanLabel
        At least one.
    names : sequence of str
        J classes.
    n_known : int
        The first ones, which the model knows.
    """
    rows, classes, shares = _weighed(labels, names)
    counts = np.bincount(classes, weights=shares, minlength=len(names)).astype(np.float64)
    weights = shares / np.sqrt(np.maximum(counts[classes], 1.0))
    before = softmax(base)
    held, holds = anchors(before, rows, classes, shares, counts)
    everyone = np.concatenate([rows, held])
    ones = np.full((len(base), 1), OFFSET)
    given = np.concatenate([ones, HEAD * components], axis=1)
    # a class that the model does not know has nothing but its head
    wider = np.where(np.arange(len(names)) < n_known, 1.0, NEW_HEAD)
    weights = np.where(classes < n_known, weights, shares)
    scale, found = most_probable(
        base[everyone], given[everyone], wider, classes, weights, before[held], holds
    )
    found[0] *= OFFSET
    found[1:] *= HEAD
    return SlideHead(tuple(names), scale, found)


def _weighed(labels: Sequence[HumanLabel], names: Sequence[str]) -> tuple[Ints, Ints, Floats]:
    """Return cells, classes and weights, in one order for any order of the labels."""
    number = {name: k for k, name in enumerate(names)}
    votes: dict[tuple[int, int], int] = {}
    cells: dict[int, int] = {}
    for label in labels:
        key = label.row, number[label.name]
        votes[key] = votes.get(key, 0) + 1
        cells[label.row] = cells.get(label.row, 0) + 1
    keys = sorted(votes)
    rows, classes = (np.array([key[i] for key in keys], np.int64) for i in (0, 1))
    return rows, classes, np.array([votes[key] / cells[key[0]] for key in keys])


def anchors(
    before: Floats, rows: Ints, classes: Ints, shares: Floats, counts: Floats
) -> tuple[Ints, Floats]:
    """Choose cells that are held to what the model says of them, and how strongly each."""
    predicted, k = before.argmax(axis=1), before.shape[1]
    agrees = predicted[rows] == classes
    right = np.bincount(classes[agrees], weights=shares[agrees], minlength=k)
    wrong = np.bincount(predicted[rows[~agrees]], weights=shares[~agrees], minlength=k)
    free = np.ones(len(before), bool)
    free[rows] = False
    there = np.minimum(np.bincount(predicted, minlength=k) / FEW, 1.0)
    untouched = (counts == 0) & (wrong == 0)
    alone = (there[untouched].sum() / there.sum()) ** POWER
    trust = np.where(
        counts > 0,
        NAMED / (1 + counts) * (right + 1) / (right + wrong + 1),
        np.where(untouched, UNTOUCHED * alone, CONTRADICTED / (1 + wrong) ** 2),
    )
    chosen, holds = [np.zeros(0, np.int64)], [np.zeros(0)]
    for c in np.unique(predicted[free]):
        cells = np.flatnonzero(free & (predicted == c))
        cells = cells[np.argsort(before[cells, c], kind="stable")]  # sure and unsure ones
        few = cells[np.linspace(0, len(cells) - 1, min(ANCHORS, len(cells))).astype(np.int64)]
        chosen.append(few)
        holds.append(np.full(len(few), trust[c] * min(1.0, len(cells) / FEW) / len(few)))
    return np.concatenate(chosen), np.concatenate(holds)


def most_probable(
    base: Floats,
    given: Floats,
    wider: Floats,
    classes: Ints,
    weights: Floats,
    targets: Floats,
    holds: Floats,
) -> tuple[float, Floats]:
    """Scale, and weights ``(D, J)`` of ``given (M, D)`` in units of their priors.

    The first cells are those of ``classes``, the others the anchors of ``targets``.
    """
    from scipy.optimize import minimize  # slow to import

    n, k = len(classes), base.shape[1]
    d = given.shape[1]
    each = np.arange(n)

    def loss(x: Floats) -> tuple[float, Floats]:
        scale, table = np.exp(SCALE * x[0]), x[1:].reshape(d, k) * wider
        logits = scale * base + given @ table
        logits -= logits.max(axis=1, keepdims=True)
        shares = np.exp(logits)
        total = shares.sum(axis=1, keepdims=True)
        shares /= total
        own = shares[each, classes]
        likely = (1 - NOISE) * own + NOISE / k
        slope = np.empty_like(shares)
        slope[:n] = shares[:n]
        slope[each, classes] -= 1
        slope[:n] *= (weights * (1 - NOISE) * own / likely)[:, None]
        slope[n:] = holds[:, None] * (shares[n:] - targets)
        held = (holds[:, None] * targets * (logits[n:] - np.log(total[n:]))).sum()
        value = 0.5 * x @ x - (weights * np.log(likely)).sum() - held
        pull = np.concatenate(
            [[SCALE * scale * (slope * base).sum()], (given.T @ slope * wider).ravel()]
        )
        return float(value), pull + x

    start = np.zeros(1 + d * k)
    options = {"maxiter": 80, "gtol": 1e-3, "ftol": 1e-6}
    x = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
    return float(np.exp(SCALE * x[0])), x[1:].reshape(d, k) * wider


# --- unusual cells ------------------------------------------------------------------------------


def usual_scores(
    result: Classification, model: ModelBundle | Baseline, labels: Iterable[HumanLabel]
) -> Floats:
    """Anomaly scores ``(N,)`` less what confirmed cells of the slide are above the usual.

    A usual score is two deviations below the threshold, a deviation being that of the slide's own
    cells (by the median). Cells that people gave one of the model's classes are usual themselves.
    """
    scores = np.asarray(result.anomaly_score, np.float64)
    named: dict[int, set[str]] = {}
    for label in labels:
        named.setdefault(label.row, set()).add(label.name)
    known = set(result.class_names)
    rows = np.array(sorted(r for r, n in named.items() if len(n) == 1 and n <= known), np.int64)
    everyone, rows = rows, rows[:: -(-len(rows) // MOST) or 1]
    deviation = 1.4826 * float(np.median(np.abs(scores - np.median(scores))))
    if not len(rows) or deviation <= 0:
        return scores
    usual = result.anomaly_threshold - 2 * deviation
    above = np.clip((scores[rows] - usual) / deviation, 0.0, 4.0)
    place = np.zeros((len(result), 0))
    if result.embedding is not None and isinstance(model, ModelBundle):
        place = places(result.embedding, model)
    own = 1 + alike(place[rows], place[rows]) + np.eye(len(rows))
    carried = (1 + alike(place, place[rows])) @ np.linalg.solve(own, above)
    shifted = scores - deviation * np.maximum(carried, 0.0)
    shifted[everyone] = np.minimum(shifted[everyone], usual)
    return np.asarray(shifted)


def places(embedding: NDArray[np.floating], model: ModelBundle) -> Floats:
    """Return where cells ``(N, C)`` are among others: not whitened, as near ones are alike so."""
    spread = model.calibration.principal_axes[1][:COMPONENTS]
    found = components(embedding, model) * spread
    return np.asarray(found * np.sqrt(len(spread) / np.square(spread).sum()))


def alike(cells: Floats, others: Floats) -> Floats:
    """Return how alike cells ``(N, C)`` are to others ``(M, C)``, 0 to 1."""
    squared = np.square(cells).sum(1)[:, None] + np.square(others).sum(1) - 2 * cells @ others.T
    return np.asarray(np.exp(-np.maximum(squared, 0.0) / (2 * ALIKE**2)))


# --- the result ---------------------------------------------------------------------------------


def _checked(labels: Iterable[HumanLabel], n: int) -> list[HumanLabel]:
    """Return each label once, in order; InputError where one makes no sense."""
    said = sorted(set(labels))
    for label in said:
        if not 0 <= label.row < n:
            raise InputError(f"There is no cell {label.row} to correct; there are {n}.")
        if not label.name.strip():
            raise InputError("A correction names no class.")
    return said


def _columns(labels: Sequence[HumanLabel], n: int) -> tuple[NDArray[np.object_], ...]:
    """Return what was said of each cell ``(N,)``, and by whom."""
    names: dict[int, dict[str, None]] = {}
    people: dict[int, dict[str, None]] = {}
    for label in labels:
        names.setdefault(label.row, {})[label.name] = None
        if label.observer:
            people.setdefault(label.row, {})[label.observer] = None
    columns = []
    for said in (names, people):
        column = np.full(n, "", object)
        for row, words in said.items():
            column[row] = "|".join(words)
        columns.append(column)
    return tuple(columns)


def widened(values: NDArray[np.floating], extra: int) -> NDArray[np.floating]:
    """Return values ``(..., K)`` with columns for new classes, of which nothing was computed."""
    if not extra:
        return values
    more = np.full((*values.shape[:-1], extra), np.nan, values.dtype)
    return np.concatenate([values, more], axis=-1)


def _p_values(
    posterior: Floats,
    result: Classification,
    model: ModelBundle | Baseline,
    settings: ClassifySettings,
) -> Floats:
    """Say how usual classes are ``(N, J)``; new ones by all validation cells together."""
    kept = record_of(model, adjusted=result.adjusted)
    k = len(result.class_names)
    known = p_values(posterior[:, :k], kept, settings, model.name)
    if posterior.shape[1] == k:
        return known
    new = conformal_p_values(posterior[:, k:], kept.scores.double().numpy())
    return np.concatenate([known, new], axis=1)


def _with_corrected(
    usual: Floats,
    posterior: Floats,
    base: Floats,
    components: Floats,
    labels: Sequence[HumanLabel],
    names: Sequence[str],
    n_known: int,
) -> Floats:
    """Return p-values by the corrected cells too, each held out from what was learned."""
    rows, classes, shares = _weighed(labels, names)
    cells = np.unique(rows)
    if len(cells) < 2:
        return usual
    held_out = np.zeros(len(rows))
    for part in range(min(FOLDS, len(cells))):
        here = np.isin(rows, cells[part::FOLDS])
        away = set(rows[here].tolist())
        rest = [label for label in labels if label.row not in away]
        head = fit_head(base, components, rest, names, n_known)
        found = softmax(head.logits(base[rows[here]], components[rows[here]]))
        held_out[here] = found[np.arange(len(found)), classes[here]]
    own = (1 - NOISE) * posterior[rows, classes]
    weights = shares * own / (own + NOISE / len(names))  # how probably it is no slip
    order = np.argsort(1 - held_out)
    above = np.append(np.cumsum(weights[order][::-1])[::-1], 0.0)
    stranger = above[np.searchsorted((1 - held_out)[order], 1 - posterior, side="left")]
    return np.asarray((KEPT * usual + stranger) / (KEPT + weights.sum()))
