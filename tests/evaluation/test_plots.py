"""Plots that are drawn for the window."""

from __future__ import annotations

import re

from cytodiffusion.drawing.style import is_adaptive
from cytodiffusion.evaluation.plots import confusion_svg


def test_a_confusion_matrix_has_both_themes_and_no_class_without_cells() -> None:
    two = confusion_svg(["a", "b", "c"], [[3, 1, 0], [0, 2, 0], [0, 0, 0]])
    three = confusion_svg(["a", "b", "c"], [[3, 1, 0], [0, 2, 0], [0, 0, 1]])
    assert is_adaptive(two)
    widths = [float(re.search(r'width="([\d.]+)pt"', svg)[1]) for svg in (two, three)]  # type: ignore[index]
    assert widths[0] < widths[1]
