"""What *Segment cells* runs in a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cytodiffusion.progress import Progress
from napari_cytodiffusion.engine import Engine
from napari_cytodiffusion.workers import duration


@dataclass(frozen=True)
class SegmentRequest:
    """What *Segment cells* asks for; ``image``, of the file ``path``, is what `as_rgb8` takes."""

    image: Any
    method: str
    pixel_size_um: float | None
    model: str | None = None
    device: str = "auto"
    allow_download: bool = False
    path: str | None = None


def segment_body(engine: Engine, request: SegmentRequest) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields one `cytodiffusion.segmentation.Segmentation`."""

    def body(report: Progress) -> Iterator[Any]:
        yield engine.segment(
            request.image,
            request.method,
            request.pixel_size_um,
            path=request.path,
            model=request.model,
            device=request.device,
            allow_download=request.allow_download,
            progress=report,
        )

    return body


def forecast_body(
    engine: Engine, model: str, shape: Sequence[int], device: str, pixel_size_um: float | None
) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields in words what Cellpose will take for an image."""

    def body(report: Progress) -> Iterator[Any]:
        chosen, seconds, size = engine.cellpose_effort(model, shape, device, pixel_size_um)
        where = "On the CPU" if chosen == "cpu" else f"On the GPU ({chosen})"
        asked = f" Its weights ({size / 1e9:.1f} GB) are downloaded first, after asking."
        yield f"{where} about {duration(seconds)} for this image.{asked if size else ''}"

    return body
