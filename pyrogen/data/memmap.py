"""Rows that are not in memory: they stay on disk and are read when a batch needs them, or are not at hand."""

import os
from math import prod
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrogen.data.sources.image_files import ImageFiles
from pyrogen.errors import DataError
from pyrogen.nn.precision import default_dtype

DISK_THRESHOLD = 2**31
"""Arrays and image folders of at least this many bytes stay on disk."""
SAMPLE_ROWS = 100_000
"""The most rows used for statistics of a data set on disk; fewer if rows are large."""
_SAMPLE_BYTES = 2**31
_CHUNK = 2**26


@runtime_checkable
class Stamped(Protocol):
    """Rows in one or more files, indexed by position."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n, *event)``."""
        ...

    @property
    def dtype(self) -> Any:
        """That of the rows."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> NDArray[Any]: ...

    def stamps(self) -> list[tuple[str, int, int]]:
        """The name and size of each file, and when it was changed or a checksum of its content."""
        ...


class MemoryMapped:
    """Rows of a ``.npy`` file or an image folder in a given order, indexed like a tensor on ``device``.

    Args:
        array: the memory-mapped array, ``(n, *event)``, or an object that is indexed like one.
        rows: the indices of its rows, in order; all by default.
        device: the device that rows are copied to.
    """

    def __init__(
        self, array: NDArray[Any] | Stamped, rows: Tensor | None = None, device: torch.device | str | None = None
    ) -> None:
        self.array = array
        self.rows = torch.arange(len(array)) if rows is None else rows
        self.device = torch.device(device or "cpu")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> torch.Size:
        """``(n, *event)``."""
        return torch.Size((len(self), *self.array.shape[1:]))

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """Read the rows at ``index`` from disk."""
        where = self.rows[index.cpu() if isinstance(index, Tensor) else index]
        return to_default_dtype(torch.from_numpy(self.array[where.numpy()])).to(self.device, non_blocking=True)

    def select(self, rows: Tensor) -> "MemoryMapped":
        """Return a subset of the rows, still on disk."""
        return MemoryMapped(self.array, self.rows[rows], self.device)

    def to(self, device: torch.device | str) -> "MemoryMapped":
        """Return the same rows, to be read to another device."""
        return MemoryMapped(self.array, self.rows, device)

    def stamps(self) -> list[tuple[str, int, int]]:
        """The name and size of each file that holds rows, and when it was changed or a checksum of its content.

        An array has no name: it is the same in another place.
        """
        if isinstance(self.array, Stamped):
            return self.array.stamps()
        file = getattr(self.array, "filename", None)
        found = None if file is None else os.stat(file)
        return [] if found is None else [("", found.st_size, int(found.st_mtime))]

    def sample_index(self) -> Tensor:
        """An index of at most ``SAMPLE_ROWS`` rows: the first ones, which are a random sample in a shuffled split."""
        return torch.arange(min(len(self), self.rows_in_memory(SAMPLE_ROWS)))

    def rows_in_memory(self, rows: int) -> int:
        """Return ``rows``, or as many as fit into the memory limit for samples, as ``float32``."""
        return max(1, min(rows, _SAMPLE_BYTES // (4 * prod(self.shape[1:]))))


class NoRows:
    """In place of rows of which only the number and the shape are known: reading them raises ``DataError``.

    Args:
        shape: ``(n, *event)``.
        name: what the data set is called.
        device: the device that rows would be on.
    """

    def __init__(self, shape: tuple[int, ...], name: str, device: torch.device | str = "cpu") -> None:
        self.shape, self.name, self.device = torch.Size(shape), name, torch.device(device)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """Raise ``DataError``."""
        raise DataError(f"the rows of {self.name!r} are needed here, and only their description is at hand")

    def to(self, device: torch.device | str) -> "NoRows":
        """Return the same for another device."""
        return NoRows(self.shape, self.name, device)


def load_or_map(images: NDArray[Any] | ImageFiles) -> Tensor | MemoryMapped:
    """Decoded images as a tensor; others stay on disk."""
    return MemoryMapped(images) if isinstance(images, ImageFiles) else to_default_dtype(torch.from_numpy(images))


def to_default_dtype(rows: Tensor) -> Tensor:
    """Convert floats to torch's default dtype; leave integers as they are."""
    return rows.to(default_dtype()) if rows.is_floating_point() else rows


def open_memmap(file: Path) -> NDArray[Any] | None:
    """Memory-map a large ``.npy`` file; ``None`` if it is small or must be converted."""
    return map_array(file) if file.suffix.lower() == ".npy" and file.stat().st_size >= DISK_THRESHOLD else None


def map_array(file: Path) -> NDArray[Any] | None:
    """Memory-map a ``.npy`` file of ``uint8`` images or ``float32`` vectors or images in C order; else ``None``."""
    array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    channels_first = array.ndim == 4 and array.shape[1] in (1, 3)
    fits = (array.dtype == np.uint8 and array.ndim in (3, 4)) or array.dtype == np.float32
    if not fits or not array.flags.c_contiguous or (array.ndim == 4 and not channels_first):
        return None
    return array[:, None] if array.ndim in (1, 3) else array


def min_max(array: NDArray[Any] | Stamped) -> tuple[float, float]:
    """Return the minimum and maximum, read in chunks; NaN if there is one."""
    rows = max(1, _CHUNK // max(1, array[:1].nbytes))
    pieces = [array[i : i + rows] for i in range(0, len(array), rows)]
    return float(np.min([piece.min() for piece in pieces])), float(np.max([piece.max() for piece in pieces]))
