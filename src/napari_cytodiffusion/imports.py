"""Importing the engine's networks safely beside a window that already draws."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_LOCK = Lock()


def import_engine() -> None:
    """Import what classifies: seconds the first time, nothing after.

    Called in a thread, never when a widget opens.
    """
    with _LOCK, _without_triton():
        import cytodiffusion.pipeline  # noqa: F401


@contextmanager
def _without_triton() -> Iterator[None]:
    """Keep Triton, a compiler that nothing here uses, from being loaded by an import.

    On Linux its library carries a copy of LLVM. Where Mesa draws the window with another one
    (software rendering, some AMD drivers), loading Triton after the first OpenGL context ends the
    process with a segmentation fault. Whoever loaded it before the window came up keeps it.
    """
    if "triton" in sys.modules or not sys.platform.startswith("linux"):
        yield
        return
    # an entry None makes ``import triton`` fail cleanly, and PyTorch then does without
    sys.modules["triton"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if sys.modules.get("triton", ...) is None:
            del sys.modules["triton"]
