"""What runs in the thread: calls of the engine, in the order the window needs their results.

Importing the engine's networks takes seconds, so it happens in here and not when a widget opens.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from cytodiffusion.errors import InputError
from cytodiffusion.progress import Progress

#: Models that were loaded, by source, device and state of the files.
ModelCache = dict[tuple[str, str, float], Any]


def model_body(
    source: str, device: str, allow_download: bool, cache: ModelCache
) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that loads a model, and with it everything a run imports."""

    def body(report: Progress) -> Iterator[Any]:
        import_engine()
        yield load_model(source, device, allow_download, cache)

    return body


def load_model(source: str, device: str, allow_download: bool, cache: ModelCache) -> Any:
    """Return a model, loaded once per source, device and state of its files."""
    from cytodiffusion.baselines import is_baseline
    from cytodiffusion.model import load_bundle

    folder = Path(source)
    if source != "default" and is_baseline(folder):
        raise InputError(
            f"{folder} is a baseline: it gives no uncertainty by noise trials and no heatmaps. "
            "Choose a diffusion model here; the command line classifies with baselines too."
        )
    files = folder.glob("*") if folder.is_dir() else ()
    key = (source, device, max((f.stat().st_mtime for f in files), default=0.0))
    if key not in cache:
        # one model at a time: memory, on a GPU above all, is for the work
        loaded = load_bundle(source, device=device, allow_download=allow_download)
        cache.clear()
        cache[key] = loaded
    return cache[key]


def duration(seconds: float) -> str:
    """Write a duration the way one says it."""
    if seconds < 10:
        return f"{max(1, round(seconds))} s"
    if seconds < 60:
        return f"{5 * round(seconds / 5)} s"
    if seconds < 3600:
        return f"{max(1, round(seconds / 60))} min"
    return f"{seconds / 3600:.1f} h"


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
