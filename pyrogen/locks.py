"""Locks of files, by which processes see that a folder is in use."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pyrogen.files import write_error

_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL}
_locked: set[int] = set()  # descriptors of locks


def _close_locks() -> None:
    """Leave the locks to the process that took them: a forked worker that outlives it does not hold them."""
    for handle in _locked:
        with suppress(OSError):
            os.close(handle)
    _locked.clear()


os.register_at_fork(after_in_child=_close_locks)


@contextmanager
def locked(path: Path) -> Iterator[bool | str]:
    """Lock a file for this process inside; the system releases the lock however the process ends.

    Yields:
        Whether it is locked: false if another process has locked it, and why not on a file system without locks.

    Raises:
        RunError: if the file cannot be written.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o666)
    except OSError as error:
        raise write_error(path, error) from error
    _locked.add(handle)
    state: bool | str = True
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            state = False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise write_error(path, error) from error
            state = f"its file system has no locks ({error.strerror})"
        yield state
    finally:
        if handle in _locked:  # else this is a fork of the process that has the lock
            _locked.discard(handle)
            os.close(handle)
