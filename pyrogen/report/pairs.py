"""Pairs of columns: which depend on each other most, and how they vary together in real and generated data."""

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pyrogen.data.columns import Column
from pyrogen.report.axis_labels import NAME_WIDTH, TICKS_WIDTH, Floats, column_title, short_name, text_width, ticks
from pyrogen.report.canvas import REAL
from pyrogen.report.marginals import Groups, groups, limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 600  # the most points of each kind in a scatter plot
CELL = 42.0  # points of the sides of squares, for one category
ROTATED_WIDTH = 5.5  # ems of a category that is written vertically
_QUANTILES = 6  # bins of a column of numbers, when the dependence of two columns is measured
_ROWS = 5000  # the most rows that dependence is measured on


def dependent_pairs(rows: Floats, columns: Sequence[Column], count: int) -> list[tuple[int, int]]:
    """The ``count`` pairs of columns that depend on each other most.

    Dependence is Cramér's V with bias correction (Bergsma, 2013), of categories and of numbers in quantile bins; it
    measures also dependence that is not linear.

    Args:
        rows: ``(n, columns)``, finite.
        columns: the columns.
        count: the number of pairs.
    """
    rows = rows[:_ROWS]
    codes = [_codes(values, column) for values, column in zip(rows.T, columns, strict=True)]
    strength = {(i, j): cramers_v(codes[i], codes[j]) for i, j in combinations(range(len(columns)), 2)}
    return sorted(sorted(strength, key=lambda pair: -strength[pair])[:count])


def cramers_v(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """Cramér's V of two columns of codes with bias correction: 0 for independent ones, 1 for a function."""
    n, size_a, size_b = len(a), int(a.max(initial=0)) + 1, int(b.max(initial=0)) + 1
    table = np.bincount(a * size_b + b, minlength=size_a * size_b).reshape(size_a, size_b).astype(np.float64)
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / max(n, 1)
    phi2 = float(((table - expected) ** 2 / np.maximum(expected, 1e-12)).sum()) / max(n, 1)
    corrected = max(0.0, phi2 - (size_a - 1) * (size_b - 1) / max(n - 1, 1))
    free = min(size - (size - 1) ** 2 / max(n - 1, 1) for size in (size_a, size_b)) - 1
    return float(np.sqrt(corrected / free)) if free > 0 else 0.0


def _codes(values: Floats, column: Column) -> NDArray[np.int64]:
    """Codes 0 … K-1 of the values that occur; numbers with many values in quantile bins."""
    distinct, codes = np.unique(values, return_inverse=True)
    if not column.values and len(distinct) > _QUANTILES + 2:
        inner = np.quantile(values, np.linspace(0, 1, _QUANTILES + 1)[1:-1])
        _, codes = np.unique(np.searchsorted(inner, values, "right"), return_inverse=True)
    return codes.reshape(-1).astype(np.int64)


def draw_pair(
    axes: "Axes", pair: Sequence[Column], real: Floats | None, drawn: Floats, colour: str, noise: np.random.Generator
) -> None:
    """Draw two columns against each other, in a way that suits them.

    Two columns of numbers as a scatter plot; a discrete column with few values against numbers as strips, real above
    generated; two of them as squares whose area is the share of rows, real left of generated.

    Args:
        axes: the axes to draw on.
        pair: the two columns; the one with fewer values is put on the vertical axis.
        real: real values ``(n, 2)``, which determine the limits; ``None`` if there are none.
        drawn: generated values ``(n, 2)``.
        colour: a matplotlib colour for generated values.
        noise: the generator of the jitter.
    """
    base = drawn if real is None else real
    kinds = [groups(column, base[:, i]) for i, column in enumerate(pair)]
    order = [1, 0] if _breadth(kinds[0]) > _breadth(kinds[1]) else [0, 1]
    (x, y), (across, up) = (pair[i] for i in order), (kinds[i] for i in order)
    parts = [(rows[:, order], shade) for rows, shade in ((real, REAL), (drawn, colour)) if rows is not None]
    axes.set_title(f"↑ {column_title(y, NAME_WIDTH - 1)}", loc="left")
    axes.set_xlabel(f"{column_title(x, NAME_WIDTH - 1)} →")
    _axis(axes, "x", x, base[:, order[0]], across)
    _axis(axes, "y", y, base[:, order[1]], up)
    if across is not None and up is not None:
        cells = [(across(rows[:, 0]), up(rows[:, 1]), shade) for rows, shade in parts]
        _squares(axes, cells, min(CELL / len(across.labels), 2 * CELL / len(up.labels)))
        return
    points, shades, count = [], [], min(POINTS, *(len(rows) for rows, _ in parts))
    for i, (rows, shade) in enumerate(parts):
        some = rows[np.isfinite(rows).all(1)][:count]
        if up is None:
            at = _jittered(some[:, 1], y, noise)
        else:
            above = (0.21 if len(parts) > 1 else 0.0) * (1 - 2 * i) * (-1 if len(up.position) else 1)
            at = up(some[:, 1]) + above + noise.uniform(-0.16, 0.16, len(some))
        points.append(np.stack([_jittered(some[:, 0], x, noise), at], 1))
        shades += [shade] * len(some)
    mixed = noise.permutation(len(shades))  # neither hides the other
    where = np.concatenate(points)[mixed]
    axes.scatter(where[:, 0], where[:, 1], s=4, c=np.array(shades)[mixed], alpha=0.6, linewidths=0)


def _breadth(known: Groups | None) -> float:
    """How much room an axis needs: for its values, then for their labels. The vertical axis needs more."""
    return 0.0 if known is None else len(known.labels) + 0.01 * sum(map(text_width, known.labels))


def _axis(axes: "Axes", name: str, column: Column, values: Floats, known: Groups | None) -> None:
    """Set the limits and ticks of an axis."""
    axis, set_limits = (axes.xaxis, axes.set_xlim) if name == "x" else (axes.yaxis, axes.set_ylim)
    if known is None:
        low, high = limits(values)
        pad = max(0.04 * (high - low), column.step / 2) or 0.5
        set_limits(low - pad, high + pad)
        axis.set_ticks(*ticks(low, high, whole=column.step >= 1))
        return
    count = len(known.labels)
    labels = list(known.labels)
    if name == "x" and sum(text_width(label) + 1 for label in labels) > TICKS_WIDTH:
        labels = [short_name(label, ROTATED_WIDTH) for label in labels]
        axes.tick_params("x", labelrotation=90)
    axis.set_ticks(range(count), labels)
    # Categories are read from top to bottom, numbers from bottom to top.
    set_limits(*((count - 0.45, -0.55) if name == "y" and len(known.position) else (-0.55, count - 0.45)))
    axes.grid(axis="y" if name == "y" else "x", visible=False)


def _jittered(values: Floats, column: Column, noise: np.random.Generator) -> Floats:
    """Values with uniform noise within the cell of a lattice."""
    return values + column.step * noise.uniform(-0.5, 0.5, len(values)) if column.step else values


def _squares(axes: "Axes", parts: Sequence[tuple[Floats, Floats, str]], room: float) -> None:
    """Draw a square at each pair of values, real left of generated; its area is proportional to the share of rows.

    Args:
        axes: the axes to draw on.
        parts: positions ``x (n,)`` and ``y (n,)`` and the colour.
        room: the length of the longest side in points.
    """
    squares = []
    for x, y, colour in parts:
        inside = np.isfinite(x) & np.isfinite(y)
        cells, counts = np.unique(np.stack([x[inside], y[inside]], 1), axis=0, return_counts=True)
        squares.append((cells, counts / max(1, len(x)), colour))
    largest = max((share.max(initial=0.0) for _, share, _ in squares)) or 1.0
    for i, (cells, share, colour) in enumerate(squares):
        shift = 0.4 * (i - 0.5) if len(squares) > 1 else 0.0
        area = room**2 * share / largest
        axes.scatter(cells[:, 0] + shift, cells[:, 1], s=area, marker="s", color=colour, alpha=0.75, linewidths=0)
