"""Graceful shutdown: the first SIGINT, SIGTERM or SIGHUP ends a run after a checkpoint."""

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
REPEATED_SECONDS = 0.1
"""Signals within this time of the first are the same request: ``timeout`` sends SIGTERM to a process and its group."""


class Interrupted(KeyboardInterrupt):
    """A signal ended the run; its checkpoint is written.

    Args:
        signum: which signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


@contextmanager
def graceful_shutdown() -> Iterator[list[int]]:
    """Collect the first signal of ``STOPS`` instead of acting on it.

    A second SIGINT or SIGTERM has the effect that it had before; inside ``interruptible`` it ends the process at once,
    also in the middle of compilation or of a checkpoint. A second SIGHUP is ignored: a terminal that is closed sends it
    twice.
    """
    caught: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        caught.append(signum)
        if len(caught) == 1:
            time.sleep(REPEATED_SECONDS)  # signals meanwhile are noted, and do nothing
            for other, handler in before.items():
                second = signal.SIG_DFL if handler is _interrupt else handler
                signal.signal(other, signal.SIG_IGN if other == signal.SIGHUP else second)

    with _handlers(note) as before:
        yield caught


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise ``Interrupted`` on the first signal of ``STOPS``; a second SIGINT or SIGTERM ends the process at once."""
    with _handlers(_interrupt):
        yield


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    for other in STOPS:
        signal.signal(other, signal.SIG_IGN if other == signal.SIGHUP else signal.SIG_DFL)
    raise Interrupted(signum)


@contextmanager
def _handlers(handler: Callable[[int, FrameType | None], None]) -> Iterator[Mapping[signal.Signals, Any]]:
    """Handle ``STOPS``, and yield the handlers before; SIGHUP stays ignored where ``nohup`` has ignored it."""
    before: dict[signal.Signals, Any] = {}
    try:
        for signum in STOPS:
            if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:
                before[signum] = signal.signal(signum, handler) or signal.SIG_DFL
    except ValueError:
        pass  # signal handlers can be set in the main thread alone
    try:
        yield before
    finally:
        for signum, previous in before.items():
            if previous is not _interrupt or signal.getsignal(signum) is handler:  # else this is the end of the run
                signal.signal(signum, previous)
