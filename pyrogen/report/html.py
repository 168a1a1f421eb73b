"""The report: one HTML file that needs nothing but a browser, neither a network nor JavaScript."""

import os
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Any

from jinja2 import Environment, FunctionLoader
from torch import Tensor

from pyrogen.files import write_whole
from pyrogen.report import formatting
from pyrogen.report.curve_data import Rows, group_curves
from pyrogen.report.image_grid import GAP, grid_png, image_scale
from pyrogen.report.plots import GENERATED, PANEL, REAL, curves_svg, samples_png
from pyrogen.report.ranking import best, groups, is_number

COLUMNS = ("log_likelihood", "bits_per_dim", "mmd2", "c2st", "nearest_neighbour")
BESIDE = ("elbo", "iwae", "ais", "kde")
STRIP = 132  # length of the small scales in the table, in pixels
COPYING, STRANGE = 0.85, 1.15  # ratios of nearest-neighbour distances between which samples are like unseen data


def write_report(
    path: str | os.PathLike[str],
    scorecard: Mapping[str, Any],
    samples: Mapping[str, Tensor],
    real: Tensor,
    curves: Mapping[str, Rows],
    config: Mapping[str, Any],
) -> Path:
    """Write the comparison as a self-contained HTML page and return its path.

    Args:
        path: the file to write; its folder must exist.
        scorecard: what ``scores.json`` holds: ``data``, ``measure``, ``split``, ``budget``, ``models`` and
            ``anchors``, where each model has a ``family``, ``scores`` by name (see
            :class:`pyrogen.protocols.Score`) and, once trained, ``parameters``, ``train_seconds`` and
            ``sample_seconds`` (for 1,000 samples), or an ``error`` that tells why it has no scores.
        samples: model -> ``(n, *event)``; images in [0, 1].
        real: real data of the same shape, shown first.
        curves: model -> logged rows (see :func:`pyrogen.report.curves_png`).
        config: the settings of the comparison; mappings may be nested.

    Raises:
        DataError: no picture fits the shape of the samples.
        RunError: the file cannot be written.
    """
    models = scorecard["models"]
    grouped = groups(models)
    anchors = scorecard.get("anchors", {})
    template = _environment().get_template("template.html")
    page = template.render(
        card=scorecard,
        models=models,
        anchors=anchors,
        groups=grouped,
        best={name: best({m: models[m]["scores"] for m in models}, name) for name in _names(models.values())},
        findings=_findings(models, grouped["failed"]),
        strips=_strips(models, grouped["known"]),
        pictures=[_picture(real, None), *(_picture(drawn, real, name) for name, drawn in samples.items())],
        curves=[_curve(name, rows, models.get(name, {}).get("family")) for name, rows in curves.items()],
        others=[name for name in _names([*models.values(), *anchors.values()]) if name not in COLUMNS + BESIDE],
        beside=BESIDE,
        config=config,
        seeds=len(scorecard["budget"].get("seeds", [0])),
        strip=STRIP,
        panel=PANEL,
        now=datetime.now(UTC),
        version=_version(),
    )
    return write_whole(path, page.encode())


def _environment() -> Environment:
    folder = files("pyrogen.report")
    loader = FunctionLoader(lambda name: folder.joinpath(name).read_text("utf-8"))
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "number": formatting.number,
        "count": formatting.count,
        "setting": formatting.setting,
        "duration": formatting.duration,
        "p_value": formatting.p_value,
        "title_of": formatting.title,
        "unit_of": formatting.unit,
        "details": formatting.details,
        "kind": formatting.KINDS.__getitem__,
        "quantity": lambda score: formatting.quantity(score["value"], score.get("stderr")),
        "memory": memory_reading,
        "c2st": _c2st,
    }
    environment.tests["measured"] = is_number
    return environment


def _version() -> str:
    try:
        return version("pyrogen")
    except PackageNotFoundError:  # run from the sources
        return "(not installed)"


def _names(models: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of all scores, in the order in which they first appear."""
    return list(dict.fromkeys(name for model in models for name in model["scores"]))


def _findings(models: Mapping[str, Any], failed: list[str]) -> list[tuple[str, str, str]]:
    """What the page comes to: ``(question, models, in numbers)``, only where there is something to compare."""
    scores = {name: model["scores"] for name, model in models.items()}
    questions = {
        "log_likelihood": "Highest likelihood, exact or bound",
        "mmd2": "Samples closest to the data, by MMD²",
        "c2st": "Samples hardest to tell from data, by C2ST",
    }
    found = []
    for name, question in questions.items():
        winners = [model for model in models if model in best(scores, name)]
        if winners:
            first = scores[winners[0]][name]
            value, error = formatting.quantity(first["value"], first.get("stderr"))
            kind = {"exact": "exactly ", "lower_bound": "at least "}.get(first["kind"], "")
            note = f"{kind}{value}{f' ± {error}' if error else ''} {formatting.unit(first)}"
            if len(winners) > 1:
                note = f"{winners[0]}: {note}; the others are within two standard errors"
            found.append((question, ", ".join(winners), note))
    if failed:
        found.append(("Did not finish", ", ".join(failed), "see the scorecard for the reason"))
    return found


def _strips(models: Mapping[str, Any], known: list[str]) -> dict[str, dict[str, float]]:
    """Where each known likelihood lies on one common scale of ``STRIP`` pixels.

    The scale ends not far below the typical model, so that one that failed badly does not press all the
    others together; it is then marked as lying off the scale.
    """
    scores = {name: models[name]["scores"]["log_likelihood"] for name in known}
    scores = {name: score for name, score in scores.items() if is_number(score["value"])}
    if len(scores) < 2:
        return {}
    values = [score["value"] for score in scores.values()]
    top = max(values)
    bottom = max(min(values), top - 4 * (top - median(values)))
    span = (top - bottom) or 1.0

    def place(value: float) -> float:
        return round(10 + (STRIP - 36) * min(1.0, max(0.0, (value - bottom) / span)), 1)

    return {
        name: {
            "at": place(score["value"]),
            "low": place(score["value"] - (score.get("stderr") or 0.0)),
            "high": place(score["value"] + (score.get("stderr") or 0.0)),
            "off": score["value"] < bottom,
        }
        for name, score in scores.items()
    }


def _c2st(score: Mapping[str, Any]) -> dict[str, Any]:
    """A classifier's accuracy and its null interval as places on a scale from 0.4 (or less) to 1."""
    low, high = score.get("null", (0.5, 0.5))
    start = min(0.4, low, score["value"])

    def place(value: float) -> float:
        return round(6 + (STRIP - 12) * (value - start) / (1 - start), 1)

    stderr = score.get("stderr") or 0.0
    return {
        "at": place(score["value"]),
        "low": place(max(start, score["value"] - stderr)),
        "high": place(min(1.0, score["value"] + stderr)),
        "null": (place(low), place(high)),
        "half": place(0.5),
        "reading": "above chance" if score["value"] > high else "below chance" if score["value"] < low else "chance",
    }


def memory_reading(ratio: float) -> str:
    """What a nearest-neighbour ratio says about memorisation."""
    if ratio < COPYING:
        return "nearer than unseen data: may be copying"
    if ratio <= STRANGE:
        return "like unseen data: no sign of copying"
    return "farther than unseen data: no sign of copying"


def _picture(drawn: Tensor, reference: Tensor | None, name: str | None = None) -> dict[str, Any]:
    """One picture of samples, as wide as a phone at most, and how many of how many it shows."""
    if drawn.dim() != 4:
        png = samples_png(drawn, reference, colour=REAL if name is None else GENERATED)
        shown, broken = len(drawn), ~drawn.reshape(len(drawn), -1).isfinite().all(1)
        width, height = (side // 2 for side in _size(png))
    else:
        down, right = (side * image_scale(*drawn.shape[2:]) + GAP for side in drawn.shape[2:])
        columns, rows = max(1, (PANEL + GAP) // right), max(1, (PANEL + GAP) // down)
        shown = min(len(drawn), columns * rows)
        png, broken = grid_png(drawn[:shown], columns=columns), drawn[:shown].flatten(1).isnan().any(1)
        width, height = _size(png)
    return {
        "name": name, "url": _url(png, "image/png"), "width": width, "height": height, "shown": shown,
        "total": len(drawn), "broken": int(broken.sum()), "pixels": drawn.dim() == 4 and width <= PANEL,
    }  # fmt: skip


def _size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the header that every PNG begins with."""
    return int.from_bytes(png[16:20]), int.from_bytes(png[20:24])


def _curve(name: str, rows: Rows, family: str | None) -> dict[str, Any]:
    unit = "nats per datum" if family == "explicit" else None
    return {"name": name, "url": _url(curves_svg(rows, unit).encode(), "image/svg+xml") if group_curves(rows) else None}


def _url(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"
