"""Rows that stay on disk: they are read when a batch asks for them."""

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrogen.data.image_files import Pictures
from pyrogen.nn.precision import standard

FROM_BYTES = 2**31
"""Arrays and folders of images that take as much memory, or more, stay on disk."""
SHOWN = 100_000
"""How many rows stand for all where a statistic of the whole set is asked for, or fewer if they are large."""
_SHOWN_BYTES = 2**31
_CHUNK = 2**26


class MemoryMapped:
    """Rows of a ``.npy`` file or a folder of images, in a given order, that behave like a tensor on ``device``.

    Args:
        array: the memory-mapped array, or the image files, ``(n, *event)``.
        rows: which of its rows, and in which order; all by default.
        device: where the rows that are read shall lie.
    """

    def __init__(
        self, array: NDArray[Any] | Pictures, rows: Tensor | None = None, device: torch.device | str | None = None
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
        """The rows at ``index``, read from disk."""
        where = self.rows[index.cpu() if isinstance(index, Tensor) else index]
        return floats(torch.from_numpy(self.array[where.numpy()])).to(self.device, non_blocking=True)

    def part(self, rows: Tensor) -> "MemoryMapped":
        """Some of the rows, still on disk."""
        return MemoryMapped(self.array, self.rows[rows], self.device)

    def to(self, device: torch.device | str) -> "MemoryMapped":
        """The same rows, to be read to another device."""
        return MemoryMapped(self.array, self.rows, device)

    def sample(self) -> Tensor:
        """An index of at most ``SHOWN`` rows: the first ones, which a shuffled split has drawn at random."""
        return torch.arange(min(len(self), self.most(SHOWN)))

    def most(self, rows: int) -> int:
        """As many of so many rows as may be in memory, as ``float32``."""
        return max(1, min(rows, _SHOWN_BYTES // (4 * prod(self.shape[1:]))))


def held(array: Pictures) -> Tensor | MemoryMapped:
    """The rows in memory, or on disk if they are large."""
    return MemoryMapped(array) if array.nbytes >= FROM_BYTES else floats(torch.from_numpy(array[:]))


def floats(rows: Tensor) -> Tensor:
    """Rows as they are stored, but floats in torch's default type."""
    return rows.to(standard()) if rows.is_floating_point() else rows


def mapped(file: Path) -> NDArray[Any] | None:
    """The array of a large ``.npy`` file, mapped; ``None`` where it must, or may, be loaded.

    Mapped are ``uint8`` images and ``float32`` vectors and images, stored row by row.
    """
    if file.suffix.lower() != ".npy" or file.stat().st_size < FROM_BYTES:
        return None
    array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    channels_first = array.ndim == 4 and array.shape[1] in (1, 3)
    fits = (array.dtype == np.uint8 and array.ndim in (3, 4)) or array.dtype == np.float32
    if not fits or not array.flags.c_contiguous or (array.ndim == 4 and not channels_first):
        return None
    return array[:, None] if array.ndim in (1, 3) else array


def extremes(array: NDArray[Any]) -> tuple[float, float]:
    """The least and the greatest value, read in pieces; NaN if there is one."""
    rows = max(1, _CHUNK // max(1, array[0].nbytes))
    pieces = [array[i : i + rows] for i in range(0, len(array), rows)]
    return float(np.min([piece.min() for piece in pieces])), float(np.max([piece.max() for piece in pieces]))
