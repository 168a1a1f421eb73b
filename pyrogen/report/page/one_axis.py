"""Explicit and implicit models on one axis: their densities with Gaussian noise, and their rates and distortions."""

import io
from collections.abc import Mapping
from math import inf
from typing import Any

from pyrogen.report.axis_labels import short_name
from pyrogen.report.canvas import PANEL, canvas
from pyrogen.report.formatting import format_number
from pyrogen.report.page.entries import Models
from pyrogen.report.ranking import is_conditional, is_number

HEIGHT = 330
SCORES = ("smoothed_log_likelihood", "ais")
_LINES = ("-", "--", "-.", ":")


def on_one_axis(models: Models, anchors: Models) -> list[dict[str, Any]]:
    """The models with either score, those with the common noise first and the best of them at the top.

    Returns:
        Of each: ``name``, ``smoothed``, ``ais``, either of them ``None``, and ``anchor``, whether it is a reference.
    """
    rows = []
    for anchor, group in ((False, models), (True, anchors)):
        for name, model in group.items():
            smoothed, ais = (_unconditional(model["scores"].get(score)) for score in SCORES)
            if smoothed or ais:
                rows.append({"name": name, "smoothed": smoothed, "ais": ais, "anchor": anchor})

    return sorted(rows, key=lambda row: [_place(row["smoothed"]), _place(row["ais"])]) if len(rows) > 1 else []


def _place(score: Mapping[str, Any] | None) -> float:
    return -score["value"] if score is not None and is_number(score["value"]) else inf


def _unconditional(score: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if score is None or is_conditional(score) else score


def rate_distortion_svg(models: Models) -> str | None:
    """Plot rate against the root mean squared distortion of every decoder that has it; ``None`` if none has."""
    curves = {name: model["scores"].get("ais", {}).get("rate_distortion") for name, model in models.items()}
    curves = {name: curve for name, curve in curves.items() if curve and curve["unit"] == "squared error"}
    if not curves:
        return None
    from matplotlib.ticker import LogLocator

    with canvas(PANEL, HEIGHT) as figure:
        axes = figure.subplots()
        for i, (name, curve) in enumerate(curves.items()):
            style: dict[str, Any] = {"color": f"C{i % 10}", "linestyle": _LINES[i // 10 % len(_LINES)]}
            axes.plot(curve["distortion"], curve["rate"], linewidth=1.5, label=short_name(name, 18), **style)
            axes.plot(curve["distortion"][-1:], curve["rate"][-1:], "o", markersize=4, color=style["color"])
        axes.set(xlabel="distortion, squared error per datum", ylabel="rate, nats per datum", ylim=(0, None))
        axes.set_xscale("log", subs=())
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda v, _: format_number(v))
        axes.legend(frameon=False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        return buffer.getvalue()
