"""Measure a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytodiffusion.progress import Progress, silent

if TYPE_CHECKING:
    from cytodiffusion.evaluation.report import Evaluation
    from cytodiffusion.predict import Classifier


def evaluate(
    model: Classifier | str | Path,
    data: str | Path,
    folder: str | Path | None = None,
    *,
    progress: Progress = silent,
    **options: Any,
) -> Evaluation:
    """Measure a model on labelled images of single cells.

    Parameters
    ----------
    model : ModelBundle, Baseline, str or Path
        A loaded model, or what `load_model` takes. A loaded one is read again from where it came.
    data : str or Path
        Labelled images in any layout of ``docs/datasets.md``, such as a folder per class.
    folder : str or Path, optional
        Where ``report.html``, ``metrics.json``, ``cells.csv`` and ``montage.png`` go, as
        ``cytodiffusion evaluate`` writes them. Without it nothing is written.
    progress : callable
        Called with the fraction done, 0 to 1, and a short message. It may raise ``Cancelled``.
    **options
        Fields of `EvaluateSettings`: ``split``, ``shift``, ``baselines``, ``pixel_size_um``,
        ``limit`` and others; and of `ClassifySettings` as ``classify={"trials": 4}``.

    Returns
    -------
    Evaluation
        ``report.metrics`` has every figure by name, such as ``balanced_accuracy``;
        ``report.cells`` is a pandas table with one row a cell, set and classifier.

    Raises
    ------
    InputError
        If data, model and settings do not go together.
    BundleError
        If a model cannot be loaded.
    OutOfMemoryError
        If the device runs out of memory even for one cell at a time.
    Cancelled
        If `progress` raised it; nothing is written then.

    Notes
    -----
    ``docs/report.md`` says what each figure means and where it comes from.

    Examples
    --------
    >>> report = cd.evaluate(model, "my_cells", split="all")
    >>> report.metrics["balanced_accuracy"]
    """
    from tempfile import TemporaryDirectory

    from cytodiffusion.errors import InputError
    from cytodiffusion.evaluation.report import write_report
    from cytodiffusion.evaluation.run import Run
    from cytodiffusion.evaluation.settings import EvaluateSettings
    from cytodiffusion.files.atomic import check_folder
    from cytodiffusion.settings import make_settings
    from cytodiffusion.study.agreement import answers_of

    source = str(model) if isinstance(model, str | Path) else model.source
    if not source:
        raise InputError(f"The model {model} was never saved: save it and give its folder.")
    with TemporaryDirectory() as scratch:
        output = Path(scratch if folder is None else folder)
        settings = make_settings(
            EvaluateSettings, {"model": source, "data": data, "output": output, **options}
        )
        check_folder(output)
        evaluation = Run(settings, progress, answers_of(settings.annotations)).all()
        if folder is not None:
            write_report(output, evaluation)
    return evaluation
