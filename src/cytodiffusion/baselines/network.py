"""The networks of the baselines, from timm (Wightman 2019), trained from scratch or not."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cytodiffusion.errors import DownloadNeeded, InputError

#: timm's names of the baselines; both are small enough for a CPU.
KINDS = {"resnet18": "resnet18", "vit": "vit_tiny_patch16_224"}
#: How a ResNet-18 normalises: by the batches it was trained on, or each image by itself.
Norm = Literal["batch", "group"]
#: Groups of channels of group norm (Wu & He 2018).
GROUPS = 32
#: Side of a ViT's patch in pixels: half of the original's 16, for inputs half as wide.
PATCH = 8


class BaselineNetwork(nn.Module):
    """A timm classifier that takes what the diffusion model's codec takes: pixels 0 to 1.

    Parameters
    ----------
    body : Module
        Takes standardised pixels ``(N, 3, S, S)``, gives logits ``(N, K)``.
    mean, std : (float, float, float)
        What the body's pixels are standardised by; those it was pre-trained with, if it was.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        body: nn.Module,
        mean: tuple[float, ...] = (0.5, 0.5, 0.5),
        std: tuple[float, ...] = (0.5, 0.5, 0.5),
    ):
        super().__init__()
        self.body = body
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, 3, 1, 1))

    def forward(self, unit: Tensor) -> Tensor:
        """Logits ``(N, K)`` of crops ``unit (N, 3, S, S)``, 0 to 1."""
        x = ((unit - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.body(x)
        return logits


def build_network(
    kind: str,
    num_classes: int,
    input_size: int,
    *,
    norm: Norm = "batch",
    pretrained: bool = False,
    allow_download: bool = False,
) -> BaselineNetwork:
    """Build a baseline's network.

    Parameters
    ----------
    kind
        ``resnet18`` or ``vit``.
    num_classes
    input_size
        Side of the input in pixels.
    norm
        Of a ResNet-18: ``group`` in place of batch norm, whose statistics are those of the
        training images also where other images are classified. A ViT has neither.
    pretrained
        Start from ImageNet weights, which there are with batch norm only.
    allow_download
        Fetch those weights where they are not on this computer.

    Raises
    ------
    InputError
        If there is no such network.
    DownloadNeeded
        If weights are missing and must not be fetched.
    """
    if kind not in KINDS:
        raise InputError(f"There is no baseline {kind!r}; choose one of {', '.join(KINDS)}.")
    import timm  # takes a second to import, and only baselines need it

    options: dict[str, Any] = {"num_classes": num_classes}
    if kind == "vit":
        if input_size % PATCH:
            raise InputError(f"The ViT takes inputs of a multiple of {PATCH} px, not {input_size}.")
        options |= {"img_size": input_size, "patch_size": PATCH}
    elif norm == "group":
        if pretrained:
            raise InputError("The ImageNet weights of the ResNet-18 are for batch norm.")
        from timm.layers.norm import GroupNorm

        options["norm_layer"] = partial(GroupNorm, num_groups=GROUPS)
    name = KINDS[kind]
    if not pretrained:
        return BaselineNetwork(timm.create_model(name, pretrained=False, **options))
    config: Any = timm.get_pretrained_cfg(name)
    weights = _find_weights(name, config.hf_hub_id, allow_download)
    body = timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay={"file": str(weights)}, **options
    )
    return BaselineNetwork(body, config.mean, config.std)


def _find_weights(name: str, repository: str, allow_download: bool) -> Path:
    """Find timm's safetensors file in the Hub's cache, or fetch it."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(
            hf_hub_download(repository, "model.safetensors", local_files_only=not allow_download)
        )
    except LocalEntryNotFoundError as error:
        if not allow_download:
            raise DownloadNeeded(
                f"The pre-trained weights of {name} are not on this machine; allow the download "
                f"of {repository} from the Hugging Face Hub, or train with pretrained=false."
            ) from error
        raise InputError(
            f"The Hugging Face Hub could not be reached for the weights of {name}; "
            "train with pretrained=false."
        ) from error
    except Exception as error:  # the Hub client raises its own and its HTTP library's kinds
        raise InputError(
            f"The pre-trained weights of {name} could not be fetched: {error}."
        ) from error
