"""What docs and messages name is there: modules, functions, files, commands, options, settings."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
DOTTED = re.compile(r"`(cytodiffusion(?:\.\w+)+)")
FILE = re.compile(r"`(\w+(?:/\w+)+\.py)`")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def resolve(name: str) -> Any:
    """The module, or the thing in it, that a dotted name means."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_of_the_code_are_right(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in DOTTED.findall(text):
        resolve(name)
    for block in BLOCK.findall(text):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("cytodiffusion"):
                for alias in node.names:
                    resolve(f"{node.module}.{alias.name}")
            elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "cd":
                resolve(f"cytodiffusion.{node.attr}")
    roots = (ROOT, ROOT / "src" / "cytodiffusion")
    for file in FILE.findall(text):
        assert any((root / file).is_file() for root in roots), f"{page.name} names {file}"


def test_commands_of_the_docs_exist() -> None:
    from cytodiffusion.cli.app import app

    known = {c.name or getattr(c.callback, "__name__", "") for c in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        used = re.findall(r"^(?: {4})?cytodiffusion ([a-z]+)", text, re.MULTILINE)
        assert set(used) <= known, f"{page.name} uses {set(used) - known}"


def options_of_commands() -> dict[str, set[str]]:
    """Options of each command, and of the subcommands with it."""
    import typer.main

    from cytodiffusion.cli.app import app

    def options(command: Any) -> set[str]:
        own = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        return own.union(*(options(c) for c in getattr(command, "commands", {}).values()))

    program: Any = typer.main.get_command(app)
    return {name: options(command) for name, command in program.commands.items()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_of_the_docs_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    known = options_of_commands()
    for line in re.findall(r"^(?: {4})?cytodiffusion (.+)$", text, re.MULTILINE):
        command, *words = line.split("#")[0].split()
        used = {word for word in words if re.match(r"--?[a-z]", word)}
        assert used <= known[command], f"{command} has no {used - known[command]}"
    anywhere = set().union(*known.values()) | {"--help", "--version"}
    scripts = [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "scripts").rglob("*.py")]
    elsewhere = "\n".join(path.read_text(encoding="utf-8") for path in scripts)
    for option in re.findall(r"`(--[a-z][a-z-]+)", text):
        assert option in anywhere or f'"{option}"' in elsewhere, f"{page.name} names {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_of_the_docs_exist(page: Path) -> None:
    from cytodiffusion.evaluation.settings import EvaluateSettings
    from cytodiffusion.training.settings import TrainSettings

    known = {*TrainSettings.model_fields, *EvaluateSettings.model_fields}
    used = set(re.findall(r"--set (\w+)=", page.read_text(encoding="utf-8"))) - {"NAME"}
    assert used <= known, f"{page.name} names {used - known}"


def test_options_in_messages_exist() -> None:
    known = {"--help", "--version"}.union(*options_of_commands().values())
    wrong = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named = set(re.findall(r"(?<![\w/-])--[a-z][a-z-]+\b(?!-)", node.value))
                wrong += [(path.name, node.lineno, option) for option in named - known]
    assert not wrong
