"""Which device to compute on, and in which precision."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from cytodiffusion.errors import InputError, OutOfMemoryError


def pick_device(name: str = "auto") -> torch.device:
    """Turn a name into a device."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(
            f"There is no device called {name!r}; use auto, cpu, cuda or mps."
        ) from error
    if device.type == "cuda" and not (
        torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    ):
        raise InputError(
            f"This machine has no GPU {name!r} that PyTorch can use; use --device cpu."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("PyTorch finds no Apple GPU here; use --device cpu.")
    if device.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"Device {name!r} is not supported; use auto, cpu, cuda or mps.")
    return device


def half_precision_pays(device: torch.device) -> bool:
    """Tell whether bfloat16 is faster than float32.

    So it is on most GPUs, and on CPUs with AMX tiles or AVX-512 BF16 (a training step took 1.3 s in
    place of 3.1 s on one core of an EPYC with the latter).
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type == "cpu":
        return _cpu_has("amx_bf16", "amx_tile") or _cpu_has("avx512_bf16", "avx512_f")
    return False


def _cpu_has(*flags: str) -> bool:
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    if capabilities is not None:
        known = capabilities()
        return all(bool(known.get(flag, False)) for flag in flags)
    check = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(check()) if check is not None else False


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
    unit : str
        What is counted, in the words of the error.
    """

    def __init__(self, size: int, device: torch.device, unit: str = "cell"):
        self.size, self.device, self.unit = size, device, unit

    def run(self, n: int, work: Callable[[slice], T]) -> Iterator[tuple[slice, T]]:
        """Yield each part of ``range(n)`` with what ``work`` makes of it."""
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


def ask_for_triton() -> bool:
    """Whether PyTorch finds the compiler Triton; it asks once in the life of a process."""
    from torch.utils import _triton

    return bool(getattr(_triton, "has_triton_package", bool)())
