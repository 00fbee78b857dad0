"""``cytodiffusion smear``: a synthetic field whose every cell is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cytodiffusion.cli.options import (
    DeviceOption,
    DownloadOption,
    Given,
    JsonOption,
    ModelOption,
    QuietOption,
    read_settings,
    takes,
)
from cytodiffusion.cli.reporter import reporting
from cytodiffusion.smear.settings import SmearSettings


@takes(
    SmearSettings,
    *("n_white", "n_red", "n_platelets", "n_artefacts", "differential", "overlap"),
    panel="Cells",
    differential="--differential CLASS=SHARE",
)
@takes(
    SmearSettings,
    *("width", "height", "pixel_size_um", "stain_variation", "light_variation", "seed"),
    into="picture",
    panel="Picture",
)
def smear(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the smear.")
    ],
    given: Given,
    picture: Given,
    png: Annotated[bool, typer.Option("--png", help="Write smear.png too.")] = False,
    sketches: Annotated[
        bool, typer.Option("--sketches", help="Draw plain cells, without any model; quick.")
    ] = False,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    allow_download: DownloadOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a synthetic blood smear: smear.tif, labels.tif, truth.csv, provenance.json.

    White cells and platelets are rendered by the model, all else is drawn. Every image says in
    its metadata that it is synthetic.
    """
    with reporting("smear", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.cli.generate import drawing_model
        from cytodiffusion.cli.shared import load_model
        from cytodiffusion.files.atomic import check_folder
        from cytodiffusion.smear import synthetic_smear
        from cytodiffusion.smear.files import save_smear, smear_record

        settings = read_settings(SmearSettings, given | picture)
        check_folder(out)
        bundle = None
        if not sketches:
            bundle = drawing_model(load_model(reporter, model, device, allow_download))
        with reporter.progress("Making a synthetic smear") as progress:
            made = synthetic_smear(bundle, settings, progress=progress)
        for warning in made.warnings:
            reporter.warn(warning)
        about = None if bundle is None else bundle.record()
        files = save_smear(made, out, model=about, png=png)
        counts = made.cells["class"].value_counts()
        text = ", ".join(f"{n} {name}" for name, n in counts.items()) or "no cells"
        reporter.result({"files": files, **smear_record(made, about)}, f"{text} -> {out}")
