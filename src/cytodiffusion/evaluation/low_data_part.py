"""The low-data curve as a part of a report: measured here, or taken from where it was."""

from __future__ import annotations

import logging
from typing import Any

from cytodiffusion.evaluation.context import Context

log = logging.getLogger(__name__)


def low_data_figures(context: Context) -> dict[str, Any]:
    """Measure the curve in the folder ``low-data`` of the report.

    Runs that are in that folder already are not done again, so that an evaluation that was
    stopped goes on, and a second one is quick.

    Raises
    ------
    InputError
        If the data have too few training cells, or the folder holds runs with other settings.
    """
    from cytodiffusion.evaluation.low_data import low_data_curve
    from cytodiffusion.evaluation.low_data_settings import LowDataSettings
    from cytodiffusion.training.sets import load_sets
    from cytodiffusion.training.settings import TrainSettings

    s = context.settings
    progress = context.next("few labels")
    changes = {} if s.low_data_steps is None else {"steps": s.low_data_steps}
    settings = LowDataSettings(
        counts=s.low_data,
        seeds=s.seeds,
        first_seed=s.seed,
        device=s.device,
        split="val" if s.split == "val" else "test",
        ours=changes,
        rivals=changes,
    )
    folder = s.output / "low-data"
    runs = len(settings.counts) * settings.seeds * len(settings.models)
    log.info("The low-data curve takes %d trainings; finished ones are kept in %s.", runs, folder)
    reading = TrainSettings(
        data=s.data,
        layout=s.layout,
        output=folder / "unused",
        pixel_size_um=s.pixel_size_um,
        input_size=settings.input_size,
        duplicates="drop",
    )
    names, sets = load_sets(reading, lambda share, text: progress(0.0, text))
    return low_data_curve(names, sets, folder, settings, progress)
