"""Write the preferences page of the manifest from the settings; a test holds them together."""

from __future__ import annotations

from pathlib import Path

import yaml

import napari_cytodiffusion
from napari_cytodiffusion.shared.defaults import preferences

MANIFEST = Path(napari_cytodiffusion.__file__).with_name("napari.yaml")

#: The last part of the manifest; all above it is written by hand.
_START = "  configurations:\n"


def written(manifest: str) -> str:
    """Return the manifest with the page as the settings have it."""
    above, start, _ = manifest.partition(_START)
    pages = yaml.safe_dump(preferences(), sort_keys=False, width=100, allow_unicode=True)
    return above + start + "".join(f"    {line}\n" for line in pages.splitlines())


if __name__ == "__main__":
    MANIFEST.write_text(written(MANIFEST.read_text()))
