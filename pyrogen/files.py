"""Atomic writing of files: a reader never sees a partially written one."""

import os
from contextlib import suppress
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
