"""Links in the docs lead somewhere, to the heading too; files that they name are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Names that GitHub gives to the headings of a page."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    broken = []
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, heading = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (heading and heading not in anchors(target)):
            broken.append(link)
    assert not broken


def test_every_page_is_in_the_table_of_contents() -> None:
    contents = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    linked = {link.partition("#")[0] for link in LINK.findall(contents)}
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages <= linked
    inner = (ROOT / "docs" / "experiments" / "README.md").read_text(encoding="utf-8")
    experiments = {path.name for path in (ROOT / "docs" / "experiments").glob("*.md")}
    assert experiments - {"README.md"} <= set(LINK.findall(inner))


def test_pages_name_files_that_are_there() -> None:
    name = re.compile(r"\b(?:benchmarks|scripts|tests)/[\w/]+\.(?:py|json|sh)\b")
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue
        for path in name.findall(page.read_text(encoding="utf-8")):
            assert (ROOT / path).is_file(), f"{page.name} names {path}"
