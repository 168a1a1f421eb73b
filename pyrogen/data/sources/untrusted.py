"""Reading of files that may be damaged or hostile: what they declare is checked before anything is allocated."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path

from pyrogen.data.sources.arrow import one_line
from pyrogen.errors import DataError

SMALL = 64 << 20
"""Contents of at most this many bytes may be packed as tightly as they can be."""
RATIO = 200
"""The most bytes of larger contents for each byte of their file; data that are not nearly constant stay below 100."""
MOST_COLUMNS = 1_000_000
"""The most columns of a table or an array of vectors."""


@contextmanager
def reading(where: str, expected: str) -> Iterator[None]:
    """Raise every error inside as a ``DataError``: each library has its own exceptions for damaged files.

    Args:
        where: the file; the message begins with it.
        expected: what it should hold.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise DataError(f"{where}: expected {expected}: {reason}") from error


def check_expansion(packed: int, unpacked: int, where: str) -> None:
    """Raise if ``unpacked`` bytes are more than data packed in ``packed`` bytes plausibly are.

    Raises:
        DataError: naming both numbers and the limit.
    """
    if unpacked > max(SMALL, RATIO * packed):
        raise DataError(
            f"{where}: {packed:,} bytes that unpack to {unpacked:,}, more than {RATIO} for each: not read, as it could "
            "fill the memory; store it less compressed"
        )


def check_holes(path: Path, where: str) -> None:
    """Raise if a file is mostly a hole, whose length is no measure of its contents.

    Raises:
        DataError: as ``check_expansion``.
    """
    found = path.stat()
    if blocks := getattr(found, "st_blocks", 0):  # some file systems do not count them
        check_expansion(512 * blocks, found.st_size, where)


def check_memory(nbytes: int, where: str) -> None:
    """Raise unless ``nbytes`` can be allocated.

    Raises:
        DataError: naming the bytes that are needed and those that are available.
    """
    if excess := memory_excess(nbytes):
        raise DataError(f"{where}: {excess}")


def memory_excess(nbytes: int) -> str:
    """That and by how much ``nbytes`` are more than the available memory; empty if they are not."""
    available = available_memory()
    if nbytes <= available:
        return ""
    return f"needs {nbytes / 2**30:,.1f} GiB of memory, of which {available / 2**30:,.1f} GiB are available"


def available_memory() -> float:
    """The bytes that this process can still allocate, on the machine and in its control group; infinite if unknown."""
    found = [inf]
    with suppress(OSError, ValueError, StopIteration):
        found.append(1024 * _entry(Path("/proc/meminfo"), "MemAvailable:"))
    with suppress(OSError, ValueError, StopIteration):  # the limit may be the text "max"
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        found.append(limit - used + _entry(group / "memory.stat", "inactive_file"))  # of which caches are given back
    if len(found) == 1:
        with suppress(OSError, ValueError, AttributeError):
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found)


def _entry(path: Path, name: str) -> int:
    """The number after ``name`` in a file of one entry in a line."""
    return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(name))
