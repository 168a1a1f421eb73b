"""Scatter plots, histograms and training curves, and the plot that suits the shape of samples.

Every function returns the bytes of the image and also writes them to ``path`` if given.
"""

import io
from collections.abc import Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Literal

import numpy as np
from torch import Tensor

from pyrogen.data.columns import Column
from pyrogen.data.shown.image_grid import grid_png
from pyrogen.errors import DataError
from pyrogen.files import Target, write_optional
from pyrogen.report.axis_labels import column_title
from pyrogen.report.canvas import GENERATED, MUTED, PANEL, REAL, SERIES, TITLE_LENGTH, canvas, legend_above, png
from pyrogen.report.curve_data import LogRows, base_name, group_curves, robust_limits, summarise_curve
from pyrogen.report.table_plots import table_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


_SCALES = 5.0  # the largest ratio of the ranges of two columns in a plot with equal scales


def scatter_png(
    points: Tensor,
    reference: Tensor | None = None,
    path: Target = None,
    labels: tuple[str, str] = ("x₁", "x₂"),
    colour: str = GENERATED,
) -> bytes:
    """Plot generated points over real ones, with equal scales of both axes.

    The axis limits are those of the real points, so that plots of several models are comparable; the number of
    generated points outside is printed.

    Args:
        points: the generated points, ``(n, 2)``, in the unit of the data; non-finite rows are left out.
        reference: real points, ``(m, 2)``.
        path: the file to write the PNG to, optional.
        labels: the labels of the two axes.
        colour: a matplotlib colour for the generated points.

    Returns:
        The bytes of the PNG.

    Raises:
        DataError: if the points are not pairs, or there are none.
    """
    drawn = _finite_rows(points, 2)
    real = None if reference is None else _finite_rows(reference, 2)
    with canvas(PANEL, PANEL) as figure:
        axes = figure.add_subplot()
        axes.set(xlabel=labels[0], ylabel=labels[1])
        low, high = _window(drawn if real is None else real)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        if real is not None:
            axes.scatter(real[:, 0], real[:, 1], s=7, color=REAL, alpha=0.55, linewidths=0, label="real")
        axes.scatter(drawn[:, 0], drawn[:, 1], s=7, color=colour, alpha=0.6, linewidths=0, label="generated")
        inside = (drawn >= low).all(1) & (drawn <= high).all(1)
        _annotate(axes, len(points) - int(inside.sum()), legend=real is not None)
        return write_optional(png(figure), path)


def histogram_png(
    values: Tensor,
    reference: Tensor | None = None,
    path: Target = None,
    colour: str = GENERATED,
    label: str = "x",
) -> bytes:
    """Plot a histogram of generated numbers over one of real numbers, with the axis limits of the real ones.

    Args:
        values: the generated numbers, ``(n,)`` or ``(n, 1)``, in the unit of the data.
        reference: real numbers, ``(m,)`` or ``(m, 1)``.
        path: the file to write the PNG to, optional.
        colour: a matplotlib colour for the generated numbers.
        label: the label of the axis.

    Returns:
        The bytes of the PNG.

    Raises:
        DataError: if the data are not single numbers, or there are none.
    """
    drawn = _finite_rows(values.reshape(len(values), -1), 1)[:, 0]
    real = None if reference is None else _finite_rows(reference.reshape(len(reference), -1), 1)[:, 0]
    with canvas(PANEL, 0.7 * PANEL) as figure:
        axes = figure.add_subplot()
        axes.set(xlabel=label, ylabel="density")
        low, high = _window((drawn if real is None else real)[:, None])
        bins = np.linspace(low[0], high[0], 41).tolist()
        inside = drawn[(drawn >= low) & (drawn <= high)]
        if real is not None:
            axes.hist(real, bins, density=True, color=REAL, alpha=0.55, label="real")
        if len(inside):
            # Normalised by the number of all samples, so that those outside the limits reduce the area.
            weights = np.full(len(inside), 1 / (len(drawn) * (bins[1] - bins[0])))
            axes.hist(inside, bins, weights=weights, histtype="step", color=colour, linewidth=1.6, label="generated")
        _annotate(axes, len(values) - len(inside), legend=real is not None)
        return write_optional(png(figure), path)


def samples_png(
    samples: Tensor,
    reference: Tensor | None = None,
    path: Target = None,
    colour: str = GENERATED,
    columns: Sequence[Column] = (),
    across: int = 4,
) -> bytes:
    """Plot samples in a way that suits their shape.

    ``(n, c, h, w)`` gives an image grid, ``(n, 2)`` a scatter plot, ``(n, 1)`` and ``(n,)`` a histogram. Longer
    vectors, discrete columns, and two columns of different scales are plotted as a table
    (:func:`pyrogen.report.table_png`).

    Args:
        samples: ``(n, *event)``; vectors in the user's units.
        reference: real data, ``(m, *event)``; not shown in an image grid.
        path: the file to write the PNG to, optional.
        colour: a matplotlib colour for points and histograms of samples.
        columns: the columns of vectors, with their names and kinds; by default real ones.
        across: the number of panels beside each other in the plot of a table.

    Returns:
        The bytes of the PNG.

    Raises:
        DataError: if samples of this shape cannot be plotted, or there are none.
    """
    kind = plot_kind(samples, reference, columns)
    if kind == "images":
        return grid_png(samples, path)
    if kind == "histogram":
        return histogram_png(samples, reference, path, colour, column_title(columns[0]) if columns else "x")
    if kind == "scatter":
        labels = (column_title(columns[0]), column_title(columns[1])) if columns else ("x₁", "x₂")
        return scatter_png(samples, reference, path, labels, colour)
    return table_png(samples, reference, columns, path, colour, across)


def plot_kind(
    samples: Tensor, reference: Tensor | None = None, columns: Sequence[Column] = ()
) -> Literal["images", "histogram", "scatter", "table"]:
    """The kind of plot that suits samples; the arguments are those of :func:`samples_png`."""
    if samples.dim() == 4:
        return "images"
    if samples.dim() not in (1, 2):
        raise DataError(f"expected samples (n,), (n, d) or images (n, c, h, w); got shape {tuple(samples.shape)}")
    real = all(column.kind == "real" for column in columns)
    if samples.dim() == 1 or samples.shape[1] == 1:
        return "histogram" if real else "table"
    base = samples if reference is None else reference
    if samples.shape[1] == 2 and real and (not columns or _of_one_scale(base)):
        return "scatter"
    return "table"


def _of_one_scale(points: Tensor) -> bool:
    """Whether two columns vary by a similar amount, so that they can share the scale of a plot."""
    rows = _finite_rows(points, 2)
    if len(rows) < 2:
        return True
    spread = np.ptp(rows, axis=0)
    return bool(spread.max() <= _SCALES * spread.min())


def curves_png(curves: LogRows | Mapping[str, LogRows], path: Target = None, loss_unit: str | None = None) -> bytes:
    """Plot the training curves of one run, or of several models in one panel each.

    Args:
        curves: rows ``{"t": step, NAME: number, …}`` in order of time, or ``{model: rows}``. All finite numbers are
            drawn except ``seconds`` and ``examples_per_second``; quantities with different units have separate axes.
        path: the file to write the PNG to, optional.
        loss_unit: the unit of ``loss``, such as ``nats per datum``; ignored for adversarial losses, which have none.

    Returns:
        The bytes of the PNG.
    """
    panels = (curves if isinstance(curves, Mapping) else {"": curves}) or {"": []}
    columns = min(3, len(panels))
    lines = ceil(len(panels) / columns)
    tallest = max(_height(rows) for rows in panels.values())
    with canvas(columns * PANEL if len(panels) > 1 else 1.5 * PANEL, lines * tallest) as figure:
        parts = figure.subfigures(lines, columns, squeeze=False).flat
        for part, (name, rows) in zip(parts, panels.items(), strict=False):
            _draw_curves(part, rows, loss_unit, name)
        return write_optional(png(figure), path)


def curves_svg(rows: LogRows, loss_unit: str | None = None) -> str:
    """Plot training curves as SVG (see :func:`curves_png`), with the width of a phone's screen."""
    with canvas(PANEL, _height(rows)) as figure:
        _draw_curves(figure, rows, loss_unit)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        return buffer.getvalue()


def _draw_curves(part: "Figure | SubFigure", rows: LogRows, loss_unit: str | None, title: str = "") -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    groups = group_curves(rows, loss_unit)
    if title:
        title = title if len(title) <= TITLE_LENGTH else title[: TITLE_LENGTH - 1] + "…"
        part.suptitle(title, x=0.02, ha="left", fontweight="bold", fontsize=10)
    if not groups:
        part.text(0.5, 0.5, "nothing finite was logged", ha="center", va="center", color=MUTED)
        return
    stack = np.atleast_1d(part.subplots(len(groups), 1, sharex=True))
    for axes, (unit, curves) in zip(stack, groups.items(), strict=True):
        colours = dict(zip(dict.fromkeys(map(base_name, curves)), SERIES * len(curves), strict=False))
        for name, (t, values) in curves.items():
            t, low, middle, high = summarise_curve(t, values)
            style = {"color": colours[base_name(name)], "marker": "o" if len(t) < 30 else "", "markersize": 3}
            axes.plot(t, middle, "--" if name != base_name(name) else "-", label=name.replace("_", " "), **style)
            if len(t) < len(values):
                axes.fill_between(t, low, high, color=style["color"], alpha=0.18, linewidth=0)
        axes.set_ylim(*robust_limits(list(curves.values())))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,g}".replace("-", "\N{MINUS SIGN}")))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        only = next(iter(curves)).replace("_", " ")
        alone = only if only.endswith(unit) else f"{only} ({unit})"  # "valid loss" says all that "loss" does
        axes.set_ylabel(unit if len(curves) > 1 or unit.startswith(only) else alone)
        if len(curves) > 1:
            legend_above(axes)
    stack[-1].set_xlabel("step")


def _height(rows: LogRows) -> float:
    return 50 + 150 * max(1, len(group_curves(rows)))


def _finite_rows(points: Tensor, width: int) -> np.ndarray:
    """Return the finite rows, ``(n, width)``, in float64."""
    if points.dim() != 2 or points.shape[1] != width or not len(points):
        raise DataError(f"expected points of shape (n, {width}) with n > 0; got {tuple(points.shape)}")
    rows = points.detach().double().cpu()
    return rows[rows.isfinite().all(1)].numpy()


def _window(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of a square (in one dimension, an interval) that contains the points, with a margin."""
    if not len(points):
        points = np.repeat([[-1.0], [1.0]], points.shape[1], axis=1)
    low, high = points.min(0), points.max(0)
    half = 0.56 * (high - low).max() or 1.0
    return (low + high) / 2 - half, (low + high) / 2 + half


def _annotate(axes: "Axes", outside: int, legend: bool) -> None:
    if legend:
        legend_above(axes)
    if outside:
        axes.set_title(f"{outside:,} outside", loc="right", fontsize=9, color=MUTED)
