"""``cytodiffusion generate``: synthetic cells of the asked classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from cytodiffusion.errors import InputError
from cytodiffusion.generation.settings import GenerationSettings, Mix
from cytodiffusion.settings import make_settings

if TYPE_CHECKING:
    from rich.table import Table

    from cytodiffusion.generation import GeneratedCells
    from cytodiffusion.model.bundle import ModelBundle

takes_generation = takes(GenerationSettings, "seed", "guidance", "steps", "reject", "tries")
YesOption = Annotated[
    bool, typer.Option("--yes", help="Begin even what will take very long.", show_default=False)
]


@takes_generation
def generate(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the cells.")
    ],
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", "-c", metavar="NAME", help="Class to draw. Repeatable."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Draw every class.")] = False,
    number: Annotated[int, typer.Option("-n", "--number", help="Cells of each class.")] = 10,
    towards: Annotated[
        str | None,
        typer.Option(
            "--towards",
            metavar="CLASS=SHARE",
            help="Draw cells between the class and this one: 0 stays, 1 arrives.",
        ),
    ] = None,
    stain: Annotated[
        Path | None,
        typer.Option(
            "--stain",
            metavar="IMAGE",
            help="Draw in the stain of this image of a smear: its red cells, nuclei and light.",
        ),
    ] = None,
    *,
    given: Given,
    yes: YesOption = False,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    allow_download: DownloadOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Draw synthetic cells: a PNG each in a folder per class, cells.csv and contact_sheet.png.

    Every file says in its metadata that it is synthetic. The same seed draws the same cells.
    """
    with reporting("generate", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.cli.shared import load_model
        from cytodiffusion.generation import LargeOrder, generate_into
        from cytodiffusion.image.image import as_rgb8, open_image

        settings = read_settings(GenerationSettings, given)
        mix = parse_mix(towards)
        stain_of = None if stain is None else as_rgb8(open_image(stain))
        bundle = drawing_model(load_model(reporter, model, device, allow_download))
        counts = _counts(bundle, classes or [], everything, number)
        try:
            with reporter.progress("Drawing cells") as progress:
                saved = generate_into(
                    out,
                    bundle,
                    counts,
                    settings,
                    towards=mix,
                    progress=progress,
                    insist=yes,
                    stain_of=stain_of,
                )
        except LargeOrder as error:
            raise InputError(f"{error} On the command line that is --yes.") from None
        for warning in saved.cells.warnings:
            reporter.warn(warning)
        reporter.result(saved.record(), summary(saved.cells))
        reporter.say(f"The cells are in {out.resolve()}: look at contact_sheet.png first.")


def parse_mix(text: str | None) -> Mix | None:
    """Read ``CLASS=SHARE``; a class alone means half-way."""
    if text is None:
        return None
    name, found, share = text.rpartition("=")
    return make_settings(Mix, {"name": name, "share": share} if found else {"name": text})


def drawing_model(model: Any) -> ModelBundle:
    """Return the model if it can draw cells."""
    from cytodiffusion.model.bundle import ModelBundle

    if not isinstance(model, ModelBundle):
        raise InputError(f"{model.name} draws no cells: only diffusion models do.")
    return model


def summary(cells: GeneratedCells) -> Table:
    """Count, by class, what was drawn, rejected and left out."""
    from collections import Counter

    from rich.table import Table

    made, missing = Counter(cells.classes), cells.missing
    table = Table(box=None, pad_edge=False)
    table.add_column("Class")
    for title in ("Asked", "Made", "Accepted", "Drawn anew", "Left out"):
        table.add_column(title, justify="right")
    for name, asked in cells.asked.items():
        own = [ok for c, ok in zip(cells.classes, cells.accepted, strict=True) if c == name]
        again = cells.rejected.get(name, 0)
        row = (asked, made[name], sum(own), again, missing.get(name, 0))
        table.add_row(name, *(f"{value:,}" for value in row))
    return table


def _counts(
    model: ModelBundle, classes: list[str], everything: bool, number: int
) -> dict[str, int]:
    from cytodiffusion.generation.order import class_of

    if everything == bool(classes):
        raise InputError(
            f"Say which classes to draw, by --class or --all; {model.name} draws "
            f"{', '.join(model.untaught.class_names)}."
        )
    names = (
        list(model.untaught.class_names) if everything else [class_of(model, n) for n in classes]
    )
    return dict.fromkeys(names, number)
