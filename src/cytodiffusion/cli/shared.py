"""What several commands do before their work; imports the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from cytodiffusion.cli.reporter import Reporter
from cytodiffusion.errors import InputError

if TYPE_CHECKING:
    from cytodiffusion.classify import ClassifySettings
    from cytodiffusion.predict import Classifier

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


def classify_settings(
    *,
    trials: int | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    error_rate: float | None = None,
    coverage: float | None = None,
    by_class: bool = False,
) -> ClassifySettings:
    """Return the settings of the engine with those changed that were given."""
    from cytodiffusion.classify import ClassifySettings

    values: dict[str, Any] = {"seed": seed, "error_rate": error_rate, "by_class": by_class}
    if trials is not None:
        values |= {"trials": trials, "min_trials": min(trials, ClassifySettings().min_trials)}
    if batch_size is not None:
        values["batch_size"] = batch_size
    if coverage is not None:
        values["coverage"] = coverage
    return make_settings(ClassifySettings, values)


def load_model(reporter: Reporter, source: str, device: str, allow_download: bool) -> Classifier:
    """Load and verify a model and say which one it is."""
    from cytodiffusion.predict import load_classifier

    bundle = load_classifier(source, device, allow_download=allow_download)
    reporter.say(f"Model {bundle.name} {bundle.version} on {bundle.device}")
    return bundle
