"""The errors that a user's input can cause."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Invalid input by the user; the message names what was given and what was expected."""


class DataError(UserError):
    """Invalid data: unreadable, out of range, of different shapes, or too few."""


class DataWarning(UserWarning):
    """Data that can be used, but have a property that changes what a model or a likelihood of them means."""


class RunError(UserError):
    """Invalid run folder: missing, not writable, in use, or without a valid checkpoint."""


class RunWarning(UserWarning):
    """A run goes on, but a part of it is damaged, it cannot be protected, or it is not as it was begun."""


class ConfigError(UserError):
    """Invalid name or setting: unknown, or in conflict with others."""


def unknown(what: str, given: str, known: Iterable[str]) -> ConfigError:
    """Return the error for an unknown name, with the closest known name and the list of all."""
    names = sorted(known)
    near = get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"unknown {what} {given!r}{hint} (known: {', '.join(names)})")
