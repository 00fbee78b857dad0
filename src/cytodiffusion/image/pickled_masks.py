"""Masks inside a pickled ``_seg.npy``, as Cellpose's window saves them, without unpickling it.

A pickle is a program: whoever loads one runs what its author wrote. Here it is read with every name
it asks for replaced by an inert stand-in, so that nothing but lists, dictionaries, numbers, texts
and stand-ins comes of it; the pixels are then taken from the stand-in's raw bytes.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cytodiffusion.errors import InputError

#: Types that masks may have, as a pickled array names them.
_TYPES = frozenset(("b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8"))

#: More entries in a pickle's own memory than this are an attack on ours.
_MOST_ENTRIES = 10_000_000


class _StandIn:
    """Takes the place of anything that a pickle names; keeps what it is given, does nothing."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Forget it."""

    def append(self, value: Any) -> None:
        """Forget it."""

    def extend(self, values: Any) -> None:
        """Forget them."""


class _Array(_StandIn):
    """Takes the place of a numpy array or of its type."""


def _stand_in_bytes(text: Any = "", encoding: Any = "latin1", *_: Any) -> bytes:
    """Return bytes as old pickles spell them: text in Latin-1."""
    return text.encode("latin1") if isinstance(text, str) else b""


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in whatever is asked for: nothing is imported."""
        if (module, name) == ("_codecs", "encode"):
            return _stand_in_bytes
        numpy = module.split(".")[0] == "numpy"
        return _Array if numpy and name in ("_reconstruct", "dtype", "_frombuffer") else _StandIn

    def persistent_load(self, pid: Any) -> Any:
        """Return a stand-in."""
        return _StandIn()


def pickled_masks(path: Path) -> NDArray[Any]:
    """Return the array ``masks`` of a ``_seg.npy``."""
    with path.open("rb") as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        read(file)
        content = file.read()
    for opcode, argument, _ in pickletools.genops(content):
        if "PUT" in opcode.name and int(argument or 0) > _MOST_ENTRIES:
            raise ValueError("memory of a pickle out of bounds")
    whole = _Reader(io.BytesIO(content)).load()
    found = _dictionary(whole)
    masks = None if found is None else found.get("masks")
    if not isinstance(masks, _StandIn):
        raise InputError(
            f"{path.name} holds Python objects, which are not run here, and no masks of Cellpose "
            'that can be read without; save them in Cellpose as PNG or TIFF ("Save masks").'
        )
    return _pixels(masks)


def _dictionary(whole: Any) -> dict[Any, Any] | None:
    """Return the dictionary in an array of one object, as `numpy.save` wraps it."""
    if isinstance(whole, _StandIn) and isinstance(whole.state, tuple) and whole.state:
        inside = whole.state[-1]
        whole = inside[0] if isinstance(inside, list) and inside else inside
    return whole if isinstance(whole, dict) else None


def _pixels(array: _StandIn) -> NDArray[Any]:
    """Return the numbers of a stand-in for an array, from its bytes."""
    if array.state is None:  # protocol 5: (bytes, type, shape, order)
        raw, kind, shape, order = array.arguments
    else:
        _, shape, kind, columns_first, raw = array.state
        order = "F" if columns_first else "C"
    name = kind.arguments[0]
    if name not in _TYPES:
        raise ValueError("not a plain type")
    swapped = ">" if isinstance(kind.state, tuple) and kind.state[1] == ">" else "<"
    dtype = np.dtype(name).newbyteorder(swapped)
    size = [int(n) for n in shape]
    if min(size, default=0) < 1 or math.prod(size) * dtype.itemsize != len(raw):
        raise ValueError("not as many bytes as pixels")
    return np.frombuffer(bytes(raw), dtype).reshape(size, order="F" if order == "F" else "C")
