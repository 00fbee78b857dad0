"""Which device to compute on, and in which precision."""

from __future__ import annotations

import torch

from cytodiffusion.errors import InputError


def pick_device(name: str = "auto") -> torch.device:
    """Turn a name into a device.

    Parameters
    ----------
    name : str
        ``auto`` (CUDA, then Apple's MPS, then the CPU), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises
    ------
    InputError
        If the name is unknown or there is no such device here.
    """
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
