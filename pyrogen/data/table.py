"""A table as data: kinds of its columns, labels, missing and constant columns, in one place for every source."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrogen.data.checks import REPEATED
from pyrogen.data.columns import EXACT, Column, describe_column, distinct_texts, is_number, repeated_share
from pyrogen.data.memmap import MemoryMapped
from pyrogen.data.sources.missing import without_missing
from pyrogen.data.sources.tensors import as_tensor
from pyrogen.data.space import Space
from pyrogen.errors import DataError, DataWarning, unknown
from pyrogen.nn.precision import default_dtype

Table = Mapping[str, NDArray[Any]]
"""Columns by name, each ``(n,)``: numbers, booleans or texts; NaN or ``None`` where a value is missing."""

_FEW = 20  # so many categories are few, and from so many rows on shares are told
_GREATEST = 1e150  # the square of greater numbers is infinite


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

    def with_categorical(self, names: Sequence[str]) -> "ReadOptions":
        """The same options with further categorical columns."""
        return replace(self, categorical=(*self.categorical, *names))


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
        files: the name of the file of each row, where rows are files.
    """

    x: Tensor | MemoryMapped
    y: Tensor | None
    classes: tuple[str, ...]
    space: Space
    parts: tuple[int, int, int] | None = None
    files: tuple[str, ...] = ()


def table_data(
    table: Table,
    where: str,
    options: ReadOptions = DEFAULTS,
    space: Space | None = None,
    parts: tuple[int, int, int] | None = None,
    labels: NDArray[Any] | None = None,
) -> RawData:
    """Describe the columns of a table and convert them to numbers.

    Args:
        table: the columns, in order.
        where: the file or argument that the table comes from; messages begin with it.
        options: how it is read.
        space: the space of an earlier table, whose columns this one must have; by default they are determined anew.
        parts: as in ``RawData``.
        labels: the labels ``(n,)``, in place of a column ``options.target``.

    Raises:
        DataError: naming the row or column of a value that cannot be used.
    """
    if labels is not None:
        table, options = {**table, "y": labels}, replace(options, target="y")
    _check_names(table, options, where)
    if space is not None:
        table = _columns_of(table, space, options.target, where)
    table, parts = without_missing(table, parts, options.drop_missing, where)
    y, classes = _labels(table, options.target, where)
    features = {name: values for name, values in table.items() if name != options.target}
    columns = _describe(features, options, where) if space is None else space.columns
    x = _numbers(features, columns, where)
    if space is None:
        binary = all(column.kind == "binary" for column in columns)
        space = Space("binary" if binary else "real", columns=columns)
    else:
        for column, values in zip(columns, x.T, strict=True):
            column.check(values.numpy(), where)
    return RawData(x.to(default_dtype()) if space.support == "binary" else x, y, classes, space, parts)


def encode_labels(values: NDArray[Any], where: str) -> tuple[Tensor, tuple[str, ...]]:
    """Labels as codes 0 … K-1 and the names of the K classes: numbers in ascending, texts in natural order.

    Raises:
        DataError: for fractions, and for more than 20 classes that hardly repeat.
    """
    if values.ndim != 1 or values.dtype.kind not in "biufOUS":
        raise DataError(f"{where}: expected one label for each row, got shape {values.shape}, dtype {values.dtype}")
    if values.dtype.kind == "f" and bool((values != values.round()).any()):
        row = int((values != values.round()).argmax())
        raise DataError(f"{where}: row {row + 1}: expected labels, whole numbers or texts; got {values[row]:g}")
    texts, names = distinct_texts(values)
    if len(names) > max(20, len(texts) // 2):
        raise DataError(f"{where}: expected labels that repeat; got {len(names)} different ones in {len(texts)} rows")
    code = {name: i for i, name in enumerate(names)}
    return torch.tensor([code[text] for text in texts.tolist()]), names


def only_tables(options: ReadOptions, where: str, what: str) -> None:
    """Raise if an option of tables is given for ``what``."""
    given = [name for name, value in vars(options).items() if value and name != "size"]
    if given:
        raise DataError(f"{where}: {given[0]} is an option of tables, got {what}")


def only_images(options: ReadOptions, where: str) -> None:
    """Raise if an option of images is given for a table."""
    if options.size is not None:
        raise DataError(f"{where}: size is an option of image files, got a table")


def _check_names(table: Table, options: ReadOptions, where: str) -> None:
    for given in (*options.categorical, *([] if options.target is None else [options.target])):
        if given not in table:
            raise DataError(f"{where}: {unknown('column', given, table)}")
    if not table or not len(next(iter(table.values()))):
        raise DataError(f"{where}: expected at least one column and one row, got {len(table)} columns and no rows")
    if set(table) <= {options.target}:
        raise DataError(f"{where}: expected columns beside the target {options.target!r}, found none")


def _columns_of(table: Table, space: Space, target: str | None, where: str) -> Table:
    """The columns of ``space``, and the target, in the order of the space; other columns are ignored."""
    if not space.columns:
        raise DataError(f"{where}: expected a {space}, as in the training data; got a table")
    missing = [column.name for column in space.columns if column.name not in table]
    if missing:
        raise DataError(f"{where}: expected a column {missing[0]!r}, as in the training data; got {', '.join(table)}")
    names = [column.name for column in space.columns] + ([target] if target else [])
    return {name: table[name] for name in names}


def _labels(table: Table, target: str | None, where: str) -> tuple[Tensor | None, tuple[str, ...]]:
    if target is None:
        return None, ()
    return encode_labels(table[target], f"{where}: column {target!r}")


def _describe(table: Table, options: ReadOptions, where: str) -> tuple[Column, ...]:
    n = len(next(iter(table.values())))
    if n < 3:
        raise DataError(f"{where}: expected at least 3 rows, for training, validation and test; got {n}")
    columns, constant = [], []
    for name, values in table.items():
        is_category = name in options.categorical
        if not is_category:
            _check_numbers(name, values, where)
        column = describe_column(name, values, is_category)
        if column is None:
            constant.append(name)
        else:
            columns.append(column)
            if not is_category:
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


def _check_numbers(name: str, values: NDArray[Any], where: str) -> None:
    """Refuse numbers that float64 does not hold; warn of a column that only counts the rows."""
    if values.dtype.kind not in "iuf":
        return
    limit = EXACT if values.dtype.kind in "iu" else _GREATEST
    beyond = np.abs(values.astype(np.float64, copy=False)) > limit
    if beyond.any():
        row = int(beyond.argmax())
        what = "numbers up to 2^53" if values.dtype.kind in "iu" else f"numbers up to {_GREATEST:g}"
        raise DataError(
            f"{where}: row {row + 1}, column {name!r}: expected {what}, got {values[row]}: leave identifiers out, and "
            "divide large numbers"
        )
    steps = np.diff(values.astype(np.int64)) if values.dtype.kind in "iu" and len(values) >= _FEW else np.zeros(1)
    if steps[0] and (steps == steps[0]).all():
        _warn(where, name, "only counts the rows: leave it out unless its order is of interest")


def _check_column(column: Column, values: NDArray[Any], where: str) -> None:
    """Refuse texts among numbers and texts that identify rows; warn of a real value that repeats."""
    if column.dtype == "str":
        words = [text for text in column.values if not is_number(text)]
        numbers = len(column.values) - len(words)
        if words and numbers >= 4 * len(words) and len(column.values) > min(_FEW, len(values) // 2):
            row = values.tolist().index(words[0])
            raise DataError(f"{where}: row {row + 1}, column {column.name!r}: expected a number, got {words[0]!r}")
    if column.kind == "categorical" and len(column.values) > max(_FEW, len(values) // 20):
        raise DataError(
            f"{where}: column {column.name!r} has {len(column.values)} different texts in {len(values)} rows, "
            f"such as {column.values[0]!r}: expected numbers, or a few categories"
        )
    if column.kind == "real":
        value, share = repeated_share(values)
        if share >= REPEATED and len(values) >= _FEW and share * len(values) > 2.5:
            _warn(
                where,
                column.name,
                f"is {value:g} in {share:.0%} of the rows and varies in the others: "
                "a density on it has no upper bound, and its likelihood says little",
            )


def _warn(where: str, name: str, text: str) -> None:
    warnings.warn(f"{where}: column {name!r} {text}", DataWarning, stacklevel=5)


def _numbers(table: Table, columns: Sequence[Column], where: str) -> Tensor:
    """The columns as one tensor; of the dtype of the columns if they share one, else ``float64``."""
    parts = [column.codes(table[column.name], where) for column in columns]
    whole = _array_of(parts)
    if whole is None:
        whole = np.stack([part.astype(np.float64, copy=False) for part in parts], 1)
    if whole.dtype.kind not in "iuf" or whole.dtype in (np.uint16, np.uint32, np.uint64, np.longdouble):
        whole = whole.astype(np.float64)
    return as_tensor(np.ascontiguousarray(whole, whole.dtype.newbyteorder("=")))


def _array_of(parts: Sequence[NDArray[Any]]) -> NDArray[Any] | None:
    """The array ``(n, d)`` whose columns these are, in order, without a copy; ``None`` if they are not of one."""
    first, size = parts[0], parts[0].dtype.itemsize
    start = first.__array_interface__["data"][0]
    for i, part in enumerate(parts):
        same = (part.dtype, part.strides, part.shape) == (first.dtype, first.strides, first.shape)
        if not same or part.__array_interface__["data"][0] != start + i * size:
            return None
    return np.lib.stride_tricks.as_strided(first, (len(first), len(parts)), (*first.strides, size), writeable=False)
