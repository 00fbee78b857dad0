"""Synthetic cells to order, marked as such; training sets topped up with them."""

from cytodiffusion.files.synthetic_mark import (
    is_synthetic,
    write_synthetic_png,
    write_synthetic_tiff,
)
from cytodiffusion.generation.cells import GeneratedCells
from cytodiffusion.generation.generate import Preview, generate, generate_parts
from cytodiffusion.generation.order import (
    Effort,
    GenerationSettings,
    LargeOrder,
    Mix,
    estimate_effort,
)
from cytodiffusion.generation.save import SavedCells, generate_into, save_generated
from cytodiffusion.generation.sheet import contact_sheet

__all__ = [
    "Effort",
    "GeneratedCells",
    "GenerationSettings",
    "LargeOrder",
    "Mix",
    "Preview",
    "SavedCells",
    "contact_sheet",
    "estimate_effort",
    "generate",
    "generate_into",
    "generate_parts",
    "is_synthetic",
    "save_generated",
    "write_synthetic_png",
    "write_synthetic_tiff",
]
