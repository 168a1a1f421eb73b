"""Storing data in memory in a file that ``load`` reads, so that a run can refer to them."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset as TorchDataset

from pyrogen.data.dataset import Dataset
from pyrogen.data.fingerprint import fingerprint
from pyrogen.data.loading import load
from pyrogen.data.sources.arrow import is_frame, parquet_bytes, to_arrow
from pyrogen.data.sources.dispatch import title
from pyrogen.data.sources.torch_data import from_memory, from_torch_dataset
from pyrogen.errors import DataError
from pyrogen.files import write_whole

MEMORY = "memory"
"""What stands for data in memory before they are stored."""


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


def named(source: Any) -> tuple[dict[str, Any], Snapshot | None]:
    """The settings of a configuration that name data, and what has to be stored for that.

    Args:
        source: the name or path of a data set; a ``Dataset`` of ``load``, which is loaded again; or data in memory.

    Returns:
        The settings ``data``, and for a ``Dataset`` ``data_root``, ``seed`` and the options of reading; and the data in
        memory, of which ``data`` says ``MEMORY`` until they are stored.

    Raises:
        DataError: if a ``Dataset`` was not made by ``load``, or on another type.
    """
    if isinstance(source, Dataset):
        if source.origin is None:
            raise DataError(
                f"the data set {source.name!r} was not loaded by pyrogen.load alone: give a path, a name or data in "
                "memory, as for load"
            )
        settings, stored = named(source.origin.source)
        root = None if source.origin.root is None else str(source.origin.root)
        return {**settings, "data_root": root, "seed": source.origin.seed, **source.origin.options}, stored
    if isinstance(source, str | Path):
        return {"data": source}, None
    return {"data": MEMORY}, snapshot(source)


def load_named(config: Any, stored: Snapshot | None, given: Any) -> Dataset:
    """The data set of a configuration that was made by ``named``.

    Args:
        config: the configuration, with its fields of reading.
        stored: data in memory.
        given: what ``named`` was given.

    Raises:
        DataError: if ``given`` is a ``Dataset`` that was changed after it was loaded, or data cannot be loaded.
    """
    source = config.data if stored is None else stored.source
    loaded = load(source, config.data_root, config.seed, **config.read_options)
    same_split = isinstance(given, Dataset) and given.origin is not None and given.origin.seed == config.seed
    if same_split and fingerprint(given) != fingerprint(loaded):
        raise DataError(
            f"the data set {given.name!r} was changed after it was loaded, and a run has to load it again: store the "
            "changed data and load those"
        )
    return loaded


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
