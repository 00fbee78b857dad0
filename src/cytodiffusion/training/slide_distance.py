"""How much less sure a model is to be of slides unlike its training: measured in simulated ones.

Training cells are shown as other laboratories might show them, from mild to harsher changes than
the model was trained with. In each such laboratory the distance is measured without labels, and a
small logistic regression learns from the labels how the odds of being right fall with it. Cells
of classes that normal blood hardly holds count little, and artefacts, of which there are as many
as anyone draws: the slides that a model meets are not mixed evenly as its training is, and what
looks strange is far more often taken for such a class than of it. The numbers are kept in the
bundle (`cytodiffusion.model.slide_distance`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from cytodiffusion.cells.single_cell import at_start
from cytodiffusion.classification.classifier import classify, decide, gather_evidence
from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.classification.slide_correction import LEAST_CELLS, adjust
from cytodiffusion.classification.slide_distance import (
    log_odds,
    mean_standard,
    own_share,
    relative_scores,
    slide_distance,
    standard_scores,
    weigh_distance,
)
from cytodiffusion.metrics.scores import expected_calibration_error
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.codec import WHITE
from cytodiffusion.model.slide_distance import SlideDistance
from cytodiffusion.progress import Progress, part_of, silent
from cytodiffusion.training.augmentation.outlines import Outlines
from cytodiffusion.training.augmentation.settings import AugmentSettings
from cytodiffusion.training.calibrate import plain_views
from cytodiffusion.training.data import CellSet
from cytodiffusion.training.finish import save_with
from cytodiffusion.training.sets import like_model, load_sets
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.slide_correction import (
    TRIALS,
    UNCORRECTED,
    draw_cells,
    imaged,
    model_to_extend,
)

#: Simulated laboratories that the fall is learned in, at most, and how harsh they are in turn: 0
#: leaves cells as they are, 1 is what the model was trained with.
DOMAINS, STRENGTHS = 96, (0.0, 0.5, 1.0, 1.0, 0.0, 1.25, 1.0, 1.5)

#: Number of the first of them; those before are the slide correction's.
FIRST = 100_000

#: What is not made harsher: framing, which other laboratories do not change more.
KEPT = {"scale", "aspect", "shift", "cut_share", "surroundings"}

#: Weight of the squares of the doubts of single classes.
RIDGE = 1.0

#: Fewest validation cells taken for a class that have a typical score of their own.
ENOUGH = 5

#: Harsh simulated laboratories have more stray cells than real ones: as many times the false alarms
#: as were asked for are allowed in them.
STRAY = 2.0

#: Heading of the section in the model card.
HEADING = "## Distance of a slide"


@dataclass(frozen=True, eq=False)
class Slide:
    """Cells of a simulated laboratory as they are classified, and their classes ``(N,)``."""

    result: Classification
    labels: NDArray[np.int64]


def train_slide_distance(settings: TrainSettings, progress: Progress = silent) -> Path:
    """Measure the distance of slides for the model ``settings.init``; save both as one bundle."""
    model, settings = model_to_extend(settings, "the distance of slides is")
    names, sets = load_sets(settings, at_start(progress), ("train", "val"))
    like_model(names, sets, model.class_names, "The distance of slides")
    kept = measure_distance(model, sets, settings, part_of(progress, 0.1, 1.0))
    return save_with(model, settings, HEADING, card_lines(kept), slide_distance=kept)


def card_lines(kept: SlideDistance) -> list[str]:
    """Lines for the model card."""
    m = kept.measured
    return [
        "- Confidences fall and prediction sets widen with the distance of a slide from the "
        "training, and anomalies are told within the slide; see docs/uncertainty.md.",
        f"- Learned in {m['slides']:.0f} simulated laboratories of training cells. There the "
        f"calibration error is {m['ece_before']:.3f} without it and {m['ece']:.3f} with it, the "
        f"coverage of the sets {m['coverage_before']:.3f} and {m['coverage']:.3f}, and "
        f"{m['flagged_before']:.1%} and {m['flagged']:.1%} of the cells are anomalous.",
    ]


def measure_distance(
    model: ModelBundle,
    sets: Mapping[str, CellSet],
    settings: TrainSettings,
    progress: Progress = silent,
) -> SlideDistance:
    """Measure what is typical of validation cells, and learn the fall in simulated laboratories.

    Cells are varied as ``settings`` say where they are for this alone, else as they are by default.
    """
    model = replace(model, slide_distance=None)
    if settings.kind != "slide-distance":
        settings = settings.model_copy(update={"augment": AugmentSettings()})
    val = sets["val"].of_laboratory(settings.calibration_laboratory)
    known = val.take((val.labels >= 0).nonzero().squeeze(1).tolist())
    views = plain_views(known, model.input_size)
    budget = ClassifySettings(
        trials=TRIALS, min_trials=TRIALS, seed=settings.seed, coverage=settings.coverage
    )
    usual, blank = (
        typical_scores(
            classify(views.windows, model, trials, background=views.backgrounds, progress=part),
            known.laboratories,
        )
        for trials, part in (
            (ClassifySettings(seed=settings.seed), part_of(progress, 0.0, 0.05)),
            (budget, part_of(progress, 0.05, 0.1)),
        )
    )
    slides: list[Slide] = []
    count = min(DOMAINS, settings.laboratories)
    for slide in simulated_slides(model, sets["train"], settings, budget, count):
        slides.append(slide)
        progress(0.1 + 0.9 * len(slides) / count, f"simulated laboratory {len(slides)} of {count}")
    weights = {name: settings.rare_weight for name in settings.rare}
    kept = learn_fall(blank, slides, model.class_names, weights)
    kept = replace(kept, tail=learn_tail(kept, slides, settings.false_alarms))
    kept = replace(kept, measured=_measured(kept, slides, settings.coverage))
    # simulated cells all had a few trials; what is classified later stops when it is settled
    return replace(kept, typical=usual.typical, spread=usual.spread, usual=usual.usual)


def typical_scores(home: Classification, laboratories: Sequence[str] | None) -> SlideDistance:
    """Typical anomaly scores of validation cells; nothing falls yet.

    Where the cells are of several laboratories, the mean of the least typical is usual still.
    """
    called, scores = home.logits.argmax(axis=1), home.anomaly_score
    typical = np.full(len(home.class_names), scores.mean())
    for k in np.unique(called):
        if (called == k).sum() >= ENOUGH:
            typical[k] = scores[called == k].mean()
    spread = float(np.sqrt(np.square(scores - typical[called]).mean()))
    k = len(typical)
    kept = SlideDistance(tuple(typical.tolist()), max(spread, 1e-6), 0.0, 0.0, (0.0,) * k, tail=1.0)
    if laboratories is None:
        return kept
    standard = standard_scores(scores, called, kept)
    names = np.array(laboratories)
    means = []
    for name in np.unique(names):
        here = names == name
        if here.sum() >= LEAST_CELLS:
            means.append(mean_standard(standard[here], called[here])[0])
    return replace(kept, usual=max([0.0, *means]))


def harsher(look: AugmentSettings, strength: float) -> AugmentSettings:
    """Vary crops ``strength`` times as far, but for their framing; not at all at 0."""
    if strength == 0:
        return look.model_copy(update={"plain_share": 1.0})
    found: dict[str, float] = {}
    for name, value in look.model_dump().items():
        if name in KEPT:
            continue
        is_share = name.endswith("_share")
        raised = value * (max(1.0, strength) if is_share else strength)
        found[name] = min(1.0, raised) if is_share or name == "grey" else raised
    return look.model_copy(update=found | {"plain_share": 0.0})


def simulated_slides(
    model: ModelBundle,
    cells: CellSet,
    settings: TrainSettings,
    budget: ClassifySettings,
    count: int,
) -> Iterator[Slide]:
    """Yield ``count`` simulated laboratories; each depends on the seed and its number alone."""
    outlines = Outlines(cells.pixels, model.window_um / model.input_size)
    for turn in range(count):
        strength = STRENGTHS[turn % len(STRENGTHS)]
        look = harsher(settings.augment, strength)
        own = settings.model_copy(update={"augment": look})
        number = FIRST + turn
        index = draw_cells(cells.labels, settings.seed, number)
        windows = [imaged(cells, i, number, own, outlines) for i in index.tolist()]
        evidence = gather_evidence(
            np.stack(windows),
            model,
            budget,
            background=np.full((len(windows), 3), 255 * WHITE, np.float32),
            stop_early=False,
        )
        result = adjust(decide(evidence, model, budget), model, budget)
        yield Slide(result, cells.labels[index].numpy())


def learn_fall(
    blank: SlideDistance,
    slides: Sequence[Slide],
    names: Sequence[str],
    weights: Mapping[str, float],
) -> SlideDistance:
    """Fit how the odds of being right fall with the distance, by penalised maximum likelihood.

    At no distance they stay what they are, which is why there is no constant. Cells count as much
    as ``weights`` say of their class, else 1. Red cells are left out: what is varied makes other
    cells of them now and then, which stains do not.
    """
    parts = []
    counts = np.array([0.0 if n in UNCORRECTED else weights.get(n, 1.0) for n in names])
    for slide in slides:
        called = slide.result.logits.argmax(axis=1)
        standard = standard_scores(slide.result.anomaly_score, called, blank)
        distance = slide_distance(standard, called, blank)
        posterior = slide.result.posterior
        taken = posterior.argmax(axis=1)
        weight = counts[slide.labels]
        far = np.full(len(taken), distance)
        right = (taken == slide.labels).astype(float)
        parts.append((log_odds(posterior.max(axis=1)), taken, far, right, weight))
    odds, taken, far, right, weight = (np.concatenate(part) for part in zip(*parts, strict=True))
    k = len(names)
    steady = np.isin(names, UNCORRECTED)
    weight = weight * ~steady[taken]

    def loss(given: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        fallen = odds - far * (given[0] + given[1] * odds + given[2:][taken])
        each = np.logaddexp(0.0, fallen) - right * fallen
        slope = weight * (right - 1 / (1 + np.exp(-fallen))) * far
        by_class = np.bincount(taken, slope, k) + 2 * RIDGE * given[2:]
        gradient = np.concatenate([[slope.sum(), (slope * odds).sum()], by_class])
        return float((weight * each).sum() + RIDGE * np.square(given[2:]).sum()), gradient

    found = minimize(loss, np.zeros(k + 2), jac=True, method="L-BFGS-B").x
    return replace(
        blank, fall=float(found[0]), slope=float(found[1]), doubt=tuple(found[2:].tolist())
    )


def learn_tail(kept: SlideDistance, slides: Sequence[Slide], false_alarms: float) -> float:
    """How far cells must stand out from a slide of another stain to be anomalous in it."""
    far: list[NDArray[np.float64]] = []
    others: list[NDArray[np.float64]] = []
    for slide in slides:
        called = slide.result.logits.argmax(axis=1)
        standard = standard_scores(slide.result.anomaly_score, called, kept)
        is_far = own_share(standard, called, kept) >= 1
        (far if is_far else others).append(relative_scores(standard, called))
    share = min(0.5, STRAY * false_alarms)
    return max(1e-6, float(np.quantile(np.concatenate(far or others), 1 - share)))


def _measured(kept: SlideDistance, slides: Sequence[Slide], coverage: float) -> dict[str, float]:
    """Figures in the simulated laboratories, before and after; a mean over all cells."""
    labels = np.concatenate([slide.labels for slide in slides])
    rows = np.arange(len(labels))
    found = {"slides": float(len(slides))}
    after = [weigh_distance(slide.result, kept, coverage) for slide in slides]
    for name, results in (("_before", [s.result for s in slides]), ("", after)):
        sure = np.concatenate([r.confidence for r in results])
        right = np.concatenate([r.predicted for r in results]) == labels
        sets = np.concatenate([r.prediction_set for r in results])
        found[f"ece{name}"] = expected_calibration_error(sure, right)
        found[f"coverage{name}"] = float(sets[rows, labels].mean())
        found[f"set_size{name}"] = float(sets.sum(axis=1).mean())
        found[f"flagged{name}"] = float(np.concatenate([r.anomaly for r in results]).mean())
    return found
