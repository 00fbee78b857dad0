"""What to do when the memory of a device is full."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from cytodiffusion.errors import OutOfMemoryError

T = TypeVar("T")


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


class Batches:
    """Work done in batches that are halved, for good, where the memory is full.

    Parameters
    ----------
    size : int
        How many at once, to begin with.
    device : torch.device
    unit : str
        What is counted, in the words of the error.
    """

    def __init__(self, size: int, device: torch.device, unit: str = "cell"):
        self.size, self.device, self.unit = size, device, unit

    def run(self, n: int, work: Callable[[slice], T]) -> Iterator[tuple[slice, T]]:
        """Yield each part of ``range(n)`` with what ``work`` makes of it.

        Raises
        ------
        OutOfMemoryError
            If the memory does not suffice for one at a time.
        """
        start = 0
        while start < n:
            part = slice(start, min(start + self.size, n))
            try:
                found = work(part)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if part.stop - part.start == 1:
                    raise OutOfMemoryError(
                        f"{self.device} has no memory left even for one {self.unit} at a time; "
                        "close other programs or use the CPU (--device cpu)."
                    ) from error
                self.size = (part.stop - part.start) // 2
            else:
                yield part, found
                start = part.stop
                continue
            free_memory()  # outside of the handler, which holds the failed attempt's tensors
