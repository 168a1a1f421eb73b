"""Everything that the command line prints: consoles that show control characters by their escapes, and messages."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyrogen.console import PlainConsole
from pyrogen.errors import DataWarning, RunWarning, printable
from pyrogen.launched import process

if TYPE_CHECKING:
    from pyrogen.training.monitoring.display import Display

LONGEST = 4000
"""The most characters of a message; a name in a user's file can be longer."""


err = PlainConsole(stderr=True)
_quiet = False
_helping = False


def be_helper() -> None:
    """Print the warnings of runs, although this is not the first of several processes: it trains runs of its own."""
    global _helping
    _helping = True


def be_quiet(wanted: bool) -> None:
    """Print no messages but warnings and errors, and no progress, if it is wanted of this command."""
    global _quiet
    _quiet = wanted


def display() -> "Display | None":
    """What shows progress; ``None`` for a quiet command, and for all but the first of several processes."""
    from pyrogen.training.monitoring.display import Display

    return None if _quiet or process() else Display(err)


@contextmanager
def preparing(what: str) -> Iterator[None]:
    """Say on a terminal what begins, until there is more to say: importing torch and loading data take seconds."""
    if _quiet or process() or not err.is_terminal:
        yield
        return
    with err.status(printable(f"{what}: loading"[:LONGEST])):
        err.show_cursor()  # a process that is killed cannot show it again
        yield


def message(text: str, style: str | None = None, each: bool = False) -> None:
    """Print one line on standard error; without a style it is one that a quiet command does not print.

    Of several processes the first alone says what is no error, unless ``each`` is to say it.
    """
    number = process()
    if (number and style != "red" and not each) or (_quiet and style is None):
        return
    text = f"process {number}: {text}" if number else text
    line = printable(text[:LONGEST])
    err.print(line + "…" * (len(text) > LONGEST), style=style, soft_wrap=True)


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Print how to continue the run in ``folder`` when a signal ends it, and exit with status 128 + signal."""
    from pyrogen.training.signals import Interrupted, interruptible

    try:
        with interruptible():
            yield
    except Interrupted as stop:
        message(f"stopped; continue with `pyrogen resume {folder}`")
        sys.exit(128 + stop.signum)


@contextmanager
def user_warnings() -> Iterator[None]:
    """Print every warning about data or a run once, as one line on standard error; other warnings with their place."""
    shown: set[str] = set()

    def print_once(text: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if not issubclass(category, DataWarning | RunWarning):
            for line in warnings.formatwarning(text, category, *where[:2]).splitlines():
                message(line)
        elif str(text) not in shown:
            shown.add(str(text))
            each = _helping and issubclass(category, RunWarning)
            message(f"pyrogen: warning: {text}", style="yellow", each=each)

    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        warnings.simplefilter("always", RunWarning)
        warnings.showwarning = print_once  # type: ignore[assignment]
        yield


def given_options(**values: Any) -> dict[str, Any]:
    """The options that were given on the command line, i.e. are not ``None``."""
    return {name: value for name, value in values.items() if value is not None}
