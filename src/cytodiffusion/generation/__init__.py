"""Synthetic cells to order, marked as such; training sets topped up with them."""

from .cells import GeneratedCells
from .generate import Preview, generate, generate_parts
from .order import Effort, LargeOrder, estimate_effort
from .provenance import is_synthetic, write_synthetic_png, write_synthetic_tiff
from .save import Saved, generate_into, save_generated
from .settings import GenerationSettings, Mix
from .sheet import contact_sheet

__all__ = [
    "Effort",
    "GeneratedCells",
    "GenerationSettings",
    "LargeOrder",
    "Mix",
    "Preview",
    "Saved",
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
