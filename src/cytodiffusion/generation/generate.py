"""Synthetic cells to order: so many of each class, and none that the classifier denies."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Generator, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from cytodiffusion.classification.classifier import classify
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import Cancelled
from cytodiffusion.generation.cells import GeneratedCells, joined
from cytodiffusion.generation.order import (
    GenerationOrder,
    GenerationSettings,
    Mix,
    check_order,
    take_order,
)
from cytodiffusion.generation.sampler import drawn_size
from cytodiffusion.generation.style import Restain
from cytodiffusion.generation.synthesis import sample_cells
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.codec import WHITE
from cytodiffusion.progress import Progress, silent

#: Cells that are drawn, judged and finished together: few enough on slow devices that little is
#: lost when the work is interrupted.
PART = {"cpu": 8, "cuda": 256, "mps": 32}
#: Colour of the empty background of generated cells.
BACKGROUND = np.full(3, 255 * WHITE, np.float32)
#: Share of the progress of a part that its first drawings are, and so on with what is left.
_FIRST = 0.8

#: Groups of classes whose cells are shown without a white cell beside them.
_ALONE = ("red", "platelet", "artefact")
#: A white cell beside the one asked for: more than this share of the picture is as dark in red
#: light as a nucleus (optical density), further from the middle than this share of its side.
_COMPANY, _NUCLEAR, _MIDDLE = 0.01, 0.25, 0.3

#: Called at each step with the places ``(n,)`` in the order of the cells being drawn and with
#: what they look like so far, ``(n, S, S, 3)`` uint8.
Preview = Callable[[NDArray[np.int64], NDArray[np.uint8]], None]


def generate(
    model: ModelBundle,
    counts: Mapping[str, int],
    settings: GenerationSettings | None = None,
    *,
    towards: Mix | None = None,
    preview: Preview | None = None,
    progress: Progress = silent,
    insist: bool = False,
    stain_of: NDArray[np.uint8] | None = None,
) -> GeneratedCells:
    """Draw cells of the asked classes.

    With rejection, a cell that the model's own classifier does not take for its class is drawn
    anew with fresh noise, and left out when it is never accepted; so is a red cell, platelet or
    artefact that has a white cell beside it. The classifier was trained on the same images as the
    generator: its agreement is a check, not a proof. With ``stain_of``, an image ``(Y, X, 3)``,
    they are judged as they are drawn and then taken to its stain.
    """
    parts = list(
        generate_parts(
            model,
            counts,
            settings,
            towards=towards,
            preview=preview,
            progress=progress,
            insist=insist,
            stain_of=stain_of,
        )
    )
    return joined(parts)


def generate_parts(
    model: ModelBundle,
    counts: Mapping[str, int],
    settings: GenerationSettings | None = None,
    *,
    towards: Mix | None = None,
    preview: Preview | None = None,
    progress: Progress = silent,
    insist: bool = False,
    stain_of: NDArray[np.uint8] | None = None,
) -> Generator[GeneratedCells, None, None]:
    """Draw cells part by part, for orders that do not fit the memory; see `generate`."""
    settings = settings or GenerationSettings()
    order = take_order(model, counts, towards)
    check_order(order, model, settings, insist)
    size = PART.get(model.device.type, 8)
    restain = None if stain_of is None else Restain.like(stain_of, model)
    work = _Work(model, order, settings, towards, preview, restain)
    anything = False
    for start in range(0, len(order), size):
        places = np.arange(start, min(start + size, len(order)))
        try:
            part = work.draw(places, _part_of(progress, places, len(order)))
        except Cancelled:
            part = work.finished(places)
            if not anything and not len(part):
                raise
        yield part
        if not part.complete:
            return
        anything = True
    with contextlib.suppress(Cancelled):  # there is nothing left to cancel
        progress(1.0, f"{len(order)} cells")


def _part_of(progress: Progress, places: NDArray[np.int64], n: int) -> Progress:
    first, length = int(places[0]), len(places)
    return lambda share, message: progress((first + share * length) / n, message)


class _Work:
    """One order on its way: what each cell of the current part looks like and was taken for."""

    def __init__(
        self,
        model: ModelBundle,
        order: GenerationOrder,
        settings: GenerationSettings,
        mix: Mix | None,
        preview: Preview | None,
        restain: Restain | None,
    ):
        self.model, self.order, self.settings = model, order, settings
        self.mix, self.preview, self.restain = mix, preview, restain
        self._begin(np.zeros(0, np.int64))

    def _begin(self, places: NDArray[np.int64]) -> None:
        size, n = drawn_size(self.model), len(places)
        self.pixels = np.zeros((n, size, size, 3), np.uint8)
        self.predicted = np.zeros(n, np.int64)
        self.confidence = np.zeros(n)
        self.accepted = np.zeros(n, bool)
        self.attempts = np.zeros(n, np.int64)
        self.rejected: Counter[str] = Counter()

    def draw(self, places: NDArray[np.int64], progress: Progress) -> GeneratedCells:
        """Draw the cells at ``places``, again and again where they are rejected."""
        self._begin(places)
        rejecting = self.settings.reject
        for attempt in range(self.settings.tries if rejecting else 1):
            open_ = np.flatnonzero(~self.accepted)
            if not len(open_):
                break
            done = 1 - (1 - _FIRST) ** attempt if rejecting else 0.0
            width = _FIRST * (1 - done) if rejecting else 1.0

            def report(share: float, message: str, a: float = done, b: float = width) -> None:
                progress(a + b * share, message)

            self._attempt(places, open_, attempt, report)
        return self.finished(places, complete=True)

    def _attempt(
        self,
        places: NDArray[np.int64],
        rows: NDArray[np.int64],
        attempt: int,
        progress: Progress,
    ) -> None:
        """Draw and judge the cells in some ``rows`` of the part."""
        model, order, mix = self.model, self.order, self.mix
        wanted = places[rows]
        index = order.index[wanted]
        n = len(order)
        message = f"drawing {n} cells" if attempt == 0 else f"drawing {len(rows)} cells anew"

        def seen(part: slice, cells: NDArray[np.uint8]) -> None:
            if self.preview is not None:
                self.preview(wanted[part], cells if self.restain is None else self.restain(cells))

        pixels = sample_cells(
            model,
            index,
            seed=self.settings.seed,
            steps=self.settings.steps,
            guidance=self.settings.guidance,
            towards=None if mix is None else np.full(len(rows), order.towards),
            share=None if mix is None else np.full(len(rows), mix.share),
            numbers=[
                noise_number(model.class_names[k], int(number), attempt)
                for k, number in zip(index, order.numbers[wanted], strict=True)
            ],
            preview=None if self.preview is None else seen,
            progress=lambda share, _: progress(0.95 * share, message),
        )
        predicted, confidence, accepted = self._decide(pixels, index)
        self.pixels[rows], self.predicted[rows] = pixels, predicted
        self.confidence[rows], self.accepted[rows] = confidence, accepted
        self.attempts[rows] = attempt + 1
        if self.settings.reject:
            self.rejected.update(model.class_names[k] for k in index[~accepted])
        progress(1.0, message)

    def _decide(
        self, pixels: NDArray[np.uint8], index: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
        """Classes, confidence and whether that will do, of cells asked to be of ``index``."""
        crops = as_crops(pixels, self.model.input_size)
        found = classify(crops, self.model, ClassifySettings(), background=BACKGROUND)
        rows = np.arange(len(index))
        confidence = found.posterior[rows, index]
        right = found.predicted == index
        if self.order.towards is not None:
            other = self.order.towards
            right |= found.predicted == other
            confidence = confidence + np.where(index == other, 0, found.posterior[:, other])
        sure = confidence >= self.settings.least_confidence
        groups = np.array([c.group for c in self.model.classes])
        alone = ~np.isin(groups[index], _ALONE) | ~has_company(pixels)
        return found.predicted, confidence, right & sure & alone

    def finished(self, places: NDArray[np.int64], complete: bool = False) -> GeneratedCells:
        """Return what is done of a part."""
        model, settings = self.model, self.settings
        keep = self.accepted if settings.reject else self.attempts > 0
        kept = places[keep]
        names, restain = model.class_names, self.restain
        pixels = self.pixels[keep]
        return GeneratedCells(
            pixels=pixels if restain is None else restain(pixels),
            classes=tuple(names[k] for k in self.order.index[kept]),
            numbers=self.order.numbers[kept],
            predicted=tuple(names[k] for k in self.predicted[keep]),
            confidence=self.confidence[keep],
            accepted=self.accepted[keep],
            attempts=self.attempts[keep],
            asked=self.order.counts,
            rejected=dict(self.rejected),
            settings=settings,
            towards=self.mix,
            model={**model.record(), "draws_with": drawn_by(model)},
            colors={c.name: c.color for c in model.classes},
            pixel_size_um=model.window_um / drawn_size(model),
            complete=complete,
            stain=None if restain is None else restain.wanted,
        )


def has_company(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether there is a nucleus beside the middle of cells ``(N, S, S, 3)``, for each (N,).

    A smudge that fills the picture is as dark in the middle and has no company.
    """
    side = pixels.shape[1]
    axis = (np.arange(side) + 0.5) / side - 0.5
    outside = np.hypot(axis[:, None], axis[None, :]) > _MIDDLE
    density = np.log10(BACKGROUND[0] / np.maximum(pixels[..., 0], 1.0))
    dark = density > _NUCLEAR
    beside = (dark & outside).mean(axis=(1, 2))
    paler = dark[:, ~outside].mean(axis=1) < dark[:, outside].mean(axis=1)
    return np.asarray((beside > _COMPANY) & paler)


def noise_number(name: str, number: int, attempt: int) -> int:
    """Return the number of the noise that a cell of a class is drawn from, below 2**40."""
    key = hashlib.sha256(f"{name}/{number}/{attempt}".encode()).digest()
    return int.from_bytes(key[:5], "little")


def as_crops(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return cells ``(N, S, S, 3)`` as large as a classifier takes them, ``(N, size, size, 3)``."""
    if not len(pixels):
        return np.zeros((0, size, size, 3), np.uint8)
    if pixels.shape[1] == size:
        return pixels
    how = cv2.INTER_AREA if size < pixels.shape[1] else cv2.INTER_CUBIC
    return np.stack([cv2.resize(cell, (size, size), interpolation=how) for cell in pixels])


def drawn_by(model: ModelBundle) -> str:
    """Say which of a model's networks draws its cells."""
    return "generator" if getattr(model, "generator", None) is not None else "denoiser"
