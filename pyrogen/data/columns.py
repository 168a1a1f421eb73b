"""The columns of a table: what kind of values each has, and the lattice on which discrete values lie."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyrogen.errors import DataError

Kind = Literal["real", "integer", "binary", "categorical"]

_DECIMALS = 9
_DIGITS = 300
EXACT = 2.0**53
"""Beyond this, float64 does not hold every whole number."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        name: its name; the position, ``"0"``, ``"1"``, …, in an array.
        kind: ``real``; ``integer``, values on a lattice ``low + k step``; ``binary``, a lattice of two values; or
            ``categorical``, stored as codes 0 … K-1 of ``values``.
        step: the distance of neighbouring values of the lattice; 0 for reals, 1 for categories.
        values: the texts of a categorical column, or of a binary one that holds texts.
        low: the least value of the lattice.
        cells: the number of values of the lattice between the least and the greatest; 0 for reals.
        dtype: the numpy dtype of the user's values, such as ``int64``; ``str`` for texts.
    """

    name: str
    kind: Kind
    step: float = 0.0
    values: tuple[str, ...] = ()
    low: float = field(default=0.0, compare=False)
    cells: int = field(default=0, compare=False)
    dtype: str = field(default="float64", compare=False)

    @property
    def width(self) -> int:
        """The number of dimensions in model coordinates: K for a categorical column, else 1."""
        return len(self.values) if self.kind == "categorical" else 1

    def codes(self, values: NDArray[Any], where: str) -> NDArray[Any]:
        """Values of the user as numbers: codes for texts, unchanged otherwise.

        Raises:
            DataError: naming a text that is not among ``self.values`` or not a number, and its row.
        """
        if not self.values:
            return self._numbers(values, where) if values.dtype.kind in "OUS" else values
        texts = as_texts(values)
        known = {text: code for code, text in enumerate(self.values)}
        codes = np.array([known.get(text, -1) for text in texts.tolist()], dtype=np.float64)
        if (codes < 0).any():
            row = int((codes < 0).argmax())
            known_texts = ", ".join(self.values)
            raise DataError(
                f"{where}: row {row + 1}, column {self.name!r}: expected one of {known_texts}; got {texts[row]!r}"
            )
        return codes

    def _numbers(self, texts: NDArray[Any], where: str) -> NDArray[np.float64]:
        row = next((i for i, text in enumerate(texts.tolist()) if not is_number(text)), None)
        if row is not None:
            raise DataError(f"{where}: row {row + 1}, column {self.name!r}: expected a number, got {str(texts[row])!r}")
        return texts.astype(np.float64)

    def check(self, numbers: NDArray[Any], where: str) -> None:
        """Raise unless all values of other data lie on the lattice of this column.

        Raises:
            DataError: naming the first value that does not, and its row.
        """
        if not self.step or self.values:
            return
        cell = (numbers.astype(np.float64) - self.low) / self.step
        wrong = np.abs(cell - cell.round()) > 1e-3
        if self.kind == "binary":
            wrong |= (cell < -0.5) | (cell > self.cells - 0.5)
        if wrong.any():
            row = int(wrong.argmax())
            lattice = "0 or 1" if self.kind == "binary" else f"{self.low:g} plus a multiple of {self.step:g}"
            found = f"as in the training data, got {numbers[row]:g}"
            raise DataError(f"{where}: row {row + 1}, column {self.name!r}: expected {lattice}, {found}")

    def to_user(self, numbers: NDArray[np.float64]) -> NDArray[Any]:
        """Numbers in the user's dtype: texts for codes, and decimals such as 0.3 without rounding error."""
        if self.values:
            return np.array(self.values, dtype=object)[numbers.astype(np.int64)]
        decimals = decimal_places(self.low, self.step) if self.step else None
        return (numbers if decimals is None else numbers.round(decimals)).astype(np.dtype(self.dtype))


def decimal_places(low: float, step: float) -> int | None:
    """The number of decimals of the values of a lattice, at most nine; ``None`` if they have more."""
    for places in range(_DECIMALS + 1):
        if all(abs(value - round(value, places)) <= 1e-6 * step for value in (low, step)):
            return places
    return None


def is_number(text: Any) -> bool:
    """Whether a text, or a value of an array of objects, is that of a number."""
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True


def as_texts(values: NDArray[Any]) -> NDArray[Any]:
    """Values as an array of Python strings; whole numbers without a decimal point."""
    if values.dtype.kind == "f" and bool((values == values.round()).all()) and bool((np.abs(values) < EXACT).all()):
        values = values.astype(np.int64)
    return np.array([str(v) for v in values.tolist()], dtype=object)


def distinct_texts(values: NDArray[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Values as texts, and the distinct ones: numbers in ascending, texts in natural order."""
    texts = as_texts(values)
    if values.dtype.kind in "biuf":
        return texts, tuple(as_texts(np.unique(values)).tolist())
    return texts, tuple(sorted(set(texts.tolist()), key=natural_key))


def natural_key(text: str) -> tuple[Any, ...]:
    """A sort key that puts ``2`` before ``11``: runs of digits compare as numbers."""
    parts = (part for part in re.split(r"(\d+)", text) if part)
    return tuple((0, _whole(part), "") if part.isdecimal() else (1, 0, part) for part in parts)


def _whole(digits: str) -> int:
    """A number; one of very many digits, which Python does not convert, by their count."""
    return int(digits) if len(digits) <= _DIGITS else 10**_DIGITS + len(digits)


def describe_column(name: str, values: NDArray[Any], categorical: bool = False) -> Column | None:
    """Determine the kind of a column from its values; ``None`` if it is constant.

    Args:
        name: the name of the column.
        values: ``(n,)``: numbers without NaN, booleans or texts.
        categorical: whether the user has declared the column categorical.
    """
    if categorical or values.dtype.kind in "OUS":
        _, known = distinct_texts(values)
        if len(known) == 1:
            return None
        kind: Kind = "binary" if len(known) == 2 else "categorical"
        dtype = "str" if values.dtype.kind in "OUS" else values.dtype.name
        return Column(name, kind, 1.0, known, cells=2, dtype=dtype)
    distinct = np.unique(values)
    if len(distinct) == 1:
        return None
    dtype = values.dtype.name
    if values.dtype.kind == "b" or (len(distinct) == 2 and distinct[0] == 0 and distinct[1] == 1):
        return Column(name, "binary", 1.0, cells=2, dtype=dtype)
    step = lattice_step(distinct, len(values))
    if not step:
        return Column(name, "real", dtype=dtype)
    low, high = float(distinct[0]), float(distinct[-1])
    return Column(name, "integer", step, low=low, cells=round((high - low) / step) + 1, dtype=dtype)


def lattice_step(distinct: NDArray[Any], n: int) -> float:
    """The greatest step of which all differences are multiples; 0.0 if the values are real.

    Whole numbers always lie on a lattice. Fractions do if at most half of them are distinct, so that a density on them
    would be unbounded, and if they are decimals of up to nine places or multiples of their least difference.

    Args:
        distinct: the distinct values in ascending order, at least two.
        n: the number of values, with repetitions.
    """
    if distinct.dtype.kind in "iu":
        whole_numbers = distinct.astype(np.int64)
        return float(np.gcd.reduce(whole_numbers[1:] - whole_numbers[0]))
    numbers = distinct.astype(np.float64)
    whole = bool((numbers == numbers.round()).all()) and float(np.abs(numbers).max()) < EXACT
    if not whole and 2 * len(distinct) > n:
        return 0.0
    offsets, eps = numbers - numbers[0], float(np.finfo(distinct.dtype).eps)
    for unit in (*(10.0**-k for k in range(_DECIMALS + 1)), float(np.diff(numbers).min())):
        multiples = offsets / unit
        tolerance = 4 * eps * float(np.abs(numbers).max()) / unit
        if tolerance < 0.01 and float(np.abs(multiples - multiples.round()).max()) <= max(tolerance, 1e-9):
            return float(np.gcd.reduce(multiples.round().astype(np.int64))) * unit
    return 0.0


def repeated_share(values: NDArray[Any]) -> tuple[float, float]:
    """The most frequent value, and its share of all values."""
    distinct, counts = np.unique(values, return_counts=True)
    most = int(counts.argmax())
    return float(distinct[most]), float(counts[most] / len(values))


def array_names(count: int) -> Sequence[str]:
    """The names of the columns of an array: their positions."""
    return [str(i) for i in range(count)]
