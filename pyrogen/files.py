"""Atomic writing of files and folders: a reader never sees a partially written one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pyrogen.errors import RunError

Target = str | os.PathLike[str] | None


def write_whole(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write ``data`` to ``path`` atomically and return the path.

    The bytes are written to a temporary file in the same folder, which is then renamed: a rename is atomic only within
    one file system. The old file stays readable until then.

    Raises:
        RunError: if the folder is missing or not writable.
    """
    path = Path(path)
    # Not ``tempfile``, whose files only their owner can read: a report is meant to be shared.
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def write_optional(data: bytes, path: Target) -> bytes:
    """Write ``data`` to ``path`` unless that is ``None``; return ``data``."""
    if path is not None:
        write_whole(path, data)
    return data


@contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new folder to write into, which becomes ``path`` at the end; after an error nothing is left of it.

    Raises:
        RunError: if ``path`` holds anything, or cannot be written.
    """
    path = Path(path).resolve()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunError(f"{path} is not an empty folder: choose another one")
        part.mkdir()
        yield part
        if path.exists():
            path.rmdir()
        part.rename(path)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        if isinstance(error, OSError):
            raise RunError(f"cannot write {path}: {error.strerror or error}") from error
        raise
