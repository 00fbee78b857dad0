"""Pre-training without labels: denoise every crop, and know it again in another stain.

The denoising loss alone teaches the trunk textures; a contrastive term on its pooled features
(normalised temperature-scaled cross-entropy, Chen et al., SimCLR, 2020) teaches it what
two varied views of one cell have in common.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cytodiffusion.model.codec import to_network
from cytodiffusion.model.denoiser import UNetDenoiser, embedding_width
from cytodiffusion.progress import Progress, silent
from cytodiffusion.training.data import CellSet, generator_for
from cytodiffusion.training.loss import MAX_WEIGHT, HybridLoss
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.trainer import Trainer

#: Sharpness of the contrast.
TEMPERATURE = 0.2

#: Width of the head that the contrast is taken behind; it is thrown away afterwards.
PROJECTION = 128


class ContrastiveLoss(HybridLoss):
    """Denoising as the null class, and contrast between the two views of each crop."""

    def __init__(self, denoiser: UNetDenoiser, grid: int, *, contrast: float):
        super().__init__(denoiser, grid, class_loss=0.0, disc_radius=1.0, label_smoothing=0.0)
        self.contrast = contrast
        width = embedding_width(denoiser)
        self.projector = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, PROJECTION)
        )

    def forward(  # type: ignore[override]
        self, clean: Tensor, t: Tensor, epsilon: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch of views.

        Parameters
        ----------
        clean, epsilon : (2 N, C, H, W) tensor
            The first views of N crops, then the second views of the same.
        t : (2 N,) tensor
            Noise levels.

        Returns
        -------
        loss : scalar tensor
        parts : dict of scalar tensors
            ``denoising``, ``contrast`` and ``accuracy`` (views whose partner is the nearest).
        """
        out = self.denoiser.trunk(self.schedule.add_noise(clean, t, epsilon), t)
        error = (out.base - clean).square().mean(dim=(1, 2, 3))
        weight = (self.schedule.snr(t) + 1).clamp(max=MAX_WEIGHT)
        denoising = (weight * error).mean()
        contrast, accuracy = contrastive_loss(
            self.projector(out.embedding), self.schedule.signal(t).flatten()
        )
        parts = {"denoising": denoising.detach(), "contrast": contrast.detach()}
        return denoising + self.contrast * contrast, parts | {"accuracy": accuracy}


def contrastive_loss(projected: Tensor, signal: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of finding each view's partner, and how often it is found.

    Parameters
    ----------
    projected : (2 N, D) tensor
        First views, then second views.
    signal : (2 N,) tensor
        Signal amplitude of each view; a pair counts as the product of its two.
    """
    n = len(projected)
    unit = F.normalize(projected.float(), dim=1)
    eye = torch.eye(n, dtype=torch.bool, device=unit.device)
    logits = (unit @ unit.T / TEMPERATURE).masked_fill(eye, -1e4)
    partner = torch.arange(n, device=unit.device).roll(n // 2)
    weight = signal * signal[partner]
    loss = F.cross_entropy(logits, partner, reduction="none")
    found = (logits.argmax(1) == partner).float().mean()
    return (loss * weight).sum() / weight.sum(), found


class Pretrainer(Trainer):
    """A run that looks at no label."""

    def _network(self) -> nn.Module:
        hybrid = super()._network()
        assert isinstance(hybrid, HybridLoss)
        return ContrastiveLoss(hybrid.denoiser, self.codec.grid, contrast=self.settings.contrast)

    def _draw(self, step: int) -> Tensor:
        s, cells = self.settings, self.sets["train"]
        generator = generator_for(s.seed, step, "batch")
        return torch.randperm(len(cells), generator=generator)[: s.batch_size]

    def _batch(self, step: int) -> tuple[Tensor, ...]:
        index = self._draw(step)
        generator = generator_for(self.settings.seed, step, "augment")
        views = [self._views(index, generator)[0] for _ in range(2)]
        clean = self.codec.encode(to_network(torch.cat(views)))
        # low levels: what is drowned in noise cannot be known again
        t = (torch.rand(len(clean), generator=generator).square() * 1000).long().clamp(max=999)
        epsilon = torch.randn(clean.shape, generator=generator)
        return tuple(x.to(self.accelerator.device) for x in (clean, t, epsilon))

    def ema_denoiser(self) -> UNetDenoiser:
        """Copy of the network with the averaged weights, without the contrast's head."""
        plain = self.accelerator.unwrap_model(self.model)
        averaged = UNetDenoiser.from_config(plain.denoiser.config)
        with torch.no_grad():
            for target, source in zip(averaged.parameters(), self.ema.shadow_params, strict=False):
                target.copy_(source)
        averaged.to(self.accelerator.device).to(memory_format=torch.channels_last)
        return averaged.eval()  # type: ignore[no-any-return]

    def _validate(self, parts: dict[str, float]) -> None:
        self.history.append({"step": self.step, **parts})

    def _report(self, parts: dict[str, float], seconds: float) -> None:
        self.progress(
            self.step / self.settings.steps,
            f"step {self.step}/{self.settings.steps} without labels, denoising "
            f"{parts['denoising']:.4f}, contrast {parts['contrast']:.3f}, {seconds:.2f} s a step",
        )


def pretrain(
    settings: TrainSettings,
    names: list[str],
    cells: CellSet,
    output: Path,
    progress: Progress = silent,
) -> UNetDenoiser:
    """Train a denoiser's trunk on crops whose labels are not looked at.

    Parameters
    ----------
    settings : TrainSettings
        ``pretrain_steps``, ``contrast`` and all that concerns network, crops and batches.
    names : list of str
        Of the classes that will follow; their heads stay random.
    cells : CellSet
    output : Path
        The run's checkpoints go beside it; a finished run is taken as it is.
    progress : callable

    Returns
    -------
    UNetDenoiser
        With averaged weights.
    """
    steps = settings.pretrain_steps
    own = settings.model_copy(
        update={
            "steps": steps,
            "warmup": min(settings.warmup, max(1, steps // 10)),
            "output": output,
            "resume": True,
            "pretrain_steps": 0,
            "pseudo_labels": 0.0,
        }
    )
    run = Pretrainer(own, progress, (names, {"train": cells}))
    run.fit()
    return run.ema_denoiser()
