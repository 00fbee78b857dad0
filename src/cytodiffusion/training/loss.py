"""The hybrid loss: denoise well, and denoise best as the true class.

``loss = w(t) error_true + lambda a(t) CE(softmax_c(-s(t) error_c))``: the denoising error of
the true class (or of the null class, for unlabelled crops and a share of the others), plus the
cross-entropy of the diffusion classifier's own posterior (Clark & Jaini 2023; Li et al. 2023),
with ``s(t)`` a learned function of the noise level. Attributes and finer classes, where they are
known, add the cross-entropy of the trunk's own head. A cell of which only the coarser class is
known adds nothing to that of the finer ones, which is the loss of their sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from cytodiffusion.model.denoiser import UNetDenoiser
from cytodiffusion.model.schedule import LEVELS, NoiseSchedule, centred_disc
from cytodiffusion.traits import Trait, columns_of

#: Upper bound of the denoising loss's weight, ``SNR + 1`` for clean-latent prediction (the
#: weight that makes it the v-prediction loss of Salimans & Ho 2022, clipped as in min-SNR).
MAX_WEIGHT = 8.0


def draw_levels(n: int, generator: Generator, tilt: float = 1.25) -> Tensor:
    """Stratified noise levels ``(n,)``: one in each n-th, tilted to the informative low ones.

    Half of them lie below the share ``0.5 ** tilt`` of all levels.
    """
    share = (torch.arange(n) + torch.rand(n, generator=generator)) / n
    share = share[torch.randperm(n, generator=generator)]
    return (share.pow(tilt) * LEVELS).long().clamp(max=LEVELS - 1)


class HybridLoss(nn.Module):
    """A denoiser together with its loss, so that one forward pass is one training step."""

    disc: Tensor

    def __init__(
        self,
        denoiser: UNetDenoiser,
        grid: int,
        *,
        class_loss: float,
        disc_radius: float,
        label_smoothing: float,
        traits: Sequence[Trait] = (),
        trait_loss: float = 0.0,
    ):
        super().__init__()
        self.denoiser = denoiser
        self.schedule = NoiseSchedule()
        self.class_loss = class_loss
        self.label_smoothing = label_smoothing
        self.traits = tuple(traits)
        self.trait_loss = trait_loss
        self.register_buffer("disc", centred_disc(grid, disc_radius), persistent=False)

    def forward(
        self,
        clean: Tensor,
        t: Tensor,
        epsilon: Tensor,
        labels: Tensor,
        conditions: Tensor,
        training_style: Tensor,
        trait_values: Tensor | None = None,
        trait_weights: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch.

        Parameters
        ----------
        clean, epsilon : (N, C, H, W) tensor
        t : (N,) tensor
            Noise levels.
        labels : (N,) tensor
            Class index, -1 where unknown.
        conditions : (N,) tensor
            The class each crop is denoised as; -1 for the null class.
        training_style : (N,) bool tensor
            Crops that are known to look as the training images do.
        trait_values : (N, T) tensor, optional
            Index of the value of each trait, -1 where it is not known.
        trait_weights : (N, T) tensor, optional
            How much each of them counts.
        """
        z = self.schedule.add_noise(clean, t, epsilon)
        out = self.denoiser.trunk(z, t, training_style)
        predicted = self.denoiser.prediction_from(out, conditions)
        error = (predicted - clean).square().mean(dim=(1, 2, 3))
        weight = (self.schedule.snr(t) + 1).clamp(max=MAX_WEIGHT)
        denoising = (weight * error).mean()

        errors = self.denoiser.errors_from(out, clean, self.disc)
        logits = -errors * self.denoiser.log_sharpness(t).exp()[:, None]
        known = labels >= 0
        importance = self.schedule.signal(t).flatten() * known
        entropy = F.cross_entropy(
            logits,
            labels.where(known, 0),
            reduction="none",
            label_smoothing=self.label_smoothing,
        )
        classes = (importance * entropy).sum() / len(labels)
        hits = ((logits.argmax(1) == labels) & known).sum() / known.sum().clamp(min=1)
        parts = {"denoising": denoising.detach(), "classes": classes.detach(), "accuracy": hits}
        loss = denoising + self.class_loss * classes
        if self.traits and trait_values is not None and trait_weights is not None:
            signal = self.schedule.signal(t).flatten()
            told = self._trait_loss(out.traits, trait_values, trait_weights * signal[:, None])
            parts["traits"] = told.detach()
            loss = loss + self.trait_loss * told
        return loss, parts

    def _trait_loss(self, logits: Tensor, values: Tensor, weights: Tensor) -> Tensor:
        """Mean over the traits of the cross-entropy of the cells whose value is known."""
        losses = []
        for number, part in enumerate(columns_of(self.traits)):
            own = F.cross_entropy(
                logits[:, part],
                values[:, number].clamp(min=0),
                reduction="none",
                label_smoothing=self.label_smoothing,
            )
            weight = weights[:, number] * (values[:, number] >= 0)
            losses.append((weight * own).sum() / weight.sum().clamp(min=1.0))
        return torch.stack(losses).mean()
