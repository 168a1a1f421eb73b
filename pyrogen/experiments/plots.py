"""Plots of experiments: a line for each family, with its 95% intervals over seeds if there are few."""

import io
from collections.abc import Mapping, Sequence

from pyrogen.experiments.registry import Card
from pyrogen.report.canvas import PANEL, SERIES, canvas
from pyrogen.report.formatting import format_number, interval

Points = Sequence[tuple[float, Mapping[str, float]]]
"""Places along a line, each with a score as in ``results.json``."""
MARKERS = "osD^vPX*<>"


def score_lines(card: Card, name: str, place: str = "at") -> dict[str, list[tuple[float, Mapping[str, float]]]]:
    """A score of all arms that have it, by their lines, ordered along them.

    Args:
        card: the results.
        name: of the score.
        place: the key of an arm's place along its line, ``at`` or ``train_seconds``.
    """
    lines: dict[str, list[tuple[float, Mapping[str, float]]]] = {}
    for arm in card["arms"].values():
        if name in arm["scores"]:
            lines.setdefault(arm["line"], []).append((arm[place], arm["scores"][name]))
    return {line: sorted(points, key=lambda point: point[0]) for line, points in lines.items()}


def lines_svg(lines: Mapping[str, Points], x: str, y: str, *, log_y: bool = False, level: float | None = None) -> str:
    """Plot a line for each family over a logarithmic axis, with 95% intervals unless lines outnumber colours.

    Args:
        lines: the points of each.
        x, y: the titles of the axes.
        log_y: whether the axis of values is logarithmic.
        level: a value to be marked, such as that of real data.
    """
    from matplotlib.ticker import LogLocator

    with canvas(1.3 * PANEL, PANEL) as figure:
        axes = figure.add_subplot()
        for i, (name, points) in enumerate(lines.items()):
            at, scores = [place for place, _ in points], [score for _, score in points]
            values = [score["value"] for score in scores]
            ends = [interval(score) or (score["value"], score["value"]) for score in scores]
            colour, style = SERIES[i % len(SERIES)], "-" if i < len(SERIES) else "--"
            axes.plot(at, values, style, color=colour, marker=MARKERS[i % len(MARKERS)], markersize=4, label=name)
            if len(lines) <= len(SERIES):
                low, high = [least for least, _ in ends], [most for _, most in ends]
                axes.fill_between(at, low, high, color=colour, alpha=0.13, linewidth=0)
        if level is not None:
            axes.axhline(level, color="0.5", linewidth=1, linestyle=":")
        axes.set(xscale="log", xlabel=x, ylabel=y)
        if log_y:
            axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            first, last = axis.get_view_interval()
            if axis.get_scale() == "log" and last < 100 * first:
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))  # else it may have a single tick
            axis.set_major_formatter(lambda value, _: format_number(value))
            axis.set_minor_formatter(lambda value, _: "")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        return buffer.getvalue()
