"""The command line: ``cytodiffusion COMMAND ...``.

Commands only read arguments and print; the work is done by the engine. Nothing heavy is imported
before a command needs it, so that ``--help`` answers at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from cytodiffusion.cli.app import app

__all__ = ["app", "main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage, 130 cancelled."""
    app(args=None if arguments is None else list(arguments), prog_name="cytodiffusion")
