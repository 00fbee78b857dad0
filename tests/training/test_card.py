"""The model card."""

from __future__ import annotations

import torch

from cytodiffusion.model.bundle import CellClass
from cytodiffusion.training.card import (
    laboratories_table,
    metrics_table,
    section_of,
    traits_section,
    with_section,
)
from cytodiffusion.training.data import CellSet
from cytodiffusion.traits import Trait

CLASSES = (CellClass("a", "#000000"), CellClass("b", "#ffffff"))


def cells(laboratories: list[str]) -> CellSet:
    n = len(laboratories)
    labels = torch.tensor([0, 0, 1, -1][:n])
    return CellSet(
        torch.zeros(n, 3, 4, 4), labels, torch.zeros(n, 3), [""] * n, laboratories=laboratories
    )


def test_a_section_of_a_card_is_replaced_in_its_place() -> None:
    card = "# Model\n\n## First\n\n- old\n- older\n\n## Last\n\n- stays\n"
    changed = with_section(card, "## First", ["- new"])
    assert changed == "# Model\n\n## First\n\n- new\n\n## Last\n\n- stays\n"
    assert with_section(changed, "## Last", ["- end"]).endswith("- new\n\n## Last\n\n- end\n")
    assert with_section("# Model\n", "## New", ["x"]) == "# Model\n\n## New\n\nx\n"
    assert with_section(changed, "## First", ["- new"]) == changed


def test_large_numbers_are_written_out() -> None:
    assert metrics_table({"n": 12345, "ece": 0.012345})[2:] == [
        "| n | 12345 |",
        "| ece | 0.01235 |",
    ]


def test_a_section_is_found_again() -> None:
    card = with_section("# Model\n", "## Smear network", ["- one", "", "- two"])
    card = with_section(card, "## Last", ["- end"])
    assert section_of(card, "## Smear network") == ["- one", "", "- two"]
    assert section_of(card, "## Other") == []


def test_images_of_each_laboratory_are_counted() -> None:
    table = "\n".join(laboratories_table(CLASSES, cells(["one", "two", "two", "two"])))
    assert "| class | one | two |" in table
    assert "| a | 1 | 1 |" in table
    assert "| without a label | 0 | 1 |" in table
    assert laboratories_table(CLASSES, cells(["one"] * 4)) == []


def test_what_is_told_beside_the_class() -> None:
    traits = (Trait("a", ("young", "old"), "a"), Trait("size", ("big", "small"), classes=("b",)))
    lines = traits_section(traits)
    assert "- finer classes of a: young, old" in lines
    assert "- attribute size: big, small; of b" in lines
