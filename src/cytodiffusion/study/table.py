"""The table of the cells of a study: what the model says, what people say, and which counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cytodiffusion.study.annotations import HumanClass, human_labels
from cytodiffusion.study.classes import class_finder
from cytodiffusion.study.database import Database
from cytodiffusion.study.predictions import CHOSEN, details_of

if TYPE_CHECKING:
    import pandas as pd

#: First columns of every table and export.
FIRST = ("image", "label", "predicted", "human", "observer", "effective", "effective_source")
#: Where an effective class comes from: people (of several, most of them), the model, or the model
#: because as many people say one thing as another.
HUMAN, MODEL, DISPUTED = "human", "model", "disputed"

_BEFORE = ("y", "x", "area_um2")


def cells_table(database: Database, image: str | None = None, run: int | None = None) -> Any:
    """Return the cells that are there, one row each, by the number of the cell.

    Parameters
    ----------
    image : str, optional
        Only of this image.
    run : int, optional
        Whose answers count; otherwise those of the last used run that has one for the cell.
    """
    import pandas as pd

    chosen, values = (CHOSEN, []) if run is None else ("p.run = ?", [run])
    where = "" if image is None else "AND i.name = ?"
    with database.snapshot():
        rows = database.rows(
            "SELECT c.id, i.name, c.label, c.y, c.x, c.area_um2, c.touches_border, p.predicted, "
            "p.details FROM cells c JOIN images i ON i.id = c.image "
            f"LEFT JOIN predictions p ON p.cell = c.id AND {chosen} "
            f"WHERE c.gone IS NULL {where} ORDER BY i.id, c.label",
            [*values, *([] if image is None else [image])],
        )
        people = human_labels(database)
        find = class_finder(database)
    spelt: dict[str, str] = {}
    for name in {row[7] for row in rows if row[7] is not None}:
        known = find(name)
        spelt[name] = name if known is None else known.name
    said = [people.get(row[0], HumanClass()) for row in rows]
    counted = [_effective(one, spelt.get(row[7], "")) for one, row in zip(said, rows, strict=True)]

    def texts(values: list[str]) -> Any:
        return pd.Series(values, dtype=str)  # also where there is none to tell by

    frame = pd.DataFrame(
        {
            "image": texts([row[1] for row in rows]),
            "label": pd.Series([row[2] for row in rows], dtype="int64"),
            "predicted": texts([row[7] or "" for row in rows]),
            "human": texts([one.human for one in said]),
            "observer": texts([one.observer for one in said]),
            "effective": texts([name for name, _ in counted]),
            "effective_source": texts([source for _, source in counted]),
            "y": pd.Series([row[3] for row in rows], dtype="float64"),
            "x": pd.Series([row[4] for row in rows], dtype="float64"),
            "area_um2": pd.Series([row[5] for row in rows], dtype="float64"),
        }
    )
    frame.index = pd.Index([row[0] for row in rows], dtype="int64", name="cell")
    details = pd.DataFrame(details_of([row[8] for row in rows]), index=frame.index)
    touches = pd.Series([bool(row[6]) for row in rows], dtype=bool, index=frame.index)
    place = list(details.columns).index("trials") + 1 if "trials" in details else 0
    details.insert(place, "touches_border", touches)
    probabilities = [name for name in details if str(name).startswith("p_")]
    others = [name for name in details if name not in probabilities]
    return pd.concat([frame, details[[*others, *probabilities]]], axis=1)


def annotations_table(database: Database) -> Any:
    """Return what each observer says of each cell now; see `Study.annotations`."""
    import pandas as pd

    rows = database.rows(
        "SELECT s.cell, i.name, c.label, o.name, k.name, s.at, s.seconds, s.comment "
        "FROM said s JOIN cells c ON c.id = s.cell JOIN images i ON i.id = c.image "
        "JOIN observers o ON o.id = s.observer JOIN classes g ON g.id = s.class "
        "JOIN classes k ON k.id = coalesce(g.merged, g.id) WHERE c.gone IS NULL "
        "ORDER BY s.annotation"
    )
    names = ["cell", "image", "label", "observer", "class", "at", "seconds", "comment"]
    return pd.DataFrame(rows, columns=names)


def effective_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return image, label, effective class and where it comes from."""
    return frame[["image", "label", "effective", "effective_source"]].copy()


def _effective(said: HumanClass, predicted: str) -> tuple[str, str]:
    if said.consensus:
        return said.consensus, HUMAN
    if said.human:
        return predicted, DISPUTED
    return predicted, MODEL if predicted else ""
