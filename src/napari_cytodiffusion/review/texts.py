"""What *Review cells* says."""

from __future__ import annotations

from cytodiffusion.review.counts import ReviewCounts
from cytodiffusion.review.ordering import Order

#: Orders and what they are called.
ORDERS: tuple[tuple[Order, str], ...] = (
    ("uncertainty", "Most uncertain first"),
    ("learner", "Most telling first"),
    ("anomaly", "Most unusual first"),
    ("class", "Class by class"),
    ("similar", "Like the chosen cell"),
    ("disagreement", "Disagreements first"),
    ("place", "As they lie"),
    ("chance", "In random order"),
)

ORDER_TIPS = {
    "uncertainty": "White cells first; what the border cuts comes last.",
    "learner": "The cells from which a model would learn most, unlike each other.",
    "disagreement": "Cells of which people contradict the model or each other, then the uncertain.",
    "similar": "By what the network makes of the cells; choose a cell and sort again.",
}


def counts_text(counts: ReviewCounts, blind: bool = False) -> str:
    """Say how far a person has come, and how often they agree with the model."""
    if not counts.cells:
        return ""
    said = f"<b>{counts.labelled:,}</b> labelled"
    if not blind:
        said += f" ({counts.confirmed:,} confirmed, {counts.corrected:,} corrected)"
    if counts.disputed:
        said += f", {counts.disputed:,} disputed"
    said += f", {counts.to_do:,} to do."
    found = counts.agreement
    if found is not None and not blind:
        share, (low, high) = found
        said += (
            f" The model agrees with people in {100 * share:.0f} % "
            f"({100 * low:.0f} to {100 * high:.0f} %)."
        )
    return said


def changed_text(latest: int, every: int) -> str:
    """Say how many other cells have another class by the latest word, and by all words."""
    if not every:
        return "No other cell has another class by what you said."
    cells = "1 other cell has" if every == 1 else f"{every:,} other cells have"
    return f"{cells} another class by what you said; {latest:,} changed by the latest word."
