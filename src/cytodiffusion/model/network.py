"""Networks that are saved as diffusers saves its own, without importing diffusers.

The files are the same, so that models made with diffusers' base classes load. Importing those
takes several times as long as importing torch.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Self, TypeVar

from safetensors.torch import load_file, save_file
from torch import nn

_Init = TypeVar("_Init", bound=Callable[..., None])

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"


class NetworkConfig(dict[str, Any]):
    """Settings of a network, also read as attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"The network has no setting {name!r}.") from None


def register_to_config(init: _Init) -> _Init:
    """Keep the arguments of a network's ``__init__``, defaults included, in its ``config``."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def keeping(self: SavedNetwork, *args: Any, **settings: Any) -> None:
        settings = {k: v for k, v in settings.items() if not k.startswith("_")}
        given = signature.bind(self, *args, **settings)
        given.apply_defaults()
        init(self, *args, **settings)
        self.config = NetworkConfig(list(given.arguments.items())[1:])

    return keeping  # type: ignore[return-value]


class SavedNetwork(nn.Module):
    """A network that is built from its settings, and saved with them."""

    config: NetworkConfig

    def register_to_config(self, **settings: Any) -> None:
        """Change settings that are kept."""
        self.config = NetworkConfig({**self.config, **settings})

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build a network, its weights random; settings that it does not have are left out."""
        known = inspect.signature(cls.__init__).parameters
        return cls(**{name: value for name, value in config.items() if name in known})

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Build the network of a folder."""
        network = cls.from_config(json.loads((Path(folder) / CONFIG).read_text(encoding="utf-8")))
        network.load_state_dict(load_file(Path(folder) / WEIGHTS))
        return network.eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write settings and weights into a folder."""
        described = {
            **self.config,
            "_class_name": type(self).__name__,
            "_diffusers_version": metadata.version("diffusers"),
        }
        text = json.dumps(described, indent=2, sort_keys=True) + "\n"
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / CONFIG).write_text(text, encoding="utf-8")
        weights = {name: value.contiguous() for name, value in self.state_dict().items()}
        save_file(weights, Path(folder) / WEIGHTS, metadata={"format": "pt"})
