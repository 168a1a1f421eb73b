"""Likelihood against sample quality: one plot for all models, with intervals and direct labels."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from math import floor, log10
from typing import TYPE_CHECKING, Any

from pyrogen.protocols import NORMAL_QUANTILE
from pyrogen.report.axis_labels import short_name
from pyrogen.report.canvas import MUTED, PANEL, REAL, TEXT, canvas
from pyrogen.report.formatting import format_number
from pyrogen.report.page.entries import Models
from pyrogen.report.page.labels import Labels
from pyrogen.report.page.scales import limits, robust_range
from pyrogen.report.ranking import group_models, is_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 330
COLOURS = {"exact": "#0b6a57", "lower_bound": "#1d5bb8", "upper_bound": "#7a3d9c", "none": "#8a4f00"}
AXES = {"mmd2": "MMD² (0 is best)", "c2st": "C2ST accuracy (½ is best)"}
_SPAN = (0.0, 1.0)


@dataclass(frozen=True)
class _Point:
    name: str
    kind: str  # of the likelihood, or "none"
    x: float  # the likelihood, or the place in the strip of models without
    x_limits: tuple[float, float]
    y: float
    y_limits: tuple[float, float]


def quality_svg(models: Models, anchors: Models, measure: str) -> str | None:
    """Plot log p(x) against a measure of samples; ``None`` if fewer than two models have the measure.

    Exact likelihoods are points with a 95% interval, bounds have an arrow to the side on which the true value lies, and
    models without a likelihood stand in a strip beside the axis. Likelihoods far below the median are drawn at the
    left edge. A band shows the place of real data, the training data used as samples.

    Args:
        models, anchors: as in the scorecard.
        measure: ``mmd2`` or ``c2st``.
    """
    points = _points(models, measure)
    if len(points) < 2:
        return None
    known, unknown = [p for p in points if p.kind != "none"], [p for p in points if p.kind == "none"]
    real = anchors.get("train", {}).get("scores", {}).get(measure)
    real = real if real and is_number(real["value"]) else None
    with canvas(PANEL, HEIGHT) as figure:
        ratios = [3, 1] if known and unknown else [1]
        stack = figure.subplots(1, len(ratios), sharey=True, squeeze=False, width_ratios=ratios)[0]
        main, strip = (stack[0] if known else None), (stack[-1] if unknown else None)
        _scale_y(stack[0], points, real, measure)
        stack[0].set_ylabel(AXES[measure])
        if main is not None:
            low, high = robust_range([p.x for p in known])
            margin = 0.12 * (high - low) or 1.0
            main.set(xlim=(low - margin, high + margin), xlabel="log p(x), nats per datum")
            main.xaxis.set_major_formatter(lambda v, _: format_number(v))
            main.locator_params(axis="x", nbins=4)
        if strip is not None:
            conditional = bool(group_models(models)["conditional"])
            strip.set(xlim=_SPAN, xticks=[], xlabel="no log p(x)" if conditional else "no likelihood")
            strip.set_facecolor("#f4f5f7")
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # from here on places are fixed, and labels fit between them
        labels = Labels(figure, list(stack))
        for p in points:
            _draw(main if p.kind != "none" else strip, p, labels)
        if real is not None:
            _draw_real(list(stack), real, labels)
        for p in points:
            axes = main if p.kind != "none" else strip
            labels.place(short_name(p.name, 13), axes, _clip(axes, p.x), p.y, COLOURS[p.kind])
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        return buffer.getvalue()


def _points(models: Models, measure: str) -> list[_Point]:
    grouped = group_models(models)
    names = [n for group in grouped.values() for n in group if is_number(_value(models[n]["scores"].get(measure)))]
    known = [n for n in names if n in grouped["known"] and is_number(models[n]["scores"]["log_likelihood"]["value"])]
    rest = [name for name in names if name not in known]
    points = []
    for name in names:
        scores = models[name]["scores"]
        if name in known:
            likelihood = scores["log_likelihood"]
            kind, x, x_limits = likelihood["kind"], likelihood["value"], limits(likelihood, NORMAL_QUANTILE)
        else:
            kind, x, x_limits = "none", (rest.index(name) + 0.5) / len(rest), _SPAN
        y = scores[measure]["value"]
        points.append(_Point(name, kind, x, x_limits, y, limits(scores[measure], NORMAL_QUANTILE)))
    return points


def _value(score: Mapping[str, Any] | None) -> float | None:
    return None if score is None else score["value"]


def _scale_y(axes: "Axes", points: list[_Point], real: Mapping[str, Any] | None, measure: str) -> None:
    """A linear axis for an accuracy; for MMD² one that is linear near 0 and logarithmic beyond."""
    all_limits = [p.y_limits for p in points] + ([limits(real, NORMAL_QUANTILE)] if real else [])
    low, high = min(least for least, _ in all_limits), max(most for _, most in all_limits)
    if measure == "c2st":
        low, high = min(low, 0.45), min(max(high, 0.6), 1.0)
        axes.set_ylim(low - 0.02, high + 0.1 * (high - low))
        return
    # Values smaller than half an interval are not told apart from 0.
    halves = [(most - least) / 2 for least, most in all_limits if most > least]
    linear = min(halves, default=1e-4)
    largest = max(abs(low), abs(high), 2 * linear)
    axes.set_yscale("asinh", linear_width=linear)
    decades = range(floor(log10(linear)), floor(log10(largest)) + 1)
    powers = [10.0**k for k in decades if linear <= 10.0**k <= largest][-5:]
    if len(powers) < 3:
        powers = [m * 10.0**k for k in decades for m in (1, 2, 5) if linear <= m * 10.0**k <= largest]
    ticks = [0.0, *powers, *(-power for power in powers if -power >= low)]
    axes.set_yticks(ticks, [format_number(tick) for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.set_ylim(min(low, 0.0) - 0.3 * linear, 1.6 * max(high, linear))


def _clip(axes: Any, x: float) -> float:
    low, high = axes.get_xlim()
    return float(min(max(x, low + 0.02 * (high - low)), high))


def _draw(axes: Any, p: _Point, labels: Labels) -> None:
    """A model's marker, interval of the measure, and interval or arrow of the likelihood."""
    colour, x, style = COLOURS[p.kind], _clip(axes, p.x), {"clip_on": False, "zorder": 3}
    low, high = p.y_limits
    axes.plot([x, x], [low, high], color=colour, linewidth=1.2, **style)
    labels.block_line(axes, (x, low), (x, high))
    if x != p.x:  # far below the others: drawn at the edge
        axes.plot([x], [p.y], marker="<", color=colour, markersize=6, **style)
    elif p.kind in ("lower_bound", "upper_bound"):
        axes.plot([x], [p.y], marker="|", color=colour, markersize=9, markeredgewidth=1.8, **style)
        side = 1 if p.kind == "lower_bound" else -1
        left, right = axes.get_xlim()
        tip = x + side * 0.09 * (right - left)
        arrow = {"arrowstyle": "->", "color": colour, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (tip, p.y), (x, p.y), arrowprops=arrow, annotation_clip=False)
        labels.block_line(axes, (x, p.y), (tip, p.y))
    else:
        axes.plot([x], [p.y], marker="o", color=colour, markersize=5, **style)
        if p.kind == "exact":
            axes.plot([_clip(axes, at) for at in p.x_limits], [p.y, p.y], color=colour, linewidth=1.2, **style)
            labels.block_line(axes, (_clip(axes, p.x_limits[0]), p.y), (_clip(axes, p.x_limits[1]), p.y))
    labels.block_point(axes, x, p.y)


def _draw_real(stack: list[Any], real: Mapping[str, Any], labels: Labels) -> None:
    """The band of real data over all axes, and its label."""
    low, high = limits(real, NORMAL_QUANTILE)
    for axes in stack:
        axes.axhspan(low, high, color=REAL, alpha=0.28, linewidth=0)
        axes.axhline(real["value"], color=MUTED, linewidth=1)
    labels.along(stack[0], real["value"], "real data", TEXT)
