"""Training of the smear network on drawn fields, and on photographs with known outlines."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.segmenter import FLOW_SCALE, FlowNetwork, Segmenter
from cytodiffusion.progress import Progress, part_of, silent
from cytodiffusion.training.augmentation.fields import field_view
from cytodiffusion.training.card import KEPT_HEADINGS
from cytodiffusion.training.data import generator_for
from cytodiffusion.training.fields import KINDS, FlowField, drawn_fields, photographed_fields
from cytodiffusion.training.finish import save_with
from cytodiffusion.training.loop import TrainingLoop
from cytodiffusion.training.settings import TrainSettings

log = logging.getLogger(__name__)

#: Line of a card above which nothing of the smear network is said.
HEADING = KEPT_HEADINGS["segmenter"]

#: One in so many drawn fields is kept for validation, at most so many.
HELD_BACK, MOST_HELD_BACK = 12, 24

#: How often platelets count beside other cells: they are small and few.
KIND_WEIGHTS = (1.0, 1.0, 3.0)

#: Share of the loss that is of kinds.
KIND_SHARE = 0.3


class FlowLoss(nn.Module):
    """The smear network with its loss, as Cellpose's, and a cross-entropy of kinds."""

    weights: Tensor

    def __init__(self, network: FlowNetwork):
        super().__init__()
        self.network = network
        self.register_buffer("weights", torch.tensor(KIND_WEIGHTS), persistent=False)

    def forward(
        self, pixels: Tensor, flows: Tensor, kinds: Tensor, cells: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch.

        Parameters
        ----------
        pixels : (N, 3, H, W) tensor
        flows : (N, 2, H / patch, W / patch) tensor
        kinds : (N, H / patch, W / patch) int64 tensor
            0 unknown.
        cells : (N, H, W) tensor
            -1 unknown.
        """
        told_flows, told_kinds, told_cells = (x.float() for x in self.network(pixels))
        known = cells >= 0
        cell = F.binary_cross_entropy_with_logits(told_cells[known], cells[known])
        patch = self.network.patch
        sure = F.avg_pool2d(known.float()[:, None], patch).squeeze(1) > 0.99
        wrong = (told_flows - FLOW_SCALE * flows).square().mean(dim=1)
        flow = 0.5 * (wrong * sure).sum() / sure.sum().clamp(min=1)
        kind = F.cross_entropy(told_kinds, kinds - 1, self.weights, ignore_index=-1)
        kind = kind if bool((kinds > 0).any()) else told_kinds.sum() * 0
        loss = flow + cell + KIND_SHARE * kind
        parts = {"flow": flow.detach(), "cell": cell.detach(), "kind": kind.detach()}
        return loss, parts


class SegmenterTrainer(TrainingLoop):
    """A run of the smear network.

    Parameters
    ----------
    start : FlowNetwork, optional
        What to go on from, where its shape is that of the settings.
    """

    def __init__(
        self, settings: TrainSettings, progress: Progress = silent, start: FlowNetwork | None = None
    ):
        self.start = start
        super().__init__(settings, progress)

    def _load(self) -> None:
        s = self.settings
        self.names = list(KINDS)
        drawn = drawn_fields(s, self.run, part_of(self.progress, 0.0, 0.1))
        held = min(max(1, len(drawn) // HELD_BACK), MOST_HELD_BACK)
        self.fields, self.held = drawn[held:], drawn[:held]
        self.photographs: list[FlowField] = []
        if s.photographs is not None:
            self.photographs, more = photographed_fields(s.photographs, s.patch)
            self.held += more

    def _network(self) -> nn.Module:
        network: FlowNetwork = FlowNetwork(self.settings.widths, self.settings.patch)
        if self.start is not None and _shapes(self.start) == _shapes(network):
            network.load_state_dict(self.start.state_dict())
        return FlowLoss(network.to(memory_format=torch.channels_last))  # type: ignore[call-overload]

    def _batch(self, step: int) -> tuple[Tensor, ...]:
        s = self.settings
        rng = np.random.default_rng(generator_for(s.seed, step, "views").initial_seed())
        views = []
        for _ in range(s.batch_size):
            real = self.photographs and rng.random() < s.photograph_share
            fields = self.photographs if real else self.fields
            field = fields[int(rng.integers(len(fields)))]
            views.append(field_view(field, s.input_size, s.patch, rng))
        return self._stacked(views)

    def _stacked(self, views: Sequence[tuple[NDArray[Any], ...]]) -> tuple[Tensor, ...]:
        pixels, flows, kinds, cells = (
            torch.from_numpy(np.stack(part)) for part in zip(*views, strict=True)
        )
        pixels = pixels.permute(0, 3, 1, 2) * 2 - 1
        device = self.accelerator.device
        return tuple(x.to(device) for x in (pixels, flows, kinds, cells))

    def averaged(self) -> FlowNetwork:
        """Copy of the network with the averaged weights."""
        plain = self.accelerator.unwrap_model(self.model)
        network: FlowNetwork = FlowNetwork.from_config(plain.network.config)
        with torch.no_grad():
            for target, source in zip(network.parameters(), self.ema.shadow_params, strict=True):
                target.copy_(source)
        return network.to(self.accelerator.device).eval()

    @torch.no_grad()
    def held_back(self) -> tuple[list[tuple[Tensor, ...]], list[tuple[Tensor, Tensor, Tensor]]]:
        """Show the averaged network views of fields that are never trained on."""
        s, network = self.settings, self.averaged()
        rng = np.random.default_rng(generator_for(s.seed, 0, "validation").initial_seed())
        batches, told = [], []
        for field in self.held:
            batch = self._stacked([field_view(field, s.input_size, s.patch, rng)])
            batches.append(batch)
            told.append(network(batch[0]))
        return batches, told

    def _validate(self, parts: dict[str, float]) -> None:
        overlap, _, kinds = cell_overlap(*self.held_back())
        self.history.append(
            {"step": self.step, **parts, "validation": overlap, "kinds right": kinds}
        )
        log.info("step %d: cells %.4f (IoU), kinds %.4f", self.step, overlap, kinds)

    def _told(self, parts: dict[str, float]) -> str:
        return f"flow {parts['flow']:.3f}, cell {parts['cell']:.3f}, kind {parts['kind']:.3f}"


def _shapes(network: FlowNetwork) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in network.state_dict().items()}


def cell_overlap(
    batches: list[tuple[Tensor, ...]], told: list[tuple[Tensor, Tensor, Tensor]]
) -> tuple[float, float, float]:
    """Best overlap (IoU) of cells and background, the logit that gives it, share of kinds right."""
    known = torch.cat([batch[3].flatten() for batch in batches])
    logits = torch.cat([t[2].flatten() for t in told]).float()
    logits, truth = logits[known >= 0], known[known >= 0] > 0.5
    tried = torch.linspace(-1.5, 1.5, 13)
    overlaps = []
    for threshold in tried:
        found = logits > threshold
        overlaps.append(float((found & truth).sum() / (found | truth).sum().clamp(min=1)))
    best = int(np.argmax(overlaps))
    kinds = torch.cat([batch[2].flatten() for batch in batches])
    said = torch.cat([t[1].argmax(dim=1).flatten() for t in told]) + 1
    right = (said == kinds)[kinds > 0].float().mean()
    return overlaps[best], float(tried[best]), float(right)


def train_segmenter(settings: TrainSettings, progress: Progress = silent) -> Path:
    """Train a smear network for the model ``settings.init`` and save both as one bundle.

    It goes on from the smear network that the model has, where both are of one shape.
    """
    model = load_bundle(str(settings.init), device="cpu")
    settings = settings.model_copy(update={"window_um": model.window_um})
    start = None if model.segmenter is None else model.segmenter.network
    run = SegmenterTrainer(settings, progress, start)
    run.fit()
    overlap, threshold, kinds = cell_overlap(*run.held_back())
    measured = {"IoU of cells": overlap, "kinds right": kinds}
    segmenter = Segmenter(run.averaged().cpu(), threshold, measured=measured)
    million = sum(p.numel() for p in segmenter.network.parameters()) / 1e6
    photographs = f" and {len(run.photographs)} photographed" if run.photographs else ""
    lines = [
        f"- Outlines cells by flows at {segmenter.working_um:g} um a pixel, and tells red cells, "
        f"white cells and platelets apart. {million:.1f} million weights, in half precision.",
        f"- Trained on {len(run.fields)} drawn{photographs} fields for {settings.steps} steps of "
        f"{settings.batch_size}, seed {settings.seed}. On {len(run.held)} others: pixels of cells "
        f"found with an overlap (IoU) of {overlap:.3f}, kind of {kinds:.1%} of them right.",
        f"- Data and licence: {settings.attribution or 'not stated'}",
    ]
    return save_with(model, settings, HEADING, lines, segmenter=segmenter)
