"""One classifier and its figures: on the data, on each other laboratory, without one class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cytodiffusion.classification.anomaly import anomaly_threshold
from cytodiffusion.classification.decision import check_model
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.datasets import Record
from cytodiffusion.errors import InputError
from cytodiffusion.evaluation.anomalies import NOT_ASKED, anomaly_figures, unmeasured
from cytodiffusion.evaluation.cells import ScoredCells, score
from cytodiffusion.evaluation.context import Context
from cytodiffusion.evaluation.figures import (
    difference,
    figures,
    hierarchy_figures,
    set_figures,
    shift_figures,
)
from cytodiffusion.evaluation.fine import fine_figures
from cytodiffusion.evaluation.leave_out import NoCopy, model_without, slug
from cytodiffusion.evaluation.settings import EVALUATED
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.taxonomy import Taxonomy

#: Key of the evaluated model itself, in the table and in folders.
MODEL = "model"


@dataclass(eq=False)
class Candidate:
    """One classifier, what it was asked and what it said.

    Attributes
    ----------
    key : str
        ``model``, or the name of a baseline.
    model : ModelBundle or Baseline
    scored : ScoredCells or None
        The cells of the data, those of unknown classes included.
    found : dict
        Its figures.
    copy : ModelBundle, Baseline or None
        The one without the class to leave out; trained where it is needed and not given.
    judged : ScoredCells or None
        The cells that anomalies were looked for among, as the copy sees them if there is one.
    """

    key: str
    model: Any
    scored: ScoredCells | None = None
    found: dict[str, Any] = field(default_factory=dict)
    copy: Any = None
    judged: ScoredCells | None = None

    @property
    def title(self) -> str:
        """What a sentence calls it."""
        return "The model" if self.key == MODEL else f"The baseline {self.key}"

    @property
    def known(self) -> ScoredCells:
        """Cells of the data whose class it has."""
        assert self.scored is not None
        return self.scored[self.scored.known]

    def check(self, settings: ClassifySettings) -> None:
        """Refuse, before any image is read, what the classifier cannot promise."""
        check_model(self.model, settings)

    def measure(self, context: Context, taxonomy: Taxonomy | None = None) -> None:
        """Measure it on all sets."""
        if not self.model.calibrated:
            context.warn(
                f"{self.title} has not been calibrated: its classes are those with the least "
                "error, but its probabilities, calibration error, prediction sets and anomalies "
                "mean nothing yet."
            )
        self.found = self._on_the_data(context)
        if taxonomy is not None:
            self.found["hierarchy"] = hierarchy_figures(self.known, taxonomy)
        self.found["shift"] = {
            name: self._on_shift(context, name, records) for name, records in context.shift.items()
        }
        self.found["anomaly"] = self._anomaly(context)

    def _score(
        self, context: Context, records: list[Record], name: str, pixel_size_um: float | None
    ) -> ScoredCells:
        scored = score(
            self.model,
            records,
            context.settings.classify,
            frames=context.frames(name, records, pixel_size_um),
            progress=context.next(f"{self.model.name} on {name}"),
        )
        context.add_cells(scored, self.key, name)
        return scored

    def _on_the_data(self, context: Context) -> dict[str, Any]:
        s = context.settings
        self.scored = self._score(context, context.records, EVALUATED, s.pixel_size_um)
        known = self._some(self.scored, s.data)
        fine = fine_figures(known, s.classify.coverage)
        return {
            **({} if fine is None else {"fine": fine}),
            **figures(known, seed=s.seed, resamples=s.resamples),
            "sets": set_figures(self.model, known, s.classify),
            "ms_per_cell": 1000 * self.scored.seconds / len(self.scored),
        }

    def _on_shift(self, context: Context, name: str, records: list[Record]) -> dict[str, Any]:
        s = context.settings
        scored = self._score(context, records, name, s.shift_pixel_size_um)
        known = self._some(scored, s.shift[name])
        if len(known) < len(scored):
            odd = sorted({str(r.label) for r in scored[~scored.known].records})
            context.warn(
                f"{name}: {len(scored) - len(known)} cells of {', '.join(odd)}, which "
                f"{self.model.name} does not know, are left out."
            )
        return shift_figures(known, seed=s.seed, resamples=s.resamples)

    def _some(self, scored: ScoredCells, data: Path) -> ScoredCells:
        known = scored[scored.known]
        if not len(known):
            raise InputError(
                f"{self.model.name} knows none of the classes of {data} "
                f"({', '.join(sorted({str(r.label) for r in scored.records}))})."
            )
        return known

    def _anomaly(self, context: Context) -> dict[str, Any]:
        s = context.settings
        if s.leave_out is None or self.scored is None:
            return unmeasured(NOT_ASKED, self.known.result)
        model, scored = self.model, self.scored
        progress = context.next(f"{model.name} without {s.leave_out}")
        if s.leave_out in model.class_names:
            try:
                model = self.copy or model_without(
                    model, context.everything, s, self.copy_folder(context), progress
                )
            except NoCopy as reason:
                if self.key == MODEL:
                    raise
                context.warn(f"{self.title} has no anomaly score here. {reason}")
                return unmeasured(f"there is no copy of it without {s.leave_out}", scored.result)
            frames = context.frames(EVALUATED, context.records, s.pixel_size_um)
            # a copy was never asked for an error rate, and need not be able to promise one
            asked = s.classify.model_copy(update={"error_rate": None, "by_class": None})
            progress = context.next(f"{model.name} on {EVALUATED}")
            scored = score(model, context.records, asked, frames=frames, progress=progress)
            context.add_cells(scored, self.key, f"without {s.leave_out}")
        unknown = scored[[r.label == s.leave_out for r in scored.records]]
        known = scored[scored.known]
        if not len(unknown):
            return unmeasured(f"no {s.leave_out} in the {s.split} split", known.result)
        self.judged = scored
        return {
            **anomaly_figures(
                known.result,
                unknown.result,
                false_alarms=stated_false_alarms(model),
                thresholds=stated_thresholds(model, known, s.classify),
                seed=s.seed,
                resamples=s.resamples,
            ),
            "left_out": s.leave_out,
            "model": model.record(),
            "trained_for_it": model is not self.model,
        }

    def copy_folder(self, context: Context) -> Path:
        """Where its copy without the class is, or comes to be."""
        s = context.settings
        name = f"without-{slug(str(s.leave_out))}"
        return s.output / (name if self.key == MODEL else f"{name}-{slug(self.key)}")

    def beside(self, main: Candidate, context: Context) -> dict[str, Any]:
        """Return the figures of a baseline, and how much better the model is on the same cells."""
        s = context.settings
        assert self.scored is not None
        assert main.scored is not None
        if set(self.model.class_names) != set(main.model.class_names):
            context.warn(
                f"The baseline {self.key} has other classes than the model: compare with care."
            )
        return {
            **self.found,
            "model": self.model.record(),
            "difference": difference(main.known, self.known, seed=s.seed, resamples=s.resamples),
        }


def stated_false_alarms(model: Any) -> float:
    """Rate of false alarms that a bundle's or baseline's threshold was set for."""
    return float(model.training.get("false_alarms", model.false_alarms))


def stated_thresholds(
    model: Any, scored: ScoredCells, settings: ClassifySettings
) -> dict[str, float]:
    """Thresholds of all anomaly scores that a bundle was calibrated with."""
    if not isinstance(model, ModelBundle) or model.calibration.class_statistics is None:
        return {}
    trials = min(settings.min_trials, settings.trials)
    return {
        name: anomaly_threshold(model.calibration, name, trials)
        for name in scored.result.anomaly_scores
    }


def name_baselines(baselines: list[Candidate], main: str) -> None:
    """Give each baseline a name of its own, which is not that of the model ``main`` either."""
    seen = Counter([MODEL, main])
    for baseline in baselines:
        name = str(baseline.model.name)
        seen[name] += 1
        baseline.key = name if seen[name] == 1 else f"{name} ({seen[name]})"
