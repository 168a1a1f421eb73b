"""Files and folders that a reader never sees partially written, and text that carries its own checksum."""

import errno
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedReader
from itertools import count
from pathlib import Path
from typing import Any

from pyrogen.errors import RunError

Target = str | os.PathLike[str] | None

LARGEST_TEXT = 64 << 20
"""The most bytes that ``read_regular`` reads; no file of text that pyrogen writes is nearly as large."""
SEAL = "# sha256 "
"""How the last line of text begins that ``seal_lines`` has returned."""
_FEW_INODES = 100  # that are free again once an attempt to write has been removed
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# ``.NAME.pyrogen-PROCESS-SERIAL.part``; in version 0.1 ``.NAME.PROCESS.part``.
_PART = re.compile(r"\.(?P<name>.+)\.(?P<ours>pyrogen-)?(?P<process>\d+)(?(ours)-\d+)\.part")
_serial = count()
_parts_in_use: set[str] = set()


def write_error(path: str | os.PathLike[str], error: Exception, needed: int | None = None) -> RunError:
    """The error of a failed writing, in one sentence: the path, the reason, and where room is short the bytes.

    Args:
        path: what was to be written.
        error: why it was not; an ``OSError``, or one whose text ends in ``(os error NUMBER)``.
        needed: the bytes to be written, if known.
    """
    number = getattr(error, "errno", None)
    if number is None and (found := re.search(r"\(os error (\d+)\)", str(error))):
        number = int(found[1])
    sizes = [f"{needed:,} bytes needed"] if number in _NO_ROOM and needed is not None else []
    if number == errno.ENOSPC:  # else it is a quota, or a limit on the size of a file
        with suppress(OSError):
            room = os.statvfs(next(parent for parent in Path(path).absolute().parents if parent.exists()))
            sizes.append(f"{room.f_bavail * room.f_frsize:,} free")
            if room.f_files and room.f_favail < _FEW_INODES:
                sizes.append(f"{room.f_favail} inodes free")
    reason = os.strerror(number) if number else " ".join(str(error).split())
    return RunError(f"cannot write {path}: {reason}" + (f" ({', '.join(sizes)})" if sizes else ""))


def write_whole(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write ``data`` to ``path`` atomically and return the path.

    The bytes are written to a temporary file in the same folder, which is then renamed: a rename is atomic only within
    one file system. The old file stays readable until then.

    Raises:
        RunError: if the folder is missing or not writable, or has no room.
    """
    path = Path(path)
    try:
        # Not ``tempfile``, whose files only their owner can read: a report is meant to be shared.
        with temporary(path) as part:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
    except OSError as error:
        raise write_error(path, error, len(data)) from error
    return path


def write_optional(data: bytes, path: Target) -> bytes:
    """Write ``data`` to ``path`` unless that is ``None``; return ``data``."""
    if path is not None:
        write_whole(path, data)
    return data


@contextmanager
def whole_folder(path: str | os.PathLike[str], needed: int | None = None) -> Iterator[Path]:
    """Yield a new folder to write into, which becomes ``path`` at the end; after an error nothing is left of it.

    Args:
        path: the folder, absent or empty.
        needed: the bytes of its files, for the message where there is no room.

    Raises:
        RunError: if ``path`` holds anything, or cannot be written.
    """
    path = Path(path).resolve()
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunError(f"{path} is not an empty folder: choose another one")
        with temporary(path) as part:
            part.mkdir()
            yield part
            if path.exists():
                path.rmdir()
            part.rename(path)
    except OSError as error:
        raise write_error(path, error, needed) from error


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder in an existing one, unless it exists, and return its path.

    Raises:
        RunError: if it cannot be made.
    """
    try:
        Path(path).mkdir(exist_ok=True)
    except OSError as error:
        raise write_error(path, error) from error
    return Path(path)


def append_line(path: str | os.PathLike[str], line: str) -> None:
    """Append a line to a file, which is made if absent; a last line that was cut short is ended first.

    Raises:
        RunError: if it cannot be written; what was written before stays.
    """
    data = f"{line}\n".encode()
    try:
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise RunError(f"cannot write {path}: not a regular file")
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":
                data = b"\n" + data
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(handle, rest) :]
        finally:
            os.close(handle)
    except OSError as error:
        raise write_error(path, error, len(data)) from error


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
        return file.read(size)


@contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """An unused name beside ``path``, for what is then renamed to it; afterwards nothing has that name."""
    clear_parts(path.parent, path.name)
    part = path.with_name(f".{path.name}.pyrogen-{os.getpid()}-{next(_serial)}.part")
    _parts_in_use.add(part.name)
    try:
        yield part
    finally:
        _remove(part)
        _parts_in_use.discard(part.name)


def clear_parts(folder: Path, name: str) -> None:
    """Remove what dead processes have left of their temporary files and folders for ``name``, and of all others.

    What version 0.1 left has a form that somebody else's files can have: it is removed for ``name`` alone.
    """
    with suppress(OSError):
        for path in [*folder.iterdir()]:
            found = _PART.fullmatch(path.name)
            if not found or not (found["ours"] or found["name"] == name):
                continue
            if path.name not in _parts_in_use and not is_alive(int(found["process"])):
                _remove(path)


def is_alive(process: int) -> bool:
    """Whether another process has this number; a leftover that has the number of this one is of an earlier one."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # alive, and somebody else's
    return True


def _remove(path: Path) -> None:
    """Remove a file or a folder as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def seal_lines(text: str) -> str:
    """Append the SHA-256 of ``text`` as a last line, a comment in TOML."""
    text = text.rstrip("\n") + "\n"
    return f"{text}{SEAL}{_digest(text)}\n"


def unseal_lines(sealed: str) -> str | None:
    """What ``seal_lines`` was given; ``None`` if the last line is no checksum, or one of another text."""
    text, mark, digest = sealed.rpartition(SEAL)
    return text if mark and digest == f"{_digest(text)}\n" else None


def seal_json(value: Mapping[str, Any], indent: int | None = 1) -> str:
    """A JSON object with the SHA-256 of its canonical form as ``sha256``, its last key; on one line without indent."""
    return json.dumps({**value, "sha256": _digest(json.dumps(value, sort_keys=True))}, indent=indent)


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
