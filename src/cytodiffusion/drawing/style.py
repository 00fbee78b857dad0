"""Fonts, ink and colours of all figures, and what they become on a dark background.

Imports no matplotlib, so that the window can recolour a figure without loading matplotlib.
"""

from __future__ import annotations

import io
import re
from typing import Any

#: Text, lines of axes, lines of reference, grid, and the background.
INK, FAINT, GREY, GRID, PAPER = "#2b2f36", "#5c6370", "#8a8f98", "#d8dce2", "#ffffff"

#: Colours of things side by side, the most important first (Okabe & Ito 2008).
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")

#: Bars behind a curve.
SHADE = "#dfe5ec"

#: What stands for each colour on a dark background.
ON_DARK = {
    INK: "#e6e8eb",
    FAINT: "#a3abb8",
    GREY: "#818996",
    GRID: "#333a44",
    PAPER: "#20252c",
    SHADE: "#3a434f",
    SERIES[0]: "#4aa8e0",
    SERIES[1]: "#f0803c",
    SERIES[2]: "#2fbf95",
    SERIES[3]: "#dd97bd",
    SERIES[4]: "#f0b840",
    SERIES[5]: "#9bd6f7",
}

#: Parameters of matplotlib that every figure has; each adds its sizes.
STYLE: dict[str, Any] = {
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": FAINT,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "cytodiffusion",
    "figure.facecolor": PAPER,
}

#: What charts have besides: two axes and a faint grid.
CHART: dict[str, Any] = STYLE | {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
}

_COLOUR = re.compile("|".join(ON_DARK))
_VARIABLE = re.compile(r"var\(--c[0-9a-f]{6}, (#[0-9a-f]{6})\)")
_SWAP = re.compile(r"--c([0-9a-f]{6}): (#[0-9a-f]{6});")
_MARK = '<style id="dark">'
_BLANK = re.compile(r'<path id="([\w-]+)" transform="[^"]*"/>')


def to_svg(figure: Any) -> str:
    """Return a figure of matplotlib as SVG that is the same, byte for byte, every time."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return _without_blanks(text[text.index("<svg") :])


def _without_blanks(svg: str) -> str:
    """Drop the outlines of spaces, which are empty and which Qt complains of."""
    for name in _BLANK.findall(svg):
        svg = re.sub(rf'\s*<use xlink:href="#{name}"[^>]*/>', "", svg)
    return _BLANK.sub("", svg)


def adaptive(svg: str) -> str:
    """Let the colours of a figure follow the reader's light or dark theme in a browser."""
    swaps = "".join(f"--c{light[1:]}: {dark}; " for light, dark in ON_DARK.items())
    rule = f"{_MARK}@media (prefers-color-scheme: dark) {{ svg {{ {swaps}}} }}</style>"
    head, tail = svg[: (start := svg.index(">") + 1)], svg[start:]
    return head + rule + _COLOUR.sub(lambda m: f"var(--c{m[0][1:]}, {m[0]})", tail)


def is_adaptive(svg: str) -> bool:
    """Whether a figure has both themes; those of earlier reports are drawn on white."""
    return _MARK in svg


def fixed(svg: str, dark: bool) -> str:
    """Give an adaptive figure the plain colours of one theme, for readers without variables."""
    if not is_adaptive(svg):
        return _without_blanks(svg)
    start = svg.index(_MARK)
    end = svg.index("</style>", start) + len("</style>")
    # those that it was made with, which need not be those of this version
    swaps = {f"#{light}": now for light, now in _SWAP.findall(svg[start:end]) if dark}
    plain = svg[:start] + svg[end:]
    return _VARIABLE.sub(lambda m: str(swaps.get(m[1], m[1])), plain)
