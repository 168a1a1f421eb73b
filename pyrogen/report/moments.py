"""Means, standard deviations and correlations of columns: real against generated values."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from pyrogen.data.columns import Column
from pyrogen.report.axis_labels import NAME_WIDTH, Floats, column_title, short_name, ticks, value_names
from pyrogen.report.canvas import MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CORRELATED = 150  # the most columns whose correlations are drawn


@dataclass(frozen=True)
class Moments:
    """The mean and standard deviation of a column, or the share of a category.

    Args:
        name: the column, or ``column: category``.
        is_share: whether the values are 0 and 1, so that the mean is the share of a category.
        real, generated: mean and standard deviation over the finite values.
    """

    name: str
    is_share: bool
    real: tuple[float, float]
    generated: tuple[float, float]


def indicators(rows: Floats, columns: Sequence[Column]) -> tuple[list[str], list[bool], Floats]:
    """Columns of numbers, and a column of zeros and ones for every category, but one for the two of a binary column.

    Returns:
        The names, whether each is a category, and the values ``(n, D)``.
    """
    names, shares, parts = [], [], []
    for values, column in zip(rows.T, columns, strict=True):
        title, texts = column_title(column, inf), value_names(column)
        if not texts:
            names.append(title)
            shares.append(False)
            parts.append(values)
        for code, text in list(enumerate(texts))[column.kind == "binary" :]:
            names.append(f"{title}: {text}")
            shares.append(True)
            parts.append((values == code).astype(np.float64))
    return names, shares, np.stack(parts, 1)


def column_moments(real: Floats, drawn: Floats, columns: Sequence[Column]) -> list[Moments]:
    """Compare the mean and deviation of each column, and the share of each category."""
    names, shares, values = indicators(real, columns)
    *_, others = indicators(drawn, columns)
    both = zip(_mean_and_std(values), _mean_and_std(others), strict=True)
    return [Moments(name, share, *pair) for name, share, pair in zip(names, shares, both, strict=True)]


def _mean_and_std(values: Floats) -> list[tuple[float, float]]:
    finite = [column[np.isfinite(column)] for column in values.T]
    return [(float(v.mean()), float(v.std())) if len(v) else (np.nan, np.nan) for v in finite]


def draw_means(axes: "Axes", compared: Sequence[Moments], colour: str) -> None:
    """Draw the difference of the means of each column, in standard deviations of the real values."""
    shift = [(m.generated[0] - m.real[0]) / (m.real[1] or 1.0) for m in compared]
    _dots(axes, "difference of means / σ", shift, 0.0, compared, colour)


def draw_deviations(axes: "Axes", compared: Sequence[Moments], colour: str) -> None:
    """Draw the ratio of the standard deviations of each column, generated to real."""
    ratio = [m.generated[1] / (m.real[1] or 1.0) for m in compared]
    _dots(axes, "ratio of σ", ratio, 1.0, compared, colour)


def draw_correlations(axes: "Axes", real: Floats, drawn: Floats, columns: Sequence[Column], colour: str) -> None:
    """Draw the correlation of every pair of columns, generated against real."""
    pairs = []
    for rows in (real, drawn):
        *_, values = indicators(rows, columns)
        values = values[np.isfinite(values).all(1)][:, :_CORRELATED]
        centred = values - (values.mean(0) if len(values) else 0.0)
        scaled = centred / np.maximum(np.sqrt((centred**2).sum(0)), 1e-300)
        pairs.append((scaled.T @ scaled)[np.triu_indices(scaled.shape[1], 1)])
    axes.axline((0, 0), slope=1, color=MUTED, linewidth=0.9)
    axes.scatter(pairs[0], pairs[1], s=5, color=colour, alpha=0.4, linewidths=0)
    at = [-1.0, -0.5, 0.0, 0.5, 1.0]
    labels = ["−1", "", "0", "", "1"]
    axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), xlabel="real →")
    axes.set_xticks(at, labels)
    axes.set_yticks(at, labels)
    axes.set_title("↑ correlations, generated", loc="left")


def _dots(
    axes: "Axes", title: str, values: Sequence[float], ideal: float, compared: Sequence[Moments], colour: str
) -> None:
    """Draw a dot for each column, in order, and a line where they would be ideal; far ones at the margin."""
    at = np.nan_to_num(np.array(values, dtype=np.float64), nan=np.inf)
    distance = np.abs(at - ideal)
    finite = distance[np.isfinite(distance)]
    reach = max(0.2, 1.2 * float(np.quantile(finite, 0.98))) if len(finite) else 1.0
    axes.axhline(ideal, color=MUTED, linewidth=0.9)
    axes.scatter(range(len(at)), at.clip(ideal - reach, ideal + reach), s=7, color=colour, linewidths=0)
    axes.set_title(title, loc="left")
    axes.set_ylim(ideal - 1.1 * reach, ideal + 1.1 * reach)
    axes.set_yticks(*ticks(ideal - reach, ideal + reach))
    axes.set_xticks([])
    axes.set_xlabel(f"farthest: {short_name(compared[int(distance.argmax())].name, NAME_WIDTH - 5)}")
