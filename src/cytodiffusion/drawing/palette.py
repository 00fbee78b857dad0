"""Colours and groups of classes that nobody has given any."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, cycle

from cytodiffusion.taxonomy import READY, Taxonomy, load_taxonomy, taxonomy_for

#: Colours for classes that no taxonomy knows, in order (Okabe & Ito 2008; Tol's muted scheme).
PALETTE = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442"),
    *("#332288", "#882255", "#117733", "#88ccee", "#ddcc77", "#cc6677", "#44aa99"),
    *("#aa4499", "#999933", "#661100", "#6699cc", "#888888", "#aa4466", "#4477aa"),
)


def colors_and_groups(
    names: Sequence[str], taxonomy: Taxonomy | None = None
) -> list[tuple[str, str]]:
    """Colours and groups of classes.

    Parameters
    ----------
    names : sequence of str
    taxonomy : Taxonomy, optional
        By default the ready one that knows most of the names.

    Returns
    -------
    list of (str, str)
        Those of the taxonomy; classes that it does not know get a colour of the palette that no
        other class has, as long as there are any, and no group.
    """
    taxonomy = taxonomy or taxonomy_for(names) or load_taxonomy(READY[0])
    known = [taxonomy.find(name) for name in names]
    taken = {c.color for c in known if c}
    free = [color for color in PALETTE if color not in taken]
    more = chain(free, cycle(PALETTE))
    return [(c.color, c.group) if c else (next(more), "") for c in known]
