"""Files that are whole or absent: a reader never meets half a picture or half a report."""

import os
from contextlib import suppress
from pathlib import Path

from pyrogen.errors import RunError

Target = str | os.PathLike[str] | None


def write_whole(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write ``data`` to ``path`` in one move and return the path.

    The bytes go to a temporary file in the same folder, because a rename is atomic only within one file
    system; the old file stays readable until then.

    Raises:
        RunError: the folder is missing, or cannot be written.
    """
    path = Path(path)
    # Not ``tempfile``: its files are readable by their owner only, and a report is there to be shared.
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


def keep(picture: bytes, path: Target) -> bytes:
    """The picture, which is written to ``path`` too, if there is one."""
    if path is not None:
        write_whole(path, picture)
    return picture
