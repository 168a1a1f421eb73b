"""The marginal distribution of one column: real against generated values, in the same bins."""

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyrogen.data.columns import Column
from pyrogen.report.axis_labels import Floats, column_title, short_name, tick_labels, ticks, value_names
from pyrogen.report.canvas import REAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 30  # the most bins of a histogram
BARS = 20  # the most values of a discrete column with a bar each
GROUPS = 8  # the most categories; of more, the least frequent are drawn as one
CATEGORY_WIDTH = 7.5  # ems of the name of a category
_TAIL = 0.005  # the share of real values on each side that limits ignore where the tails are long


@dataclass(frozen=True)
class Groups:
    """The values of a discrete column that has few, as positions 0 … K-1.

    Args:
        labels: the K labels; the last one may stand for several rare categories.
        position: by category, the position; empty for numbers.
        low, step: the first number and the distance of numbers.
    """

    labels: tuple[str, ...]
    position: NDArray[np.int64]
    low: float = 0.0
    step: float = 1.0

    def __call__(self, values: Floats) -> Floats:
        """The positions of values; NaN outside."""
        cells = np.round((values - self.low) / self.step)
        known = (cells >= 0) & (cells < (len(self.position) or len(self.labels)))
        if len(self.position):
            cells = self.position[np.where(known, cells, 0).astype(np.int64)].astype(np.float64)
        return np.where(known, cells, np.nan)


def limits(values: Floats) -> tuple[float, float]:
    """The range of values; with long tails, the range of 99% of them and a margin.

    >>> limits(np.append(np.arange(1000.0), 1e6))[1] < 2000
    True
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    near, far = np.quantile(values, (_TAIL, 1 - _TAIL)).tolist()
    if high - low > 1.6 * (far - near) > 0:
        margin = 0.1 * (far - near)
        low, high = max(low, near - margin), min(high, far + margin)
    return low, high


def lattice_cells(column: Column, values: Floats) -> tuple[float, int]:
    """The least value of a discrete column within its limits, and the number of values of the lattice there."""
    low, high = limits(values)
    first = round((low - column.low) / column.step)
    return column.low + column.step * first, max(1, round((high - column.low) / column.step) - first + 1)


def groups(column: Column, values: Floats, most: int = GROUPS) -> Groups | None:
    """The groups of a discrete column; ``None`` for reals and for more than ``most`` numbers."""
    names = value_names(column)
    if not names:
        if not column.step:
            return None
        low, count = lattice_cells(column, values)
        numbers = low + column.step * np.arange(min(count, most + 1), dtype=np.float64)
        empty = np.empty(0, np.int64)
        return Groups(tuple(tick_labels(numbers)), empty, low, column.step) if count <= most else None
    labels = [short_name(name, CATEGORY_WIDTH) for name in names]
    if len(names) <= most:
        return Groups(tuple(labels), np.arange(len(names)))
    counts = np.bincount(values[np.isfinite(values)].astype(np.int64), minlength=len(names))
    kept = np.sort(np.argsort(-counts, kind="stable")[: most - 1])
    position = np.full(len(names), most - 1)
    position[kept] = np.arange(most - 1)
    return Groups((*(labels[i] for i in kept), f"{len(names) - most + 1} others"), position)


def bin_edges(column: Column, values: Floats) -> Floats:
    """The edges of the bins of a histogram; bins of a discrete column hold a whole number of values each."""
    if column.step:
        low, count = lattice_cells(column, values)
        stride = 1 if count <= BARS else ceil(count / BINS)
        return low + column.step * (stride * np.arange(ceil(count / stride) + 1.0) - 0.5)
    low, high = limits(values)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, BINS + 1)


def draw_marginal(axes: "Axes", column: Column, real: Floats | None, drawn: Floats, colour: str) -> None:
    """Draw the shares of the bins: real values filled, generated ones as an outline.

    Shares are of all values, so that those outside the limits are missing from them; they are counted below the axis.

    Args:
        axes: the axes to draw on.
        column: the column.
        real: real values in the user's units, which determine bins and limits; ``None`` if there are none.
        drawn: generated values.
        colour: a matplotlib colour for generated values.
    """
    axes.set_title(column_title(column), loc="left")
    if value_names(column):
        _draw_bars(axes, groups(column, drawn if real is None else real), real, drawn, colour)
        return
    edges = bin_edges(column, drawn if real is None else real)
    width, centres = edges[1:] - edges[:-1], (edges[1:] + edges[:-1]) / 2
    shares = [_shares(values, edges) for values in (real, drawn) if values is not None]
    bars = bool(column.step) and len(centres) <= BARS
    for share, style in zip(shares, _styles(real is not None, colour), strict=True):
        if bars:
            axes.bar(centres, share, 0.8 * width, **style)
        else:
            axes.stairs(share, edges, **style)
    pad = 0.02 * (edges[-1] - edges[0])
    axes.set(xlim=(edges[0] - pad, edges[-1] + pad), ylim=(0, 1.08 * max(map(max, shares)) or 1.0))
    few = bars and len(centres) <= 6
    at, labels = (centres, tick_labels(centres)) if few else ticks(edges[0], edges[-1], whole=column.step >= 1)
    axes.set_xticks(at, labels)
    axes.grid(axis="x", visible=False)
    _percent(axes.yaxis, float(axes.get_ylim()[1]))
    outside = [max(0.0, 1 - float(part.sum())) for part in shares]
    if outside[-1] >= 0.01:
        note = f"{_percentage(outside[-1])} outside"
        axes.set_xlabel(note + (f", real {_percentage(outside[0])}" if real is not None else ""))


def _draw_bars(axes: "Axes", known: Groups | None, real: Floats | None, drawn: Floats, colour: str) -> None:
    """Draw a horizontal bar for each category, the first one on top, with the names beside the axis."""
    assert known is not None
    count = len(known.labels)
    edges = np.arange(count + 1, dtype=np.float64) - 0.5
    shares = [_shares(known(values), edges) for values in (real, drawn) if values is not None]
    for share, style in zip(shares, _styles(real is not None, colour), strict=True):
        axes.barh(range(count), share, 0.8, **style)
    axes.set(ylim=(count - 0.5, -0.5), xlim=(0, 1.08 * max(map(max, shares)) or 1.0))
    axes.set_yticks(range(count), known.labels)
    axes.grid(axis="y", visible=False)
    _percent(axes.xaxis, float(axes.get_xlim()[1]))


def _styles(has_real: bool, colour: str) -> list[dict[str, Any]]:
    filled = {"fill": True, "facecolor": REAL, "alpha": 0.55, "linewidth": 0}
    return [filled] * has_real + [{"fill": False, "edgecolor": colour, "linewidth": 1.3}]


def _shares(values: Floats, edges: Floats) -> Floats:
    inside = values[np.isfinite(values)]
    return np.histogram(inside, edges)[0] / max(1, len(values))


def _percent(axis: Any, high: float) -> None:
    at, _ = ticks(0.0, high, 3)
    decimals = 0 if high > 0.02 else 1 if high > 0.002 else 2
    axis.set_ticks(at, [f"{100 * v:.{decimals}f}%" for v in at])


def _percentage(share: float) -> str:
    return "<1%" if 0 < share < 0.01 else f"{share:.0%}"
