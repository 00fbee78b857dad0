"""``cytodiffusion augment``: a training set topped up with synthetic cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cytodiffusion.cli.generate import YesOption, drawing_model, takes_generation
from cytodiffusion.cli.options import (
    DeviceOption,
    DownloadOption,
    Given,
    JsonOption,
    LayoutOption,
    ModelOption,
    QuietOption,
    read_settings,
)
from cytodiffusion.cli.reporter import reporting
from cytodiffusion.errors import InputError
from cytodiffusion.generation.settings import GenerationSettings

if TYPE_CHECKING:
    from rich.table import Table

    from cytodiffusion.generation.augment import AugmentResult


@takes_generation
def augment(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="Real images, as for training: a folder or a CSV.", readable=False
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the synthetic images.")
    ],
    to: Annotated[
        int | None,
        typer.Option(
            "--to",
            metavar="N",
            help="Training images that each class should have.",
            show_default="as many as the largest class has",
        ),
    ] = None,
    pixel_size: Annotated[
        float | None,
        typer.Option(
            "--pixel-size",
            metavar="UM",
            help="Of the real images, if you train with --pixel-size: synthetic ones get the same.",
            show_default="the model's own",
        ),
    ] = None,
    layout: LayoutOption = "auto",
    *,
    given: Given,
    yes: YesOption = False,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    allow_download: DownloadOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Top up the training images of rare classes with synthetic ones.

    Writes the synthetic images and training.csv, which lists real and synthetic images and is what
    "train" takes. Validation and test images stay real. Whether it helps is to be measured: see
    docs/synthetic-cells.md.
    """
    with reporting("augment", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.cli.shared import load_model
        from cytodiffusion.generation import LargeOrder
        from cytodiffusion.generation.augment import augment_training

        settings = read_settings(GenerationSettings, given)
        bundle = drawing_model(load_model(reporter, model, device, allow_download))
        try:
            with reporter.progress("Drawing cells") as progress:
                done = augment_training(
                    data,
                    out,
                    bundle,
                    settings,
                    to=to,
                    layout=layout,
                    pixel_size_um=pixel_size,
                    progress=progress,
                    insist=yes,
                )
        except LargeOrder as error:
            raise InputError(f"{error} On the command line that is --yes.") from None
        for warning in done.saved.cells.warnings:
            reporter.warn(warning)
        if done.plan.unknown:
            reporter.warn(
                f"{bundle.name} does not draw {', '.join(done.plan.unknown)}: nothing was added."
            )
        reporter.result(done.record(), _summary(done))
        scale = f" --pixel-size {pixel_size:g}" if pixel_size else ""
        reporter.say(f"Train with: cytodiffusion train {done.table}{scale} -o MODEL")


def _summary(done: AugmentResult) -> Table:
    """Count real and synthetic training images by class."""
    from rich.table import Table

    added = done.added()
    table = Table(box=None, pad_edge=False)
    table.add_column("Class")
    for title in ("Real", "Synthetic", "Together"):
        table.add_column(title, justify="right")
    for name, real in done.plan.real.items():
        own = added.get(name, 0)
        table.add_row(name, *(f"{n:,}" for n in (real, own, real + own)))
    return table
