"""Folders of checkpoints: found, written under a temporary name, renamed, removed, and cleared of leftovers."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from pyrogen import ranks
from pyrogen.errors import RunError
from pyrogen.files import is_alive

_NAME = re.compile(r"checkpoint-\d+(-\d+)?")
_NEW = re.compile(r"\.new-(?:checkpoint-\d+-)?(\d+)(?:-\d+)?")
"""``.new-<process>-<serial>``; in version 0.1 also ``.new-checkpoint-<t>-<process>``."""
_OLD = re.compile(r"\.old-checkpoint-\d+(-\d+)*")
_serial = count()
_in_use: set[str] = set()  # names of folders that this process is writing


def found(folder: str | Path) -> list[Path]:
    """The checkpoints in ``folder`` by name, damaged ones included, other files excluded."""
    paths = Path(folder).glob("checkpoint-*")
    return sorted(path for path in paths if _NAME.fullmatch(path.name) and path.is_dir())


def clear(folder: Path, locked: bool = False) -> None:
    """Remove what processes that died have left: incomplete new checkpoints and half-removed old ones.

    Args:
        folder: the run folder.
        locked: whether no other process can be saving in it; else what may belong to a living one stays.
    """
    if ranks.rank():  # the first process writes
        return
    for path in folder.glob(".old-*"):
        if _OLD.fullmatch(path.name):
            _delete(path)
    for path in folder.glob(".new-*"):
        process = _NEW.fullmatch(path.name)
        if process and path.name not in _in_use and (locked or not is_alive(int(process[1]))):
            _delete(path)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder named after this process; removed at the end unless renamed."""
    new = folder / f".new-{os.getpid()}-{next(_serial)}"
    _in_use.add(new.name)
    try:
        new.mkdir()
        yield new
    finally:
        _delete(new)
        _in_use.discard(new.name)


def rename(new: Path, target: Path, write: int) -> Path:
    """Rename a finished folder, with a number appended if the name exists; nothing is ever replaced."""
    numbers = count(write)
    path = target
    while True:
        try:
            if not os.path.lexists(path):  # else an empty folder of that name would be replaced
                return new.rename(path)
        except OSError:
            if not os.path.lexists(path):
                raise
        path = target.with_name(f"{target.name}-{next(numbers)}")


def remove(path: Path) -> None:
    """Remove a folder so that a crash on the way leaves nothing that looks like a checkpoint."""
    gone = path.with_name(f".old-{path.name}-{os.getpid()}-{next(_serial)}")
    try:
        path.rename(gone)
    except FileNotFoundError:
        return  # another process was faster
    except OSError as error:
        raise RunError(f"the checkpoint is written, but {path} cannot be removed: {error.strerror}") from error
    _delete(gone)


def flush(path: Path) -> None:
    """Have the system write a file or a folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _delete(path: Path) -> None:
    """Remove a folder, or a link or file in its place, if it is there and can be."""
    with suppress(OSError):
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)
