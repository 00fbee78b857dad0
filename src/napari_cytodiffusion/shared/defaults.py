"""What the settings classes say of their fields, and the defaults that the user set for them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

#: Built-in defaults; the manifest declares the same for the Preferences page.
BUILT_IN: dict[str, dict[str, Any]] = {
    "segmentation": {"method": "auto"},
    "classification": {"model": "default", "device": "auto", "trials": 0, "seed": 0},
    "counterfactual": {"trials": 64, "threshold": 3.0, "seed": 0},
}


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
    outer = {key: value for key, value in about.items() if key != "anyOf" and value is not None}
    return {"type": "string", **one, **outer, "optional": len(ways) < len(kinds)}


def default(page: str, name: str) -> Any:
    """Value of a setting, as saved by napari.

    Parameters
    ----------
    page, name : str
        Keys of the configuration in the manifest.
    """
    try:
        from napari.settings import get_plugin_settings

        return getattr(getattr(get_plugin_settings("napari-cytodiffusion"), page), name)
    except (KeyError, AttributeError, ImportError):
        # the plugin is used from a script, without its manifest being registered
        return BUILT_IN[page][name]


def defaults(page: str, *names: str) -> dict[str, Any]:
    """Return the values of several settings of a page by name."""
    return {name: default(page, name) for name in names}
