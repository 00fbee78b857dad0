"""What a study calls the classes of a model: names and colours as its people have them now."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from cytodiffusion.classification.result import Classification
from cytodiffusion.study.classes import StudyClass, class_finder
from cytodiffusion.study.database import Database

#: Colour of a class that a study does not know.
_GREY = "#888888"


def renamed(result: Classification, database: Database) -> Classification:
    """Return a classification with the names that a study has for its classes now."""
    return _renamed(result, class_finder(database))


def looks(database: Database, names: Iterable[str]) -> tuple[StudyClass, ...]:
    """Return the classes that names mean; a grey one for a name that the study does not know."""
    find = class_finder(database)
    return tuple(find(name) or StudyClass(0, name, _GREY) for name in names)


def _renamed(result: Classification, find: Callable[[str], StudyClass | None]) -> Classification:
    known = [(name, find(name)) for name in result.class_names]
    names = tuple(name if one is None else one.name for name, one in known)
    coarse = None if result.coarse is None else _renamed(result.coarse, find)
    return replace(result, class_names=names, coarse=coarse)
