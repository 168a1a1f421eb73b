"""Messages on standard error, and the exit of an interrupted run."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from pyrogen.errors import DataWarning, RunWarning

err = Console(stderr=True)


def message(text: str, style: str | None = None) -> None:
    """Print one line on standard error, without markup."""
    err.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


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
    """Print every warning about data or a run once, as one line on standard error."""
    shown: set[str] = set()
    show = warnings.showwarning

    def print_once(text: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if not issubclass(category, DataWarning | RunWarning):
            show(text, category, *where, **more)
        elif str(text) not in shown:
            shown.add(str(text))
            message(f"pyrogen: warning: {text}", style="yellow")

    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        warnings.simplefilter("always", RunWarning)
        warnings.showwarning = print_once  # type: ignore[assignment]
        yield


def given_options(**values: Any) -> dict[str, Any]:
    """The options that were given on the command line, i.e. are not ``None``."""
    return {name: value for name, value in values.items() if value is not None}
