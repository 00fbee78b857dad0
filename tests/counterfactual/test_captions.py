"""Captions of counterfactual cells: synthetic comes first, and no target is claimed in vain."""

from __future__ import annotations

import pytest

from cytodiffusion.counterfactual.captions import film_captions, frame_caption, version_caption

REACHED = {"predicted": "eosinophil", "target": "neutrophil", "flipped": True}
MISSED = REACHED | {"flipped": False, "taken_for": "eosinophil"}


@pytest.mark.parametrize("record", [REACHED, MISSED, {}])
@pytest.mark.parametrize("frames", [2, 16, 240])
def test_every_frame_but_the_cell_itself_says_synthetic_first(
    record: dict[str, object], frames: int
) -> None:
    said = film_captions(frames, record)
    assert len(said) == frames
    assert said[0] == ("eosinophil: the cell itself" if record else "synthetic")
    assert all(text.startswith("synthetic") for text in said[1:])


@pytest.mark.parametrize("frames", [2, 16, 240])
def test_only_the_end_is_called_the_end(frames: int) -> None:
    said = film_captions(frames, REACHED)
    assert said[-1] == "synthetic: 100 % of the way to neutrophil"
    assert not any("100 %" in text for text in said[:-1])


def test_a_version_that_is_judged_otherwise_is_no_way_to_the_target() -> None:
    for text in film_captions(16, MISSED)[1:]:
        assert "%" not in text
        assert text.endswith("still taken for eosinophil")
    assert "version" not in version_caption("neutrophil", "eosinophil")
    assert version_caption("neutrophil") == "synthetic version: neutrophil"


def test_a_share_is_rounded_down() -> None:
    assert "99 %" in frame_caption(0.9999, "a", "b")
    assert "29 %" in frame_caption(0.29, "a", "b")
