"""A table as data: kinds of its columns, labels, missing and constant columns, in one place for every source."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrogen.data.columns import Column, as_texts, describe_column, natural_key, repeated_share
from pyrogen.data.memmap import MemoryMapped
from pyrogen.data.space import Space
from pyrogen.errors import DataError, DataWarning, unknown
from pyrogen.nn.precision import default_dtype

Table = Mapping[str, NDArray[Any]]
"""Columns by name, each ``(n,)``: numbers, booleans or texts; NaN or ``None`` where a value is missing."""

_REPEATED = 0.05  # a real value that takes at least this share of the rows makes a density unbounded


@dataclass(frozen=True)
class ReadOptions:
    """How a user's own data are read.

    Args:
        target: the column that holds the labels.
        categorical: columns of numbers that are categories.
        drop_constant: leave constant columns out, instead of refusing them.
        drop_missing: leave rows with missing values out, instead of refusing them.
        size: resize images to this height and width.
    """

    target: str | None = None
    categorical: Sequence[str] = ()
    drop_constant: bool = False
    drop_missing: bool = False
    size: int | None = None


DEFAULTS = ReadOptions()
"""Reading without options."""


class RawData(NamedTuple):
    """Data before they are split into training, validation and test data.

    Args:
        x: the stored rows, ``(n, *event)``: ``uint8`` grey levels, floats in [0, 1], or the columns of a table in the
            user's units; on disk if large.
        y: labels, ``long (n,)``, or ``None``.
        classes: the class names by label; empty without labels.
        space: the space of the data; if it has ``levels``, the rows are grey levels to be dequantised.
        parts: the number of rows of ``train``, ``valid`` and ``test``, in this order, where the source has its own
            split; ``None`` for a random one.
    """

    x: Tensor | MemoryMapped
    y: Tensor | None
    classes: tuple[str, ...]
    space: Space
    parts: tuple[int, int, int] | None = None


def table_data(
    table: Table,
    where: str,
    options: ReadOptions = DEFAULTS,
    space: Space | None = None,
    parts: tuple[int, int, int] | None = None,
) -> RawData:
    """Describe the columns of a table and convert them to numbers.

    Args:
        table: the columns, in order.
        where: the file or argument that the table comes from; messages begin with it.
        options: how it is read.
        space: the space of an earlier table, whose columns this one must have; by default they are determined anew.
        parts: as in ``RawData``.

    Raises:
        DataError: naming the row or column of a value that cannot be used.
    """
    _check_names(table, options, where)
    if space is not None:
        table = _columns_of(table, space, options.target, where)
    table, parts = _without_missing(table, parts, options.drop_missing, where)
    y, classes = _labels(table, options.target, where)
    features = {name: values for name, values in table.items() if name != options.target}
    if space is None:
        columns = _describe(features, options, where)
        binary = all(column.kind == "binary" for column in columns)
        space = Space("binary" if binary else "real", columns=columns)
    x = _numbers(features, space.columns, where)
    return RawData(x.to(default_dtype()) if space.support == "binary" else x, y, classes, space, parts)


def encode_labels(values: NDArray[Any], where: str) -> tuple[Tensor, tuple[str, ...]]:
    """Labels as codes 0 … K-1 and the names of the K classes, in natural order.

    Raises:
        DataError: for fractions, and for more than 20 classes that hardly repeat.
    """
    if values.ndim != 1:
        raise DataError(f"{where}: expected one label for each row, got shape {values.shape}")
    if values.dtype.kind == "f" and bool((values != values.round()).any()):
        raise DataError(f"{where}: expected labels, whole numbers or texts; got fractions such as {values[0]:g}")
    texts = as_texts(values)
    names = tuple(sorted(set(texts.tolist()), key=natural_key))
    if len(names) > max(20, len(texts) // 2):
        raise DataError(f"{where}: expected labels that repeat; got {len(names)} different ones in {len(texts)} rows")
    code = {name: i for i, name in enumerate(names)}
    return torch.tensor([code[text] for text in texts.tolist()]), names


def _check_names(table: Table, options: ReadOptions, where: str) -> None:
    for given in (*options.categorical, *([] if options.target is None else [options.target])):
        if given not in table:
            raise DataError(f"{where}: {unknown('column', given, table)}")
    if not table or not len(next(iter(table.values()))):
        raise DataError(f"{where}: expected at least one column and one row")


def _columns_of(table: Table, space: Space, target: str | None, where: str) -> Table:
    """The columns of ``space``, and the target, in the order of the space; other columns are ignored."""
    missing = [column.name for column in space.columns if column.name not in table]
    if missing:
        raise DataError(f"{where}: expected a column {missing[0]!r}, as in the training data; got {', '.join(table)}")
    names = [column.name for column in space.columns] + ([target] if target else [])
    return {name: table[name] for name in names}


def _is_missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind == "O":
        return np.array([v is None or v != v for v in values.tolist()], dtype=bool)
    return np.zeros(len(values), dtype=bool)


def _without_missing(
    table: Table, parts: tuple[int, int, int] | None, drop: bool, where: str
) -> tuple[Table, tuple[int, int, int] | None]:
    """Drop or refuse rows with missing values; refuse infinite ones."""
    gone = np.zeros(len(next(iter(table.values()))), dtype=bool)
    for name, values in table.items():
        missing = _is_missing(values)
        if missing.any() and not drop:
            row, count = int(missing.argmax()) + 1, int(missing.sum())
            raise DataError(
                f"{where}: row {row}, column {name!r}: the value is missing (NaN), as in {count} of {len(values)} "
                "rows; leave such rows out with --drop-missing (drop_missing=True)"
            )
        gone |= missing
        if values.dtype.kind == "f" and np.isinf(values).any():
            row = int(np.isinf(values).argmax())
            raise DataError(
                f"{where}: row {row + 1}, column {name!r}: expected a finite number, got {values[row]:g} (infinite)"
            )
    if not gone.any():
        return table, parts
    if gone.all():
        raise DataError(f"{where}: every row has a missing value")
    if parts is not None:
        train, valid, _ = parts
        kept = [int((~part).sum()) for part in np.split(gone, [train, train + valid])]
        parts = (kept[0], kept[1], kept[2])
    return {name: values[~gone] for name, values in table.items()}, parts


def _labels(table: Table, target: str | None, where: str) -> tuple[Tensor | None, tuple[str, ...]]:
    if target is None:
        return None, ()
    return encode_labels(table[target], f"{where}: column {target!r}")


def _describe(table: Table, options: ReadOptions, where: str) -> tuple[Column, ...]:
    columns, constant = [], []
    for name, values in table.items():
        column = describe_column(name, values, name in options.categorical)
        if column is None:
            constant.append(name)
        else:
            columns.append(column)
            _check_column(column, values, where)
    if constant and not options.drop_constant:
        first = table[constant[0]][0]
        others = f" (as {len(constant) - 1} others: {', '.join(constant[1:6])})" if len(constant) > 1 else ""
        raise DataError(
            f"{where}: column {constant[0]!r} is constant, {first!s} in every row{others}; "
            "leave constant columns out with --drop-constant (drop_constant=True)"
        )
    if not columns:
        raise DataError(f"{where}: expected a column that varies; all {len(constant)} are constant")
    return tuple(columns)


def _check_column(column: Column, values: NDArray[Any], where: str) -> None:
    """Refuse a categorical column that identifies rows; warn of a real one with a value that repeats."""
    if column.kind == "categorical" and len(column.values) > max(20, len(values) // 20):
        raise DataError(
            f"{where}: column {column.name!r} has {len(column.values)} different texts in {len(values)} rows, "
            f"such as {column.values[0]!r}: expected numbers, or a few categories"
        )
    if column.kind == "real":
        value, share = repeated_share(values)
        if share >= _REPEATED and len(values) >= 20:
            warnings.warn(
                f"{where}: column {column.name!r} is {value:g} in {share:.0%} of the rows and varies in the others: "
                "a density on it has no upper bound, and its likelihood says little",
                DataWarning,
                stacklevel=2,
            )


def _numbers(table: Table, columns: Sequence[Column], where: str) -> Tensor:
    """The columns as one tensor; of the dtype of the columns if they share one, else ``float64``."""
    parts = [column.codes(table[column.name], where) for column in columns]
    base = parts[0].base
    if base is not None and base.ndim == 2 and base.shape[1] == len(parts) and all(p.base is base for p in parts):
        whole: NDArray[Any] = base  # the columns of one array: no copy
    else:
        whole = np.stack([part.astype(np.float64, copy=False) for part in parts], 1)
    if whole.dtype.kind not in "iuf" or whole.dtype.itemsize < 1 or whole.dtype in (np.uint16, np.uint32, np.uint64):
        whole = whole.astype(np.float64)
    if not whole.flags.writeable or not whole.flags.c_contiguous:
        whole = np.ascontiguousarray(whole).copy() if not whole.flags.writeable else np.ascontiguousarray(whole)
    return torch.from_numpy(whole)
