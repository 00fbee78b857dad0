"""Options of the command line, made from the settings classes of the engine."""

from __future__ import annotations

import functools
import inspect
import json
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cytodiffusion import settings as words
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import InputError
from cytodiffusion.settings import check_names, make_settings, merged

_Settings = TypeVar("_Settings", bound=BaseModel)
_Command = TypeVar("_Command", bound=Callable[..., None])
_MODEL, _OUTPUT = "Model", "Output"

#: What an option that was given changes; see `takes`.
Given = dict[str, Any]


def _shared(kind: Any, *flags: str, panel: str, **more: Any) -> Any:
    """Return an option with the words of a type that several settings classes share."""
    inner, field = get_args(kind)
    return Annotated[
        inner, typer.Option(*flags, help=field.description, rich_help_panel=panel, **more)
    ]


ModelOption = _shared(words.ModelSource, "--model", "-m", panel=_MODEL, metavar="MODEL")
DeviceOption = _shared(words.Device, "--device", panel=_MODEL)
DownloadOption = _shared(words.AllowDownload, "--allow-download", panel=_MODEL)
SeedOption = _shared(words.Seed, "--seed", panel=_MODEL, min=0)
PixelSizeOption = _shared(
    words.PixelSize, "--pixel-size", panel="Finding cells", metavar="UM", show_default=False
)
LayoutOption = _shared(words.Layout, "--layout", panel="Data")
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
CorrectionsOption = Annotated[
    Path | None,
    typer.Option(
        "--corrections",
        metavar="FILE.csv",
        help="Cells whose class you know: columns label (or path), class, and perhaps image and "
        "observer. All other cells of the slide are classified by them too.",
        rich_help_panel="Classification",
        readable=False,  # the engine says it better
    ),
]
SettingsOption = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        metavar="FILE.json",
        help="Settings to start from; options override.",
        readable=False,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any other setting, such as those that --list-settings shows. Repeatable.",
    ),
]


# --- options from settings ---------------------------------------------------------------------


def takes(
    kind: type[BaseModel],
    *names: str,
    into: str = "given",
    panel: str | None = None,
    **flags: str,
) -> Callable[[_Command], _Command]:
    """Let a command take settings as options, in the place of its parameter ``into``.

    The parameter gets what was given, by the settings' names, for `read_settings`. ``flags`` names
    options otherwise, perhaps with what stands for the value: ``sigmas="--threshold SIGMAS"``.
    """

    def decorate(command: _Command) -> _Command:
        own = inspect.signature(command)
        hints = get_type_hints(command, include_extras=True)
        parameters: list[inspect.Parameter] = []
        for name, parameter in own.parameters.items():
            if name != into:
                parameters.append(parameter.replace(annotation=hints[name]))
                continue
            for field in names:
                option = _option(field, kind.model_fields[field], panel, flags.get(field, ""))
                parameters.append(
                    inspect.Parameter(
                        _key(into, field), parameter.kind, default=None, annotation=option
                    )
                )

        @functools.wraps(command)
        def call(**arguments: Any) -> None:
            found = {name: arguments.pop(_key(into, name)) for name in names}
            given = {k: v for k, v in found.items() if v is not None and v != []}
            command(**arguments, **{into: given})

        call.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
        return call  # type: ignore[return-value]

    return decorate


#: Options of every command that classifies.
_CLASSIFICATION = (
    *("trials", "seed", "batch_size", "coverage", "by_class", "error_rate", "alone"),
    *("prior", "prior_shares"),
)


def _takes_classification(*names: str) -> Callable[[_Command], _Command]:
    return takes(
        ClassifySettings,
        *names,
        into="classification",
        panel="Classification",
        coverage="--coverage SHARE",
        by_class="--by-class/--overall",
        error_rate="--error-rate SHARE|none",
        prior_shares="--prior-share NAME=SHARE",
    )


#: Options of an evaluation, which measures both levels of the classes.
takes_scoring = _takes_classification(*_CLASSIFICATION)
#: Options of commands that write what the cells are.
takes_classification = _takes_classification(*_CLASSIFICATION, "level")
#: Whether the images of a folder have one scale.
takes_one_scale = takes(
    words.SegmentOptions,
    "one_scale",
    into="scale",
    panel="Finding cells",
    one_scale="--one-scale/--own-scale",
)
#: Options of every command that finds cells.
takes_segmentation = takes(
    words.SegmentOptions,
    *("method", "pixel_size_um", "model"),
    into="cells",
    panel="Finding cells",
    model="--cellpose-model NAME|PATH",
)


def _key(into: str, field: str) -> str:
    return f"{into}_{field}"


def _option(name: str, field: FieldInfo, panel: str | None, flags: str) -> Any:
    """Return the annotation of an option: its type, flags and help."""
    tokens = flags.split()
    chosen = [token for token in tokens if token.startswith("-")]
    metavar = next((token for token in tokens if not token.startswith("-")), None)
    kind = _plain(field.annotation)
    if not chosen:
        plain = "--" + name.removesuffix("_um").removeprefix("n_").replace("_", "-")
        chosen = [f"{plain}/--no-{plain[2:]}" if kind is bool and field.default else plain]
    read = _option_type(name, kind, field)
    return Annotated[
        read | None,
        typer.Option(
            *chosen,
            help=_help(field, read),
            rich_help_panel=panel,
            metavar=metavar or _metavar(name, kind),
            show_default=False,
        ),
    ]


def _plain(annotation: Any) -> Any:
    """Return a type without ``| None`` and `Annotated`."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        (inner,) = (a for a in get_args(annotation) if a is not type(None))
        return _plain(inner)
    return annotation


def _option_type(name: str, kind: Any, field: FieldInfo) -> Any:
    """Return what typer reads for a setting of this type."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Literal and all(isinstance(value, int) for value in inside):
        return int
    if origin is Literal:
        extra = field.json_schema_extra
        aliases = extra.get("aliases", ()) if isinstance(extra, dict) else ()
        return Enum(name, {str(value): str(value) for value in (*inside, *aliases)})  # type: ignore[misc]
    if origin is dict:
        return list[str]
    if origin is tuple:
        item = _plain(inside[0])
        return str if item in (int, float) else list[item]  # type: ignore[valid-type]
    # a number, or "none" where it has a default that can be done without
    optional = type(None) in get_args(field.annotation) and field.default is not None
    return str if optional and kind in (int, float) else kind


def _metavar(name: str, kind: Any) -> str | None:
    origin, inside = get_origin(kind), get_args(kind)
    if origin is dict:
        return "NAME=VALUE"
    if origin is tuple and _plain(inside[0]) in (int, float):
        return "N,N,..."
    if name.endswith("_um"):
        return "UM"
    if origin is Literal:
        return "N" if isinstance(inside[0], int) else name.upper()
    return {int: "N", float: "X"}.get(kind)


def _help(field: FieldInfo, kind: Any) -> str:
    """Return the description, the default and, where they matter, the bounds."""
    text, value = field.description or "", field.get_default()
    if get_origin(kind) is list:
        text += " Repeatable."
    if field.is_required() or value in (None, "", (), {}) or value is False:
        return text
    limits = (getattr(m, b, None) for b in ("ge", "gt", "le", "lt") for m in field.metadata)
    bounds = [limit for limit in limits if limit is not None]
    span = ""
    if len(bounds) == 2 and max(bounds) <= 100_000:
        span = f" ({as_text(bounds[0])} to {as_text(bounds[1])})"
    return f"{text} Default: {'yes' if value is True else as_text(value)}{span}."


def as_text(value: Any) -> str:
    """Return a setting as it is written after ``--set NAME=``."""
    if isinstance(value, tuple | list):
        return ",".join(as_text(v) for v in value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


# --- settings from options ---------------------------------------------------------------------


def read_settings(
    kind: type[_Settings],
    given: Mapping[str, Any],
    *,
    sets: list[str] | None = None,
    file: Path | None = None,
) -> _Settings:
    """Return settings from a file, ``--set`` and options, of which the later ones count."""
    values = _load(file)
    check_names(kind, values)  # before what lies over them hides a wrong one
    for item in sets or []:
        one = _one_set(kind, item)
        check_names(kind, one)
        values = merged(values, one)
    typed = {n: _from_option(kind.model_fields[n], v) for n, v in given.items()}
    return make_settings(kind, merged(values, typed))


def classify_settings(given: Mapping[str, Any]) -> ClassifySettings:
    """Return how cells are classified; fewer trials than usually taken at least are fine."""
    values = dict(given)
    if isinstance(trials := values.get("trials"), int):
        values["min_trials"] = min(trials, ClassifySettings().min_trials)
    return read_settings(ClassifySettings, values)


def _from_option(field: FieldInfo, value: Any) -> Any:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return _from_text(field, value)
    if get_origin(_plain(field.annotation)) is dict and isinstance(value, list):
        return _pairs(value)
    return value


def _from_text(field: FieldInfo, text: str) -> Any:
    """Return what a text stands for; pydantic reads numbers itself."""
    kind = _plain(field.annotation)
    if text.lower() == "none" and type(None) in (*get_args(field.annotation), type(field.default)):
        return None
    if get_origin(kind) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if get_origin(kind) is Literal:
        return next((value for value in get_args(kind) if str(value) == text), text)
    if kind is float:
        with suppress(ValueError):  # what is no number is said by pydantic
            return float(text)
    return text


def _pairs(items: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for item in items:
        name, found, value = item.rpartition("=")
        if not found or not name or not value:
            raise InputError(f"{item!r} is not of the form NAME=VALUE.")
        if name in pairs:
            raise InputError(f"{name} is given twice.")
        pairs[name] = value
    return pairs


def _one_set(kind: type[BaseModel], item: str) -> dict[str, Any]:
    """Return what ``NAME=VALUE`` stands for; a dot leads into settings within settings."""
    name, found, text = item.partition("=")
    if not found or not name:
        raise InputError(f"--set {item!r} is not of the form NAME=VALUE.")
    first, dot, rest = name.partition(".")
    field = kind.model_fields.get(first.replace("-", "_"))
    if field is None:  # said by `make_settings`, which knows what is near
        return {first: text}
    inner, first = _plain(field.annotation), first.replace("-", "_")
    if dot and isinstance(inner, type) and issubclass(inner, BaseModel):
        return {first: _one_set(inner, f"{rest}={text}")}
    if dot and get_origin(inner) is dict:
        return {first: {rest: text}}
    if dot:
        raise InputError(f"The setting {first} has no parts, so there is no {name}.")
    return {first: _from_text(field, text)}


def _load(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        why = error.strerror or "no such file"
        raise InputError(f"The settings {path} cannot be read: {why}.") from error
    except ValueError as error:
        raise InputError(f"The settings {path} cannot be read: they are not JSON.") from error
    if not isinstance(found, dict):
        raise InputError(f"The settings {path} are not a JSON object.")
    return found


# --- lists of settings -------------------------------------------------------------------------


def list_option(kind: type[BaseModel]) -> Any:
    """Return an option that prints all settings of a class and ends the program."""

    def show(wanted: bool) -> None:
        if wanted:
            from rich.console import Console

            console = Console(highlight=False)
            for name, value, description in _rows(kind):
                console.print(f"[bold]{name}[/] = {value}")
                for line in console.render_lines(description, console.options.update_width(76)):
                    console.print("    " + "".join(part.text for part in line).rstrip())
            raise typer.Exit

    return Annotated[
        bool,
        typer.Option(
            "--list-settings",
            callback=show,
            is_eager=True,
            help="Print every setting, its default and what it does, and stop.",
        ),
    ]


def _rows(kind: type[BaseModel], within: str = "") -> Iterator[tuple[str, str, str]]:
    for name, field in kind.model_fields.items():
        value = field.get_default()
        if isinstance(value, BaseModel):
            yield from _rows(type(value), f"{within}{name}.")
            continue
        shown = "(must be given)" if field.is_required() else as_text(value)
        if value == {} or value == () or value == "":
            shown = "(nothing)"
        yield within + name, shown, field.description or ""
