"""What *Classify cells* says of all cells together, in plain words, without Qt."""

from __future__ import annotations

from cytodiffusion.classification.contradiction import contradiction_sentence
from cytodiffusion.classification.prior import prior_sentence
from cytodiffusion.classification.result import many_unlike
from napari_cytodiffusion.layers.views import CellViews


def summary(views: CellViews) -> str:
    """Say in a line each what is to be known before the classes are believed."""
    results, total = views.results, len(views.results)
    if not total:
        return ""
    few = f"{results.n_anomalies:,} of {total:,} cells are unlike anything in the training."
    counts = dict(zip(results.class_names, map(int, results.contradictions), strict=True))
    contradiction = contradiction_sentence(counts)
    unfit = f"No class fits {results.n_unfit:,} well enough (empty prediction set)."
    said = (
        results.slide_note,
        many_unlike(results.n_anomalies, total) or few,
        contradiction,
        unfit if results.n_unfit else None,
        views.no_promise if views.error_rate is None else _promise(views, bool(contradiction)),
        None if views.prior is None else prior_sentence(views.prior, results.n_by_prior),
        views.one_level,
    )
    return "\n".join(sentence for sentence in said if sentence)


def _promise(views: CellViews, contradicted: bool) -> str:
    """Say how many cells are for review, and what is promised of the others."""
    assert views.error_rate is not None
    results, errors = views.results, f"{100 * views.error_rate:.3g} %"
    wrong = "are wrong" if results.coarse is results else "have the wrong coarse class"
    unsure = f"too unsure for {errors} errors" + " or contradicted" * contradicted
    return (
        f"{results.n_review:,} of {len(results):,} cells are {unsure}: review them. "
        f"At most {errors} of the others, and of the white cells among them, "
        f"{wrong}, if they are like the cells that the model was validated on."
    )
