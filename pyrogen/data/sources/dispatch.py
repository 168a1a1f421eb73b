"""A user's own data, from a path or from memory."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from pyrogen.data.datasets import names
from pyrogen.data.sources.arrays import array_data, from_array, on_disk
from pyrogen.data.sources.arrow import is_frame, to_arrow
from pyrogen.data.sources.folders import from_folder, from_tar, from_zip
from pyrogen.data.sources.shards import open_shards, shard_files
from pyrogen.data.sources.table_files import SUFFIXES, frame_data, from_table_file
from pyrogen.data.sources.torch_data import from_memory, from_torch_dataset, from_torch_file
from pyrogen.data.sources.untrusted import reading
from pyrogen.data.space import Space
from pyrogen.data.table import DEFAULTS, RawData, ReadOptions
from pyrogen.errors import DataError, unknown

_SUFFIXES = (".npy", ".npz", ".pt", ".pth", ".zip", ".tar", *SUFFIXES)


def title(source: Any) -> str:
    """What messages call a source: its name or path, or the type of an object."""
    if isinstance(source, tuple):
        return f"({', '.join(type(part).__name__ for part in source)})"
    return str(source) if isinstance(source, str | Path) else type(source).__name__


def read_user_data(source: Any, options: ReadOptions, space: Space | None = None) -> RawData:
    """Read a path or an object; raise ``ConfigError`` if a text is neither a path nor the name of a data set.

    Args:
        source: as for ``load``.
        options: how it is read.
        space: the space of earlier data, which these must have.

    Raises:
        DataError: naming the path or the type, and what is wrong with it.
    """
    where = title(source)
    if isinstance(source, str | Path):
        return _from_path(source, options, space)
    if isinstance(source, TorchDataset):
        return array_data(*from_torch_dataset(source, where), where, options, space)
    if isinstance(source, Tensor | np.ndarray | tuple):
        return array_data(*from_memory(source, where), where, options, space)
    if is_frame(source):
        return frame_data(to_arrow(source, where), where, options, space)
    raise DataError(
        f"expected a path, a tensor, an array, (x, y), a data frame, a pyarrow table or a torch Dataset; got a {where}"
    )


def _from_path(source: str | Path, options: ReadOptions, space: Space | None) -> RawData:
    path = Path(os.path.expanduser(source))
    suffix = path.suffix.lower()
    is_path = isinstance(source, Path) or suffix in _SUFFIXES or os.sep in source or "/" in source
    exists = os.path.exists(path)  # unlike that of Path, without an error for a name that is too long
    if not str(source) or not (is_path or exists):
        raise unknown("data set", str(source), names())
    if not exists:
        raise DataError(f"{source}: no such file or folder")
    if path.is_dir():
        shards = shard_files(path)
        if not shards:
            return from_folder(path, options)
        if shards[0].suffix.lower() == ".tar":
            return from_tar(shards, options)
        if options != DEFAULTS:
            raise DataError(f"{source}: a folder of arrays takes no options of tables and images")
        with reading(str(source), "numbers, in arrays of numpy.save or tables of Parquet"):
            return on_disk(*open_shards(shards), str(source))
    if not path.is_file():
        raise DataError(f"{source}: expected a regular file or a folder, got a device, a FIFO or a socket")
    if suffix in (".npy", ".npz"):
        return from_array(path, options, space)
    if suffix in (".pt", ".pth"):
        return array_data(*from_torch_file(path), str(path), options, space)
    if suffix == ".tar":
        return from_tar([path], options)
    if suffix == ".zip":
        return from_zip(path, options)
    if suffix in SUFFIXES:
        return from_table_file(path, options, space)
    raise DataError(f"{source}: expected a folder of images, or a file {', '.join(_SUFFIXES)}; got {suffix or 'none'}")
