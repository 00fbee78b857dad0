"""Which cell comes next: a cell that was answered wrongly comes again after a few others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

#: Cells between a wrong answer and the same cell again, where there are so many.
BETWEEN = 3


def remaining(
    order: Sequence[int], answered: Iterable[tuple[int, bool]], *, again: bool
) -> list[int]:
    """Return the cells that are still to come.

    It follows from the order and the answers alone, so a learner can stop and go on at any time.

    Parameters
    ----------
    order : sequence of int
        Cells in the order in which they are asked first.
    answered : iterable of (int, bool)
        Cells that were answered, and whether rightly.
    again : bool
        Whether a cell comes again until it is answered rightly.

    Raises
    ------
    ValueError
        If the answers cannot be those to cells in this order.
    """
    queue = list(order)
    for cell, right in answered:
        if not queue or queue[0] != cell:
            raise ValueError("the answers are not in the order of the cells")
        queue.pop(0)
        if again and not right:
            queue.insert(min(BETWEEN, len(queue)), cell)
    return queue
