"""What *Segment cells* runs in a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cytodiffusion.errors import CytoDiffusionError
from cytodiffusion.progress import Progress
from napari_cytodiffusion.engine import Engine
from napari_cytodiffusion.workers import duration

if TYPE_CHECKING:
    from cytodiffusion.slide_scale import SlideScale


@dataclass(frozen=True)
class SegmentRequest:
    """What *Segment cells* asks for; ``image``, of the file ``path``, is what `as_rgb8` takes.

    ``beside_um`` are the pixel sizes that other open images of its size measure by themselves;
    ``slide`` is what was chosen from them.
    """

    image: Any
    method: str
    pixel_size_um: float | None
    model: str | None = None
    device: str = "auto"
    allow_download: bool = False
    path: str | None = None
    beside_um: tuple[float, ...] = ()
    slide: SlideScale | None = None


class ScaleUnlike(CytoDiffusionError):
    """The red cells of an image measure another scale than those of the other open images."""

    def __init__(self, slide: SlideScale) -> None:
        super().__init__(slide.note)
        self.slide = slide


def _settled(engine: Engine, request: SegmentRequest) -> SegmentRequest:
    """Return a request with the scale of its slide; `ScaleUnlike` where a person should choose."""
    if request.slide is not None or request.pixel_size_um is not None or not request.beside_um:
        return request
    slide = engine.scale_beside(
        request.image,
        request.path,
        request.beside_um,
        method=request.method,
        model=request.model,
        device=request.device,
    )
    if slide is not None and slide.own.source == "estimated":
        raise ScaleUnlike(slide)
    return replace(request, slide=slide)


def segment_body(engine: Engine, request: SegmentRequest) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields one `cytodiffusion.segmentation.Segmentation`."""

    def body(report: Progress) -> Iterator[Any]:
        if request.beside_um:
            report(0.0, "Measuring the scale ...")
        wanted = _settled(engine, request)
        slide = wanted.slide
        found = engine.segment(
            wanted.image,
            wanted.method,
            wanted.pixel_size_um if slide is None else slide.pixel_size_um,
            path=wanted.path,
            model=wanted.model,
            device=wanted.device,
            allow_download=wanted.allow_download,
            progress=report,
        )
        if slide is not None:
            said = () if request.slide is slide else slide.notes  # what was chosen is known
            warnings = (*said, *found.warnings)
            found = replace(found, pixel_size_source=slide.source, warnings=warnings)
        yield found

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
