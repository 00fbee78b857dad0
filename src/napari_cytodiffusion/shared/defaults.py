"""What the settings classes say of their fields, and the defaults that the user set for them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.counterfactual.settings import HeatmapSettings
from cytodiffusion.settings import ModelSource, SegmentOptions

#: Devices that can be asked for, with what they are called.
DEVICES = {"auto": "Automatic", "cpu": "CPU", "cuda": "GPU (CUDA)", "mps": "GPU (Apple)"}

#: Largest threshold of a heatmap, and fewest and most passes for it, that the window offers.
MOST_SIGMAS, FEWEST_PASSES, MOST_PASSES = 10, 16, 4096


class _Source(BaseModel):
    model: ModelSource = "default"


_PASSES = {"minimum": FEWEST_PASSES, "maximum": MOST_PASSES}

#: Pages of the preferences: title, and by the name of each entry the class, its field, and what
#: the window says otherwise.
_PAGES: dict[str, tuple[str, dict[str, tuple[type[BaseModel], str, dict[str, Any]]]]] = {
    "segmentation": ("Segment cells", {"method": (SegmentOptions, "method", {})}),
    "classification": (
        "Classify cells",
        {
            "model": (_Source, "model", {}),
            "device": (SegmentOptions, "device", {"enum": list(DEVICES)}),
            "level": (ClassifySettings, "level", {}),
            "trials": (ClassifySettings, "trials", {}),
            "prior": (ClassifySettings, "prior", {"enum": ["auto", "even", "normal-blood"]}),
            "seed": (ClassifySettings, "seed", {}),
        },
    ),
    "counterfactual": (
        "Counterfactual heatmap",
        {
            "trials": (
                HeatmapSettings,
                "trials",
                {"minimum": FEWEST_PASSES, "maximum": MOST_PASSES},
            ),
            "threshold": (HeatmapSettings, "sigmas", {"maximum": MOST_SIGMAS}),
            "seed": (HeatmapSettings, "seed", {}),
        },
    ),
}

#: What the manifest says of an entry of the preferences.
_SAID = ("type", "enum", "default", "minimum", "maximum", "title", "description")


def preferences() -> dict[str, Any]:
    """Return the pages of the preferences as the manifest has them."""
    pages: dict[str, Any] = {}
    for key, (title, entries) in _PAGES.items():
        properties = {}
        for name, (kind, field, other) in entries.items():
            about = {**knobs(kind)[field], **other}
            if "exclusiveMaximum" in about:
                # the page's boxes hold no larger numbers
                about["maximum"] = min(about["exclusiveMaximum"] - 1, 2**31 - 1)
            properties[name] = {word: about[word] for word in _SAID if word in about}
        pages[key] = {"title": title, "properties": properties}
    return pages


@cache
def knobs(kind: type[BaseModel]) -> Mapping[str, Mapping[str, Any]]:
    """Return the JSON schema of each field, flat; ``optional`` are those that may be None."""
    schema = kind.model_json_schema()
    shared = schema.get("$defs", {})
    return {name: _flat(about, shared) for name, about in schema["properties"].items()}


def _flat(about: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Put what stands under ``anyOf`` and ``$ref`` beside the field's own words."""
    kinds = about.get("anyOf", [about])
    ways = [one for one in kinds if one.get("type") != "null"]
    one = ways[0]
    if "$ref" in one:
        one = shared[one["$ref"].rpartition("/")[2]]
    flat = {"type": "string", **one, **about, "optional": len(ways) < len(kinds)}
    return {key: value for key, value in flat.items() if key != "anyOf" and value is not None}


def default(page: str, name: str) -> Any:
    """Value of a setting, as saved by napari."""
    try:
        from napari.settings import get_plugin_settings

        return getattr(getattr(get_plugin_settings("napari-cytodiffusion"), page), name)
    except (KeyError, AttributeError, ImportError):
        # the plugin is used from a script, without its manifest being registered
        kind, field, _ = _PAGES[page][1][name]
        return kind.model_fields[field].default


def defaults(page: str, *names: str) -> dict[str, Any]:
    """Return the values of several settings of a page by name."""
    return {name: default(page, name) for name in names}
