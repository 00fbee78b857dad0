"""``cytodiffusion models``: what models there are and whether they are sound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cytodiffusion.cli.options import DownloadOption, JsonOption, QuietOption
from cytodiffusion.cli.reporter import FAILED, reporting
from cytodiffusion.errors import BundleError, CytoDiffusionError

app = typer.Typer(help="List, inspect and verify models.", no_args_is_help=True)

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help='"default", a folder, or a Hugging Face id OWNER/NAME. A Stable Diffusion checkpoint '
        "that does not name its classes: MODEL#CLASS,CLASS.",
    ),
]


@app.command("list")
def list_models(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FOLDER", help="Where to look for models: the folder and two levels below."
        ),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the bundled model and those in FOLDER, by default the current one."""
    with reporting("models list", as_json=as_json, quiet=quiet) as reporter:
        sources = ["default", *_bundles_in(folders or [Path()])]
        rows = [_describe_or_error(source) for source in sources]
        from rich.table import Table
        from rich.text import Text

        unusable = Text('not usable: "models verify" says why', style="red")
        table = Table("Model", "Name", "Version", "Classes", "Pixels", box=None, pad_edge=False)
        for row in rows:
            if "error" in row:
                table.add_row(row["source"], unusable)
                continue
            values = (row[key] for key in ("source", "name", "version"))
            table.add_row(*map(str, values), str(len(row["classes"])), str(row["input_size"]))
        reporter.result({"models": rows}, table)


@app.command()
def inspect(
    model: SourceArgument = "default",
    allow_download: DownloadOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show the classes, sizes and model card of a model."""
    with reporting("models inspect", as_json=as_json, quiet=quiet) as reporter:
        record = _describe(model, allow_download)
        reporter.result(record, _page(record))


@app.command()
def verify(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL", help='"default", folders or Hugging Face ids.'),
    ] = None,
    allow_download: DownloadOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Check that the files of models are complete, unaltered and fit together.

    The exit code is 1 when a model is not sound.
    """
    with reporting("models verify", as_json=as_json, quiet=quiet) as reporter:
        rows = []
        for source in models or ["default"]:
            row = _describe_or_error(source, allow_download)
            sound = "error" not in row
            rows.append({"source": source, "sound": sound, **_short(row)})
            if not sound:
                reporter.error(
                    row["error"] if source in row["error"] else f"{source}: {row['error']}"
                )
                reporter.exit_code = FAILED
        good = [f"{row['source']}: sound ({row['checksum'][:12]})" for row in rows if row["sound"]]
        reporter.result({"models": rows}, "\n".join(good))


def _bundles_in(folders: list[Path]) -> list[str]:
    found: list[str] = []
    for folder in folders:
        if not folder.is_dir():
            raise BundleError(f"{folder} is not a folder.")
        for level in ("", "*/", "*/*/"):  # not all the way down: a home folder is deep
            found += [str(p.parent) for p in sorted(folder.glob(f"{level}classes.json"))]
    return found


def _describe(source: str, allow_download: bool = False) -> dict[str, Any]:
    from cytodiffusion.model.loading import bundle_folder, load_bundle

    bundle = load_bundle(source, device="cpu", allow_download=allow_download)
    parameters = sum(p.numel() for p in bundle.denoiser.parameters())
    return {
        "source": source,
        "path": str(bundle_folder(source, allow_download=False)),
        "name": bundle.name,
        "version": bundle.version,
        "checksum": bundle.checksum,
        "classes": [{"name": c.name, "color": c.color, "group": c.group} for c in bundle.classes],
        "finer": {t.parent: list(t.values) for t in bundle.traits if t.parent},
        "attributes": {t.name: list(t.values) for t in bundle.traits if not t.parent},
        "input_size": bundle.input_size,
        "window_um": bundle.window_um,
        "parameters": parameters,
        "card": bundle.card,
    }


def _describe_or_error(source: str, allow_download: bool = False) -> dict[str, Any]:
    try:
        return _describe(source, allow_download)
    except CytoDiffusionError as error:
        return {"source": source, "error": str(error)}


def _short(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("name", "version", "checksum", "error") if key in row}


def _page(record: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.markdown import Markdown
    from rich.table import Table
    from rich.text import Text

    facts = Table(show_header=False, box=None, pad_edge=False)
    for key in ("name", "version", "path", "checksum", "input_size", "window_um", "parameters"):
        value = record[key]
        facts.add_row(key.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    classes = Table("", "Class", "Group", box=None, pad_edge=False)
    for row in record["classes"]:
        classes.add_row(Text("■", style=row["color"]), row["name"], str(row["group"]))
    parts: list[Any] = [facts, "", classes]
    told = Table("", "Values", box=None, pad_edge=False)
    for name, values in {**record["finer"], **record["attributes"]}.items():
        told.add_row(name.replace("_", " "), ", ".join(values))
    if told.row_count:
        parts += ["", "Finer classes and attributes", told]
    if record["card"]:
        parts += ["", Markdown(record["card"])]
    return Group(*parts)
