"""Standard output and error that can be closed, or full, without ending a command."""

import errno
import io
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from pyrogen.cli.console import message


class _Survivor(io.FileIO):
    """A standard stream: the first failure of a write is kept as ``failure``, and the rest of the output is dropped."""

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            while (written := super().write(data)) is None:  # a terminal that somebody has made non-blocking
                select.select((), (self,), ())
        except OSError as error:
            self.failure = error
            with open(os.devnull, "wb") as null:
                os.dup2(null.fileno(), self.fileno())  # also for what is not Python, and for processes begun later
            return len(data)
        return written


@contextmanager
def standard_streams() -> Iterator[None]:
    """Run a command so that no failure to write to standard output or error ends it before it is done.

    Messages and progress on standard error can be lost. A result on standard output cannot: afterwards the process
    exits with status 141 (128 + SIGPIPE) if its reader has left, and with status 2 if it could not be written for
    another reason.
    """
    _open_closed_descriptors()
    if sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
        yield  # somebody captures them
        return
    before = sys.stdout, sys.stderr
    output, error = _survivor(1, before[0]), _survivor(2, before[1])
    sys.stdout, sys.stderr = _text(output, before[0]), _text(error, before[1])
    try:
        try:
            yield
        except SystemExit as end:
            if end.code:
                raise
        sys.stdout.flush()
        if output.failure is not None and output.failure.errno == errno.EPIPE:
            sys.exit(128 + signal.SIGPIPE)
        if output.failure is not None:
            message(f"pyrogen: cannot write to standard output: {output.failure.strerror}", style="red")
            sys.exit(2)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _open_closed_descriptors() -> None:
    """Open the null device for standard streams that are closed, or the next file opened would be in their place."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor


def _survivor(descriptor: int, before: TextIO | None) -> _Survivor:
    """The stream of a descriptor; of the null device if it was closed when Python began, whatever has it now."""
    return _Survivor(os.devnull, "wb") if before is None else _Survivor(descriptor, "wb", closefd=False)


def _text(raw: _Survivor, before: TextIO | None) -> TextIO:
    encoding, errors = (before.encoding, before.errors) if before else ("utf-8", "backslashreplace")
    lines = raw.isatty() or before is sys.__stderr__
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=lines)
