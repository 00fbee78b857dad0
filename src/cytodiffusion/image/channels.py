"""Which channels of a file are its red, green and blue, and which is a transparency."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cytodiffusion.errors import InputError

_COLOURS = ("red", "green", "blue")

#: Red, green and blue as programs and people of several languages write them.
_NAMES = {
    "red": {"red", "r", "rot", "rouge", "rojo", "rosso", "vermelho"},
    "green": {"green", "g", "grün", "gruen", "vert", "verde"},
    "blue": {"blue", "b", "blau", "bleu", "azul", "blu"},
}

#: Words beside a colour that say nothing about it.
_FILLERS = re.compile(
    r"\b(channel|chan|ch|kanal|canal|c|rgb|colou?r|bright ?field|bf|trans(mitted)?|tl|light|"
    r"camera|cam|component|plane|band|\d+)\b"
)

#: Names that say no more than a number.
_NAMELESS = re.compile(
    r"(channel|chan|ch|kanal|canal|c|image|plane|slice|band|series)?[\s:#_\d/-]*"
)

_TRANSMITTED = re.compile(
    r"bright ?field|\bbf\b|transmi|\btl\b|\btd\b|durchlicht|\bdic\b|phase|gr[ae]y|h&e|giemsa|wright"
)

#: ExtraSamples of TIFF: 1 and 2 are transparencies, the first multiplied into the colours.
_ASSOCIATED, _UNASSOCIATED = 1, 2


@dataclass(frozen=True)
class Channels:
    """The channels of an image that are used.

    Attributes
    ----------
    colours : tuple of int
        One channel (grey) or three: red, green, blue.
    alpha : int or None
        The transparency.
    associated : bool
        Whether the colours have been multiplied with it.
    bits : int or None
        How many bits of the values are used, where the file says so.
    notes : tuple of str
        What the user should know, one sentence each.
    """

    colours: tuple[int, ...]
    alpha: int | None = None
    associated: bool = False
    bits: int | None = None
    notes: tuple[str, ...] = ()


def choose_channels(tif: Any, page: Any, planes: int, samples: int) -> Channels:
    """Return the channels of an open TIFF file with so many planes of so many samples."""
    bits = stated_bits(tif, page)
    if samples > 1:
        found = _of_samples(page, samples)
        note = f"The file has {planes} colour pictures; the first is used."
        notes = (note, *found.notes) if planes > 1 else found.notes
        return Channels(found.colours, found.alpha, found.associated, bits, notes)
    if planes == 1:
        return Channels((0,), bits=bits)
    found = _of_names(channel_names(tif, planes))
    return Channels(found.colours, bits=bits, notes=found.notes)


def _of_samples(page: Any, samples: int) -> Channels:
    """Channels that lie pixel by pixel: only what ExtraSamples calls a transparency is one."""
    stated = [int(value) for value in getattr(page, "extrasamples", ()) or ()]
    stated = stated[-samples:]
    coloured = int(page.photometric) in (2, 6) or samples - len(stated) >= 3
    colours = (0, 1, 2) if coloured and samples >= 3 else (0,)
    if not stated and samples == 2:
        raise InputError("The image has two channels without names, which are no colours.")
    first = samples - len(stated)
    masks = [
        (first + k, kind)
        for k, kind in enumerate(stated)
        if kind in (_ASSOCIATED, _UNASSOCIATED) and first + k not in colours
    ]
    if not coloured and samples >= 3:  # grey with unnamed others: colours, unless there are many
        if samples > 4:
            raise InputError(
                f"The image has {samples} channels; a stained smear has one (grey) or three (RGB)."
            )
        colours = (0, 1, 2)
        masks = [(k, kind) for k, kind in masks if k > 2]
    alpha, kind = masks[0] if masks else (None, 0)
    unused = samples - len(colours) - (alpha is not None)
    notes: tuple[str, ...] = ()
    if unused:
        which = "channel is" if unused == 1 else f"{unused} channels are"
        notes = (f"A further {which} not said to be a transparency and was ignored.",)
        if unused > 1:
            notes = (f"{unused} further channels, not said to be a transparency, were ignored.",)
    return Channels(colours, alpha, kind == _ASSOCIATED, notes=notes)


def _of_names(names: Sequence[str]) -> Channels:
    """Channels that are planes, by their names."""
    colours = [_colour(name) for name in names]
    listed = ", ".join(name or "?" for name in names)
    if all(colour in colours for colour in _COLOURS):
        chosen = tuple(colours.index(colour) for colour in _COLOURS)
        return Channels(chosen, notes=_left_out(names, chosen))
    if any(colours):
        raise InputError(
            f"The image has the channels {listed}: without red, green and blue all three there "
            "are no colours of a stain. Save it as RGB."
        )
    if all(_NAMELESS.fullmatch(name.lower().strip()) for name in names):
        return _of_numbers(len(names))
    through = [k for k, name in enumerate(names) if _TRANSMITTED.search(name.lower())]
    if through:
        return Channels((through[0],), notes=_left_out(names, (through[0],)))
    raise InputError(
        f"The image has the channels {listed}, which are not red, green and blue: fluorescence is "
        "no stained smear. Save it as RGB, or name its channels Red, Green and Blue."
    )


def _of_numbers(count: int) -> Channels:
    """Planes without names: three are the colours, a fourth says nothing."""
    if count == 3:
        return Channels((0, 1, 2))
    if count == 4:
        note = "The file does not name its four channels; the first three are taken as RGB."
        return Channels((0, 1, 2), notes=(note,))
    if count == 2:
        raise InputError(
            "The image has two channels without names, which are no colours. Save it as RGB."
        )
    raise InputError(
        f"The image has {count} channels; a stained smear has one (grey) or three (RGB)."
    )


def _left_out(names: Sequence[str], chosen: Sequence[int]) -> tuple[str, ...]:
    others = [name or f"number {k + 1}" for k, name in enumerate(names) if k not in chosen]
    if not others:
        return ()
    left = f"channel {others[0]} is" if len(others) == 1 else f"channels {', '.join(others)} are"
    return (f"The {left} left out: only the colours of the stain are used.",)


def _colour(name: str) -> str | None:
    words = re.sub(r"[^\w]+|_", " ", name.lower())
    plain = " ".join(_FILLERS.sub(" ", words).split()) or words.strip()
    return next((colour for colour, names in _NAMES.items() if plain in names), None)


def channel_names(tif: Any, count: int) -> list[str]:
    """Return what a file calls its channels, or the colours it shows them in; else empty names."""
    try:
        names, shown = _ome_names(tif) if tif.ome_metadata else _imagej_names(tif, count)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, ElementTree.ParseError):
        return [""] * count
    names = [*names, *[""] * count][:count]
    shown = [*shown, *[""] * count][:count]
    if all(_NAMELESS.fullmatch(name.lower().strip()) for name in names) and any(shown):
        return [colour or name for name, colour in zip(names, shown, strict=True)]
    return names


def _ome_names(tif: Any) -> tuple[list[str], list[str]]:
    pixels = ElementTree.fromstring(tif.ome_metadata).find(".//{*}Pixels")
    channels = [] if pixels is None else pixels.findall("{*}Channel")
    names = [channel.get("Name") or channel.get("Fluor") or "" for channel in channels]
    shown = []
    for channel in channels:
        value = int(channel.get("Color", -1)) & 0xFFFFFFFF  # red, green, blue, alpha
        shown.append(_pure(((value >> 24) & 255, (value >> 16) & 255, (value >> 8) & 255)))
    return names, shown


def _imagej_names(tif: Any, count: int) -> tuple[list[str], list[str]]:
    metadata = tif.imagej_metadata or {}
    labels = metadata.get("Labels") or []
    names = [str(label) for label in labels] if len(labels) == count else []
    tables = metadata.get("LUTs") or []
    shown = [_pure(np.asarray(table).reshape(3, -1)[:, -1]) for table in tables]
    return names, shown


def _pure(rgb: Sequence[int] | np.ndarray[Any, Any]) -> str:
    """Return the name of a pure red, green or blue; empty for other colours."""
    strong = [int(value) >= 200 for value in rgb]
    weak = [int(value) <= 40 for value in rgb]
    for k, colour in enumerate(_COLOURS):
        if strong[k] and all(weak[j] for j in range(3) if j != k):
            return colour
    return ""


def stated_bits(tif: Any, page: Any) -> int | None:
    """Return how many bits of its values a file says are used, where that is fewer than stored."""
    stored = page.bitspersample
    found: int | None = None
    try:
        if tif.ome_metadata:
            pixels = ElementTree.fromstring(tif.ome_metadata).find(".//{*}Pixels")
            found = int(pixels.get("SignificantBits", 0)) if pixels is not None else None
        for name in ("MaxSampleValue", "SMaxSampleValue"):
            tag = page.tags.get(name)
            if not found and tag is not None:
                found = int(np.max(tag.value)).bit_length()
    except (ValueError, TypeError, ElementTree.ParseError):
        return None
    if not found and 8 < stored < 16:
        found = int(stored)
    return found if found and 8 <= found < 16 and page.dtype.itemsize == 2 else None
