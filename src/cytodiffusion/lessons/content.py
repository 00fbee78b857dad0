"""What a lesson says, as it stands in its ``lesson.json``; reading it checks it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cytodiffusion.lessons.settings import MOST_CLASSES

Text = Annotated[str, Field(max_length=4000)]
Name = Annotated[str, Field(min_length=1, max_length=120)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
PictureName = Annotated[str, Field(pattern=r"^pictures/[a-z0-9-]+\.png$", max_length=80)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class LessonClass(_Part):
    """A class that is to be told from the others."""

    name: Name
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
    hint: Text = ""
    attributes: tuple[Name, ...] = ()  #: to look at


class Truth(_Part):
    """Where the class of a cell is known from."""

    kind: Literal["label", "people", "synthetic"]
    text: Text


class Attribute(_Part):
    """What the model says of an attribute of a cell."""

    value: Name
    probability: Share


class Version(_Part):
    """A cell as another class: what would have to change, and how it would look."""

    target: Name
    sentence: Text = ""
    map: PictureName | None = None  #: the cell under what changes
    picture: PictureName | None = None  #: synthetic; None where no change was enough
    probability: Share | None = None  #: that the model gives the target for the picture


class ReferenceCell(_Part):
    """A cell that is not asked, and shown beside others."""

    picture: PictureName
    class_name: Annotated[Name, Field(alias="class")]
    truth: Truth
    synthetic: bool
    source: Text = ""


class LessonCell(ReferenceCell):
    """A cell that is asked, and all that is told after the answer."""

    hint: Text = ""
    posterior: dict[Name, Share] = {}  #: by classes of the model
    attributes: dict[Name, Attribute] = {}
    versions: tuple[Version, ...] = ()
    #: number of the most similar reference cell of each class
    nearest: dict[Name, Annotated[int, Field(ge=0)]] = {}


class LessonContent(_Part):
    """All that a lesson says; pictures are beside it."""

    kind: Literal["cytodiffusion lesson"] = "cytodiffusion lesson"
    format: Literal[1] = 1
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    title: Name
    author: Text = ""
    language: Annotated[str, Field(max_length=35)] = ""
    licence: Text = ""
    attribution: Text = ""
    introduction: Text = ""
    window_um: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
    classes: Annotated[tuple[LessonClass, ...], Field(min_length=2, max_length=MOST_CLASSES)]
    cells: Annotated[tuple[LessonCell, ...], Field(min_length=1, max_length=5000)]
    references: Annotated[tuple[ReferenceCell, ...], Field(max_length=5000)] = ()
    made: dict[str, Any] = {}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = Counter(one.name for one in self.classes)
        if names.most_common(1)[0][1] > 1:
            raise ValueError(f"it has the class {names.most_common(1)[0][0]!r} twice")
        for cell in (*self.cells, *self.references):
            if cell.class_name not in names:
                raise ValueError(f"a cell is of the class {cell.class_name!r}, which it lacks")
        for cell in self.cells:
            for name, number in cell.nearest.items():
                if number >= len(self.references) or self.references[number].class_name != name:
                    raise ValueError(f"a cell is compared with no reference cell of {name!r}")
        return self

    def pictures(self) -> Iterator[str]:
        """Names of all pictures."""
        yield from (one.picture for one in (*self.cells, *self.references))
        for cell in self.cells:
            for version in cell.versions:
                yield from (name for name in (version.map, version.picture) if name)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their keys."""
        return tuple(one.name for one in self.classes)
