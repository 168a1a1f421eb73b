"""Missing values in tables."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrogen.errors import DataError

Columns = Mapping[str, NDArray[Any]]


def _is_missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind == "O":
        return np.array([v is None or v != v for v in values.tolist()], dtype=bool)
    return np.zeros(len(values), dtype=bool)


def without_missing(
    table: Columns, parts: tuple[int, int, int] | None, drop: bool, where: str
) -> tuple[Columns, tuple[int, int, int] | None]:
    """Drop or refuse rows with missing values; refuse infinite ones.

    Args:
        table: columns by name; NaN or ``None`` where a value is missing.
        parts: the number of rows in each part of a split, or ``None``.
        drop: leave rows with missing values out.
        where: the file or argument that the table comes from; messages begin with it.

    Returns:
        The table without missing values, with arrays of objects as arrays of booleans or numbers where they can be,
        and the number of rows that are left in each part.

    Raises:
        DataError: naming the row and column of the first value that is missing or infinite.
    """
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
        return {name: _settled(values) for name, values in table.items()}, parts
    if gone.all():
        raise DataError(f"{where}: every row has a missing value")
    if parts is not None:
        train, valid, _ = parts
        kept = [int((~part).sum()) for part in np.split(gone, [train, train + valid])]
        parts = (kept[0], kept[1], kept[2])
    return {name: _settled(values[~gone]) for name, values in table.items()}, parts


def _settled(values: NDArray[Any]) -> NDArray[Any]:
    """An array of objects as one of booleans or numbers, if all of them are."""
    if values.dtype.kind != "O":
        return values
    kinds = {type(value) for value in values.tolist()}
    if kinds == {bool}:
        return values.astype(np.bool_)
    if kinds <= {int, float}:
        whole = kinds == {int} and all(-(2**63) <= value < 2**63 for value in values.tolist())
        return values.astype(np.int64 if whole else np.float64)
    return values
