"""A user's own data, from a path or from memory."""

import os
from pathlib import Path
from typing import Any

from pyrogen.data.datasets import names
from pyrogen.data.images import from_array, from_folder
from pyrogen.data.space import Space
from pyrogen.data.table import RawData, ReadOptions
from pyrogen.errors import DataError, unknown


def title(source: Any) -> str:
    """What messages call a source: its name or path, or the type of an object."""
    return str(source) if isinstance(source, str | Path) else type(source).__name__


def read_user_data(source: Any, options: ReadOptions, space: Space | None = None) -> RawData:
    """Read a path or an object; raise ``ConfigError`` if a text is neither a path nor the name of a data set.

    Args:
        source: as for ``load``.
        options: how it is read.
        space: the space of earlier data, whose columns a table must have.

    Raises:
        DataError: naming the path or the type, and what is wrong with it.
    """
    path = Path(source).expanduser()
    is_array = path.suffix.lower() in (".npy", ".npz")
    is_path = isinstance(source, Path) or is_array or os.sep in source or "/" in source
    if not source or not (is_path or path.exists()):
        raise unknown("data set", str(source), names())
    if not path.exists():
        raise DataError(f"{source}: no such file or folder")
    if not (path.is_dir() or is_array):
        raise DataError(f"{source}: expected a folder of images, a .npy or a .npz file")
    return from_folder(path) if path.is_dir() else from_array(path, options, space)
