"""The smear network: a small U-Net that outlines cells by flows, as Cellpose defines them.

Every pixel of a cell is given the direction in which the middle of its cell lies, and whether it
is of a cell at all (Stringer et al., Cellpose, Nature Methods 2021). Following the directions,
pixels of one cell meet in one place. The network also tells red cells, white cells and platelets
apart.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from cytodiffusion.errors import BundleError
from cytodiffusion.model.files import check_weights, read_json, read_tensors
from cytodiffusion.model.network import SavedNetwork, register_to_config

CONFIG, WEIGHTS = "segmenter.json", "segmenter.safetensors"

#: Files of a bundle that has one.
FILES = (CONFIG, WEIGHTS)

#: Micrometres a pixel of what the network is shown.
WORKING_UM = 0.18

#: Flows are learned this many times as long as they are, as Cellpose does.
FLOW_SCALE = 5.0


class Block(nn.Module):
    """Two convolutions with a bypass."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.first_norm = nn.GroupNorm(8, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.second_norm = nn.GroupNorm(8, outputs)
        self.bypass = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(N, outputs, H, W)``."""
        y = F.silu(self.first_norm(self.first(x)))
        return F.silu(self.second_norm(self.second(y)) + self.bypass(x))


class FlowNetwork(SavedNetwork):
    """Flows, cells and kinds of a field.

    Parameters
    ----------
    widths : sequence of int
        Channels of each level, from fine to coarse; multiples of 8.
    patch : int
        Side of the squares of pixels that are folded into channels: flows and kinds are found at
        this reduction, the outline at full resolution.
    """

    @register_to_config
    def __init__(self, widths: Sequence[int] = (32, 64, 96, 160), patch: int = 2):
        super().__init__()
        widths = list(widths)
        self.patch = patch
        self.down = nn.ModuleList(Block(a, b) for a, b in pairwise([3 * patch**2, *widths]))
        self.up = nn.ModuleList(Block(a + b, a) for a, b in pairwise(widths))
        self.out = nn.Conv2d(widths[0], 2 + 3 + patch**2, 1)

    @property
    def multiple(self) -> int:
        """Sides of a field must be multiples of it."""
        return int(self.patch * 2 ** (len(self.down) - 1))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read fields ``(N, 3, H, W)``, -1 to 1.

        Returns
        -------
        flows : (N, 2, H / patch, W / patch) tensor
            Down and right, `FLOW_SCALE` times the unit vector.
        kinds : (N, 3, H / patch, W / patch) tensor
            Logits of red cell, white cell and platelet.
        cells : (N, H, W) tensor
            Logit of being of a cell.
        """
        x = F.pixel_unshuffle(pixels, self.patch)
        skipped = []
        for level, block in enumerate(self.down):
            x = block(F.avg_pool2d(x, 2) if level else x)
            skipped.append(x)
        for level in reversed(range(len(self.up))):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = self.up[level](torch.cat([x, skipped[level]], dim=1))
        found = self.out(x)
        cells = F.pixel_shuffle(found[:, 5:], self.patch).squeeze(1)
        return found[:, :2], found[:, 2:5], cells


@dataclass(frozen=True)
class Segmenter:
    """A trained network and what was measured on fields that it did not see.

    Attributes
    ----------
    network : FlowNetwork
    threshold : float
        Logit from which on a pixel is of a cell.
    working_um : float
        Micrometres a pixel of what it is shown.
    measured : dict of float
        Figures on validation fields.
    """

    network: FlowNetwork
    threshold: float = 0.0
    working_um: float = WORKING_UM
    measured: dict[str, float] | None = None


def save_segmenter(folder: Path, segmenter: Segmenter) -> None:
    """Write the two files of a smear network into a bundle's folder, in half precision."""
    network = segmenter.network
    content: dict[str, Any] = {
        "network": {k: v for k, v in network.config.items() if not k.startswith("_")},
        "threshold": segmenter.threshold,
        "working_um": segmenter.working_um,
        "measured": segmenter.measured or {},
    }
    (folder / CONFIG).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    tensors = {k: v.detach().cpu().half().contiguous() for k, v in network.state_dict().items()}
    save_file(tensors, folder / WEIGHTS)


def load_segmenter(folder: Path) -> Segmenter:
    """Read the smear network of a bundle; BundleError where its files describe none."""
    content = read_json(folder / CONFIG)
    weights = {k: v.float() for k, v in read_tensors(folder / WEIGHTS).items()}
    try:
        network = FlowNetwork(**content["network"])
        threshold, working_um = float(content["threshold"]), float(content["working_um"])
        if not (-10 < threshold < 10 and 0.02 < working_um < 2):
            raise ValueError("its threshold or its pixel size is not of a usual size")
        measured = {str(k): float(v) for k, v in dict(content.get("measured", {})).items()}
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as e:
        raise BundleError(
            f"{CONFIG} of the bundle {folder} describes no smear network: {e}."
        ) from e
    check_weights(weights, network, folder)
    network.load_state_dict(weights)
    network = network.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return Segmenter(network, threshold, working_um, measured)
