"""Graceful shutdown: the first SIGINT or SIGTERM ends a run after a checkpoint."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


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
    """Collect the first SIGINT or SIGTERM instead of acting on it; a second one has its usual effect."""
    caught: list[int] = []
    before: dict[signal.Signals, Any] = {}

    def note(signum: int, frame: FrameType | None) -> None:
        caught.append(signum)
        signal.signal(signum, before[signal.Signals(signum)])

    try:
        for signum in (signal.SIGINT, signal.SIGTERM):
            before[signum] = signal.signal(signum, note)
    except ValueError:
        pass  # signal handlers can be set in the main thread alone
    try:
        yield caught
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
