"""How many cells of each class a test takes, and in which order it shows them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.authenticity.settings import check_trials
from cytodiffusion.errors import InputError


def counts_of(trials: int, classes: Sequence[str], seed: int = 0) -> dict[str, int]:
    """Real cells of each class, and as many synthetic ones.

    Parameters
    ----------
    trials : int
        Of real and synthetic cells together.
    classes : sequence of str
    seed : int
        Decides which classes get one more where the classes do not divide the trials.

    Returns
    -------
    dict
        Differ by one at most; twice their sum is ``trials``.

    Raises
    ------
    InputError
        If the trials are odd, or too few to show each class.
    """
    check_trials(trials)
    half, k = trials // 2, len(classes)
    if half < k:
        raise InputError(
            f"{trials} trials are too few for {k} classes: at least {2 * k}, a real and a "
            "synthetic cell of each, or name fewer classes."
        )
    more = set(np.random.default_rng([seed, 1]).permutation(k)[: half % k].tolist())
    return {name: half // k + (i in more) for i, name in enumerate(classes)}


def check_enough(
    found: Mapping[str, int], wanted: Mapping[str, int], what: str, why: str = ""
) -> None:
    """Make sure that there are enough cells of each class.

    Parameters
    ----------
    found, wanted : mapping
        Cells of each class.
    what : str
        ``"real"`` or ``"synthetic"``.
    why : str
        What else there is to say, such as why images were not used.

    Raises
    ------
    InputError
        Says how many there are of each class that lacks some, and what fits.
    """
    lacking = [name for name, n in wanted.items() if found.get(name, 0) < n]
    if not lacking:
        return
    there = ", ".join(f"{found.get(name, 0)} {name}" for name in lacking)
    most = max(wanted.values())
    fits = 2 * len(wanted) * min(found.get(name, 0) for name in wanted)
    full = [name for name in wanted if name not in lacking]
    ways = [f"at most {fits} trials fit"] if fits else []
    if full:
        ways.append(f"leave {'it' if len(lacking) == 1 else 'them'} out with the classes to show")
    raise InputError(
        f"Too few {what} cells: {2 * sum(wanted.values())} trials over {len(wanted)} classes take "
        f"up to {most} {what} cells of each, but there are only {there}{why}; "
        f"{', or '.join(ways) or 'add cells'}."
    )


def order_of(n: int, seed: int, participant: str) -> NDArray[np.int64]:
    """Order ``(n,)`` in which a participant sees the cells.

    A plain random permutation: any rule, such as no long runs, would tell something about the
    next cell. Each participant has an own one, so that what tires is not always the same cells.

    Parameters
    ----------
    n : int
    seed : int
        Of the test.
    participant : str
        The name decides, so that the same name and seed give the same order.
    """
    digest = hashlib.sha256(participant.encode()).digest()
    words = np.frombuffer(digest[:16], "<u4").tolist()
    return np.random.default_rng([seed, *words]).permutation(n)
