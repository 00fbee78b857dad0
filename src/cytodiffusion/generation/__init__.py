"""Synthetic cells to order, marked as such; training sets topped up with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cytodiffusion.generation.cells import GeneratedCells as GeneratedCells
    from cytodiffusion.generation.generate import Preview as Preview
    from cytodiffusion.generation.generate import generate_parts as generate_parts
    from cytodiffusion.generation.order import Effort as Effort
    from cytodiffusion.generation.order import LargeOrder as LargeOrder
    from cytodiffusion.generation.order import estimate_effort as estimate_effort
    from cytodiffusion.generation.save import SavedCells as SavedCells
    from cytodiffusion.generation.save import generate_into as generate_into
    from cytodiffusion.generation.save import save_generated as save_generated
    from cytodiffusion.generation.settings import GenerationSettings as GenerationSettings
    from cytodiffusion.generation.settings import Mix as Mix
    from cytodiffusion.generation.sheet import contact_sheet as contact_sheet

# Each is imported on its first use: the settings in this package need no network.
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cells": ["GeneratedCells"],
        "generate": ["Preview", "generate_parts"],
        "order": ["Effort", "LargeOrder", "estimate_effort"],
        "save": ["SavedCells", "generate_into", "save_generated"],
        "settings": ["GenerationSettings", "Mix"],
        "sheet": ["contact_sheet"],
    },
)
