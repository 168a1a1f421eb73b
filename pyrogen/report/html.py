"""The report of a comparison: one self-contained HTML file, without JavaScript or network access."""

import os
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pyrogen.data.columns import Column
from pyrogen.files import write_whole
from pyrogen.report import formatting
from pyrogen.report.canvas import GENERATED, PANEL, REAL
from pyrogen.report.curve_data import LogRows, group_curves
from pyrogen.report.image_grid import GAP, grid_png, image_scale
from pyrogen.report.moments import Moments
from pyrogen.report.plots import curves_svg, plot_kind, samples_png
from pyrogen.report.ranking import best, group_models, is_number
from pyrogen.report.table_plots import table_moments

if TYPE_CHECKING:
    from jinja2 import Environment

COLUMNS = ("log_likelihood", "bits_per_dim", "mmd2", "c2st", "nearest_neighbour")
SECONDARY = ("elbo", "iwae", "ais", "kde")
SCALE_WIDTH = 132  # width of the small scales in the table, in pixels
COPYING, FAR = 0.85, 1.15  # between these ratios of nearest-neighbour distances, samples are like unseen data


def write_report(
    path: str | os.PathLike[str],
    scorecard: Mapping[str, Any],
    samples: Mapping[str, Tensor],
    real: Tensor,
    curves: Mapping[str, LogRows],
    config: Mapping[str, Any],
    columns: Sequence[Column] = (),
) -> Path:
    """Write the comparison as a self-contained HTML page and return its path.

    Args:
        path: the file to write; its folder must exist.
        scorecard: the contents of ``scores.json``: ``data``, ``space``, ``split``, ``budget``, ``models`` and
            ``anchors``, where each model has a ``family``, ``scores`` by name (see
            :class:`pyrogen.protocols.Score`) and, once trained, ``parameters``, ``train_seconds`` and
            ``sample_seconds`` (for 1,000 samples), or an ``error`` that says why it has no scores.
        samples: model -> ``(n, *event)``; images in [0, 1], vectors in the user's units.
        real: real data of the same shape, shown first, or in the plots of tables beside the samples.
        curves: model -> logged rows (see :func:`pyrogen.report.curves_png`).
        config: the settings of the comparison; mappings may be nested.
        columns: the columns of vectors; by default real ones.

    Raises:
        DataError: if samples of this shape cannot be plotted.
        RunError: if the file cannot be written.
    """
    models = scorecard["models"]
    is_table = plot_kind(real, None, columns) == "table"
    grouped = group_models(models)
    anchors, comparisons = scorecard.get("anchors", {}), scorecard.get("comparisons", {})
    template = _environment().get_template("template.html")
    page = template.render(
        card=scorecard,
        models=models,
        anchors=anchors,
        groups=grouped,
        best={
            name: best({m: models[m]["scores"] for m in models}, name, comparisons.get(name))
            for name in _names(models.values())
        },
        findings=_findings(models, grouped["failed"], comparisons),
        scales=_likelihood_scales(models, grouped["known"]),
        pictures=[
            *([] if is_table else [_picture(real, None, columns)]),
            *(_picture(drawn, real, columns, name) for name, drawn in samples.items()),
        ],
        is_table=is_table,
        curves=[_curve(name, rows, models.get(name, {}).get("family")) for name, rows in curves.items()],
        others=[name for name in _names([*models.values(), *anchors.values()]) if name not in COLUMNS + SECONDARY],
        secondary=SECONDARY,
        config=config,
        seeds=len(scorecard["budget"].get("seeds", [0])),
        scale_width=SCALE_WIDTH,
        panel=PANEL,
        now=datetime.now(UTC),
        version=_version(),
    )
    return write_whole(path, page.encode())


def _environment() -> "Environment":
    from jinja2 import Environment, FunctionLoader  # training imports this room and writes no report

    folder = files("pyrogen.report")
    loader = FunctionLoader(lambda name: folder.joinpath(name).read_text("utf-8"))
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "number": formatting.format_number,
        "share": formatting.format_share,
        "count": formatting.format_count,
        "config_value": formatting.config_value,
        "duration": formatting.format_duration,
        "p_value": formatting.format_p_value,
        "title_of": formatting.score_title,
        "unit_of": formatting.score_unit,
        "score_details": formatting.score_details,
        "kind": formatting.KIND_LABELS.__getitem__,
        "value_and_error": lambda score: formatting.value_and_error(score["value"], score.get("stderr")),
        "neighbour_reading": neighbour_reading,
        "c2st": _c2st_scale,
    }
    environment.tests["measured"] = is_number
    return environment


def _version() -> str:
    try:
        return version("pyrogen")
    except PackageNotFoundError:  # run from a source checkout
        return "(not installed)"


def _names(models: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of all scores, in order of first appearance."""
    return list(dict.fromkeys(name for model in models for name in model["scores"]))


def _findings(
    models: Mapping[str, Any], failed: list[str], comparisons: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    """Return the main results as ``(question, models, value)``, where at least two models are comparable."""
    scores = {name: model["scores"] for name, model in models.items()}
    questions = {
        "log_likelihood": "Highest likelihood, exact or bound",
        "mmd2": "Samples closest to the data, by MMD²",
        "c2st": "Samples hardest to tell from data, by C2ST",
    }
    findings = []
    for name, question in questions.items():
        winners = [model for model in models if model in best(scores, name, comparisons.get(name))]
        if winners:
            first = scores[winners[0]][name]
            value, error = formatting.value_and_error(first["value"], first.get("stderr"))
            kind = {"exact": "exactly ", "lower_bound": "at least "}.get(first["kind"], "")
            note = f"{kind}{value}{f' ± {error}' if error else ''} {formatting.score_unit(first)}"
            if len(winners) > 1:
                note = f"{winners[0]}: {note}; the others are not significantly different"
            findings.append((question, ", ".join(winners), note))
    if failed:
        findings.append(("Did not finish", ", ".join(failed), "see the scorecard for the reason"))
    return findings


def _likelihood_scales(models: Mapping[str, Any], known: list[str]) -> dict[str, dict[str, float]]:
    """Place each known likelihood on a common scale of ``SCALE_WIDTH`` pixels.

    The scale begins not far below the median model, so that a failed model does not compress the others; values below
    it are marked as off the scale.
    """
    scores = {name: models[name]["scores"]["log_likelihood"] for name in known}
    scores = {name: score for name, score in scores.items() if is_number(score["value"])}
    if len(scores) < 2:
        return {}
    values = [score["value"] for score in scores.values()]
    top = max(values)
    bottom = max(min(values), top - 4 * (top - median(values)))
    span = (top - bottom) or 1.0

    def position(value: float) -> float:
        return round(10 + (SCALE_WIDTH - 36) * min(1.0, max(0.0, (value - bottom) / span)), 1)

    return {
        name: {
            "at": position(score["value"]),
            "low": position(score["value"] - (score.get("stderr") or 0.0)),
            "high": position(score["value"] + (score.get("stderr") or 0.0)),
            "off": score["value"] < bottom,
        }
        for name, score in scores.items()
    }


def _c2st_scale(score: Mapping[str, Any]) -> dict[str, Any]:
    """Place a classifier's accuracy and its null interval on a scale from 0.4 (or less) to 1."""
    low, high = score.get("null", (0.5, 0.5))
    start = min(0.4, low, score["value"])

    def position(value: float) -> float:
        return round(6 + (SCALE_WIDTH - 12) * (value - start) / (1 - start), 1)

    stderr = score.get("stderr") or 0.0
    return {
        "at": position(score["value"]),
        "low": position(max(start, score["value"] - stderr)),
        "high": position(min(1.0, score["value"] + stderr)),
        "null": (position(low), position(high)),
        "half": position(0.5),
        "reading": "above chance" if score["value"] > high else "below chance" if score["value"] < low else "chance",
    }


def neighbour_reading(ratio: float) -> str:
    """Interpret a nearest-neighbour ratio with regard to memorisation."""
    if ratio < COPYING:
        return "nearer than unseen data: may be copying"
    if ratio <= FAR:
        return "like unseen data: no sign of copying"
    return "farther than unseen data: no sign of copying"


def _picture(
    drawn: Tensor, reference: Tensor | None, columns: Sequence[Column], name: str | None = None
) -> dict[str, Any]:
    """Plot samples at most as wide as a phone's screen; return the image with the numbers of samples shown."""
    moments: list[Moments] = []
    if drawn.dim() != 4:
        colour = REAL if name is None else GENERATED
        png = samples_png(drawn, reference, colour=colour, columns=columns, across=2)
        shown, broken = len(drawn), ~drawn.reshape(len(drawn), -1).isfinite().all(1)
        width, height = (side // 2 for side in _size(png))
        if reference is not None and plot_kind(drawn, reference, columns) == "table":
            moments = table_moments(drawn, reference, columns)
    else:
        down, right = (side * image_scale(*drawn.shape[2:]) + GAP for side in drawn.shape[2:])
        across, rows = max(1, (PANEL + GAP) // right), max(1, (PANEL + GAP) // down)
        shown = min(len(drawn), across * rows)
        png, broken = grid_png(drawn[:shown], columns=across), drawn[:shown].flatten(1).isnan().any(1)
        width, height = _size(png)
    return {
        "name": name, "url": _url(png, "image/png"), "width": width, "height": height, "shown": shown,
        "total": len(drawn), "broken": int(broken.sum()), "pixels": drawn.dim() == 4 and width <= PANEL,
        "moments": moments,
    }  # fmt: skip


def _size(png: bytes) -> tuple[int, int]:
    """Return width and height in pixels from a PNG header."""
    return int.from_bytes(png[16:20]), int.from_bytes(png[20:24])


def _curve(name: str, rows: LogRows, family: str | None) -> dict[str, Any]:
    unit = "nats per datum" if family == "explicit" else None
    return {"name": name, "url": _url(curves_svg(rows, unit).encode(), "image/svg+xml") if group_curves(rows) else None}


def _url(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"
