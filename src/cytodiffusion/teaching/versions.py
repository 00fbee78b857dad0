"""Versions of a model that were taught in a study: bundles in its folder, one of them kept."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytodiffusion.errors import InputError
from cytodiffusion.files.atomic import describe_os_error

if TYPE_CHECKING:
    from cytodiffusion.study import Study

#: Folder of the versions in that of a study, and what a study remembers the kept one as.
MODELS, KEPT = "models", "taught model"

_NAME = re.compile(r"v(\d+)")
#: Folders of a thorough training that has not ended.
_BEGUN = re.compile(r"v(\d+)\.(?:run|cells)")


@dataclass(frozen=True)
class Version:
    """A version of a model in a study.

    Attributes
    ----------
    number : int
    folder : Path
        Of the bundle.
    record : dict
        How it came about; see `cytodiffusion.teaching.teach`.
    kept : bool
        Whether it is the one that the study goes on with.
    """

    number: int
    folder: Path
    record: dict[str, Any]
    kept: bool


def versions_of(study: Study) -> list[Version]:
    """Return the versions of a study, the first one first; a damaged one is left out."""
    kept = study.recall(KEPT)
    found = []
    for number, folder in _folders(study):
        try:
            content = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
            record = content["training"]["teaching"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(record, dict):
            found.append(Version(number, folder, record, number == kept))
    return found


def next_version(study: Study, *, deep: bool = False) -> tuple[int, Path]:
    """Return the number and the folder of the version that would be made next.

    The number of a version that was discarded is not given again while a later one is there. A
    thorough training that goes on, or was stopped, keeps its number; with ``deep`` it is the one
    that is returned.
    """
    begun = [number for number, _ in _folders(study, _BEGUN)]
    if deep and begun:
        number = max(begun)
    else:
        number = 1 + max([*begun, *(number for number, _ in _folders(study))], default=0)
    return number, study.folder / MODELS / f"v{number}"


def kept_version(study: Study) -> Version | None:
    """Return the version that the study goes on with; None where that is no taught one."""
    return next((version for version in versions_of(study) if version.kept), None)


def keep_version(study: Study, number: int | None) -> None:
    """Let a study go on with one of its versions, or with none of them.

    Raises
    ------
    InputError
        If there is no such version.
    """
    if number is not None:
        find_version(study, number)
    study.remember(KEPT, number)


def discard_version(study: Study, number: int) -> None:
    """Delete a version; where it was kept, the study goes on with none of them.

    Raises
    ------
    InputError
        If there is no such version, or its folder cannot be deleted.
    """
    version = find_version(study, number)
    if version.kept:
        study.remember(KEPT, None)
    try:
        shutil.rmtree(version.folder)
    except OSError as error:
        raise InputError(describe_os_error(error, version.folder)) from error


def find_version(study: Study, number: int) -> Version:
    """Return a version by its number; InputError if there is no such version."""
    for version in versions_of(study):
        if version.number == number:
            return version
    raise InputError(f"The study {study.name} has no version {number} of a model.")


def _folders(study: Study, name: re.Pattern[str] = _NAME) -> list[tuple[int, Path]]:
    place = study.folder / MODELS
    if not place.is_dir():
        return []
    named = [(name.fullmatch(path.name), path) for path in place.iterdir() if path.is_dir()]
    return sorted((int(match[1]), path) for match, path in named if match)
