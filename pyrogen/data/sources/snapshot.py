"""Storing data in memory in a file that ``load`` reads, so that a run can refer to them."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset as TorchDataset

from pyrogen.data.sources.arrow import is_frame, parquet_bytes, to_arrow
from pyrogen.data.sources.dispatch import title
from pyrogen.data.sources.torch_data import from_memory, from_torch_dataset
from pyrogen.files import write_whole


@dataclass(frozen=True)
class Snapshot:
    """Data in memory that can be stored.

    Args:
        source: the data, as ``load`` accepts them.
        file_name: the name of their file.
        as_bytes: returns its content.
    """

    source: Any
    file_name: str
    as_bytes: Callable[[], bytes]

    def save(self, path: Path) -> None:
        """Write the file."""
        write_whole(path, self.as_bytes())


def snapshot(source: Any) -> Snapshot:
    """Data in memory in a form that can be stored: tables as Parquet, arrays, tensors and data sets as ``.npz``.

    Args:
        source: data in memory, as for ``load``; the items of a torch ``Dataset`` are read once.

    Raises:
        DataError: on another type.
    """
    where = title(source)
    if is_frame(source):
        table = to_arrow(source, where)
        return Snapshot(table, "data.parquet", lambda: parquet_bytes(table))
    x, y = from_torch_dataset(source, where) if isinstance(source, TorchDataset) else from_memory(source, where)
    if y is not None and y.dtype.kind == "O":
        y = y.astype(str)
    return Snapshot(x if y is None else (x, y), "data.npz", lambda: _npz(x, y))


def _npz(x: Any, y: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **({"x": x} if y is None else {"x": x, "y": y}))
    return buffer.getvalue()
