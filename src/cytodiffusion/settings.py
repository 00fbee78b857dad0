"""Settings: one pydantic class a subject, whose fields are the only place of a knob.

A field's title, description and bounds make the option of the command line, the entry of a form
and the sentence about a value that does not fit. Modules with settings import nothing heavy, since
the command line reads them before it knows what is to be done.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.config import JsonDict
from pydantic_core import PydanticUndefined

from cytodiffusion.errors import InputError

_Settings = TypeVar("_Settings", bound=BaseModel)

#: Plain words for what pydantic says.
_REASONS = {
    "int_parsing": "it must be a whole number",
    "int_type": "it must be a whole number",
    "int_from_float": "it must be a whole number",
    "float_parsing": "it must be a number",
    "float_type": "it must be a number",
    "bool_parsing": "it must be true or false",
    "finite_number": "it must be a finite number",
    "missing": "it must be given",
    "string_too_short": "it must not be empty",
}
#: Side in micrometres of the square that is cut out around a cell.
WINDOW_UM = 20.0
#: Bootstrap samples of an interval.
RESAMPLES = 1000
#: Pixels of other sizes than these are none of a blood smear under a microscope.
MIN_PIXEL_SIZE_UM, MAX_PIXEL_SIZE_UM = 0.01, 10.0


def setting(
    default: Any = PydanticUndefined,
    title: str = "",
    description: str = "",
    *,
    unit: str | None = None,
    more: bool = False,
    aliases: Sequence[str] = (),
    **bounds: Any,
) -> Any:
    """Return a field of a settings class.

    ``more`` marks what few users turn: forms fold it away. ``aliases`` are other names of choices,
    which the class itself translates. Bounds are those of `pydantic.Field`.
    """
    extra: JsonDict = {"unit": unit, "more": more, "aliases": list(aliases)}
    return Field(default, title=title, description=description, json_schema_extra=extra, **bounds)


Seed = Annotated[
    int,
    setting(title="Seed", description="The same seed gives the same numbers.", ge=0, lt=2**40),
]
Device = Annotated[
    str,
    setting(
        title="Device",
        description="Device that computes: auto, cpu, cuda, cuda:1 or mps.",
        more=True,
    ),
]
ModelSource = Annotated[
    str,
    setting(
        title="Model",
        description='Model to use: "default" (bundled), a folder, or a Hugging Face id OWNER/NAME.',
    ),
]
AllowDownload = Annotated[
    bool,
    setting(
        title="Allow downloads",
        description="Download models or weights that are not on this computer; without it the "
        "network is never used.",
        more=True,
    ),
]
PixelSize = Annotated[
    float | None,
    setting(
        title="Pixel size",
        description="Micrometres per pixel of the images; otherwise what the file states, or an "
        "estimate from the cells.",
        unit="um",
        ge=MIN_PIXEL_SIZE_UM,
        le=MAX_PIXEL_SIZE_UM,
    ),
]
BatchSize = Annotated[
    int,
    setting(
        title="Batch size",
        description="Cells computed at a time; changes memory and speed, never the results.",
        unit="cells",
        more=True,
        ge=1,
        le=65536,
    ),
]
Layout = Annotated[
    str,
    setting(
        title="Layout of the data",
        description="How the images lie on disk; auto finds it out, docs/datasets.md lists all.",
        more=True,
    ),
]
Duplicates = Annotated[
    Literal["refuse", "drop", "allow"],
    setting(
        title="Images in two splits",
        description="What to do with an image that is in two splits: refuse to go on, drop it "
        "from the split that matters less, or allow it.",
        more=True,
    ),
]


class SegmentOptions(BaseModel):
    """How cells are found; the arguments of `cytodiffusion.segmentation.segment`."""

    model_config = ConfigDict(frozen=True)

    method: Literal["auto", "network", "watershed", "cellpose"] = setting(
        "auto",
        "Method",
        "How cells are found: network, the smear network of the model; watershed, by rules alone; "
        "cellpose; or auto, which takes Cellpose where its weights and a GPU are at hand and the "
        "smear network otherwise.",
    )
    pixel_size_um: PixelSize = None
    one_scale: bool = setting(
        True,
        "One scale",
        "Give images of one folder and size, of which no file states the pixel size, the scale "
        "that most of them measure; otherwise each has its own. For images of several microscopes "
        "or objectives in one folder, switch it off.",
        more=True,
    )
    model: str | None = setting(
        None, "Cellpose model", "Cellpose model by name, or a file of weights.", more=True
    )
    device: Device = "auto"
    allow_download: AllowDownload = False


def reason_of(error: ValidationError) -> str:
    """Return in plain words what is wrong with the first value that pydantic refuses."""
    first = error.errors()[0]
    known = _REASONS.get(first["type"])
    said = re.sub(r"^(Value error|Assertion failed), ", "", first["msg"])
    return known or re.sub(r"^[A-Z][a-z]+ should ", "it must ", said)


def make_settings(kind: type[_Settings], values: Mapping[str, Any]) -> _Settings:
    """Return settings of the given kind."""
    check_names(kind, values)
    try:
        return kind(**values)
    except ValidationError as error:
        first, reason = error.errors()[0], reason_of(error)
        where = ".".join(p for p in first["loc"] if isinstance(p, str))
        where = where.removesuffix("_um").replace("_", " ")
        if not where:  # settings that do not go together
            raise InputError(f"These settings do not go together: {reason}.") from error
        raise InputError(f"The setting {where} cannot be {first['input']!r}: {reason}.") from error


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of which those in ``second`` count, name by name also in dictionaries."""
    result = {**first, **second}
    for key in first.keys() & second.keys():
        if isinstance(first[key], dict) and isinstance(second[key], dict):
            result[key] = merged(first[key], second[key])
    return result


def check_names(kind: type[BaseModel], values: Mapping[str, Any], within: str = "") -> None:
    """Raise InputError for the first name that is none of the settings, also in nested ones."""
    for name, value in values.items():
        field = kind.model_fields.get(name)
        if field is None:
            near = difflib.get_close_matches(name, kind.model_fields, 1)
            hint = f" Did you mean {within}{near[0]}?" if near else ""
            raise InputError(f"There is no setting {within + name!r}.{hint}")
        inner = field.annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            continue
        if isinstance(value, Mapping):
            check_names(inner, value, f"{within}{name}.")
        elif not isinstance(value, inner):
            part = f"{within}{name}.{next(iter(inner.model_fields))}"
            raise InputError(f"The setting {within}{name} has parts: set those, such as {part}.")
