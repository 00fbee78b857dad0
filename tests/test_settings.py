"""Settings classes are the one place of a knob: words, bounds and defaults."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from pydantic import BaseModel

import cytodiffusion
from cytodiffusion.cli import app
from cytodiffusion.cli.options import as_text, read_settings
from cytodiffusion.errors import InputError
from cytodiffusion.evaluation.settings import EvaluateSettings, LowDataSettings
from cytodiffusion.settings import SegmentOptions, make_settings
from cytodiffusion.training.settings import TrainSettings

HEAVY = ("torch", "numpy", "pandas", "cv2", "scipy")
#: Settings in packages whose own content needs numpy anyway.
ROOT = Path(cytodiffusion.__file__).parent


def every_class() -> list[type[BaseModel]]:
    import cytodiffusion.authenticity.settings
    import cytodiffusion.classification.settings
    import cytodiffusion.counterfactual.settings
    import cytodiffusion.generation.settings
    import cytodiffusion.segmentation.settings
    import cytodiffusion.smear.settings
    import cytodiffusion.training.settings  # noqa: F401

    found, todo = [], list(BaseModel.__subclasses__())
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        if kind.__module__.startswith("cytodiffusion.") and "settings" in kind.__module__:
            found.append(kind)
    return sorted(set(found), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", every_class(), ids=lambda kind: kind.__name__)
def test_every_setting_says_what_it_is(kind: type[BaseModel]) -> None:
    assert kind.model_config.get("frozen")
    for name, field in kind.model_fields.items():
        assert field.title, name
        assert len(field.title) <= 32, name
        text = field.description or ""
        assert re.match(r"[A-Z0-9\"a-z].*\.$", text, re.S), (name, text)
        assert isinstance(field.json_schema_extra, dict), name
        assert {"unit", "more"} <= set(field.json_schema_extra), name
    titles = [field.title for field in kind.model_fields.values()]
    assert len(set(titles)) == len(titles)


def test_there_are_settings_of_every_subject() -> None:
    names = {kind.__name__ for kind in every_class()}
    assert names >= {
        "AugmentSettings", "AuthenticitySettings", "CellposeSettings", "ClassifySettings",
        "CounterfactualSettings", "EvaluateSettings", "GenerationSettings", "HeatmapSettings",
        "LowDataSettings", "Mix", "PublishedSettings", "SegmentOptions", "SmearSettings",
        "TrainSettings", "WatershedSettings",
    }  # fmt: skip


@pytest.mark.parametrize(
    "module",
    [
        "cytodiffusion.authenticity.settings",
        "cytodiffusion.classification.settings",
        "cytodiffusion.counterfactual.settings",
        "cytodiffusion.evaluation.settings",
        "cytodiffusion.generation.settings",
        "cytodiffusion.smear.settings",
        "cytodiffusion.training.settings",
    ],
)
def test_settings_import_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        (SegmentOptions, {"pixel_size_um": -1}, "The setting pixel size cannot be -1"),
        (SegmentOptions, {"methode": "auto"}, "Did you mean method?"),
        (SegmentOptions, {"xyz": 1}, "There is no setting 'xyz'."),
        (LowDataSettings, {"counts": (10, "many")}, "'many': it must be a whole number"),
        (EvaluateSettings, {"data": "x"}, "The setting output"),
        (TrainSettings, {"data": "x", "output": "y", "steps": 1.5}, "it must be a whole number"),
        (
            TrainSettings,
            {"data": "x", "output": "y", "augment": {"huge": 1}},
            r"'augment.huge'. Did you mean augment.hue\?",
        ),
        (
            TrainSettings,
            {"data": "x", "output": "y", "colors": {"blast": "blue"}},
            "The setting colors.blast cannot be 'blue': it must be a colour such as #0072b2.",
        ),
        (
            TrainSettings,
            {"data": "x", "output": "y", "learning_rate": float("inf")},
            "it must be a finite number",
        ),
        (
            TrainSettings,
            {"data": "x", "output": "y", "augment": 3},
            "The setting augment has parts: set those, such as augment.scale.",
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    kind: type[BaseModel], values: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        make_settings(kind, values)


def test_written_settings_are_read_back() -> None:
    """What --list-settings shows can be given with --set."""
    from cytodiffusion.training.settings import AugmentSettings

    usual = TrainSettings(data="d", output="o", kind="resnet18", taxonomy="pbc")
    sets = [
        f"{name}={as_text(value)}"
        for name, value in usual
        if value not in ({}, "", ()) and not isinstance(value, AugmentSettings)
    ]
    assert read_settings(TrainSettings, {}, sets=sets) == usual


def test_options_that_messages_name_exist() -> None:
    """An option that the engine advises is one of some command."""
    known = {"--help", "--version"}
    commands = [typer.main.get_command(app)]
    while commands:
        command = commands.pop()
        commands += getattr(command, "commands", {}).values()
        for parameter in command.params:
            known |= {*parameter.opts, *parameter.secondary_opts}
    for path in ROOT.rglob("*.py"):
        if path.parent.name == "cli":
            continue
        for text in re.findall(r'"[^"\n]*"', path.read_text(encoding="utf-8")):
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text):
                assert option in known, f"{path.name} names {option}"


def test_settings_that_messages_name_exist() -> None:
    known = set(TrainSettings.model_fields) | set(EvaluateSettings.model_fields)
    named = [
        name
        for path in ROOT.rglob("*.py")
        if path.parent.name != "cli"
        for name in re.findall(r"--set ([a-z_]+)", path.read_text(encoding="utf-8"))
    ]
    assert named
    assert set(named) <= known


def test_what_lies_over_a_wrong_setting_does_not_hide_it(tmp_path: Path) -> None:
    """Options that go into settings within settings must not swallow a number in their place."""
    given = {"model": "m", "data": "x", "output": "y", "classify": {}}
    with pytest.raises(InputError, match=r"such as classify\.trials"):
        read_settings(EvaluateSettings, given, sets=["classify=3"])
    (file := tmp_path / "s.json").write_text('{"classify": 3}')
    with pytest.raises(InputError, match=r"such as classify\.trials"):
        read_settings(EvaluateSettings, given, file=file)
