"""The commands and the options of the program itself."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from cytodiffusion import __version__
from cytodiffusion.cli import (
    attributes,
    augment,
    authenticity,
    classify,
    counterfactual,
    demo,
    evaluate,
    generate,
    heatmap,
    lesson,
    models,
    run,
    segment,
    smear,
    study,
    teach,
    train,
)
from cytodiffusion.settings import reason_of


class _Program(TyperGroup):
    """The program, whose usage errors are in its own words."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read what was given; an empty name would be the present folder, or all there is."""
        for before, argument in pairwise(["", *args]):
            option, is_option, value = argument.partition("=")
            if not argument.strip():
                option = before
            elif not (argument.startswith("--") and is_option and not value.strip()):
                continue
            hint = f"'{option}'" if option.startswith("-") else "an argument"
            raise typer.BadParameter("it is empty: give a name, or leave it out.", param_hint=hint)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; what reads its options may have its reasons from a library."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if isinstance(cause := error.__cause__, ValidationError):
                error.message = _usage_error(cause)
            raise


def _usage_error(error: ValidationError) -> str:
    """Return what is wrong with the value of an option."""
    reason = reason_of(error)
    if not reason.startswith("it must"):
        return reason
    return f"{reason}, not {error.errors()[0]['input']!r}."


app = typer.Typer(
    cls=_Program,
    name="cytodiffusion",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("segment")(segment.segment)
app.command("classify")(classify.classify)
app.command("attributes")(attributes.attributes)
app.command("train")(train.train)
app.command("teach")(teach.teach)
app.command("evaluate")(evaluate.evaluate)
app.command("demo")(demo.demo)
app.command("counterfactual")(counterfactual.counterfactual)
app.command("morph")(counterfactual.morph)
app.command("generate")(generate.generate)
app.command("heatmap")(heatmap.heatmap)
app.command("smear")(smear.smear)
app.command("score")(smear.score)
app.command("augment")(augment.augment)
app.add_typer(models.app, name="models")
app.add_typer(study.app, name="study")
app.add_typer(authenticity.app, name="authenticity")
app.add_typer(lesson.app, name="lesson")


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
