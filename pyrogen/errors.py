"""The errors that a user can cause, and the sentence each is told in."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Something the user gave cannot be used; the message names it and what was expected."""


class DataError(UserError):
    """The data cannot be used as they are: unreadable, out of range, of mixed shape, too few."""


class RunError(UserError):
    """A run folder cannot be used: missing, unwritable, in use, or without a whole checkpoint."""


class ConfigError(UserError):
    """A name or a setting is not one of those that exist, or does not fit the others."""


def unknown(what: str, given: str, known: Iterable[str]) -> ConfigError:
    """The error for a name that does not exist: what was given, the nearest name, and all of them."""
    names = sorted(known)
    near = get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"unknown {what} {given!r}{hint} (known: {', '.join(names)})")
