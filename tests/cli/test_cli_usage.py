"""Wrong usage is told in plain words, whatever library reads the options."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from enum import Enum
from typing import Any, get_args, get_type_hints

import pytest
import typer
from typer.models import OptionInfo

from cytodiffusion.cli import main
from cytodiffusion.cli.app import app

#: How libraries speak, and nobody else.
LIBRARY = re.compile(
    r"Value error|Assertion|Input should|(String|List|Tuple) should|pydantic|validation error"
    r"|parse string|Traceback|NoneType|<class|type="
)
Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    def run(*arguments: object) -> tuple[int, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exited:
            main([str(a) for a in arguments])
        said = capfd.readouterr()
        text = re.sub(r"[\u2500-\u257f]", "", said.out + said.err)
        return int(exited.value.code or 0), " ".join(text.split())

    return run


def options() -> list[tuple[list[str], str]]:
    """Command and option of every option that takes a number or one of several words."""
    found: list[tuple[list[str], str]] = []

    def walk(program: typer.Typer, path: list[str]) -> None:
        for group in program.registered_groups:
            assert group.typer_instance is not None
            walk(group.typer_instance, [*path, str(group.name)])
        for command in program.registered_commands:
            assert command.callback is not None
            for name, parameter in inspect.signature(command.callback).parameters.items():
                kind = parameter.annotation
                if isinstance(kind, str):
                    kind = get_type_hints(command.callback, include_extras=True)[name]
                inner, *more = get_args(kind) or (kind,)
                known = [m for m in more if isinstance(m, OptionInfo)]
                if known and (plain(inner) in (int, float) or is_choice(plain(inner))):
                    first = known[0].default  # where typer keeps the first of the names
                    names = [first, *(known[0].param_decls or ())]
                    called = command.name or command.callback.__name__
                    found.append(([*path, called], max(names, key=len).split("/")[0]))

    walk(app, [])
    return found


def plain(kind: Any) -> Any:
    inside = [k for k in get_args(kind) if k is not type(None)]
    return inside[0] if inside else kind


def is_choice(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def test_options_of_every_kind_are_found() -> None:
    named = {(path[0], option) for path, option in options()}
    assert len(named) > 30
    assert named >= {("run", "--trials"), ("run", "--method"), ("evaluate", "--split")}


@pytest.mark.parametrize("value", ["abc", "", "1,2", "--", "nan x"])
def test_text_where_a_number_or_a_choice_should_be(call: Call, value: str) -> None:
    for path, option in options():
        output = (
            ()
            if path in (["study", "add"], ["study", "versions"], ["lesson", "run"])
            else ("-o", "y")
        )
        code, said = call(*path, f"{option}={value}", "x", *output)
        assert code == 2, (path, option, said)
        assert not LIBRARY.search(said), (path, option, said)
        assert "Invalid value for" in said, (path, said)
        assert option in said


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_name_is_refused_by_every_command(call: Call, empty: str) -> None:
    commands = {tuple(path) for path, _ in options()} | {("study", "new"), ("models", "verify")}
    for path in commands:
        for arguments, named in (
            ((empty,), "an argument"),
            (("x", "-o", empty), "'-o'"),
            (("x", f"--out={empty}"), "'--out'"),
        ):
            code, said = call(*path, *arguments)
            assert code == 2, (path, said)
            assert f"Invalid value for {named}: it is empty" in said, (path, said)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "x", "-o", "y", "--trials", "abc"), "it must be a whole number, not 'abc'"),
        (("run", "x", "-o", "y", "--trials", "1.5"), "it must be a whole number, not '1.5'"),
        (("run", "x", "-o", "y", "--coverage", "much"), "it must be a number, not 'much'"),
        (("run", "x", "-o", "y", "--method", "best"), "'best' is not one of 'auto', "),
        (("train", "x", "-o", "y", "--kind", "vgg"), "'vgg' is not one of"),
        (("authenticity", "new", "-o", "y", "--seed", "q"), "it must be a whole number"),
        (("run", "x"), "Missing option"),
        (("run", "x", "-o", "y", "--cells", "3"), "No such option"),
        (("rum",), "No such command"),
    ],
)
def test_usage_errors(call: Call, arguments: tuple[str, ...], words: str) -> None:
    code, said = call(*arguments)
    assert code == 2
    assert words in said
    assert not LIBRARY.search(said)


@pytest.mark.parametrize(
    "setting",
    [
        *("name=", "kind=zz", "widths=", "widths=0", "widths=a", "blocks=1", "steps=1e3"),
        *("steps=99999999999999999999", "augment.hue=inf", "augment.hue=-1", "augment=3"),
        *("colors.blast=blue", "colors=blue", "split=1,2", "split=1,2,3", "taxonomy=/no/such"),
        *("seed=-1", "learning_rate=nan", "balance=x", "resume=perhaps", "=", "steps"),
        *("mixed_precision=q", "window_um=0", "device=", "groups.x=", "pixel_size_um=0"),
    ],
)
def test_settings_that_cannot_be(call: Call, setting: str, tmp_path: object) -> None:
    code, said = call("train", "x", "-o", f"{tmp_path}/m", "--dry-run", "--set", setting)
    if code:  # what is checked against the data later is fine so far
        assert code == 1
        assert said.startswith("Error: ")
        assert not LIBRARY.search(said), said
