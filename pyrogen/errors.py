"""The errors that a user's input can cause."""

import re
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
    """A run goes on, but is damaged or unprotected in a part, is not as it was begun, or its model does not learn."""


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


class Diverged(UserError):
    """The loss, a gradient or a weight is not finite; the update that it belonged to was not made.

    Args:
        what: the step and what is not finite there.
        advice: what may help; empty as long as the cause has not been looked for.
        ago: the number of steps since then: a GPU is asked in intervals.
    """

    def __init__(self, what: str, advice: str = "", ago: int = 0) -> None:
        super().__init__(f"{what}: {advice}" if advice else what)
        self.what, self.advice, self.ago = what, advice, ago


class OutOfMemory(UserError):
    """A step needs more memory than there is."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python or torch says that memory could not be allocated, on a CPU or a GPU."""
    said = re.search(r"can't allocate memory|not enough memory|out of memory", str(error), re.IGNORECASE)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and said is not None)


def unknown(what: str, given: str, known: Iterable[str]) -> ConfigError:
    """Return the error for an unknown name, with the closest known name and the list of all."""
    names = sorted(known)
    near = get_close_matches(given, names[:_MOST_COMPARED], n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    more = f", … {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ConfigError(f"unknown {what} {given!r}{hint} (known: {', '.join(names[:_MOST_NAMED])}{more})")
