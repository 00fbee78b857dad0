"""What all cells of a slide have in common, and how their logits are corrected for it.

On slides of another laboratory most errors are a bias: stain and focus make one class look like
another, in every cell alike. A single cell does not show it, all cells of a slide together do. A
small network sees the cells of one slide, without labels, and corrects the logits of each. It is
trained on simulated domains, each a draw of stains, focus and sizes that all its cells share.

Adaptive risk minimisation (Zhang et al. 2021, section 4: a contextual network sees a batch) with
the architecture of Deep Sets (Zaheer et al. 2017).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from cytodiffusion.errors import BundleError
from cytodiffusion.model.files import check_weights, read_json, read_tensors
from cytodiffusion.model.network import SavedNetwork, register_to_config
from cytodiffusion.model.validation_record import ValidationRecord

CONFIG = "laboratory.json"

WEIGHTS = "laboratory.safetensors"

FILES = (CONFIG, WEIGHTS)

#: What the tensors of the record are called in the file, beside the network's.
RECORD = "record."

#: Logits are divided by this before a network sees them.
SCALE = 10.0


class Member(nn.Module):
    """One network of the ensemble; see `SlideCorrectionNetwork`."""

    def __init__(self, num_classes: int, features: int, hidden: int, dropout: float):
        super().__init__()
        given = features + 2 * num_classes

        def layer(inputs: int) -> nn.Sequential:
            return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Dropout(dropout))

        self.cell = nn.Sequential(*layer(given), nn.Linear(hidden, hidden), nn.GELU())
        self.slide = layer(2 * hidden)
        self.correct = nn.Sequential(*layer(hidden + given), nn.Linear(hidden, num_classes))
        last = self.correct[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)  # nothing is corrected before something is learned
        nn.init.zeros_(last.bias)

    def forward(self, cells: Tensor, weights: Tensor) -> Tensor:
        """Corrections ``(B, N, K)`` of cells ``(B, N, F)`` that count ``(B, N)`` in their slide."""
        seen = self.cell(cells)
        share = weights[..., None]
        mean = (seen * share).sum(dim=1)
        variance = ((seen - mean[:, None]).square() * share).sum(dim=1)
        slide = self.slide(torch.cat([mean, variance.clamp(min=1e-6).sqrt()], dim=-1))
        told = slide[:, None].expand(-1, cells.shape[1], -1)
        corrected: Tensor = self.correct(torch.cat([cells, told], dim=-1))
        return corrected


class SlideCorrectionNetwork(SavedNetwork):
    """Corrections of logits from the cells of a slide; the mean of a few small networks.

    Parameters
    ----------
    embedding : int
        Width of the denoiser's embedding.
    features : int
        Principal components of the embedding that are looked at.
    hidden : int
        Width of the layers.
    members : int
        Networks that the mean is taken of.
    """

    mean: Tensor
    components: Tensor

    @register_to_config
    def __init__(
        self,
        num_classes: int,
        embedding: int,
        features: int,
        hidden: int = 64,
        members: int = 4,
        dropout: float = 0.15,
    ):
        super().__init__()
        self.num_classes, self.embedding = num_classes, embedding
        self.register_buffer("mean", torch.zeros(embedding))
        self.register_buffer("components", torch.zeros(embedding, features))
        self.ensemble = nn.ModuleList(
            Member(num_classes, features, hidden, dropout) for _ in range(members)
        )

    def describe(self, embedding: Tensor, logits: Tensor) -> Tensor:
        """Return what the networks see ``(..., F)`` of embeddings and calibrated logits."""
        seen = (embedding - self.mean) @ self.components
        return torch.cat([seen, logits.softmax(dim=-1), centred(logits) / SCALE], dim=-1)

    def forward(self, embedding: Tensor, logits: Tensor, weights: Tensor) -> Tensor:
        """Corrections of the cells of B slides.

        Parameters
        ----------
        embedding : (B, N, D) tensor
        logits : (B, N, K) tensor
            Over the temperature of a single cell.
        weights : (B, N) tensor
            How much each cell counts in its slide; each row sums to 1.

        Returns
        -------
        (B, N, K) tensor
        """
        cells = self.describe(embedding, logits)
        found = [member(cells, weights) for member in self.ensemble]
        return torch.stack(found).mean(dim=0)


def centred(logits: Tensor) -> Tensor:
    """Logits less their mean over the classes."""
    return logits - logits.mean(dim=-1, keepdim=True)


@dataclass(frozen=True)
class SlideCorrection:
    """A trained network, and what was measured on validation cells that it corrected.

    Attributes
    ----------
    network : SlideCorrectionNetwork
    validation : ValidationRecord
        Of corrected posteriors.
    uncorrected : tuple of int
        Classes that are not mistaken for what stains change: cells that are of them by
        themselves stay as they are.
    """

    network: SlideCorrectionNetwork
    validation: ValidationRecord
    uncorrected: tuple[int, ...] = ()

    @torch.no_grad()
    def corrected(
        self,
        logits: NDArray[np.floating],
        embedding: NDArray[np.floating],
        temperature: float,
    ) -> NDArray[np.float64]:
        """Corrected logits ``(N, K)`` of all cells of a slide, before the temperature.

        Parameters
        ----------
        logits : (N, K) array
        embedding : (N, D) array
        temperature : float
            Of a single cell's posterior.
        """
        given = torch.from_numpy(np.asarray(logits / temperature, np.float32))[None]
        seen = torch.from_numpy(np.asarray(embedding, np.float32))[None]
        weights = torch.full(given.shape[:2], 1 / given.shape[1])
        found = self.network(seen, given, weights)[0].double().numpy()
        if not np.isfinite(found).all():
            raise BundleError(
                "The model's slide correction gives no numbers for these cells; use "
                "another copy of the model, or look at each cell alone."
            )
        found[np.isin(np.argmax(logits, axis=1), self.uncorrected)] = 0.0
        return np.asarray(np.asarray(logits, np.float64) / temperature + found)


def save_slide_correction(folder: Path, correction: SlideCorrection) -> None:
    """Write the two files of a slide correction into a bundle's folder."""
    network = correction.network
    content = {
        "network": {k: v for k, v in network.config.items() if not k.startswith("_")},
        "temperature": correction.validation.temperature,
        "measured": correction.validation.measured,
        "steady": list(correction.uncorrected),
    }
    (folder / CONFIG).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    save_file(tensors | correction.validation.to_tensors(RECORD), folder / WEIGHTS)


def load_slide_correction(folder: Path, n_classes: int, embedding: int) -> SlideCorrection:
    """Read the correction of a bundle; BundleError where it does not fit the bundle or itself."""
    content = read_json(folder / CONFIG)
    tensors = read_tensors(folder / WEIGHTS)
    record = {k.removeprefix(RECORD): v for k, v in tensors.items() if k.startswith(RECORD)}
    weights = {k: v for k, v in tensors.items() if not k.startswith(RECORD)}
    try:
        network = SlideCorrectionNetwork(**content["network"])
        temperature = float(content["temperature"])
        if not 1e-3 < temperature < 1e3:
            raise ValueError("the temperature must be positive and of a usual size")
        uncorrected = tuple(int(k) for k in content.get("steady", ()))
        if not all(0 <= k < n_classes for k in uncorrected):
            raise ValueError("a class that is never corrected is unknown to the model")
        _check_fit(network, n_classes, embedding)
        validation = ValidationRecord.from_tensors(
            record, temperature, content["measured"], n_classes
        )
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as e:
        raise BundleError(
            f"{CONFIG} of the bundle {folder} describes no slide correction: {e}."
        ) from e
    check_weights(weights, network, folder)
    network.load_state_dict(weights)
    return SlideCorrection(network.eval(), validation, uncorrected)


def _check_fit(network: SlideCorrectionNetwork, n_classes: int, embedding: int) -> None:
    """ValueError unless it is for a denoiser of so many classes and so wide an embedding."""
    if not len(network.ensemble):
        raise ValueError("it has no networks")
    if (network.num_classes, network.embedding) != (n_classes, embedding):
        raise ValueError(
            f"it is for {network.num_classes} classes and embeddings of {network.embedding}, not "
            f"{n_classes} and {embedding}"
        )
