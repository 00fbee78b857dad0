"""``cytodiffusion demo``: the main job on a smear made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.cli.options import (
    DeviceOption,
    DownloadOption,
    Given,
    JsonOption,
    ModelOption,
    QuietOption,
    classify_settings,
    takes,
)
from cytodiffusion.cli.reporter import reporting
from cytodiffusion.errors import InputError


@takes(ClassifySettings, "trials", "seed", "batch_size", panel="Classification")
def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the results.")
    ] = Path("results/demo"),
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    *,
    given: Given,
    allow_download: DownloadOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a synthetic smear with the model, then do with it what "run" does.

    Writes the smear and its true classes beside the results. Needs no network and no data.
    """
    with reporting("demo", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.cli.run import summary
        from cytodiffusion.cli.shared import load_model
        from cytodiffusion.demo import agreement, make_smear
        from cytodiffusion.files.atomic import check_folder
        from cytodiffusion.model.bundle import ModelBundle
        from cytodiffusion.pipeline import analyse

        check_folder(out)
        settings = classify_settings(given)
        bundle = load_model(reporter, model, device, allow_download)
        if not isinstance(bundle, ModelBundle):
            raise InputError(f"{bundle.name} makes no smear: only diffusion models make cells.")
        with reporter.progress("Making a synthetic smear") as progress:
            smear, path = make_smear(out, bundle, seed=settings.seed, progress=progress)
        with reporter.progress("Finding and classifying its cells") as progress:
            analysis = analyse(path, out, bundle, settings, progress=progress)
        for warning in (*smear.warnings, *analysis.warnings):
            reporter.warn(warning)
        truth = agreement(smear, analysis)
        made = {"seed": smear.seed, **smear.settings}
        record = {**analysis.record(), "smear": made, "truth": truth.record()}
        reporter.result(record, summary([analysis]))
        reporter.say(truth.sentence())
        reporter.say(f"The results are in {out.resolve()}: look at overlay.png first.")
