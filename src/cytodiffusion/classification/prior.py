"""A prior over classes: which mixture of cells is expected before a cell is looked at.

A classifier that was trained on classes drawn alike takes every class to be as likely as any other.
In blood they are not. By Bayes' rule the posterior ``p(c | cell)`` moves by
``log(prior(c) / prior of the training(c))`` (Saerens, Latinne & Decaestecker 2002). It moves among
the nucleated cells only: what they have together, against red cells, platelets and artefacts, is
left as it is, since that depends on how a field was outlined and not on the blood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import InputError
from cytodiffusion.taxonomy import READY, load_taxonomy, plain, white_classes

if TYPE_CHECKING:
    from cytodiffusion.baselines.baseline import Baseline
    from cytodiffusion.model.bundle import ModelBundle

Floats = NDArray[np.float64]

#: Least share of a class among the nucleated cells: what is rare stays possible.
FLOOR = 0.002

#: Shares of the white cells of a healthy adult, near the middles of the reference ranges of
#: MedlinePlus (U.S. National Library of Medicine, article 003657): neutrophils 40 to 60 %,
#: lymphocytes 20 to 40 %, monocytes 2 to 8 %, eosinophils 1 to 4 %, basophils 0.5 to 1 %, bands 0
#: to 3 %. Immature granulocytes and blasts are not among them, and nucleated red cells are not
#: there in adults at all (Constantino & Cogionis, Laboratory Medicine 31:223, 2000): what is not
#: named has the least share.
NORMAL_BLOOD = {
    "neutrophil": 0.6,
    "segmented neutrophil": 0.57,
    "band neutrophil": 0.03,
    "lymphocyte": 0.3,
    "monocyte": 0.06,
    "eosinophil": 0.03,
    "basophil": 0.01,
    "immature granulocyte": 0.004,
}

#: What the priors are called in a sentence.
WORDS = {"normal-blood": "in normal blood", "own": "you said"}

#: Nucleated cells that are no white cells.
NUCLEATED_RED = ("erythroblast", "proerythroblast")


@dataclass(frozen=True, eq=False)
class Prior:
    """What is expected of some of the classes of a model.

    Attributes
    ----------
    acting : (K,) bool
        Classes that the prior is about; the others are left alone.
    shares : (K,) float64
        Expected shares among the acting classes, which add up to 1; 0 for the others.
    """

    acting: NDArray[np.bool_]
    shares: Floats

    def applied(self, posterior: Floats) -> Floats:
        """Return posteriors ``(N, K)`` moved by the prior; those of a row add up as before."""
        return self._moved(posterior, self.shares)

    def removed(self, posterior: Floats) -> Floats:
        """Return posteriors ``(N, K)`` as they were before the prior was applied."""
        return self._moved(posterior, 1 / np.where(self.acting, self.shares, 1.0))

    def _moved(self, posterior: Floats, factors: Floats) -> Floats:
        inside = posterior[:, self.acting]
        moved = inside * factors[self.acting]
        total = moved.sum(axis=1, keepdims=True)
        kept = inside.sum(axis=1, keepdims=True)
        result = posterior.copy()
        moved *= kept / np.where(total > 0, total, 1.0)
        result[:, self.acting] = np.where(total > 0, moved, inside)
        return result


def settled(settings: ClassifySettings, *, field: bool) -> ClassifySettings:
    """Return settings that name a prior: ``auto`` depends on what is classified.

    Parameters
    ----------
    settings
    field
        Whether the cells are all those of whole fields; otherwise somebody chose each of them.
    """
    if settings.prior != "auto":
        return settings
    return settings.model_copy(update={"prior": "normal-blood" if field else "even"})


def prior_of(
    settings: ClassifySettings, names: Sequence[str], groups: Sequence[str] = ()
) -> Prior | None:
    """Return the prior over classes, None where all are alike.

    Parameters
    ----------
    settings
        ``auto`` is taken for ``even``; see `settled`.
    names, groups
        Of the K classes of the model.

    Raises
    ------
    InputError
        If a prior of one's own names a class that is none of the model, or no nucleated cell.
    """
    if settings.prior == "own":
        return _own(settings.prior_shares, names, groups)
    if settings.prior == "normal-blood":
        return _normal_blood(names)
    return None


def with_prior(
    posterior: Floats, model: ModelBundle | Baseline, settings: ClassifySettings
) -> Floats:
    """Return posteriors ``(N, K)`` of a model moved by the prior that the settings name."""
    prior = prior_for(model, settings)
    return posterior if prior is None else prior.applied(posterior)


def prior_for(model: ModelBundle | Baseline, settings: ClassifySettings) -> Prior | None:
    """Return the prior over the classes of a model, None where all are alike.

    Normal blood says nothing of classes that somebody taught a model: they are there, or nobody
    would have.
    """
    classes = (model if settings.prior == "own" else model.untaught).classes
    prior = prior_of(settings, [c.name for c in classes], [c.group for c in classes])
    taught = len(model.classes) - len(classes)
    if prior is None or not taught:
        return prior
    return Prior(np.pad(prior.acting, (0, taught)), np.pad(prior.shares, (0, taught)))


def prior_record(model: ModelBundle | Baseline, settings: ClassifySettings) -> dict[str, Any]:
    """Return what a result says of the prior: its name, and the expected share of each class."""
    prior = prior_for(model, settings)
    if prior is None:
        return {"name": "even"}
    pairs = zip(model.class_names, prior.shares.tolist(), strict=True)
    acting = {name: round(share, 5) for name, share in pairs if share > 0}
    return {"name": settings.prior, "shares": acting}


def prior_sentence(record: Mapping[str, Any], decided: int | None = None) -> str | None:
    """Return a sentence on what is expected, None where all classes are alike.

    Parameters
    ----------
    record
        What `prior_record` says.
    decided
        Cells that have their class from that, where it is known already.
    """
    if record["name"] not in WORDS:
        return None
    said = f"The nucleated cells are expected to be mixed as {WORDS[record['name']]}"
    if decided is None:
        return f"{said}."
    if not decided:
        return f"{said}; no cell has its class from that."
    cells = "one cell has its class" if decided == 1 else f"{decided:,} cells have their class"
    return f"{said}; {cells} from that and not from its look alone."


def _normal_blood(names: Sequence[str]) -> Prior | None:
    """Prior of normal blood; a class that no taxonomy knows is left alone."""
    known = [_known_as(name) for name in names]
    white = white_classes(names) & np.array([name is not None for name in known], bool)
    acting = white | np.isin([name or "" for name in known], NUCLEATED_RED)
    if acting.sum() < 2:
        return None
    shares = np.array([NORMAL_BLOOD.get(name or "", FLOOR) for name in known])
    return _prior(acting, shares)


def _own(wanted: dict[str, float], names: Sequence[str], groups: Sequence[str]) -> Prior:
    """Prior of somebody's own; what it leaves to 1 goes to the classes that it does not name."""
    place = {plain(_known_as(name) or name): k for k, name in enumerate(names)}
    place |= {plain(name): k for k, name in enumerate(names)}
    nucleated = white_classes(names, groups)
    nucleated |= np.isin([_known_as(name) or "" for name in names], NUCLEATED_RED)
    shares = np.full(len(names), np.nan)
    for name, share in wanted.items():
        at = place.get(plain(name), place.get(plain(_known_as(name) or name)))
        if at is None:
            raise InputError(
                f"The prior names {name!r}, which is no class of the model; it has "
                f"{', '.join(names)}."
            )
        if not nucleated[at]:
            raise InputError(
                f"The prior is about nucleated cells, and {names[at]} is none: leave it out."
            )
        shares[at] = share
    rest = nucleated & np.isnan(shares)
    left = max(0.0, 1.0 - float(np.nansum(shares)))
    shares[rest] = left / max(1, int(rest.sum()))
    return _prior(nucleated, np.nan_to_num(shares))


def _prior(acting: NDArray[np.bool_], shares: Floats) -> Prior:
    shares = np.where(acting, np.maximum(shares, FLOOR), 0.0)
    return Prior(acting, shares / shares.sum())


def _known_as(name: str) -> str | None:
    """Return what the first ready taxonomy that knows a class calls it."""
    for ready in READY:
        if found := load_taxonomy(ready).find(name):
            return found.name
    return None
