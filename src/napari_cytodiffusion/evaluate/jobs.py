"""Reports of evaluations for the window: reading one and making one, without Qt."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytodiffusion.evaluation.settings import EvaluateSettings
from cytodiffusion.progress import Progress
from napari_cytodiffusion.engine import Engine
from napari_cytodiffusion.shared.defaults import knobs

if TYPE_CHECKING:
    from cytodiffusion.evaluation.stored import StoredReport

#: Options of the command line that are not called as the fields of the settings are.
_OPTIONS = {
    "--baseline": "baselines",
    "--shift-pixel-size": "shift_pixel_size_um",
    "--pixel-size": "pixel_size_um",
    "--out": "output",
}

_OPTION = re.compile(r"--(?:set )?[a-z][a-z_-]*")


def in_window(sentence: str) -> str:
    """Return a sentence of the engine with the form's names of the options."""

    def title(found: re.Match[str]) -> str:
        option = found[0]
        name = option.removeprefix("--").removeprefix("set ").replace("-", "_")
        name = _OPTIONS.get(option, name)
        about = knobs(EvaluateSettings).get(name)
        return option if about is None else f"\u201c{about['title']}\u201d"

    return _OPTION.sub(title, sentence)


def trains(settings: EvaluateSettings) -> bool:
    """Whether something is trained on the way, which stays when the evaluation is stopped."""
    copies = 0 if settings.leave_out is None else 1 + len(settings.baselines)
    return bool(settings.low_data) or copies > len(settings.leave_out_model)


def read_body(engine: Engine, path: Path) -> Callable[[Progress], Iterator[StoredReport]]:
    """Body of a `Job` that yields a report."""

    def body(report: Progress) -> Iterator[StoredReport]:
        yield engine.read_report(path)

    return body


def evaluate_body(
    engine: Engine, settings: EvaluateSettings
) -> Callable[[Progress], Iterator[StoredReport]]:
    """Body of a `Job` that evaluates and yields the report."""

    def body(report: Progress) -> Iterator[StoredReport]:
        report(0.0, "Loading the model ...")
        yield engine.evaluate(settings, report)

    return body


def image_body(path: Path) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields an image of a cell as (Y, X, 3) uint8."""

    def body(report: Progress) -> Iterator[Any]:
        from cytodiffusion.image.image import open_image

        yield open_image(path).rgb()

    return body
