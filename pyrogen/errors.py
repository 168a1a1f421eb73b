"""The errors that a user's input can cause."""

from collections.abc import Iterable
from difflib import get_close_matches

_MOST_NAMED, _MOST_COMPARED = 100, 5000


class UserError(ValueError):
    """Invalid input by the user; the message names what was given and what was expected."""


class DataError(UserError):
    """Invalid data: unreadable, out of range, of different shapes, or too few."""


class DataWarning(UserWarning):
    """Data that can be used, but have a property that changes what a model or a likelihood of them means."""


class RunError(UserError):
    """Invalid run folder: missing, not writable, in use, or without a valid checkpoint."""


class RunWarning(UserWarning):
    """A run folder that can be used, but of which a part was damaged, or which cannot be protected."""


class ConfigError(UserError):
    """Invalid name or setting: unknown, or in conflict with others."""


def printable(text: str) -> str:
    r"""Return a text in one line, with control, format and other characters that cannot be printed as their escapes.

    A terminal obeys control characters and reorders text at bidirectional ones; an encoder rejects lone surrogates, of
    which names that are not UTF-8 consist.

    >>> printable("a\x1b[31m\n")
    'a\\x1b[31m\\n'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def unknown(what: str, given: str, known: Iterable[str]) -> ConfigError:
    """Return the error for an unknown name, with the closest known name and the list of all."""
    names = sorted(known)
    near = get_close_matches(given, names[:_MOST_COMPARED], n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    more = f", … {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ConfigError(f"unknown {what} {given!r}{hint} (known: {', '.join(names[:_MOST_NAMED])}{more})")
