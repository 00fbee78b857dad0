"""The pages for users, and the texts of the menus, keep to the words of the field."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Words that only this project would use, and the field's own.
PRIVATE = {
    "made-up laborator": "simulated laboratories",
    "made up laborator": "simulated laboratories",
    "at home": "on the training laboratory's slides",
    "elsewhere": "in other laboratories",
    "rival": "baseline",
    "doubt": "uncertainty",
    "telling level": "level that separates the classes",
    "called so": "given this class",
    "own style": "the training laboratory's stain",
    "too sure of itself": "too confident",
    "runner-up": "second most probable class",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_have_no_private_words(page: Path) -> None:
    text = " ".join(page.read_text(encoding="utf-8").split()).lower()
    found = {word: better for word, better in PRIVATE.items() if word in text}
    assert not found, f"better: {found}"


def test_menus_have_no_private_words() -> None:
    manifest = ROOT / "src" / "napari_cytodiffusion" / "napari.yaml"
    contributions = yaml.safe_load(manifest.read_text(encoding="utf-8"))["contributions"]
    text = str(contributions).lower()
    assert not [word for word in PRIVATE if word in text]
    titles = [command["title"] for command in contributions["commands"]]
    assert len(set(titles)) == len(titles)
    for widget in contributions["widgets"]:  # every widget is described in the guide
        guide = (ROOT / "docs" / "widgets.md").read_text(encoding="utf-8")
        assert f"## {widget['display_name']}\n" in guide
