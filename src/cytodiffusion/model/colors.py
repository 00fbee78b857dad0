"""Colours and groups of classes that nobody has given any."""

from __future__ import annotations

#: Colours and groups of the classes of the default bundle; told apart by colour-blind eyes
#: (Okabe & Ito 2008, with Tol's wine and indigo).
KNOWN_CLASSES = {
    "neutrophil": ("#0072b2", "granulocyte"),
    "eosinophil": ("#d55e00", "granulocyte"),
    "basophil": ("#332288", "granulocyte"),
    "immature granulocyte": ("#56b4e9", "granulocyte"),
    "lymphocyte": ("#009e73", "mononuclear"),
    "monocyte": ("#e69f00", "mononuclear"),
    "erythroblast": ("#cc79a7", "red"),
    "red cell": ("#882255", "red"),
    "platelet": ("#f0e442", "platelet"),
    "artefact": ("#7f7f7f", "artefact"),
}
#: Colours for classes of other names, in order.
PALETTE = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442"),
    *("#332288", "#882255", "#117733", "#88ccee", "#ddcc77", "#cc6677", "#44aa99"),
    *("#aa4499", "#999933", "#661100", "#6699cc", "#888888", "#aa4466", "#4477aa"),
)


def color_and_group(name: str, number: int) -> tuple[str, str]:
    """Colour and group of a class: as known by its name, else the palette's ``number``-th."""
    return KNOWN_CLASSES.get(name, (PALETTE[number % len(PALETTE)], ""))
