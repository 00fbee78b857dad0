"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Method(StrEnum):
    """How cells are found."""

    auto = "auto"
    watershed = "watershed"
    cellpose = "cellpose"


_MODEL = "Model"
_OUTPUT = "Output"
_CELLS = "Finding cells"
_UNCERTAINTY = "Doubt"

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help='"default" (bundled), the folder of a model, or a Hugging Face id OWNER/NAME.',
        rich_help_panel=_MODEL,
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.", rich_help_panel=_MODEL),
]
TrialsOption = Annotated[
    int | None,
    typer.Option(
        "--trials",
        min=1,
        help="Most trials a cell may take; easy cells stop earlier.",
        show_default="the engine's",
        rich_help_panel=_MODEL,
    ),
]
SeedOption = Annotated[
    int,
    typer.Option("--seed", min=0, help="Same seed, same numbers.", rich_help_panel=_MODEL),
]
BatchOption = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        min=1,
        help="Cells at a time: memory and speed, never the results.",
        show_default="the engine's",
        rich_help_panel=_MODEL,
    ),
]
ErrorRateOption = Annotated[
    float | None,
    typer.Option(
        "--error-rate",
        metavar="SHARE",
        help="Share of the accepted cells that may be wrong, such as 0.02; cells too unsure for "
        "it are marked for review.",
        show_default="none are for review",
        rich_help_panel=_UNCERTAINTY,
    ),
]
CoverageOption = Annotated[
    float | None,
    typer.Option(
        "--coverage",
        metavar="SHARE",
        help="How often prediction sets hold the true class.",
        show_default="the engine's, 0.95",
        rich_help_panel=_UNCERTAINTY,
    ),
]
ByClassOption = Annotated[
    bool | None,
    typer.Option(
        "--by-class/--overall",
        help="Let the coverage hold for every class by itself, or for all cells together.",
        show_default="by class where validation cells suffice",
        rich_help_panel=_UNCERTAINTY,
    ),
]
AloneOption = Annotated[
    bool,
    typer.Option(
        "--alone",
        help="Look at each cell by itself; do not correct the cells of an image or folder for "
        "what they have in common.",
        rich_help_panel=_UNCERTAINTY,
    ),
]
DownloadOption = Annotated[
    bool,
    typer.Option(
        "--allow-download",
        help="Download missing models or weights. Without it the network is never used.",
        rich_help_panel=_MODEL,
    ),
]
PixelSizeOption = Annotated[
    float | None,
    typer.Option(
        "--pixel-size",
        metavar="UM",
        help="Micrometres per pixel.",
        show_default="from the file, else estimated from the cells",
        rich_help_panel=_CELLS,
    ),
]
MethodOption = Annotated[
    Method,
    typer.Option(
        "--method",
        help="auto: Cellpose where its weights and a GPU are at hand, else watershed.",
        rich_help_panel=_CELLS,
    ),
]
CellposeModelOption = Annotated[
    str | None,
    typer.Option(
        "--cellpose-model",
        metavar="NAME|PATH",
        help="Cellpose model by name, or a file of weights.",
        rich_help_panel=_CELLS,
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON object on standard output and nothing else there.",
        rich_help_panel=_OUTPUT,
    ),
]
QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print errors only.", rich_help_panel=_OUTPUT),
]
ImageArgument = Annotated[
    Path,
    typer.Argument(metavar="IMAGE", help="PNG, JPEG, TIFF, OME-TIFF, SVS or BMP.", readable=False),
]
