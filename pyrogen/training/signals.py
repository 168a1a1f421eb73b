"""A run is asked to stop: by a signal, once; its checkpoint comes first."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """A signal asked the run to stop; its checkpoint is written.

    Args:
        signum: which signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


@contextmanager
def graceful_shutdown() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying of the first; the second one takes its usual effect."""
    caught: list[int] = []
    before: dict[signal.Signals, Any] = {}

    def note(signum: int, frame: FrameType | None) -> None:
        caught.append(signum)
        signal.signal(signum, before[signal.Signals(signum)])

    try:
        for signum in (signal.SIGINT, signal.SIGTERM):
            before[signum] = signal.signal(signum, note)
    except ValueError:
        pass  # not in the main thread: signals are somebody else's there
    try:
        yield caught
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
