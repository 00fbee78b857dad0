"""What a command prints, and how its errors become exit codes."""

from __future__ import annotations

import contextlib
import errno
import logging
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from cytodiffusion.errors import Cancelled, CytoDiffusionError, DownloadNeeded
from cytodiffusion.files.atomic import describe_os_error
from cytodiffusion.progress import Progress as ProgressCallback
from cytodiffusion.progress import silent

FAILED, CANCELLED = 1, 130

#: Least seconds between two lines of progress where there is no terminal to draw a bar on.
LINE_EVERY = 20.0


class Reporter:
    """Prints results to standard output and everything else to standard error.

    Parameters
    ----------
    command
        Name of the command, part of the JSON result.
    as_json
        Print one JSON object instead of text.
    quiet
        Print no progress, messages and warnings; errors always are.
    """

    def __init__(self, command: str, *, as_json: bool = False, quiet: bool = False) -> None:
        self.command = command
        self.as_json = as_json
        self.quiet = quiet
        self.exit_code = 0
        self._out = sys.stdout
        self._err = Console(stderr=True, emoji=False, highlight=False, soft_wrap=True)

    def say(self, message: str) -> None:
        """Print a message for people."""
        if not self.quiet:
            self._err.print(escape(message))

    def warn(self, message: str) -> None:
        """Print something the user should know, although the work goes on."""
        if not self.quiet:
            self._err.print(f"[yellow]Warning:[/] {escape(message)}")

    def error(self, message: str) -> None:
        """Print what went wrong."""
        self._err.print(f"[bold red]Error:[/] {escape(message)}")

    def result(self, record: Mapping[str, Any], text: Any = "") -> None:
        """Print the outcome: `record` as JSON, or `text` (also a rich table) for people."""
        if self.as_json:
            self._print_json({"ok": self.exit_code == 0, "command": self.command, **record})
        elif text and not self.quiet:
            # A pipe has no width: 100 columns keep tables whole.
            width = None if self._out.isatty() else 100
            # names of files, classes and people may look like rich's markup
            console = Console(
                file=self._out,
                markup=False,
                emoji=False,
                highlight=False,
                soft_wrap=True,
                width=width,
            )
            console.print(text)

    def failed(self, message: str) -> None:
        """Print an error that ends the command, also as JSON."""
        self.error(message)
        if self.as_json:
            self._print_json({"ok": False, "command": self.command, "error": message})

    @contextlib.contextmanager
    def progress(self, title: str) -> Iterator[ProgressCallback]:
        """Show a bar on a terminal, or a line now and then where standard error is a file."""
        if self.quiet:
            yield silent
            return
        if not self._err.is_terminal or self._err.is_dumb_terminal:
            self.say(title)
            yield _Lines(self.say)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[message]}"),
        )
        with Progress(*columns, console=self._err, transient=True) as bar:
            task = bar.add_task(escape(title), total=1.0, message="")

            def show(fraction: float, message: str) -> None:
                bar.update(task, completed=fraction, message=escape(message))

            yield show

    def _print_json(self, record: Mapping[str, Any]) -> None:
        from cytodiffusion.files.writers import to_json

        print(to_json(record), file=self._out, flush=True)


class _Lines:
    """Progress as plain lines: the share done, what is being done, and the time that is left."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._last = time.monotonic()
        self._begun: tuple[float, float] | None = None

    def __call__(self, fraction: float, message: str) -> None:
        now = time.monotonic()
        # what is done before the share first grows, and before a new part of it, tells no pace
        if self._begun is None or fraction <= self._begun[0]:
            self._begun = fraction, now
        if now - self._last < LINE_EVERY:
            return
        self._last = now
        begun, since = self._begun
        left = ""
        if fraction > begun:
            left = f", {_in_words((1 - fraction) / (fraction - begun) * (now - since))} left"
        self._say(f"{100 * fraction:.0f} %: {message}{left}")


def _in_words(seconds: float) -> str:
    """Return a time as people say it, such as ``2 h 5 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


@contextlib.contextmanager
def reporting(command: str, *, as_json: bool = False, quiet: bool = False) -> Iterator[Reporter]:
    """Yield a `Reporter`; turn the errors of the block into one sentence and an exit code.

    What libraries print to standard output meanwhile goes to standard error.
    """
    reporter = Reporter(command, as_json=as_json, quiet=quiet)
    try:
        with (
            contextlib.redirect_stdout(sys.stderr),
            _terminated_like_interrupted(),
            _libraries_silent(),
            _engine_heard(reporter),
        ):
            yield reporter
    except (KeyboardInterrupt, Cancelled):
        reporter.failed("Cancelled.")
        raise typer.Exit(CANCELLED) from None
    except DownloadNeeded as error:
        reporter.failed(f"{error} On the command line that is --allow-download.")
        raise typer.Exit(FAILED) from None
    except CytoDiffusionError as error:
        reporter.failed(str(error))
        raise typer.Exit(FAILED) from None
    except MemoryError:
        reporter.failed("There is not enough memory for this: use a smaller image.")
        raise typer.Exit(FAILED) from None
    except BrokenPipeError:  # the reader of our output has gone, as in "| head"
        raise typer.Exit(FAILED) from None
    except OSError as error:
        if not isinstance(error.filename, str):
            raise
        reporter.failed(_about_file(error, Path(error.filename)))
        raise typer.Exit(FAILED) from None
    if reporter.exit_code:
        raise typer.Exit(reporter.exit_code)


def _about_file(error: OSError, path: Path) -> str:
    """Say what is wrong with a file that nobody in the engine has spoken of."""
    if error.errno in (errno.ENAMETOOLONG, errno.ENOSPC):
        return describe_os_error(error, path)
    return f"{path} cannot be read or written: {error.strerror or error}."


@contextlib.contextmanager
def _libraries_silent() -> Iterator[None]:
    """Keep warnings of libraries to themselves, unless Python's -W asks for them, and log lines."""
    parser = logging.getLogger("tifffile")  # repeats as a log line what it raises
    before = parser.level
    parser.setLevel(logging.CRITICAL + 1)
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        try:
            yield
        finally:
            parser.setLevel(before)


class _Log(logging.Handler):
    """Passes what the engine logs on to a `Reporter`."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.INFO)
        self.reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        say = self.reporter.warn if record.levelno >= logging.WARNING else self.reporter.say
        say(record.getMessage())


@contextlib.contextmanager
def _engine_heard(reporter: Reporter) -> Iterator[None]:
    log, handler = logging.getLogger("cytodiffusion"), _Log(reporter)
    before = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.propagate = before[1]


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM clean up as Ctrl-C does, where this thread may handle signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
