"""The commands and the options of the program itself."""

from __future__ import annotations

from typing import Annotated

import typer

from cytodiffusion import __version__
from cytodiffusion.cli import (
    augment,
    authenticity,
    classify,
    counterfactual,
    demo,
    evaluate,
    generate,
    heatmap,
    models,
    run,
    segment,
    smear,
    train,
)

app = typer.Typer(
    name="cytodiffusion",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("segment")(segment.segment)
app.command("classify")(classify.classify)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("demo")(demo.demo)
app.command("counterfactual")(counterfactual.counterfactual)
app.command("morph")(counterfactual.morph)
app.command("generate")(generate.generate)
app.command("heatmap")(heatmap.heatmap)
app.command("smear")(smear.smear)
app.command("augment")(augment.augment)
app.add_typer(models.app, name="models")
app.add_typer(authenticity.app, name="authenticity")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cytodiffusion {__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Segment, classify and explain blood cells with a diffusion classifier.

    For research and teaching; not a medical device.
    """
