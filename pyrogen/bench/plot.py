"""A plot of benchmark results: milliseconds per step by implementation, and cost against size."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pyrogen.errors import DataError
from pyrogen.files import Target, write_optional
from pyrogen.report.canvas import GENERATED, MUTED, PANEL, REAL, SERIES, TEXT, canvas, legend_above, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 2
BAR_HEIGHT = 17  # points from one bar to the next
BAR_MARGIN = 75  # points above and below the bars
CURVE_HEIGHT = 230  # height of a panel of curves
HEAD_HEIGHT = 20  # height of a line that names a machine

Row = dict[str, Any]
Panel = tuple[float, Callable[["Axes"], None]]


def bench_png(rows: Sequence[Row], path: Target = None) -> bytes:
    """Plot milliseconds per step, with a panel for each workload and batch size, and cost against size.

    Args:
        rows: as stored by ``python -m pyrogen.bench --json``; those of ``costs`` are not drawn.
        path: the file to write the PNG to, optional.

    Returns:
        The bytes of the PNG.

    Raises:
        DataError: if the rows have no table that can be drawn.
    """
    groups: dict[tuple[str, str, int], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["table"], row["workload"], row.get("batch_size", 0)].append(row)
    columns: list[list[Panel]] = [[] for _ in range(COLUMNS)]
    for table, draw_panel in PANELS.items():
        for (of, workload, batch_size), group in groups.items():
            if of == table:
                height = BAR_MARGIN + BAR_HEIGHT * len(group) if table == "steps" else CURVE_HEIGHT
                panel = height, partial(draw_panel, f"{workload}, batch {batch_size}", group)
                min(columns, key=_height).append(panel)
    highest = max(map(_height, columns))
    if not highest:
        raise DataError(f"expected rows of the tables {', '.join(PANELS)}; found none among {len(rows)} rows")
    machines = sorted({row["machine"] for row in rows})
    with canvas(COLUMNS * PANEL, HEAD_HEIGHT * len(machines) + highest) as figure:
        figure.suptitle("\n".join(machines), fontsize=9, color=MUTED)
        for part, panels in zip(figure.subfigures(1, COLUMNS, squeeze=False).flat, columns, strict=True):
            heights = [*(height for height, _ in panels), 1 + highest - _height(panels)]
            subfigures = part.subfigures(len(heights), 1, height_ratios=heights)
            for subfigure, (_, draw) in zip(subfigures, panels, strict=False):
                draw(subfigure.subplots())
        return write_optional(png(figure), path)


def _height(panels: Sequence[Panel]) -> float:
    return sum(height for height, _ in panels)


def _bars(title: str, rows: Sequence[Row], axes: "Axes") -> None:
    rows = sorted(rows, key=lambda row: row["milliseconds"], reverse=True)
    times = [row["milliseconds"] for row in rows]
    colours = [GENERATED if row["name"].startswith("pyrogen") else REAL for row in rows]
    bars = axes.barh([row["name"] for row in rows], times, color=colours, height=0.7)
    axes.bar_label(bars, [f"{t:.2f}" for t in times], padding=3, fontsize=8.5, color=TEXT)
    axes.set(title=title, xlabel="ms per step", xlim=(0, 1.17 * max(times)))
    axes.grid(visible=False, axis="y")
    axes.tick_params("y", length=0, labelcolor=TEXT)


def _width(title: str, rows: Sequence[Row], axes: "Axes") -> None:
    from matplotlib.ticker import LogLocator

    widths = sorted({row["width"] for row in rows})
    names = dict.fromkeys(row["name"] for row in rows)
    for name, colour in zip(names, SERIES, strict=False):
        line = sorted((row["width"], row["milliseconds"]) for row in rows if row["name"] == name)
        axes.plot(*zip(*line, strict=True), marker="o", markersize=4, color=colour, label=name)
    axes.set(xscale="log", yscale="log", xlabel=f"hidden units ({title})", ylabel="ms per step")
    axes.set_xticks(widths, [f"{w:,}" for w in widths])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.set_yticks([], minor=True)
    legend_above(axes)


def _rows(title: str, rows: Sequence[Row], axes: "Axes") -> None:
    rows = sorted(rows, key=lambda row: row["rows"])
    axes.plot([row["rows"] for row in rows], [row["examples"] for row in rows], color=GENERATED)
    for where, face in (("in memory", GENERATED), ("on disk", "white")):
        there = [(row["rows"], row["examples"]) for row in rows if row["where"] == where]
        if there:
            axes.plot(*zip(*there, strict=True), "o", color=GENERATED, markerfacecolor=face, label=where)
    axes.set(xscale="log", ylim=(0, 1.15 * max(row["examples"] for row in rows)))
    axes.set(xlabel=f"images in the data set ({title})", ylabel="examples per second")
    axes.set_xticks([row["rows"] for row in rows], [f"{row['rows']:,}" for row in rows])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    legend_above(axes)


PANELS: dict[str, Callable[[str, Sequence[Row], "Axes"], None]] = {"steps": _bars, "width": _width, "rows": _rows}
