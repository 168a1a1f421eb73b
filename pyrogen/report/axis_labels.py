"""Names and numbers on small axes: shortened names, and ticks that fit."""

from math import ceil, log10
from unicodedata import east_asian_width

import numpy as np
from numpy.typing import NDArray

from pyrogen.data.columns import Column
from pyrogen.errors import printable
from pyrogen.report.formatting import MINUS

Floats = NDArray[np.float64]

_UNITS = ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))  # from this number on, in this unit, with this letter
NAME_WIDTH = 16.0  # ems of a name that fit above a panel
TICKS_WIDTH = 10.0  # ems of all tick labels that fit below a panel


def text_width(text: str) -> float:
    """The approximate width of a text in ems."""
    return sum(_character_width(character) for character in text)


def _character_width(character: str) -> float:
    if character in "mwMW@%" or east_asian_width(character) in "WF":
        return 1.0
    return 0.36 if character in "iljftrI|!.,:;' " else 0.76 if character.isupper() else 0.62


def short_name(name: str, width: float) -> str:
    """A name of at most ``width`` ems, without its middle if it is longer; not read as a formula.

    >>> short_name("household_income_in_euros", 10)
    'household…_euros'
    """
    name = shown = printable(" ".join(name.split()))
    kept = len(name)
    while text_width(shown) > width and kept > 2:
        kept -= 1
        end = 2 * kept // 5
        shown = f"{name[: kept - end]}…{name[len(name) - end :]}"
    return shown.replace("$", r"\$")


def column_title(column: Column, width: float = NAME_WIDTH) -> str:
    """The name of a column, shortened; ``column 3`` for a column of an array, whose name is its position."""
    return f"column {column.name}" if column.name.isdecimal() else short_name(column.name, width)


def value_names(column: Column) -> tuple[str, ...]:
    """The texts of a column's values by code; empty for a column of numbers."""
    return ("False", "True") if column.dtype == "bool" else column.values


def ticks(low: float, high: float, count: int = 4, whole: bool = False) -> tuple[Floats, list[str]]:
    """At most ``count`` round numbers between two limits, whole ones if asked, and their labels."""
    from matplotlib.ticker import MaxNLocator

    for bins in range(count, 0, -1):
        values = np.asarray(MaxNLocator(bins, steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(low, high))
        values = values[(values >= low) & (values <= high)]
        labels = tick_labels(values)
        if sum(text_width(label) + 1 for label in labels) <= TICKS_WIDTH:
            break
    return values, labels


def tick_labels(values: Floats) -> list[str]:
    """Numbers with the decimals that tell them apart: ``20k`` for 20,000, a typographic minus sign.

    >>> tick_labels(np.array([0.0, 50_000.0, 100_000.0]))
    ['0k', '50k', '100k']
    """
    if not len(values):
        return []
    largest = float(np.abs(values).max())
    unit, letter = next(((unit, letter) for least, unit, letter in _UNITS if largest >= least), (1.0, ""))
    spacing = float(np.diff(values).min()) / unit if len(values) > 1 else largest / unit or 1.0
    decimals = max(0, ceil(-log10(spacing) - 1e-6)) if spacing else 0
    # 2.5 and 0.25 have one decimal more than their size says.
    decimals += bool(abs(spacing * 10**decimals - round(spacing * 10**decimals)) > 1e-6)
    if decimals > 4 or largest / unit >= 1e5:
        return [f"{v:.3g}".replace("-", MINUS) for v in values]
    return [f"{v / unit + 0.0:.{decimals}f}{letter}".replace("-", MINUS) for v in values]
