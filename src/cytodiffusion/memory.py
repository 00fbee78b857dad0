"""What to do when the memory of a device is full."""

from __future__ import annotations

import gc

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` says that the memory of a device or of the computer is full."""
    # Apple's device and the allocator of the CPU raise a plain RuntimeError
    kinds = (torch.cuda.OutOfMemoryError, MemoryError)
    said = str(error).lower()
    signs = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, kinds) or any(sign in said for sign in signs)


def free_memory() -> None:
    """Give back what a failed attempt still holds on the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
