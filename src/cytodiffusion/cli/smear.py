"""``cytodiffusion smear``: a synthetic field whose every cell is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from cytodiffusion.cli.options import (
    DeviceOption,
    DownloadOption,
    JsonOption,
    ModelOption,
    QuietOption,
)
from cytodiffusion.cli.reporter import reporting
from cytodiffusion.errors import InputError

_CELLS, _PICTURE = "Cells", "Picture"


def _option(*names: str, help: str, panel: str, metavar: str | None = None) -> Any:
    return typer.Option(
        *names, help=help, rich_help_panel=panel, metavar=metavar, show_default="the engine's"
    )


Whole: TypeAlias = int | None
Number: TypeAlias = float | None


def smear(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the smear.")
    ],
    n_white: Annotated[Whole, _option("--white", help="White cells.", panel=_CELLS)] = None,
    n_red: Annotated[
        Whole, _option("--red", help="Red cells; else a third of the field.", panel=_CELLS)
    ] = None,
    n_platelets: Annotated[Whole, _option("--platelets", help="Platelets.", panel=_CELLS)] = None,
    n_artefacts: Annotated[
        Whole, _option("--artefacts", help="Clusters of stain precipitate.", panel=_CELLS)
    ] = None,
    differential: Annotated[
        list[str] | None,
        _option(
            "--differential",
            help="Share of a class among the white cells. Repeatable; shares need not add up to 1.",
            panel=_CELLS,
            metavar="CLASS=SHARE",
        ),
    ] = None,
    overlap: Annotated[
        Number,
        _option(
            "--overlap",
            help="Share of the red cells that are laid against another one, 0 to 1.",
            panel=_CELLS,
        ),
    ] = None,
    width: Annotated[Whole, _option("--width", help="In pixels.", panel=_PICTURE)] = None,
    height: Annotated[Whole, _option("--height", help="In pixels.", panel=_PICTURE)] = None,
    pixel_size_um: Annotated[
        Number,
        _option("--pixel-size", help="Micrometres per pixel.", panel=_PICTURE, metavar="UM"),
    ] = None,
    stain_variation: Annotated[
        Number,
        _option(
            "--stain-variation",
            help="0: the usual stain; 1: as far from it as laboratories are.",
            panel=_PICTURE,
        ),
    ] = None,
    light_variation: Annotated[
        Number,
        _option(
            "--light-variation",
            help="Unevenness of the light: 0 none, 1 usual, up to 3.",
            panel=_PICTURE,
        ),
    ] = None,
    seed: Annotated[Whole, _option("--seed", help="Same seed, same field.", panel=_PICTURE)] = None,
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
    given = {key: value for key, value in locals().items() if value is not None}
    with reporting("smear", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.cli.generate import drawing_model
        from cytodiffusion.cli.shared import load_model, make_settings
        from cytodiffusion.files.atomic import check_folder
        from cytodiffusion.smear import SmearSettings, synthetic_smear
        from cytodiffusion.smear.files import save_smear, smear_record

        given["differential"] = _shares(differential or [])
        fields = {key: value for key, value in given.items() if key in SmearSettings.model_fields}
        settings = make_settings(SmearSettings, fields)
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


def _shares(items: list[str]) -> dict[str, float] | None:
    """Read shares of classes.

    Raises
    ------
    InputError
        If one is not of the form, or a class is given twice.
    """
    shares: dict[str, float] = {}
    for item in items:
        name, found, share = item.rpartition("=")
        try:
            value = float(share)
        except ValueError:
            found = ""
        if not found or not name:
            raise InputError(f"{item!r} is not of the form CLASS=SHARE, such as neutrophil=0.6.")
        if name in shares:
            raise InputError(f"The share of {name} is given twice.")
        shares[name] = value
    return shares or None
