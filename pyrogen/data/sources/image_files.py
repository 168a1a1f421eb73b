"""Image files as rows of an array: headers are read at construction, pixels when a row is indexed."""

import os
from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrogen.data.sources.decode import open_image, read_header, read_pixels
from pyrogen.data.sources.stores import Store
from pyrogen.errors import DataError

_DEPTHS = (8, 10, 12, 14, 16)


def bit_depth(peak: int) -> int:
    """The least common bit depth, 8, 10, 12, 14 or 16, of grey levels up to ``peak``."""
    return next(depth for depth in _DEPTHS if peak < 2**depth)


class ImageFiles:
    """Image files of one size that are read by index: ``images[index]`` is ``(len(index), c, h, w)``.

    The rows are ``uint8`` intensities, or ``float32`` in [0, 1] if some image has grey levels of more than 8 bits:
    these are divided by ``2^depth - 1``. There is one channel if every image is grey, else three. The constructor reads
    only headers, except for images with a palette or more than 8 bits, whose storage format depends on their pixels.

    Args:
        store: where the files are.
        names: the names of the image files there, at least one.
        size: resize the shorter side to this length and crop the centre to a square.

    Attributes:
        peak: the greatest value of the images of 16 bits, 0 if there are none.
        depth: their bit depth; 8 if all images can be stored as ``uint8``.

    Raises:
        DataError: naming a file that is not an image, or whose size differs from that of the first.
    """

    def __init__(self, store: Store, names: Sequence[str], size: int | None = None) -> None:
        self.store, self.size = store, size
        headers = [self._open(name, partial(read_header, size=size)) for name in names]
        for name, header in zip(names, headers, strict=True):
            if header.size != headers[0].size:
                raise sizes_differ(store, (names[0], headers[0].size), (name, header.size))
        # One block of bytes, which worker processes share; reference counting would copy the pages of a list.
        self.files = np.array([os.fsencode(name) for name in names])
        self.shape = (len(names), 1 if all(header.grey for header in headers) else 3, *headers[0].size)
        self.peak = max(header.peak for header in headers)
        self._scaled = all(header.scaled for header in headers)
        self.depth = 8 if self._scaled else bit_depth(self.peak)
        self.dtype = np.dtype(np.uint8 if self.depth == 8 else np.float32)

    def _open(self, name: str, read: Any) -> Any:
        return open_image(self.store, name, read)

    def __len__(self) -> int:
        return len(self.files)

    def stamps(self) -> list[tuple[str, int, int]]:
        """The name of each file with its stamp."""
        return [(name, *self.store.stamp(name)) for name in map(os.fsdecode, self.files)]

    @property
    def nbytes(self) -> int:
        """The size of all rows in memory."""
        return prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, index: NDArray[np.int64] | slice) -> NDArray[Any]:
        """The images at ``index``, decoded.

        Raises:
            DataError: naming a file that is damaged or has changed since its header was read.
        """
        files = self.files[index]
        rows = np.empty((len(files), *self.shape[1:]), self.dtype)
        for row, encoded in zip(rows, files, strict=True):
            name = os.fsdecode(encoded)
            planes = _planes(self._stored(self._open(name, partial(read_pixels, size=self.size))))
            if planes.shape[1:] != row.shape[1:] or len(planes) > len(row):
                where = self.store.where(name)
                raise DataError(f"{where}: expected pixels of shape {row.shape} as in its header, got {planes.shape}")
            row[:] = planes
        return rows

    def _stored(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Convert ``uint8`` or ``uint16`` pixels to the dtype of the rows."""
        is_deep = pixels.dtype == np.uint16
        if self.dtype == np.float32:
            return pixels / np.float32(2**self.depth - 1 if is_deep else 255)
        levels = (pixels + np.uint32(128)) // 257 if is_deep and self._scaled else pixels  # rounded, if resized
        return levels.astype(np.uint8, copy=False)


def read_images(
    store: Store, names: Sequence[str], size: int | None, below: int
) -> tuple[NDArray[Any] | ImageFiles, int]:
    """The images as an array, or unread if they take ``below`` bytes or more, and their ``peak``.

    Images of 8 bits are opened and decoded once: reading headers first would take half as long again.

    Args:
        store, names, size: as for ``ImageFiles``.
        below: the limit in bytes.
    """
    first = open_image(store, names[0], partial(read_header, size=size))
    shape = (len(names), 1 if first.grey else 3, *first.size)
    rows = np.empty(shape, np.uint8) if prod(shape) < below else None
    for i, name in enumerate(names):
        if rows is None:
            break
        pixels = open_image(store, name, partial(read_pixels, size=size))
        planes = _planes(pixels)
        if planes.shape[1:] != first.size:
            raise sizes_differ(store, (names[0], first.size), (name, planes.shape[1:]))
        if len(planes) > rows.shape[1]:  # the first image in colour, after grey ones
            rows = np.repeat(rows, 3, axis=1) if 3 * rows.nbytes < below else None
        if rows is None or pixels.dtype != np.uint8:
            rows = None
        else:
            rows[i] = planes
    if rows is not None:
        return rows, 0
    files = ImageFiles(store, names, size)
    return (files if files.nbytes >= below else files[:]), files.peak


def _planes(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)


def sizes_differ(store: Store, first: tuple[str, Any], other: tuple[str, Any]) -> DataError:
    """The error for two images of different sizes ``(height, width)``."""
    (name, (h, w)), (other_name, (other_h, other_w)) = first, other
    return DataError(
        f"expected images of one size, but {store.where(name)} is {w} x {h} and {store.where(other_name)} is "
        f"{other_w} x {other_h} pixels; --size {min(h, w)} (size={min(h, w)}) resizes and crops them"
    )
