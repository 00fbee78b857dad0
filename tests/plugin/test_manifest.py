from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from npe2 import PluginManifest
from scripts.preferences import written

import napari_cytodiffusion
from napari_cytodiffusion.shared.defaults import default, preferences

MANIFEST = Path(napari_cytodiffusion.__file__).with_name("napari.yaml")
COMMANDS = PluginManifest.from_file(MANIFEST).contributions.commands


def test_manifest_is_valid_and_linked_at_the_top():
    manifest = PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    top = Path(__file__).resolve().parents[2] / "napari.yaml"
    assert top.resolve() == MANIFEST.resolve()


def test_entry_point_has_the_name_of_the_distribution():
    (entry,) = [
        e for e in entry_points(group="napari.manifest") if e.name == "napari-cytodiffusion"
    ]
    assert entry.value == "napari_cytodiffusion:napari.yaml"
    assert PluginManifest.from_file(MANIFEST).name == entry.name


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.id)
def test_every_python_name_resolves(command):
    module, _, name = command.python_name.partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_every_command_is_used():
    contributions = PluginManifest.from_file(MANIFEST).contributions
    used = {w.command for w in [*contributions.widgets, *contributions.writers]}
    used |= {s.command for s in contributions.sample_data}
    used |= {item.command for items in contributions.menus.values() for item in items}
    assert used == {c.id for c in COMMANDS}


def test_preferences_are_those_of_the_settings():
    assert MANIFEST.read_text() == written(MANIFEST.read_text()), "run scripts/preferences.py"
    declared = PluginManifest.from_file(MANIFEST).contributions.configurations
    for key, page in preferences().items():
        for name, about in page["properties"].items():
            found = declared[key].properties[name]
            assert found.default == about["default"] == default(key, name)
            assert found.description == about["description"]


def test_defaults_work_without_and_with_saved_settings(npe2pm, plugin_settings):
    assert default("classification", "seed") == 0
    npe2pm.register(PluginManifest.from_file(MANIFEST))
    from napari.settings import get_plugin_settings

    get_plugin_settings("napari-cytodiffusion").classification.seed = 5
    assert default("classification", "seed") == 5
