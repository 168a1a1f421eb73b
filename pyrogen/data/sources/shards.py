"""A folder of shards, ``.npy`` or ``.parquet`` files of rows of one shape, as one array that stays on disk."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrogen.data.columns import natural_key
from pyrogen.data.memmap import map_array
from pyrogen.data.sources.arrow import require_pyarrow
from pyrogen.data.sources.untrusted import reading
from pyrogen.errors import DataError
from pyrogen.files import temporary

SHARDS = (".npy", ".parquet", ".tar")
_ROWS = 65_536  # of a Parquet file at a time
_LOST = 1e-3  # the greatest rounding error of a column, in its standard deviations


class Shards:
    """Memory-mapped arrays one after another: ``shards[index]`` reads rows from whichever files they are in.

    Args:
        arrays: of one dtype and one shape of rows, at least one.
        files: where they are.

    Attributes:
        shape: ``(n, *event)`` of all rows.
        dtype: of the rows.
    """

    def __init__(self, arrays: Sequence[NDArray[Any]], files: Sequence[Path]) -> None:
        self.arrays, self.paths = list(arrays), list(files)
        self.ends = np.cumsum([len(array) for array in arrays])
        self.shape = (int(self.ends[-1]), *arrays[0].shape[1:])
        self.ndim, self.dtype = arrays[0].ndim, arrays[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: NDArray[np.int64] | slice) -> NDArray[Any]:
        """Read rows, each file once, in the order of ``index``."""
        where = np.arange(len(self))[index] if isinstance(index, slice) else index
        shard = np.searchsorted(self.ends, where, side="right")
        rows = np.empty((len(where), *self.shape[1:]), self.dtype)
        for i in np.unique(shard):
            here = np.flatnonzero(shard == i)
            first = self.ends[i] - len(self.arrays[i])
            rows[here] = self.arrays[i][where[here] - first]
        return rows

    def stamps(self) -> list[tuple[str, int, int]]:
        """The name of each file, its size, and when it was changed."""
        found = [(path.name, os.stat(path)) for path in self.paths]
        return [(name, stat.st_size, int(stat.st_mtime)) for name, stat in found]


def shard_files(folder: Path) -> list[Path]:
    """The files of a folder if all of them are of one suffix of ``SHARDS``, in natural order; else none.

    Raises:
        DataError: if the folder cannot be read.
    """
    found: list[Path] = []
    with reading(str(folder), "a folder that can be read"), os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue
            if path.suffix.lower() not in SHARDS or not entry.is_file():
                return []  # at once: a folder of images has many files
            found.append(path)
    alike = len({path.suffix.lower() for path in found}) == 1
    return sorted(found, key=lambda path: natural_key(path.name)) if alike else []


def open_shards(files: Sequence[Path]) -> tuple[Shards, list[str]]:
    """Map the files; those of Parquet are first written as arrays into the user's cache, once.

    Returns:
        The rows, and the names of their columns if they are known.

    Raises:
        DataError: naming a file that is not of a kind that can stay on disk, or of other rows than the first.
    """
    names: list[str] = []
    arrays: list[NDArray[Any]] = []
    for file in files:
        array = map_array(_as_array(file, names) if file.suffix.lower() == ".parquet" else file)
        if array is None or not len(array):
            raise DataError(f"{file}: expected an array of float32 vectors, or of uint8 images, with at least one row")
        if arrays and (array.shape[1:], array.dtype) != (arrays[0].shape[1:], arrays[0].dtype):
            forms = [f"{a.dtype} rows of {'x'.join(map(str, a.shape[1:]))}" for a in (arrays[0], array)]
            raise DataError(f"{file}: expected {forms[0]}, as in {files[0].name}; got {forms[1]}")
        arrays.append(array)
    return Shards(arrays, files), names


def _as_array(file: Path, names: list[str]) -> Path:
    """A Parquet file as an array of float32 in the user's cache, written a few rows at a time.

    Args:
        file: the file, of columns of numbers.
        names: of the columns, which are filled in from the first file and must be the same in others.
    """
    require_pyarrow(str(file))
    from pyarrow.parquet import ParquetFile

    found = os.stat(file)
    with ParquetFile(file, memory_map=True) as table:
        own = list(table.schema_arrow.names)
        if names and own != names:
            raise DataError(f"{file}: expected the columns {', '.join(names)}; got {', '.join(own)}")
        names[:] = own
        mark = repr((os.path.abspath(file), found.st_size, found.st_mtime_ns))
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "pyrogen", "shards")
        cache.mkdir(parents=True, exist_ok=True)
        target = cache / f"{hashlib.blake2b(mark.encode(), digest_size=16).hexdigest()}.npy"
        if target.exists():
            return target
        shape = table.metadata.num_rows, len(own)
        with temporary(target) as new:
            rows = np.lib.format.open_memmap(new, "w+", np.float32, shape)
            at = 0
            for batch in table.iter_batches(_ROWS):
                for j, column in enumerate(batch.columns):
                    rows[at : at + len(batch), j] = _numbers(column, f"{file}: column {own[j]!r}")
                at += len(batch)
            rows.flush()
            os.replace(new, target)
    return target


def _numbers(column: Any, where: str) -> NDArray[np.float32]:
    """A column as float32; raise ``DataError`` if it is not of numbers, or loses them in that precision."""
    values = np.asarray(column)
    if values.dtype.kind not in "biuf":
        raise DataError(f"{where}: shards of tables are of numbers without missing values; got {column.type}")
    rounded = values.astype(np.float32)
    apart, spread = np.abs(values.astype(np.float64) - rounded).max(), values.astype(np.float64).std()
    if apart > _LOST * spread:
        raise DataError(f"{where}: its values differ by too little to be kept as float32: subtract their mean")
    return rounded
