"""Defaults the user set under Preferences, with the built-in ones where there are none."""

from __future__ import annotations

from typing import Any

#: Built-in defaults; the manifest declares the same for the Preferences page.
BUILT_IN: dict[str, dict[str, Any]] = {
    "segmentation": {"method": "auto"},
    "classification": {"model": "default", "device": "auto", "trials": 0, "seed": 0},
    "counterfactual": {"trials": 64, "threshold": 3.0, "seed": 0},
}


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
