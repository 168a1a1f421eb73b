"""Files and folders that a reader never sees partially written, and text that carries its own checksum."""

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

from pyrogen.errors import RunError

Target = str | os.PathLike[str] | None

LARGEST_TEXT = 64 << 20
"""The most bytes that ``read_regular`` reads; no file of text that pyrogen writes is nearly as large."""
_SEAL = "# sha256 "


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


def regular_file(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a regular file for reading; a FIFO or a device is refused without waiting for it or reading it.

    Raises:
        OSError: if it is missing, not a regular file, or cannot be read.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # does not wait for the writer of a FIFO
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    return os.fdopen(handle, "rb")


@contextmanager
def open_regular(path: str | os.PathLike[str]) -> Iterator[BufferedReader]:
    """Read a regular file inside; errors of the system are those of a run.

    Raises:
        RunError: if it is missing, not a regular file or cannot be read.
    """
    try:
        with regular_file(path) as file:
            yield file
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error


def read_regular(path: str | os.PathLike[str], most: int = LARGEST_TEXT) -> bytes:
    """The content of a regular file of at most ``most`` bytes.

    Raises:
        RunError: if it is missing, not a regular file, too large or cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise RunError(f"cannot read {path}: {size:,} bytes, at most {most:,} expected")
        return file.read(most)


def seal_lines(text: str) -> str:
    """Append the SHA-256 of ``text`` as a last line, a comment in TOML."""
    text = text.rstrip("\n") + "\n"
    return f"{text}{_SEAL}{_digest(text)}\n"


def unseal_lines(sealed: str) -> str | None:
    """What ``seal_lines`` was given; ``None`` if the last line is no checksum, or one of another text."""
    text, mark, digest = sealed.rpartition(_SEAL)
    return text if mark and digest == f"{_digest(text)}\n" else None


def seal_json(value: Mapping[str, Any]) -> str:
    """A JSON object with the SHA-256 of its canonical form as ``sha256``, its last key."""
    return json.dumps({**value, "sha256": _digest(json.dumps(value, sort_keys=True))}, indent=1)


def unseal_json(sealed: bytes | str) -> dict[str, Any] | None:
    """What ``seal_json`` was given; ``None`` if the text is no such object, or its checksum is another."""
    try:
        value = json.loads(sealed)
        digest = value.pop("sha256")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None
    return value if digest == _digest(json.dumps(value, sort_keys=True)) else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
