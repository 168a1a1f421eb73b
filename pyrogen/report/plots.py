"""Plots: clouds of points, histograms, training curves, and the picture that fits the shape of samples.

Every function returns the bytes of the picture and, given a ``path``, writes them there too. A plot is
drawn on a figure of its own, in the library's own style: neither the backend nor the ``rcParams`` of the
caller matter or change, and matplotlib is imported only when a plot is drawn.
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pyrogen.errors import DataError
from pyrogen.files import Target, keep
from pyrogen.report.curve_data import Rows, base_name, group_curves, robust_limits, summary
from pyrogen.report.image_grid import grid_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

PANEL = 350  # width of one plot in points; a phone of 390 shows it whole
TITLE = 44  # characters that fit above one plot
DPI = 144  # two pixels per point
INK, SOFT = "#23272f", "#5f6673"
REAL, GENERATED = "#858d9b", "#1f66d1"
SERIES = (GENERATED, "#d06a0b", "#12806a", "#a8328f", "#7a6a14", "#b3302f")
STYLE: dict[Any, Any] = {
    "font.size": 9.5, "text.color": INK, "axes.labelcolor": INK, "xtick.color": SOFT, "ytick.color": SOFT,
    "axes.edgecolor": SOFT, "axes.linewidth": 0.7, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": "#e6e8ec", "grid.linewidth": 0.7, "axes.xmargin": 0.02,
    "lines.linewidth": 1.5, "legend.frameon": False, "legend.fontsize": 9, "legend.markerscale": 2,
    "svg.fonttype": "path", "svg.hashsalt": "pyrogen",
}  # fmt: skip


def scatter_png(
    points: Tensor,
    reference: Tensor | None = None,
    path: Target = None,
    labels: tuple[str, str] = ("x₁", "x₂"),
    colour: str = GENERATED,
) -> bytes:
    """Generated points over real ones, both axes in one scale.

    The window is that of the real points, so that the clouds of several models can be laid side by side;
    the generated points that fall outside it are counted in the picture.

    Args:
        points: the generated points, ``(n, 2)``, in the unit of the data; rows that are not finite are left out.
        reference: real points, ``(m, 2)``.
        path: where to write the PNG, if anywhere.
        labels: what the two axes are.
        colour: of the points, as matplotlib names it.

    Raises:
        DataError: the points are not pairs, or there is none.
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
        _head(axes, len(points) - int(inside.sum()), legend=real is not None)
        return keep(png(figure), path)


def histogram_png(
    values: Tensor, reference: Tensor | None = None, path: Target = None, colour: str = GENERATED
) -> bytes:
    """The density of generated numbers over that of real ones, in the window of the real ones.

    Args:
        values: the generated numbers, ``(n,)`` or ``(n, 1)``, in the unit of the data.
        reference: real numbers, ``(m,)`` or ``(m, 1)``.
        path: where to write the PNG, if anywhere.
        colour: of the generated numbers, as matplotlib names it.

    Raises:
        DataError: the data are not single numbers, or there is none.
    """
    drawn = _finite_rows(values.reshape(len(values), -1), 1)[:, 0]
    real = None if reference is None else _finite_rows(reference.reshape(len(reference), -1), 1)[:, 0]
    with canvas(PANEL, 0.7 * PANEL) as figure:
        axes = figure.add_subplot()
        axes.set(xlabel="x", ylabel="density")
        low, high = _window((drawn if real is None else real)[:, None])
        bins = np.linspace(low[0], high[0], 41).tolist()
        inside = drawn[(drawn >= low) & (drawn <= high)]
        if real is not None:
            axes.hist(real, bins, density=True, color=REAL, alpha=0.55, label="real")
        if len(inside):
            # Divided by all that was drawn, so that what falls outside the window is missing from the area too.
            weights = np.full(len(inside), 1 / (len(drawn) * (bins[1] - bins[0])))
            axes.hist(inside, bins, weights=weights, histtype="step", color=colour, linewidth=1.6, label="generated")
        _head(axes, len(values) - len(inside), legend=real is not None)
        return keep(png(figure), path)


def samples_png(
    samples: Tensor, reference: Tensor | None = None, path: Target = None, colour: str = GENERATED
) -> bytes:
    """The picture that fits the shape of the samples.

    ``(n, c, h, w)`` is a contact sheet, ``(n, 2)`` a cloud, ``(n, 1)`` and ``(n,)`` a histogram. Longer
    vectors are shown in the plane of the first two principal axes of the real data (of the samples where
    there are none), which is one and the same plane for all models.

    Args:
        samples: ``(n, *event)``.
        reference: real data, ``(m, *event)``; a contact sheet does not show them.
        path: where to write the PNG, if anywhere.
        colour: of the samples where they are drawn as points or numbers.

    Raises:
        DataError: no picture fits the shape, or there is no sample.
    """
    if samples.dim() == 4:
        return grid_png(samples, path)
    if samples.dim() == 1 or samples.shape[1:] == (1,):
        return histogram_png(samples, reference, path, colour)
    if samples.dim() != 2:
        raise DataError(f"no picture fits samples of shape {tuple(samples.shape)}")
    if samples.shape[1] == 2:
        return scatter_png(samples, reference, path, colour=colour)
    centre, axes = _plane(samples if reference is None else reference)

    def project(x: Tensor) -> Tensor:
        return (x.detach().double().cpu() - centre) @ axes.T

    real = None if reference is None else project(reference)
    return scatter_png(project(samples), real, path, ("first principal axis", "second principal axis"), colour)


def curves_png(curves: Rows | Mapping[str, Rows], path: Target = None, loss_unit: str | None = None) -> bytes:
    """Training curves of one run, or one panel for each of several models.

    Args:
        curves: rows ``{"t": step, NAME: number, …}`` in the order of time, or ``{model: rows}``. Every
            finite number is drawn but ``seconds`` and ``examples_per_second``; quantities that do not
            share a unit get axes of their own, one above the other.
        path: where to write the PNG, if anywhere.
        loss_unit: the unit of ``loss``, most often ``nats per datum``; the losses of a game have none.
    """
    panels = (curves if isinstance(curves, Mapping) else {"": curves}) or {"": []}
    columns = min(3, len(panels))
    lines = ceil(len(panels) / columns)
    tallest = max(_height(rows) for rows in panels.values())
    with canvas(columns * PANEL if len(panels) > 1 else 1.5 * PANEL, lines * tallest) as figure:
        parts = figure.subfigures(lines, columns, squeeze=False).flat
        for part, (name, rows) in zip(parts, panels.items(), strict=False):
            _draw_curves(part, rows, loss_unit, name)
        return keep(png(figure), path)


def curves_svg(rows: Rows, loss_unit: str | None = None) -> str:
    """One panel of training curves as SVG (see :func:`curves_png`), as wide as a phone shows."""
    with canvas(PANEL, _height(rows)) as figure:
        _draw_curves(figure, rows, loss_unit)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        return buffer.getvalue()


def _draw_curves(part: "Figure | SubFigure", rows: Rows, loss_unit: str | None, title: str = "") -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    groups = group_curves(rows, loss_unit)
    if title:
        title = title if len(title) <= TITLE else title[: TITLE - 1] + "…"
        part.suptitle(title, x=0.02, ha="left", fontweight="bold", fontsize=10)
    if not groups:
        part.text(0.5, 0.5, "nothing finite was logged", ha="center", va="center", color=SOFT)
        return
    stack = np.atleast_1d(part.subplots(len(groups), 1, sharex=True))
    for axes, (unit, curves) in zip(stack, groups.items(), strict=True):
        colours = dict(zip(dict.fromkeys(map(base_name, curves)), SERIES * len(curves), strict=False))
        for name, (t, values) in curves.items():
            t, low, middle, high = summary(t, values)
            look = {"color": colours[base_name(name)], "marker": "o" if len(t) < 30 else "", "markersize": 3}
            axes.plot(t, middle, "--" if name != base_name(name) else "-", label=name.replace("_", " "), **look)
            if len(t) < len(values):
                axes.fill_between(t, low, high, color=look["color"], alpha=0.18, linewidth=0)
        axes.set_ylim(*robust_limits(list(curves.values())))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,g}".replace("-", "\N{MINUS SIGN}")))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        only = next(iter(curves)).replace("_", " ")
        axes.set_ylabel(unit if len(curves) > 1 or unit.startswith(only) else f"{only} ({unit})")
        if len(curves) > 1:
            legend_above(axes)
    stack[-1].set_xlabel("step")


def _height(rows: Rows) -> float:
    return 50 + 150 * max(1, len(group_curves(rows)))


def _finite_rows(points: Tensor, width: int) -> np.ndarray:
    """The rows without NaN and infinity, ``(n, width)``, float64."""
    if points.dim() != 2 or points.shape[1] != width or not len(points):
        raise DataError(f"expected points of shape (n, {width}) with n > 0, not {tuple(points.shape)}")
    rows = points.detach().double().cpu()
    return rows[rows.isfinite().all(1)].numpy()


def _plane(data: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``(d,)`` and first two principal axes ``(2, d)`` of the finite rows of ``(n, d)``."""
    rows = torch.from_numpy(_finite_rows(data, data.shape[1]))
    if len(rows) < 3:  # they span no plane: the first two coordinates will do
        return torch.zeros(data.shape[1]).double(), torch.eye(2, data.shape[1]).double()
    centre = rows.mean(0)
    axes = torch.linalg.svd(rows - centre, full_matrices=False).Vh[:2]
    # Only the sign of a principal axis is arbitrary; fixing it keeps two pictures of one data set alike.
    return centre, axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()


def _window(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The corners of the square (in one dimension, the ends of the interval) that holds the points, with a margin."""
    if not len(points):
        points = np.repeat([[-1.0], [1.0]], points.shape[1], axis=1)
    low, high = points.min(0), points.max(0)
    half = 0.56 * (high - low).max() or 1.0
    return (low + high) / 2 - half, (low + high) / 2 + half


def _head(axes: "Axes", outside: int, legend: bool) -> None:
    if legend:
        legend_above(axes)
    if outside:
        axes.set_title(f"{outside:,} outside", loc="right", fontsize=9, color=SOFT)


def legend_above(axes: "Axes") -> None:
    """A legend above the axes, because inside them it would lie on a curve."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0.2, columnspacing=1.4, handlelength=1.6)


@contextmanager
def canvas(width: float, height: float) -> Iterator["Figure"]:
    """A figure of ``width`` by ``height`` points that the caller's backend and settings do not reach."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield Figure(figsize=(width / 72, height / 72), layout="constrained")


def png(figure: "Figure") -> bytes:
    """The figure as a picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
