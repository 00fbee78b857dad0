"""An evaluation from settings to a report folder; every figure is made here or called from here."""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from cytodiffusion.datasets import Record, find_records
from cytodiffusion.errors import InputError
from cytodiffusion.evaluation.anomalies import NOT_ASKED, anomaly_figures, unmeasured
from cytodiffusion.evaluation.cells import Scored, choose_records, draw, score, shift_records
from cytodiffusion.evaluation.figures import (
    difference,
    figures,
    hierarchy_figures,
    set_figures,
    shift_figures,
)
from cytodiffusion.evaluation.leave_out import model_without, slug
from cytodiffusion.evaluation.montage import Montage, make_montage
from cytodiffusion.evaluation.settings import EvaluateSettings
from cytodiffusion.evaluation.trial_curve import trial_curve
from cytodiffusion.output import check_folder
from cytodiffusion.pipeline import provenance
from cytodiffusion.predict import load_classifier
from cytodiffusion.progress import Progress, silent
from cytodiffusion.taxonomy import Taxonomy, load_taxonomy, plain, taxonomy_for

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Evaluation:
    """Everything a report is written from.

    Attributes
    ----------
    metrics : dict
        What becomes ``metrics.json``.
    cells : DataFrame
        One row a cell and set.
    montage : Montage
    """

    metrics: dict[str, Any]
    cells: pd.DataFrame
    montage: Montage


@dataclass(eq=False)
class _Classifier:
    """One classifier, what it was asked and what it said."""

    key: str
    model: Any
    scored: Scored | None = None
    found: dict[str, Any] = field(default_factory=dict)


def evaluate(settings: EvaluateSettings, progress: Progress = silent) -> Path:
    """Evaluate a classifier and write the report.

    Parameters
    ----------
    settings : EvaluateSettings
    progress : callable
        May raise ``Cancelled``; nothing is written then but copies trained on the way.

    Returns
    -------
    Path
        The folder with ``metrics.json``, ``report.html``, ``cells.csv`` and ``montage.png``.

    Raises
    ------
    InputError
        If data, model and settings do not go together.
    """
    from cytodiffusion.evaluation.report import write_report  # it imports `Evaluation` from here

    check_folder(settings.output)
    return write_report(settings.output, Run(settings, progress).all())


class Run:
    """The stations of one evaluation, in order."""

    def __init__(self, settings: EvaluateSettings, progress: Progress = silent):
        self.settings = settings
        self.progress = progress
        self.warnings: list[str] = []
        self.tables: list[pd.DataFrame] = []
        self.everything = find_records(settings.data)
        model = load_classifier(
            settings.model, settings.device, allow_download=settings.allow_download
        )
        self.main = _Classifier("model", model)
        self.baselines = [
            _Classifier("", load_classifier(folder, settings.device))
            for folder in settings.baselines
        ]
        _name_baselines(self.baselines)
        self.taxonomy = self._taxonomy()
        self._check_left_out()
        self.records = self._named(
            choose_records(
                self.everything,
                settings.data,
                settings.split,
                limit=settings.limit,
                seed=settings.seed,
            )
        )
        self._check_labels()
        self._stages = self._count_stages()
        self._stage = 0

    # -- what is asked for --------------------------------------------------------------------

    @property
    def classifiers(self) -> list[_Classifier]:
        """The model and its rivals."""
        return [self.main, *self.baselines]

    def _taxonomy(self) -> Taxonomy | None:
        if self.settings.taxonomy:
            return load_taxonomy(self.settings.taxonomy)
        return taxonomy_for(self.main.model.class_names)

    def _named(self, records: list[Record]) -> list[Record]:
        """Give labels the spelling of the model's classes."""
        names = {plain(n): n for n in self.main.model.class_names}
        return [replace(r, label=names.get(plain(r.label or ""), r.label)) for r in records]

    def _check_left_out(self) -> None:
        left_out = self.settings.leave_out
        if left_out is None:
            return
        labels = {r.label for r in self._named(self.everything) if r.label}
        if left_out not in labels:
            raise InputError(
                f"{self.settings.data} has no images of the class {left_out!r} to leave out; it "
                f"has {', '.join(sorted(labels))}."
            )

    def _check_labels(self) -> None:
        names = set(self.main.model.class_names)
        counts = Counter(r.label for r in self.records if r.label)
        unknown = {k: n for k, n in sorted(counts.items()) if k not in names}
        if len(unknown) == len(counts):
            raise InputError(
                f"None of the labels ({', '.join(unknown)}) is a class of the model "
                f"{self.main.model.name} ({', '.join(self.main.model.class_names)})."
            )
        for label, n in unknown.items():
            role = "its cells are the anomalies" if label == self.settings.leave_out else "left out"
            self._warn(f"The model does not know the class {label} ({n} cells): {role}.")
        absent = sorted(names - set(counts))
        if absent:
            self._warn(
                f"The data has no cells of {', '.join(absent)}: open to the model, but in no mean."
            )

    def _warn(self, sentence: str) -> None:
        if sentence not in self.warnings:
            self.warnings.append(sentence)
            log.warning(sentence)

    # -- progress -----------------------------------------------------------------------------

    def _count_stages(self) -> int:
        each = 1 + len(self.settings.shift) + (self.settings.leave_out is not None)
        return each * len(self.classifiers) + 2

    def _next(self, title: str) -> Progress:
        """Progress of the next stage, as a part of the whole."""
        stage, self._stage = self._stage, self._stage + 1

        def report(fraction: float, text: str) -> None:
            share = (stage + min(fraction, 1.0)) / self._stages
            self.progress(min(share, 0.999), f"{title}: {text}" if text else title)

        report(0.0, "")
        return report

    # -- the stations -------------------------------------------------------------------------

    def all(self) -> Evaluation:
        """Go through all of them."""
        started = time.monotonic()
        for classifier in self.classifiers:
            self._measure(classifier)
            classifier.found["shift"] = self._shift(classifier)
            classifier.found["anomaly"] = self._anomaly(classifier)
        assert self.main.scored is not None
        scored = self.main.scored
        trials = self._trials(scored)
        metrics = {
            **self.main.found,
            "baselines": {b.key: self._beside(b) for b in self.baselines},
            "trials": {**trials, "histogram": self.main.found.pop("trials_histogram")},
        }
        known = scored[scored.known]
        if self.taxonomy is not None:
            metrics["hierarchy"] = hierarchy_figures(known, self.taxonomy)
        montage = self._montage(scored)
        metrics |= {
            "montage": montage.record(),
            **self._provenance(time.monotonic() - started),
            "warnings": self.warnings,
        }
        self.progress(1.0, "done")
        return Evaluation(metrics, pd.concat(self.tables, ignore_index=True), montage)

    def _score(
        self, classifier: _Classifier, records: list[Record], name: str, pixel_size: float | None
    ) -> Scored:
        progress = self._next(f"{classifier.model.name} on {name}")
        scored = score(
            classifier.model,
            records,
            self.settings.classify,
            pixel_size_um=pixel_size,
            progress=progress,
        )
        for sentence in scored.skipped:
            self._warn(f"Skipped: {sentence}")
        table = scored.frame()
        table.insert(0, "set", name)
        table.insert(1, "model", classifier.key)
        self.tables.append(table)
        return scored

    def _measure(self, classifier: _Classifier) -> None:
        s = self.settings
        scored = self._score(classifier, self.records, "data", s.pixel_size_um)
        known = scored[scored.known]
        if not len(known):
            raise InputError(
                f"{classifier.model.name} knows none of the classes of {s.data} "
                f"({', '.join(sorted({str(r.label) for r in scored.records}))})."
            )
        classifier.scored = scored
        classifier.found = {
            **figures(known, seed=s.seed, resamples=s.resamples),
            "sets": set_figures(classifier.model, known, s.classify.coverage),
            "ms_per_cell": 1000 * scored.seconds / len(scored),
        }

    def _shift(self, classifier: _Classifier) -> dict[str, Any]:
        s, found = self.settings, {}
        for name, folder in s.shift.items():
            records = self._named(shift_records(folder, limit=s.limit, seed=s.seed))
            scored = self._score(classifier, records, name, s.shift_pixel_size_um)
            known = scored[scored.known]
            if not len(known):
                raise InputError(
                    f"{classifier.model.name} knows none of the classes of {folder} "
                    f"({', '.join(sorted({str(r.label) for r in records}))})."
                )
            if len(known) < len(scored):
                odd = sorted({str(r.label) for r in scored[~scored.known].records})
                self._warn(
                    f"{name}: {len(scored) - len(known)} cells of {', '.join(odd)}, which "
                    f"{classifier.model.name} does not know, are left out."
                )
            found[name] = shift_figures(known, seed=s.seed, resamples=s.resamples)
        return found

    def _anomaly(self, classifier: _Classifier) -> dict[str, Any]:
        s = self.settings
        assert classifier.scored is not None
        whole = classifier.scored
        if s.leave_out is None:
            return unmeasured(NOT_ASKED, whole[whole.known].result)
        model, scored = classifier.model, whole
        progress = self._next(f"{model.name} without {s.leave_out}")
        if s.leave_out in model.class_names:
            folder = self._copy_folder(classifier)
            records = self._named(self.everything)
            model = model_without(model, records, s, folder, progress)
            scored = score(model, self.records, s.classify, pixel_size_um=s.pixel_size_um)
            table = scored.frame()
            table.insert(0, "set", f"without {s.leave_out}")
            table.insert(1, "model", classifier.key)
            self.tables.append(table)
        unknown = scored[[r.label == s.leave_out for r in scored.records]]
        known = scored[scored.known]
        if not len(unknown):
            return unmeasured(f"no {s.leave_out} in the {s.split} split", known.result)
        return {
            **anomaly_figures(
                known.result,
                unknown.result,
                false_alarms=stated_false_alarms(model),
                seed=s.seed,
                resamples=s.resamples,
            ),
            "left_out": s.leave_out,
            "model": model.record(),
            "trained_for_it": model is not classifier.model,
        }

    def _copy_folder(self, classifier: _Classifier) -> Path:
        s = self.settings
        if classifier is self.main and s.leave_out_model is not None:
            return s.leave_out_model
        name = f"without-{slug(str(s.leave_out))}"
        return s.output / (name if classifier is self.main else f"{name}-{slug(classifier.key)}")

    def _beside(self, baseline: _Classifier) -> dict[str, Any]:
        assert baseline.scored is not None
        assert self.main.scored is not None
        s = self.settings
        gap = None
        if set(baseline.model.class_names) >= {r.label for r in self.main.scored.records}:
            gap = difference(
                self.main.scored[self.main.scored.known],
                baseline.scored[baseline.scored.known],
                seed=s.seed,
                resamples=s.resamples,
            )
        if set(baseline.model.class_names) != set(self.main.model.class_names):
            self._warn(
                f"The baseline {baseline.key} has other classes than the model; compare with care."
            )
        return {
            **baseline.found,
            "model": baseline.model.record(),
            "difference": gap,
        }

    def _trials(self, scored: Scored) -> dict[str, Any]:
        s = self.settings
        progress = self._next("what each trial brings")
        if not s.trial_cells or not hasattr(self.main.model, "denoiser"):
            why = "not asked for" if not s.trial_cells else "this classifier has no trials"
            return {"n": 0, "points": [], "why": why}
        records = draw(scored[scored.known].records, s.trial_cells, s.seed)
        return trial_curve(
            self.main.model, records, s.classify, pixel_size_um=s.pixel_size_um, progress=progress
        )

    def _montage(self, scored: Scored) -> Montage:
        self._next("pictures")
        return make_montage(
            self.main.model,
            scored[scored.known],
            scored[~scored.known] if (~scored.known).any() else None,
            pixel_size_um=self.settings.pixel_size_um,
        )

    def _provenance(self, seconds: float) -> dict[str, Any]:
        s = self.settings
        model = self.main.model
        counts = Counter(str(r.label) for r in self.records)
        return {
            **provenance(model, s.classify),
            "training": model.training,
            "data": {
                "path": str(s.data),
                "split": s.split,
                "limit": s.limit,
                "pixel_size_um": s.pixel_size_um,
                "counts": dict(sorted(counts.items())),
                "groups": len({r.group for r in self.records if r.group}) or None,
            },
            "shift_data": {name: str(path) for name, path in s.shift.items()},
            "colors": {c.name: c.color for c in model.classes},
            "evaluation": s.model_dump(mode="json"),
            "seconds": seconds,
        }


def stated_false_alarms(model: Any) -> float:
    """Rate of false alarms that a bundle's or baseline's threshold was set for."""
    holder = getattr(model, "calibration", model)
    return float(model.training.get("false_alarms", holder.false_alarms))


def _name_baselines(baselines: list[_Classifier]) -> None:
    """Give each baseline a name of its own."""
    seen: Counter[str] = Counter()
    for baseline in baselines:
        name = str(baseline.model.name)
        seen[name] += 1
        baseline.key = name if seen[name] == 1 else f"{name} ({seen[name]})"
