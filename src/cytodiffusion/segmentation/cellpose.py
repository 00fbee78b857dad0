"""Segmentation with Cellpose, version 4 or later (Pachitariu, Rariden & Stringer, bioRxiv 2025).

The network and the step from flows to masks are Cellpose's own. Added here: no download without
consent, no code out of weights files, no silent change of model, progress and cancelling within
the network, and smaller batches when the graphics card is full.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.errors import InputError, OutOfMemoryError
from cytodiffusion.image.pixels import check_pixel_size
from cytodiffusion.progress import Progress, silent
from cytodiffusion.segmentation.cellpose_weights import (
    MODELS,
    available_models,
    check_weights,
    default_model,
    download_size,
    fetch_weights,
    models_folder,
    weights_path,
    weights_present,
)
from cytodiffusion.segmentation.result import Segmentation
from cytodiffusion.segmentation.settings import CellposeSettings as CellposeSettings

if TYPE_CHECKING:
    import torch

__all__ = [
    "MODELS",
    "CellposeSegmenter",
    "CellposeSettings",
    "available_models",
    "cellpose",
    "default_model",
    "download_size",
    "expected_seconds",
    "models_folder",
    "weights_path",
    "weights_present",
]

#: The diameter in pixels that Cellpose scales cells to.
_TRAINED_DIAMETER = 30.0
_TILE_OVERLAP = 0.1
# Measured with cpsam: 6 to 14 s a tile on one core, half a second a tile on an entry-level GPU.
_CPU_CORE_SECONDS_A_TILE = 12.0
_GPU_SECONDS_A_TILE = 0.5
_NOT_TENSORS_OF_THE_NETWORK = ("diam_labels", "diam_mean")


def expected_seconds(
    shape: Sequence[int],
    device: str = "auto",
    *,
    model: str | Path | None = None,
    pixel_size_um: float | None = None,
    settings: CellposeSettings | None = None,
) -> float:
    """Say about how long an image will take, before it starts.

    Parameters
    ----------
    shape : (Y, X, ...)
    model, pixel_size_um, settings
        As for :func:`cellpose`; without a pixel size the image is taken not to be rescaled.
    """
    import torch

    from cytodiffusion.device import pick_device

    rescale = _rescale(pixel_size_um, settings or CellposeSettings())
    info = MODELS.get(str(model)) or MODELS["cpsam_v2"]
    tiles = math.prod(_tiles(side, rescale, info.tile) for side in shape[:2])
    tiles *= (info.tile / 256) ** 2  # type: ignore[assignment]
    if pick_device(device).type != "cpu":
        return 5 + tiles * _GPU_SECONDS_A_TILE
    return 5 + tiles * _CPU_CORE_SECONDS_A_TILE / max(1, torch.get_num_threads())


def cellpose(
    rgb: NDArray[np.uint8],
    pixel_size_um: float | None = None,
    model: str | Path | None = None,
    device: str = "auto",
    allow_download: bool = False,
    progress: Progress = silent,
    settings: CellposeSettings | None = None,
) -> Segmentation:
    """Segment an image with Cellpose.

    Parameters
    ----------
    rgb : (Y, X, 3) uint8
    pixel_size_um : float, optional
        Estimated from the red cells when missing.
    model : str or Path, optional
        One of :func:`available_models` or the path of a weights file. Default: the first one
        whose weights are here, otherwise Cellpose's default.
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps".
    allow_download : bool
        Whether weights may be downloaded when they are not here.
    """
    segmenter = CellposeSegmenter(
        model,
        device,
        allow_download=allow_download,
        settings=settings,
        progress=lambda fraction, message: progress(0.1 * fraction, message),
    )
    return segmenter(
        rgb, pixel_size_um, lambda fraction, message: progress(0.1 + 0.9 * fraction, message)
    )


class CellposeSegmenter:
    """A loaded Cellpose model, for several images or tiles.

    Parameters
    ----------
    model, device, allow_download, settings
        As for :func:`cellpose`.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        device: str = "auto",
        *,
        allow_download: bool = False,
        settings: CellposeSettings | None = None,
        progress: Progress = silent,
    ) -> None:
        from cytodiffusion.device import pick_device

        self.settings = settings or CellposeSettings()
        self.device = pick_device(device)
        self.model = str(model) if model else default_model()
        info = MODELS.get(self.model)
        if info and info.needs_dinov3:
            _require_dinov3(info.name)
        path = fetch_weights(self.model, allow_download=allow_download, progress=progress)
        progress(1.0, f"Loading {path.name}")
        self._loaded = _load(path, self.device)

    def __call__(
        self,
        rgb: NDArray[np.uint8],
        pixel_size_um: float | None = None,
        progress: Progress = silent,
        levels: NDArray[np.float64] | None = None,
    ) -> Segmentation:
        """Segment one image."""
        size, source, notes = _known_pixel_size(rgb, pixel_size_um, progress)
        evaluate = {
            "diameter": _diameter(size, self.settings),
            "channel_axis": -1,
            "normalize": {"lowhigh": brightness_levels(rgb) if levels is None else levels},
            "flow_threshold": self.settings.flow_threshold,
            "cellprob_threshold": self.settings.cellprob_threshold,
            "min_size": max(1, round(self.settings.min_area_um2 / size**2)),
            "max_size_fraction": 0.9,  # a single-cell image is mostly cell
            "tile_overlap": _TILE_OVERLAP,
        }
        labels = self._evaluate(_at_least(rgb, _rescale(size, self.settings)), evaluate, progress)
        labels = _sequential(labels[: rgb.shape[0], : rgb.shape[1]])
        progress(1.0, f"{labels.max(initial=0)} cells")
        settings = {"model": self.model, "device": str(self.device), **self.settings.model_dump()}
        return Segmentation(labels, size, source, "cellpose", settings, notes)

    def _evaluate(
        self, rgb: NDArray[np.uint8], options: dict[str, Any], progress: Progress
    ) -> NDArray[Any]:
        from cytodiffusion.device import free_memory, is_out_of_memory

        # On a CPU larger batches gain nothing, and cancelling would wait for them
        batch = self.settings.batch_size if self.device.type != "cpu" else 1
        rescale = _TRAINED_DIAMETER / options["diameter"] if options["diameter"] else 1.0
        block = 256 if self._loaded.backbone == "sam_vitl" else 384
        tiles = math.prod(_tiles(side, rescale, block) for side in rgb.shape[:2])
        while True:
            try:
                with _watched(self._loaded.net, math.ceil(tiles / batch), progress):
                    masks = self._loaded.eval(rgb, batch_size=batch, **options)[0]
                break
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                free_memory()
                if batch == 1:
                    raise OutOfMemoryError(_out_of_memory_text(self.device.type)) from None
                batch //= 2
        return np.asarray(masks)


def brightness_levels(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the 1st and 99th percentile of each channel, (3, 2), as Cellpose normalises to."""
    step = max(1, math.isqrt(rgb.shape[0] * rgb.shape[1] // 1_000_000))
    levels = np.percentile(rgb[::step, ::step], (1, 99), axis=(0, 1)).T
    levels[:, 1] = np.maximum(levels[:, 1], levels[:, 0] + 1)  # an even channel divides by zero
    return np.asarray(levels, dtype=np.float64)


def _require_dinov3(name: str) -> None:
    if importlib.util.find_spec("dinov3") is None:
        raise InputError(
            f"Cellpose's model {name} needs the package dinov3; install it with "
            "pip install git+https://github.com/facebookresearch/dinov3 or use cpsam_v2."
        )


def _load(path: Path, device: torch.device) -> Any:
    """Return a ``CellposeModel`` with exactly the weights of `path`."""
    # The file is proved to be plain tensors before Cellpose, whose first look at it
    # does not insist on that, may touch it.
    state = check_weights(path)
    if "encoder.cls_token" in state:
        _require_dinov3(path.name)
    import torch
    from cellpose.models import CellposeModel

    from cytodiffusion.device import free_memory, half_precision_pays, is_out_of_memory

    checks: Any = torch.sparse.check_sparse_tensor_invariants
    if not checks.is_enabled():
        checks.disable()  # is off anyway; said aloud, torch does not warn when Cellpose needs it
    try:
        loaded = CellposeModel(
            pretrained_model=str(path), device=device, use_bfloat16=half_precision_pays(device)
        )
    except Exception as error:
        if is_out_of_memory(error):
            free_memory()
            raise OutOfMemoryError(_out_of_memory_text(device.type)) from None
        raise InputError(f"{path} does not fit Cellpose's network.") from error
    # Cellpose leaves tensors that the file lacks at random
    missing = set(loaded.net.state_dict()) - set(state) - set(_NOT_TENSORS_OF_THE_NETWORK)
    if missing:
        raise InputError(
            f"{path} is incomplete: {len(missing)} tensors of the network are missing."
        )
    return loaded


def _known_pixel_size(
    rgb: NDArray[np.uint8], pixel_size_um: float | None, progress: Progress
) -> tuple[float, str, tuple[str, ...]]:
    """Return the pixel size, where it is from, and what to tell the user."""
    if pixel_size_um is not None:
        return check_pixel_size(pixel_size_um), "given", ()
    from cytodiffusion.segmentation.scale import estimate_pixel_size

    progress(0.0, "Estimating the scale")
    estimate = estimate_pixel_size(rgb)
    size = estimate.pixel_size_um
    note = f"Too few red cells to measure the scale; {size:.3f} um a pixel was assumed."
    return size, estimate.source, (note,) if estimate.source == "assumed" else ()


def _diameter(pixel_size_um: float, settings: CellposeSettings) -> float | None:
    """Return the diameter of a cell in pixels."""
    return None if settings.diameter_um is None else settings.diameter_um / pixel_size_um


def _rescale(pixel_size_um: float | None, settings: CellposeSettings) -> float:
    if pixel_size_um is None or settings.diameter_um is None:
        return 1.0
    return _TRAINED_DIAMETER * check_pixel_size(pixel_size_um) / settings.diameter_um


def _at_least(rgb: NDArray[np.uint8], rescale: float) -> NDArray[np.uint8]:
    """Return the image, repeated at its edge until Cellpose has 16 pixels a side to work on."""
    side = math.ceil(16 / min(1.0, rescale))
    missing = [max(0, side - n) for n in rgb.shape[:2]]
    return np.pad(rgb, [(0, missing[0]), (0, missing[1]), (0, 0)], "edge") if any(missing) else rgb


def _tiles(side: int, rescale: float, block: int) -> int:
    """Return how many tiles Cellpose lays along a side."""
    length = 16 * math.ceil(side * rescale / 16) + 16
    return 1 if length <= block else math.ceil((1 + 2 * _TILE_OVERLAP) * length / block)


@contextmanager
def _watched(net: Any, batches: int, progress: Progress) -> Iterator[None]:
    """Report progress before every block of the network; what `progress` raises ends the run."""
    blocks = list(getattr(net.encoder, "blocks", ())) or [net]
    total, done = max(1, batches * len(blocks)), 0

    def step(module: Any, inputs: Any) -> None:
        nonlocal done
        progress(min(0.9, 0.9 * done / total), "Running Cellpose")
        done += 1

    hooks = [block.register_forward_pre_hook(step) for block in blocks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _sequential(masks: NDArray[Any]) -> NDArray[np.int32]:
    """Return the masks numbered 1..N without gaps."""
    present = np.bincount(masks.ravel()) > 0
    present[0] = False
    return np.asarray(np.where(present, np.cumsum(present), 0)[masks], dtype=np.int32)


def _out_of_memory_text(kind: str) -> str:
    if kind == "cpu":
        return "Cellpose does not fit into this computer's memory; use the watershed."
    return (
        "Cellpose does not fit into the memory of the graphics card, even tile by tile; "
        "free some of it, choose the CPU (slower) or use the watershed."
    )
