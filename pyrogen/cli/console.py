"""Messages on standard error, and the exit of an interrupted command."""

import sys
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

err = Console(stderr=True)


def message(text: str, style: str | None = None) -> None:
    """Print one line on standard error, without markup."""
    err.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def interrupted(folder: Path, signum: int) -> NoReturn:
    """Print how to continue and exit; called after a signal, when the checkpoint is written."""
    message(f"stopped; continue with `pyrogen resume {folder}`")
    sys.exit(128 + signum)


def given_options(**values: Any) -> dict[str, Any]:
    """The options that were given on the command line, i.e. are not ``None``."""
    return {name: value for name, value in values.items() if value is not None}
