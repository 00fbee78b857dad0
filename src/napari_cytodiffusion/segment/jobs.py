"""napari_cytodiffusion.segment.jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from cytodiffusion.progress import Progress
from napari_cytodiffusion.models import duration, import_engine


@dataclass(frozen=True)
class SegmentRequest:
    """What *Segment cells* asks for; ``image`` is anything `as_rgb8` takes."""

    image: Any
    method: str
    pixel_size_um: float | None
    model: str | None = None
    device: str = "auto"
    allow_download: bool = False


def segment_body(request: SegmentRequest) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields one `cytodiffusion.segmentation.Segmentation`."""

    def body(report: Progress) -> Iterator[Any]:
        from cytodiffusion.segmentation import segment
        from cytodiffusion.segmentation.cellpose_weights import default_model, weights_present

        # the watershed needs no network, and importing one takes seconds
        wanted = request.model or default_model()
        if request.method == "cellpose" or (request.method == "auto" and weights_present(wanted)):
            import_engine()

        yield segment(
            request.image,
            request.method,
            request.pixel_size_um,
            model=request.model,
            device=request.device,
            allow_download=request.allow_download,
            progress=report,
        )

    return body


def cellpose_models() -> list[str]:
    """Names of Cellpose's models, one whose weights are here first."""
    from cytodiffusion.segmentation.cellpose_weights import available_models, default_model

    first = default_model()
    return [first, *(name for name in available_models() if name != first)]


def forecast_body(
    model: str, shape: Any, device: str, pixel_size_um: float | None
) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that yields in words what Cellpose will take for an image."""

    def body(report: Progress) -> Iterator[Any]:
        import_engine()
        from cytodiffusion.device import pick_device
        from cytodiffusion.segmentation.cellpose import expected_seconds
        from cytodiffusion.segmentation.cellpose_weights import download_size

        chosen = str(pick_device(device))
        seconds = expected_seconds(shape, chosen, model=model, pixel_size_um=pixel_size_um)
        where = "On the CPU" if chosen == "cpu" else f"On the GPU ({chosen})"
        size = download_size(model)
        asked = f" Its weights ({size / 1e9:.1f} GB) are downloaded first, after asking."
        yield f"{where} about {duration(seconds)} for this image.{asked if size else ''}"

    return body
