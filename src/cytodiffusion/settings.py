"""Settings from loose values, with one sentence about what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cytodiffusion.errors import InputError

_Settings = TypeVar("_Settings", bound=BaseModel)


def make_settings(kind: type[_Settings], values: Mapping[str, Any]) -> _Settings:
    """Return settings of the given kind.

    Raises
    ------
    InputError
        One sentence about the first value that does not fit, or a name that is unknown.
    """
    unknown = sorted(set(values) - set(kind.model_fields))
    if unknown:
        raise InputError(f"There is no setting {unknown[0]!r}.")
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]).replace("_", " ")
        reason = first["msg"].removeprefix("Value error, ")
        if not where:  # settings that do not go together
            raise InputError(f"These settings do not go together: {reason}.") from error
        reason = reason[:1].lower() + reason[1:]
        raise InputError(f"The setting {where} cannot be {first['input']!r}: {reason}.") from error
