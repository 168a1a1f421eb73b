"""Arrays, from memory or a ``.npy`` or ``.npz`` file: images, or vectors as the columns of a table.

Images are returned in compact form: grey levels as ``uint8``, to be dequantised on every read, and images of higher
precision as floats in [0, 1].
"""

import os
import re
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from pyrogen.data.checks import check_finite
from pyrogen.data.columns import array_names
from pyrogen.data.memmap import MemoryMapped, min_max, open_memmap
from pyrogen.data.sources.grey_levels import check_on_disk, image_rows
from pyrogen.data.sources.untrusted import MOST_COLUMNS, check_expansion, check_holes, check_memory, reading
from pyrogen.data.space import Space, real_space
from pyrogen.data.table import DEFAULTS, RawData, ReadOptions, encode_labels, only_images, only_tables, table_data
from pyrogen.errors import DataError
from pyrogen.files import regular_file

EXPECTED = "vectors (n, d) or images (n, h, w), (n, c, h, w) or (n, h, w, c) with 1 or 3 channels"
"""The shapes of arrays, for messages."""


def from_array(path: str | Path, options: ReadOptions = DEFAULTS, space: Space | None = None) -> RawData:
    """Read data from a ``.npy`` file, or from a ``.npz`` file: ``x`` or its only array, and labels ``y`` if present.

    A ``.npy`` file of 2 GiB or more with ``uint8`` images or ``float32`` values stays on disk and is memory-mapped.

    Args:
        path: the file.
        options: how it is read.
        space: the space of earlier data, which these must have; by default it is determined anew.

    Returns:
        The data, with labels if there are any, as ``array_data`` describes them.

    Raises:
        DataError: naming the file, and the unsupported shape, dtype or values.
    """
    file = Path(os.path.expanduser(path))
    where = str(file)
    with reading(where, "numbers saved by numpy.save or numpy.savez"):
        check_holes(file, where)
        with regular_file(file) as stream:
            size = os.fstat(stream.fileno()).st_size
            if stream.read(2) == b"PK":
                x, y = x_and_y(_arrays_of_npz(stream, size, where), where, "an array")
            else:
                _check_header(stream, size)
                mapped = open_memmap(file) if options == DEFAULTS else None
                if mapped is not None:
                    return on_disk(mapped, (), where)
                check_memory(size, where)
                x, y = np.load(stream, allow_pickle=False), None
    return array_data(x, y, where, options, space)


def array_data(
    x: NDArray[Any],
    y: NDArray[Any] | None,
    where: str,
    options: ReadOptions = DEFAULTS,
    space: Space | None = None,
) -> RawData:
    """Read arrays as data.

    Images are ``(n, h, w)``, ``(n, c, h, w)`` or ``(n, h, w, c)`` with one or three channels: integers (up to 255: of
    8 bits; else of 10, 12, 14 or 16 bits, by the greatest value), or floats in [0, 1]. Booleans, and arrays that
    contain only zeros and ones, are binary. Float images whose values are all k / m, with m up to 256, are grey levels.
    Vectors are ``(n, d)`` or ``(n,)``, and are read as a table whose columns are named by their position.

    Args:
        x: the data.
        y: labels ``(n,)``, whole numbers or texts; the distinct ones are the classes.
        where: the file or argument that they come from; messages begin with it.
        options: how they are read.
        space: the space of earlier data, which these must have; by default it is determined anew.

    Raises:
        DataError: on unsupported shapes, dtypes or values.
    """
    x = _checked(x, where)
    if y is not None and (y.ndim != 1 or len(y) != len(x)):
        raise DataError(f"{where}: expected one label y for each of {len(x)} rows, got shape {y.shape}")
    if y is not None and options.target is not None:
        raise DataError(f"{where}: expected labels in y or in the column {options.target!r}, got both")
    if x.ndim in (1, 2):
        only_images(options, where)
        columns = x.reshape(len(x), -1)
        if columns.shape[1] > MOST_COLUMNS:
            raise DataError(f"{where}: expected at most {MOST_COLUMNS:,} columns, got {columns.shape[1]:,}")
        table = dict(zip(array_names(columns.shape[1]), columns.T, strict=True))
        return table_data(table, where, options, space, labels=y)
    only_tables(options, where, "images")
    if options.size is not None:
        raise DataError(f"{where}: size is an option of image files; resize arrays before loading them")
    stored, found = image_rows(_channels_first(x, where), where, space)
    if y is None:
        return RawData(stored, None, (), found)
    return RawData(stored, *encode_labels(y, f"{where}: y"), found)


def _checked(x: NDArray[Any], where: str) -> NDArray[Any]:
    """The array, with NaN for masked values; raise on an unsupported dtype or number of dimensions."""
    if isinstance(x, np.ma.MaskedArray):
        x = np.ma.filled(x.astype(np.float64), np.nan) if np.ma.is_masked(x) else x.data
    if x.dtype.kind not in "biuf":
        hints = {"c": ": use its real and imaginary parts", "O": ": put texts and mixed columns into a DataFrame"}
        hints |= {"U": hints["O"], "S": hints["O"], "M": ": convert dates to numbers", "V": hints["O"]}
        raise DataError(f"{where}: expected an array of numbers, got dtype {x.dtype}{hints.get(x.dtype.kind, '')}")
    if x.size == 0 or x.ndim not in (1, 2, 3, 4):
        raise DataError(f"{where}: expected {EXPECTED}, got shape {x.shape}")
    return x.astype(np.float64) if x.dtype.itemsize > 8 else x


def _channels_first(x: NDArray[Any], where: str) -> NDArray[Any]:
    """``(n, c, h, w)`` from any of the shapes of images.

    Raises:
        DataError: for another number of channels, and for what looks like one image without its batch dimension.
    """
    if x.ndim == 3:
        if x.shape[0] in (1, 3) or (x.shape[2] in (3, 4) and x.shape[1] > 4):
            raise DataError(
                f"{where}: expected {EXPECTED}, got shape {x.shape}, as of one image: use x[None] for one image, or "
                "x[:, None] for grey ones"
            )
        return x[:, None]
    if x.shape[1] in (1, 3):
        return x
    if x.shape[3] in (1, 3):
        return np.moveaxis(x, 3, 1)
    drop = {1: "x[:, :3]", 3: "x[..., :3]"}
    alpha = next((f"; leave transparency out with {cut}" for axis, cut in drop.items() if x.shape[axis] == 4), "")
    raise DataError(f"{where}: expected {EXPECTED}, got shape {x.shape}{alpha}")


def on_disk(array: Any, columns: Sequence[str], where: str) -> RawData:
    """Return a large array, or shards of one, memory-mapped, after one pass over it to validate its values."""
    low, high = min_max(array)
    check_finite(torch.tensor([low, high]), where)
    names = columns or array_names(array.shape[1])
    space = real_space(names) if array.ndim == 2 else check_on_disk(array, low, high, where)
    return RawData(MemoryMapped(array), None, (), space)


# A subset of what numpy writes, matched instead of evaluated as Python; quantifiers do not backtrack.
_HEADER = re.compile(
    r"\{\s*+(?:(?:"
    r"'descr'\s*+:\s*+'(?P<dtype>[<>|=]?[A-Za-z]\d{0,9}(?:\[[A-Za-z]{1,2}\])?)'"
    r"|'fortran_order'\s*+:\s*+(?:True|False)"
    r"|'shape'\s*+:\s*+\((?P<shape>[\d, ]*+)\)"
    r")\s*+(?:,\s*+)?){3}\}\s*+"
)


def _check_header(stream: IO[bytes], size: int) -> None:
    """Raise unless the header of an array in ``size`` bytes is one of numbers or texts that fit into them.

    The stream is read from its start, and left there.

    Raises:
        ValueError: naming the declared shape and size, or what there is in place of a header.
    """
    stream.seek(0)
    version, _ = np.lib.format.read_magic(stream)
    length = int.from_bytes(stream.read(2 if version == 1 else 4), "little")
    header = stream.read(min(length, 10_000)).decode("latin-1")
    found = _HEADER.fullmatch(header)
    if found is None or None in found.groups():
        raise ValueError(f"not the header of an array of numbers, {header[:80]!r}")
    stream.seek(0)
    dtype, shape = np.dtype(found["dtype"]), tuple(int(n) for n in found["shape"].split(",") if n.strip())
    declared = prod(shape) * max(1, dtype.itemsize)
    if declared > size and not dtype.hasobject:  # pickled objects have no size, and numpy refuses them
        raise ValueError(f"a header of shape {shape}, {dtype}: {declared:,} bytes, in a file of {size:,}")


def _arrays_of_npz(stream: IO[bytes], size: int, where: str) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz`` file; pickled objects are rejected, since they can execute code."""
    with ZipFile(stream) as archive:
        members = archive.infolist()
        unpacked = sum(member.file_size for member in members)
        check_expansion(size, unpacked, where)
        check_memory(unpacked, where)
        arrays = {}
        for member in members:
            with archive.open(member) as file:
                _check_header(file, member.file_size)
                arrays[member.filename.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
    return arrays


def read_arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz`` file by name, or that of a ``.npy`` file as ``array``, as they are.

    Raises:
        DataError: if the file is not of that kind, or an array does not fit into the memory.
    """
    where = str(path)
    with reading(where, "numbers saved by numpy.save or numpy.savez"), regular_file(Path(path)) as stream:
        size = os.fstat(stream.fileno()).st_size
        if stream.read(2) == b"PK":
            return _arrays_of_npz(stream, size, where)
        _check_header(stream, size)
        check_memory(size, where)
        return {"array": np.load(stream, allow_pickle=False)}


def x_and_y(parts: Mapping[str, Any], where: str, what: str) -> tuple[Any, Any]:
    """``x``, or the only entry beside ``y``, and ``y`` or ``None``, of a mapping from a file."""
    names = parts.keys() - {"y"}
    if "x" not in names and len(names) != 1:
        shown = ", ".join(map(repr, sorted(map(str, parts))[:6]))
        raise DataError(f"{where}: expected {what} 'x' and optional labels 'y', got {shown or 'nothing'}")
    return parts["x" if "x" in names else names.pop()], parts.get("y")
