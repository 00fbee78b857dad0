"""Class hierarchies: what belongs together, what is a neighbour of what, and in which colour.

A taxonomy names classes with their codes, puts them into groups and lists which of them are
neighbours: stages of maturation between which there is no sharp border, or a normal cell and its
abnormal form. Strict scores count a neighbour as wrong, tolerant scores as right (the two ways of
scoring of Matek et al., Blood 138:1917, 2021; the lists of neighbours here are the package's own).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from itertools import chain, cycle, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.errors import InputError

#: Taxonomies that ship with the package; the first of those that know equally many classes.
READY = ("peripheral-blood", "aml", "bone-marrow")


@dataclass(frozen=True)
class Category:
    """One class of a taxonomy."""

    name: str
    color: str  #: ``#rrggbb``
    group: str = ""
    code: str = ""  #: such as NGS
    parent: str = ""  #: the coarser class that it is a kind of
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Taxonomy:
    """Classes with groups, colours and neighbours.

    Attributes
    ----------
    name : str
    title : str
        One line that says what it is for.
    classes : tuple of Category
    neighbours : frozenset of frozenset of str
        Pairs of class names between which confusion is tolerated.
    """

    name: str
    title: str
    classes: tuple[Category, ...]
    neighbours: frozenset[frozenset[str]] = frozenset()

    def find(self, label: str) -> Category | None:
        """Return the class of that name, code or alias; case, spaces, _ and - do not matter."""
        return _index_of(self).get(plain(label))

    def share_known(self, names: Iterable[str]) -> float:
        """Share of ``names`` that the taxonomy knows, 0 to 1."""
        found = [self.find(name) is not None for name in names]
        return sum(found) / len(found) if found else 0.0

    def group_of(self, label: str) -> str:
        """Group of a class; a class that is unknown or has none is a group of its own."""
        found = self.find(label)
        return found.group if found and found.group else (found.name if found else label)

    def finer(self, label: str) -> tuple[Category, ...]:
        """Return the classes that are kinds of a class, in order of maturation where there is."""
        found = self.find(label)
        name = found.name if found else label
        return tuple(c for c in self.classes if c.parent == name)

    def are_neighbours(self, one: str, other: str) -> bool:
        """Whether confusion of the two is tolerated; also true of a class and itself."""
        first, second = (c.name if (c := self.find(x)) else x for x in (one, other))
        return first == second or frozenset((first, second)) in self.neighbours

    def tolerance(self, class_names: Sequence[str]) -> NDArray[np.bool_]:
        """Which answers count as right: ``(K, K)`` bool, symmetric, True on the diagonal."""
        return np.array(
            [[self.are_neighbours(a, b) for b in class_names] for a in class_names], dtype=bool
        ).reshape(len(class_names), len(class_names))

    def to_dict(self) -> dict[str, Any]:
        """Return the taxonomy as it stands in a JSON file."""
        return {
            "name": self.name,
            "title": self.title,
            "classes": [
                {k: v for k, v in asdict(c).items() if v not in ("", ())} for c in self.classes
            ],
            "neighbours": sorted(sorted(pair) for pair in self.neighbours),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Taxonomy:
        """Make a taxonomy from the content of its JSON file."""
        try:
            rows = [_category(row) for row in content["classes"]]
            named = cls(str(content["name"]), str(content.get("title", "")), tuple(rows))
            _check_categories(named)
            pairs = frozenset(_pair(named, pair) for pair in content.get("neighbours", ()))
        except KeyError as error:
            raise ValueError(f"{error.args[0]} is missing") from error
        except (AttributeError, TypeError) as error:
            raise ValueError(f"a part of it is of the wrong kind ({error})") from error
        return cls(named.name, named.title, named.classes, pairs)


def plain(label: str) -> str:
    """Label without what people write differently: case, spaces, underscores, hyphens."""
    return re.sub(r"[\s_\-]+", " ", label).strip().casefold()


@cache
def _index_of(taxonomy: Taxonomy) -> dict[str, Category]:
    index: dict[str, Category] = {}
    for category in taxonomy.classes:
        for label in (category.name, category.code, *category.aliases):
            if label:
                index[plain(label)] = category
    return index


def _category(row: Mapping[str, Any]) -> Category:
    unknown = set(row) - {"name", "color", "group", "code", "parent", "aliases"}
    if unknown:
        raise ValueError(f"a class has an unknown entry {min(unknown)!r}")
    name, color = row["name"], row["color"]
    if not isinstance(name, str) or not name or "|" in name or not name.isprintable():
        raise ValueError(f"{name!r} cannot be the name of a class")
    if not re.fullmatch("#[0-9a-fA-F]{6}", str(color)):
        raise ValueError(f"{color!r} is not a colour such as #0072b2")
    aliases = tuple(str(a) for a in row.get("aliases", ()))
    group, code, parent = (str(row.get(key, "")) for key in ("group", "code", "parent"))
    return Category(name, color, group, code, parent, aliases)


def _check_categories(taxonomy: Taxonomy) -> None:
    if not taxonomy.classes:
        raise ValueError("it has no classes")
    coarse = {c.name for c in taxonomy.classes if not c.parent}
    for c in taxonomy.classes:
        if c.parent and c.parent not in coarse:
            raise ValueError(f"{c.name!r} is said to be a kind of {c.parent!r}, which is no class")
    owner: dict[str, int] = {}
    for number, c in enumerate(taxonomy.classes):
        for label in (c.name, c.code, *c.aliases):
            if label and owner.setdefault(plain(label), number) != number:
                raise ValueError(f"{label!r} means two classes")


def _pair(taxonomy: Taxonomy, pair: Sequence[str]) -> frozenset[str]:
    if isinstance(pair, str) or len(pair) != 2:
        raise ValueError(f"{pair!r} is not a pair of neighbours")
    found = [taxonomy.find(label) for label in pair]
    for label, category in zip(pair, found, strict=True):
        if category is None:
            raise ValueError(f"the neighbour {label!r} is not among its classes")
    names = frozenset(c.name for c in found if c)
    if len(names) != 2:
        raise ValueError(f"{pair[0]!r} cannot be its own neighbour")
    return names


def load_taxonomy(source: str | Path) -> Taxonomy:
    """Load a ready taxonomy by its name, or one of your own from a JSON file."""
    if str(source) in READY:
        return _ready(str(source))
    path = Path(source)
    if not path.is_file():
        raise InputError(
            f"There is no taxonomy {str(source)!r}: choose {', '.join(READY)} or name a JSON file."
        )
    try:
        return Taxonomy.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"The taxonomy {path} cannot be read: it is not JSON.") from error
    except ValueError as error:
        raise InputError(f"The taxonomy {path} cannot be used: {error}.") from error


@cache
def _ready(name: str) -> Taxonomy:
    file = resources.files("cytodiffusion") / "taxonomies" / f"{name}.json"
    return Taxonomy.from_dict(json.loads(file.read_text(encoding="utf-8")))


def taxonomy_for(names: Sequence[str]) -> Taxonomy | None:
    """Return the ready taxonomy that knows most of these classes, or None.

    At least two of the names and half of them must be known.
    """
    best = max(map(_ready, READY), key=lambda taxonomy: taxonomy.share_known(names))
    share = best.share_known(names)
    return best if share >= 0.5 and share * len(names) >= 2 else None


#: Groups of what is no white cell.
NOT_WHITE = frozenset({"red", "red cell", "erythroid", "platelet", "artefact", "other"})


def white_classes(names: Sequence[str], groups: Sequence[str] = ()) -> NDArray[np.bool_]:
    """Return which classes ``(K,)`` are white cells, as in a differential count.

    By what the ready taxonomies say of the name, else by the group that a model gives its class.
    A class that neither knows is taken for one of white cells, so that it is neither left out of
    a count nor of a promise.
    """
    white = []
    for name, group in zip_longest(names, groups, fillvalue=""):
        known = next((c for ready in READY if (c := _ready(ready).find(name))), None)
        white.append(plain(known.group if known else group) not in NOT_WHITE)
    return np.array(white, bool)


def tolerant(
    labels: Sequence[str], predicted: Sequence[str], taxonomy: Taxonomy
) -> NDArray[np.bool_]:
    """Which predictions are right or a neighbour of what is right.

    Returns
    -------
    (N,) bool array
    """
    return np.array(
        [taxonomy.are_neighbours(a, b) for a, b in zip(labels, predicted, strict=True)], dtype=bool
    )


def group_scores(
    labels: Sequence[str], predicted: Sequence[str], taxonomy: Taxonomy
) -> dict[str, Any]:
    """Scores of groups instead of classes."""
    truth = np.array([taxonomy.group_of(x) for x in labels], dtype=object)
    found = np.array([taxonomy.group_of(x) for x in predicted], dtype=object)
    if len(truth) != len(found):
        raise ValueError("there must be as many predictions as labels")
    if not len(truth):
        return {"accuracy": float("nan"), "balanced_accuracy": float("nan"), "recall": {}}
    recall = {g: float((found[truth == g] == g).mean()) for g in sorted(set(truth.tolist()))}
    return {
        "accuracy": float((truth == found).mean()),
        "balanced_accuracy": float(np.mean(list(recall.values()))),
        "recall": recall,
    }


#: Colours for classes that no taxonomy knows, in order (Okabe & Ito 2008; Tol's muted scheme).
PALETTE = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442"),
    *("#332288", "#882255", "#117733", "#88ccee", "#ddcc77", "#cc6677", "#44aa99"),
    *("#aa4499", "#999933", "#661100", "#6699cc", "#888888", "#aa4466", "#4477aa"),
)


def colors_and_groups(
    names: Sequence[str], taxonomy: Taxonomy | None = None
) -> list[tuple[str, str]]:
    """Colours and groups of classes."""
    taxonomy = taxonomy or taxonomy_for(names) or load_taxonomy(READY[0])
    known = [taxonomy.find(name) for name in names]
    taken = {c.color for c in known if c}
    free = [color for color in PALETTE if color not in taken]
    more = chain(free, cycle(PALETTE))
    return [(c.color, c.group) if c else (next(more), "") for c in known]
