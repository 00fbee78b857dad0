"""An evaluation from settings to a report folder; every figure is made here or called from here."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from cytodiffusion.classification.levels import traits_of
from cytodiffusion.errors import InputError
from cytodiffusion.evaluation.candidate import MODEL, Candidate, name_baselines
from cytodiffusion.evaluation.cells import draw
from cytodiffusion.evaluation.checks import gather
from cytodiffusion.evaluation.context import Context
from cytodiffusion.evaluation.leakage import mark_seen, warn_of_overlap, warn_of_repeats
from cytodiffusion.evaluation.leave_out import given_copies
from cytodiffusion.evaluation.low_data import low_data_figures
from cytodiffusion.evaluation.montage import Montage, make_montage
from cytodiffusion.evaluation.observers import annotations_of, psychometric_figures
from cytodiffusion.evaluation.report import Evaluation, write_report
from cytodiffusion.evaluation.settings import EVALUATED, EvaluateSettings
from cytodiffusion.evaluation.trials import check_published, published_figures, trial_curve
from cytodiffusion.files.atomic import check_folder
from cytodiffusion.files.record import provenance
from cytodiffusion.predict import load_classifier
from cytodiffusion.progress import Progress, silent
from cytodiffusion.taxonomy import Taxonomy, load_taxonomy, taxonomy_for


def evaluate(
    settings: EvaluateSettings, progress: Progress = silent, answers: pd.DataFrame | None = None
) -> Path:
    """Evaluate a classifier and write the report; ``answers`` are the annotations of a study."""
    check_folder(settings.output)
    return write_report(settings.output, Run(settings, progress, answers).all())


class Run:
    """The steps of one evaluation, in order.

    ``answers`` are what `annotations` of the settings has, where that is no CSV.
    """

    def __init__(
        self,
        settings: EvaluateSettings,
        progress: Progress = silent,
        answers: pd.DataFrame | None = None,
    ):
        model = load_classifier(
            settings.model, settings.device, allow_download=settings.allow_download
        )
        self.main = Candidate(MODEL, model)
        self.baselines = [
            Candidate("", load_classifier(folder, settings.device)) for folder in settings.baselines
        ]
        name_baselines(self.baselines, model.name)
        self.everyone = (self.main, *self.baselines)
        for candidate in self.everyone:
            candidate.check(settings.classify)
        check_published(self.main, settings.published_cells)
        self.settings = settings
        self.taxonomy = self._taxonomy()
        self.context = context = Context(settings, progress, model.class_names, traits_of(model))
        copies = given_copies([c.model for c in self.everyone], settings)
        for candidate, copy in zip(self.everyone, copies, strict=True):
            candidate.copy = copy
        gather(context, self.everyone, self.taxonomy)
        self.annotations = annotations_of(context, answers)
        each = 1 + len(settings.shift) + 2 * (settings.leave_out is not None)
        sets = 1 + len(settings.shift)
        others = 4 + bool(settings.low_data) + bool(settings.published_cells)
        context.stages = each * (1 + len(self.baselines)) + sets + others

    def _taxonomy(self) -> Taxonomy | None:
        if self.settings.taxonomy:
            return load_taxonomy(self.settings.taxonomy)
        own: Taxonomy | None = getattr(self.main.model, "taxonomy", None)
        return own or taxonomy_for(self.main.model.class_names)

    def all(self) -> Evaluation:
        """Go through all of them."""
        started, context = time.monotonic(), self.context
        seen = warn_of_overlap(self.everyone, context)
        for candidate in self.everyone:
            candidate.measure(context, self.taxonomy)
        warn_of_repeats(context)
        found = self.main.found
        metrics = {
            **found,
            "baselines": {b.key: b.beside(self.main, context) for b in self.baselines},
            "trials": {**self._trials(), "histogram": found["trials_histogram"]},
            "overlap": seen,
        }
        if self.settings.published_cells:
            metrics["published_rule"] = published_figures(self.main, context)
        if self.settings.low_data:
            try:
                metrics["low_data"] = low_data_figures(context)
            except InputError as reason:  # the other figures are there, and must not be lost
                context.warn(f"The low-data curve was not measured. {reason}")
        metrics["psychometric"] = psychometric_figures(
            self.main, self.baselines, self.annotations, context
        )
        montage = self._montage()
        metrics |= {
            "montage": montage.record(),
            **self._provenance(time.monotonic() - started),
            "skipped": context.skipped,
            "warnings": context.warnings,
        }
        cells = pd.concat(context.tables, ignore_index=True)
        mark_seen(cells, seen)
        context.progress(1.0, "done")
        return Evaluation(metrics, cells, montage)

    def _trials(self) -> dict[str, Any]:
        s = self.settings
        progress = self.context.next("what each trial brings")
        if not s.trial_cells:
            return {"n": 0, "points": [], "why": "not asked for"}
        if not hasattr(self.main.model, "denoiser"):
            return {"n": 0, "points": [], "why": "this classifier has no trials"}
        records = draw(self.main.known.records, s.trial_cells, s.seed)
        frames = self.context.frames(EVALUATED, self.context.records, s.pixel_size_um)
        return trial_curve(self.main.model, records, s.classify, frames, progress=progress)

    def _montage(self) -> Montage:
        self.context.next("pictures")
        scored = self.main.scored
        assert scored is not None
        frames = self.context.frames(EVALUATED, self.context.records, self.settings.pixel_size_um)
        return make_montage(self.main.model, frames, self.main.known, self.main.judged or scored)

    def _provenance(self, seconds: float) -> dict[str, Any]:
        s, model, records = self.settings, self.main.model, self.context.records
        return {
            **provenance(model, s.classify),
            "training": model.training,
            "data": {
                "path": str(s.data),
                "split": s.split,
                "limit": s.limit,
                "pixel_size_um": s.pixel_size_um,
                "counts": dict(sorted(Counter(str(r.label) for r in records).items())),
                "groups": len({r.group for r in records if r.group}) or None,
            },
            "shift_data": {name: str(path) for name, path in s.shift.items()},
            "colors": {c.name: c.color for c in model.classes},
            "evaluation": s.model_dump(mode="json"),
            "seconds": seconds,
        }
