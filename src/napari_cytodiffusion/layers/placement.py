"""Layers of this plugin: what is derived from which, where it lies, how it is coloured."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes
from napari.utils.colormaps import DirectLabelColormap
from napari.utils.transforms import Affine

from cytodiffusion.drawing.maps import kind_of_map
from cytodiffusion.errors import InputError
from cytodiffusion.image.labels import looks_like_labels

#: Key in ``layer.metadata`` under which this plugin notes what a layer is.
NOTE = "cytodiffusion"

#: Micrometres per pixel that cells were last classified at, in their note.
CLASSIFIED_AT = "classified_at_um"

#: Names of layers that were saved, with what napari adds to them.
_ADDED = r"(?: copy)*(?: ?\[\d+\])*(?: copy)*$"
_HEATMAP = re.compile(rf"(?:^|[ _])heatmap{_ADDED}", re.IGNORECASE)
_FRAME = re.compile(rf"inspected cell{_ADDED}", re.IGNORECASE)

#: Key in a note: whether a grey picture is a photograph or has labels in it.
_PICTURE = "picture"

_NOTHING, _WHITE, _BLACK = (0.0, 0.0, 0.0, 0.0), (1.0, 1.0, 1.0, 1.0), (0.0, 0.0, 0.0, 1.0)

_AMBER = (1.0, 0.62, 0.11, 1.0)

#: Colour of cells whose class a person gave.
HUMAN_COLOR = "#00e5ff"

_CYAN = (0.0, 0.9, 1.0, 1.0)

#: Outlines by their values in the map: white (anomalies), amber (for review) or cyan (a person gave
#: the class) inside black stands out from any stain and any colour map.
OUTLINE_COLORS = (
    *(_NOTHING, _WHITE, _BLACK, _AMBER, _CYAN),
    *(_NOTHING, _BLACK, _NOTHING, _BLACK),
)


def note_of(layer: Layer) -> dict[str, Any]:
    """Read what this plugin noted about a layer; empty for layers of others."""
    note = layer.metadata.get(NOTE, {})
    return note if isinstance(note, dict) else {}


def is_derived(layer: Layer) -> bool:
    """Whether a layer is one of our views, not cells or an image to work on.

    Also where its note was lost, as in a file of another program: then its name and content tell,
    and it is noted for as long as the layer lives, whatever it is called from then on.
    """
    if "role" not in note_of(layer) and (role := _lost_role(layer)) is not None:
        layer.metadata[NOTE] = {**note_of(layer), "role": role}
    return "role" in note_of(layer)


def _lost_role(layer: Layer) -> str | None:
    """Say which view a layer that comes from a file was, as far as that can be seen."""
    if layer.source.path is None or layer.ndim != 2 or note_of(layer):
        return None
    if isinstance(layer, Labels):
        return kind_of_map(full_size(layer), layer.name)
    named = _HEATMAP.search(layer.name) is not None
    if named and type(layer) is Image and not layer.rgb and layer.dtype.kind == "f":
        return "heatmap"  # photographs are whole numbers
    return "inspected" if isinstance(layer, Shapes) and _FRAME.match(layer.name) else None


def is_image(layer: Layer) -> bool:
    """Whether cells can be looked for in a layer: 2D RGB or grey, multiscale or not, not ours."""
    flat = type(layer) is Image and layer.ndim == 2
    return flat and not is_derived(layer) and not is_label_picture(layer)


def is_cells(layer: Layer) -> bool:
    """Whether a layer is a label image of cells rather than one of our views."""
    return isinstance(layer, Labels) and layer.ndim == 2 and not is_derived(layer)


def may_be_cells(layer: Layer) -> bool:
    """Whether cells can be made of a layer: a label layer, or labels that opened as a picture."""
    return is_cells(layer) or is_label_picture(layer)


def is_label_picture(layer: Layer) -> bool:
    """Whether there are labels in a picture, as which napari opens 8 or 16 bits and fractions."""
    if type(layer) is not Image or layer.ndim != 2 or layer.rgb or is_derived(layer):
        return False
    if _PICTURE not in note_of(layer):  # not looked at again whenever a layer comes or goes
        found = "labels" if looks_like_labels(full_size(layer)) else "photograph"
        layer.metadata[NOTE] = {**note_of(layer), _PICTURE: found}
    return bool(note_of(layer)[_PICTURE] == "labels")


def full_size(layer: Layer) -> Any:
    """Array of a layer at full size, not yet computed where it is lazy."""
    return layer.data[0] if getattr(layer, "multiscale", False) else layer.data


def placement(layer: Layer) -> dict[str, Any]:
    """Return the keyword arguments that put a new layer exactly onto ``layer``."""
    affine = layer.affine
    return {
        "scale": tuple(layer.scale),
        "translate": tuple(layer.translate),
        "rotate": layer.rotate,
        "shear": layer.shear,
        "affine": affine,
        "units": layer.units,
        "axis_labels": layer.axis_labels,
    }


def part_placement(
    layer: Layer, origin: Sequence[float], step: float = 1.0, stacked: bool = False
) -> dict[str, Any]:
    """Return the keyword arguments that put a new layer onto a part of ``layer``."""
    own = Affine(
        scale=layer.scale, translate=layer.translate, rotate=layer.rotate, shear=layer.shear
    )
    part = {
        **placement(layer),
        "scale": tuple(np.asarray(layer.scale) * step),
        "translate": tuple(own(origin)),
    }
    return _stacked(part) if stacked else part


def _stacked(part: dict[str, Any]) -> dict[str, Any]:
    """Return a placement in a plane as one of frames that all lie in that plane."""
    rotate = np.eye(3)
    rotate[1:, 1:] = part["rotate"]
    return {
        "scale": (1.0, *part["scale"]),
        "translate": (0.0, *part["translate"]),
        "rotate": rotate,
        "shear": [0.0, 0.0, *np.ravel(part["shear"])[:1]],
        "affine": part["affine"].expand_dims([0]),
        "units": ("pixel", *part["units"]),
        "axis_labels": ("frame", *part["axis_labels"]),
    }


def right_of(viewer: Any, apart: float) -> float:
    """Where in world coordinates something new does not cover what is in the viewer."""
    if not len(viewer.layers):
        return 0.0
    return float(viewer.layers.extent.world[1][-1]) + apart


def pixel_size_of(layer: Layer) -> float | None:
    """Micrometres per pixel, where a layer knows: from physical units, or noted by us.

    What cells were found at counts before what they were classified at.
    """
    found = [_micrometres(s, u) for s, u in zip(layer.scale, layer.units, strict=True)]
    sizes = [size for size in found if size is not None]
    if len(sizes) < len(found):
        noted = note_of(layer).get("pixel_size_um", note_of(layer).get(CLASSIFIED_AT))
        return float(noted) if noted is not None else None
    low, high = min(sizes), max(sizes)
    if high > 1.02 * low:
        raise InputError(
            f"The pixels of '{layer.name}' are not square ({low:.3g} by {high:.3g} um): "
            "resample the image or correct the layer's scale."
        )
    return float(np.mean(sizes))


def pixel_size(scale: Sequence[float], units: Sequence[Any]) -> float | None:
    """Micrometres per pixel of square pixels in physical units, else None."""
    sizes = [_micrometres(s, u) for s, u in zip(scale, units, strict=True)]
    known = [size for size in sizes if size is not None]
    if not known or len(known) < len(sizes) or max(known) > 1.02 * min(known):
        return None
    return float(np.mean(known))


def found_at(cells: Layer) -> float | None:
    """Micrometres per pixel that cells were found at; of others' labels, what their scale says."""
    noted = note_of(cells).get("pixel_size_um")
    if noted is not None:
        return float(noted)
    return pixel_size_of(cells) if is_physical(cells) else None


def is_physical(layer: Layer) -> bool:
    """Whether a layer has a scale in units of length."""
    return all(_micrometres(s, u) for s, u in zip(layer.scale, layer.units, strict=True))


def _micrometres(scale: float, unit: Any) -> float | None:
    try:
        return float((abs(scale) * unit).to("micrometer").magnitude)
    except Exception:  # a unit that is no length, such as napari's default "pixel"
        return None


def tell_cells(layer: Labels, describe: Callable[[int, int], str | None]) -> None:
    """Make the status bar name the cell under the pointer instead of the layer's value there."""
    usual = type(layer).get_status
    of_layer = weakref.ref(layer)

    def get_status(position: Any = None, *, world: bool = False, **kwargs: Any) -> dict[str, str]:
        shown = of_layer()
        if shown is None:
            return {}
        status = usual(shown, position, world=world, **kwargs)
        if position is None or not shown.visible:
            return status
        point = shown.world_to_data(position) if world else position
        text = describe(*(int(np.floor(p + 0.5)) for p in point[-2:]))
        for part in ("coordinates", "value"):  # the table of cells says nothing of what is none
            status[part] = status.get(part, "").split(";")[0]
        if text:
            where = status.get("coordinates", "").split(":")[0]
            status["coordinates"] = f"{where}: {text}" if where else text
            status["value"] = text
        return status

    layer.get_status = get_status


def colormap_of(colors: np.ndarray) -> DirectLabelColormap:
    """Make a label colormap of a table (n, 4) of RGBA: value i gets row i, any other nothing."""
    table: dict[int | None, Sequence[float]] = {None: (0.0, 0.0, 0.0, 0.0)}
    table.update({value: tuple(color) for value, color in enumerate(colors.tolist())})
    return DirectLabelColormap(color_dict=table)
