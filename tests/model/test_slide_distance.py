"""The slide distance of a bundle: written, read, refused where it makes no sense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cytodiffusion.errors import BundleError
from cytodiffusion.model.bundle_files import CHECKSUMS
from cytodiffusion.model.files import file_checksum
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.slide_distance import CONFIG, SlideDistance
from cytodiffusion.model.testing import tiny_bundle, tiny_slide_distance

NAMES = ("a", "b", "c")


def test_a_bundle_keeps_it_and_an_old_one_has_none(tmp_path: Path) -> None:
    kept = SlideDistance((0.1, 0.2, 0.3), 0.5, 0.4, 0.1, (1.0, -0.5, 0.0), 2.5, 0.2, {"ece": 0.05})
    folder = tiny_bundle(tmp_path / "with", NAMES, slide_distance=kept)
    assert load_bundle(folder, device="cpu").slide_distance == kept
    assert (folder / CONFIG).is_file()
    plain = tiny_bundle(tmp_path / "without", NAMES)
    assert load_bundle(plain, device="cpu").slide_distance is None
    assert not (plain / CONFIG).exists()


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("typical", [0.0, 1.0]),
        ("doubt", [0.0, 1.0, float("nan")]),
        ("spread", 0),
        ("tail", -1),
        ("fall", "much"),
        ("measured", None),
        ("unknown", 1),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, entry: str, value: Any) -> None:
    folder = tiny_bundle(tmp_path / "tiny", NAMES, slide_distance=tiny_slide_distance(3))
    content = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(content | {entry: value}))
    sums = json.loads((folder / CHECKSUMS).read_text())
    sums[CONFIG] = file_checksum(folder / CONFIG)
    (folder / CHECKSUMS).write_text(json.dumps(sums))
    with pytest.raises(BundleError, match="describes no distance of slides"):
        load_bundle(folder, device="cpu")
