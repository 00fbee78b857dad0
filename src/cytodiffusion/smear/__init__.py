"""A blood smear made on the spot, with every cell and its class known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cytodiffusion.smear.generated import Sampling as Sampling
    from cytodiffusion.smear.settings import SmearSettings as SmearSettings
    from cytodiffusion.smear.synthetic import ARTEFACT as ARTEFACT
    from cytodiffusion.smear.synthetic import DIFFERENTIAL as DIFFERENTIAL
    from cytodiffusion.smear.synthetic import PLATELET as PLATELET
    from cytodiffusion.smear.synthetic import RED_CELL as RED_CELL
    from cytodiffusion.smear.synthetic import Smear as Smear
    from cytodiffusion.smear.synthetic import synthetic_smear as synthetic_smear

# Each is imported on its first use: the settings in this package need no network.
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "generated": ["Sampling"],
        "settings": ["SmearSettings"],
        "synthetic": [
            "ARTEFACT",
            "DIFFERENTIAL",
            "PLATELET",
            "RED_CELL",
            "Smear",
            "synthetic_smear",
        ],
    },
)
