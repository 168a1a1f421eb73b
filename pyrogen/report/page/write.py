"""The report of a comparison: one self-contained HTML file, without network access."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from pyrogen.data.columns import Column
from pyrogen.files import write_whole
from pyrogen.report import formatting
from pyrogen.report.canvas import PANEL
from pyrogen.report.curve_data import LogRows
from pyrogen.report.page import entries, glossary, scales
from pyrogen.report.page.one_axis import on_one_axis, rate_distortion_svg
from pyrogen.report.page.panels import curve, logged_quantities, panels, svg_url
from pyrogen.report.page.quality_plot import AXES, quality_svg
from pyrogen.report.page.words import closing, findings
from pyrogen.report.pictures import Pictures
from pyrogen.report.plots import plot_kind
from pyrogen.report.ranking import group_models, is_number
from pyrogen.report.templates import render_page

_FILTERS: dict[str, Callable[..., Any]] = {
    "number": formatting.format_number,
    "share": formatting.format_share,
    "count": formatting.format_count,
    "config_value": formatting.config_value,
    "duration": formatting.format_duration,
    "p_value": formatting.format_p_value,
    "title_of": formatting.score_title,
    "measure": lambda name: formatting.split_space(name)[0],
    "unit_of": formatting.score_unit,
    "score_details": formatting.score_details,
    "kind": formatting.KIND_LABELS.__getitem__,
    "value_and_margin": formatting.value_and_margin,
    "value_and_error": formatting.value_and_error,
    "other_measures": entries.other_measures,
    "c2st": scales.c2st_scale,
}


def write_report(
    path: str | os.PathLike[str],
    scorecard: Mapping[str, Any],
    samples: Mapping[str, Tensor | Pictures],
    real: Tensor | Pictures,
    curves: Mapping[str, LogRows],
    config: Mapping[str, Any],
    columns: Sequence[Column] = (),
) -> Path:
    """Write the comparison as a self-contained HTML page and return its path.

    The page needs no JavaScript; with it, the scorecard can be sorted. Models stand in one order everywhere, that of
    the scorecard.

    Args:
        path: the file to write; its folder must exist.
        scorecard: the contents of ``scores.json``: ``data``, ``space``, ``split``, ``budget``, ``models`` and
            ``anchors``, where each model has a ``family``, ``scores`` by name (see
            :class:`pyrogen.protocols.Score`) and, once trained, ``parameters``, ``train_seconds``,
            ``sample_seconds`` (for 1,000 samples), ``steps``, ``batch_size`` and ``weights`` (``step`` and ``rule``),
            its ``run`` folder if it was trained before, or an ``error`` that says why it has no scores. A score may
            have a 95% ``interval`` and a model a ``verdict``; ``comparisons`` holds paired differences by score.
        samples: model -> ``(n, *event)``, or with means and nearest training images; images in [0, 1], vectors in the
            user's units.
        real: real data of the same shape, shown first, or in the plots of tables beside the samples.
        curves: model -> logged rows (see :func:`pyrogen.report.curves_png`).
        config: the settings of the comparison; mappings may be nested.
        columns: the columns of vectors; by default real ones.

    Raises:
        DataError: if samples of this shape cannot be plotted.
        RunError: if the file cannot be written.
    """
    shown = _scorecard_parts(scorecard) | _picture_parts(scorecard["models"], samples, real, curves, columns)
    config = _ordered_config(entries.in_order(scorecard["models"]), config)
    page = render_page(
        "pyrogen.report.page",
        "template.html",
        script="sort.js",
        filters=_FILTERS,
        tests={"measured": is_number},
        **shown,
        card=scorecard,
        config=config,
        panel=PANEL,
    )
    return write_whole(path, page)


def _scorecard_parts(scorecard: Mapping[str, Any]) -> dict[str, Any]:
    """What the template shows of the scores."""
    models, anchors = scorecard["models"], scorecard.get("anchors", {})
    comparisons = scorecard.get("comparisons", {})
    order, best, grouped = entries.in_order(models), entries.winners(models, comparisons), group_models(models)
    return {
        "models": entries.sort_like(order, models),
        "anchors": anchors,
        "groups": grouped,
        "best": best,
        "findings": findings(models, best, order),
        "closing": closing(scorecard),
        "scales": scales.likelihood_scales(models, grouped["known"]),
        "scale_width": scales.WIDTH,
        "quality": _quality_plots(models, anchors),
        "one_axis": on_one_axis(models, anchors),
        "rate_distortion": None if (svg := rate_distortion_svg(models)) is None else svg_url(svg),
        "others": any(entries.other_measures(one["scores"]) for one in (*models.values(), *anchors.values())),
        "glossary": glossary.entries(_explained(models, anchors)),
        "seeds": len(scorecard["budget"].get("seeds", [0])),
    }


def _picture_parts(
    models: entries.Models,
    samples: Mapping[str, Tensor | Pictures],
    real: Tensor | Pictures,
    curves: Mapping[str, LogRows],
    columns: Sequence[Column],
) -> dict[str, Any]:
    """What the template shows of samples and training."""
    order = entries.in_order(models)
    return {
        "pictures": _pictures(models, entries.sort_like(order, samples), real, columns),
        "is_table": plot_kind(_drawn(real), None, columns) == "table",
        "own_space": "pixels" if _drawn(real).dim() == 4 else "columns",
        "curves": [curve(name, rows, models.get(name, {})) for name, rows in entries.sort_like(order, curves).items()],
        "logged": logged_quantities(curves),
    }


def _drawn(pictures: Tensor | Pictures) -> Tensor:
    return pictures.drawn if isinstance(pictures, Pictures) else pictures


def _pictures(
    models: entries.Models, samples: Mapping[str, Tensor | Pictures], real: Tensor | Pictures, columns: Sequence[Column]
) -> list[dict[str, Any]]:
    """The pictures of real data, except of a table, and of each model."""
    shown: dict[str | None, tuple[Tensor | Pictures, str | None]] = {}
    if plot_kind(_drawn(real), None, columns) != "table":
        shown[None] = (real, None)
    shown |= {name: (drawn, models.get(name, {}).get("family", "")) for name, drawn in samples.items()}
    return [
        {
            "name": name,
            "panels": panels(
                given if isinstance(given, Pictures) else Pictures(given),
                None if name is None else _drawn(real),
                columns,
                family,
            ),
        }
        for name, (given, family) in shown.items()
    ]


def _quality_plots(models: entries.Models, anchors: entries.Models) -> list[dict[str, str]]:
    plots = ((title, quality_svg(models, anchors, measure)) for measure, title in AXES.items())
    return [{"title": title, "url": svg_url(svg)} for title, svg in plots if svg is not None]


def _explained(models: entries.Models, anchors: entries.Models) -> list[str]:
    """The names of all that the page explains: the scores, and the verdict if there is one."""
    everything = [*models.values(), *anchors.values()]
    verdict = ["verdict"] if any(one.get("verdict") for one in everything) else []
    return [*entries.score_names(everything), *verdict]


def _ordered_config(order: list[str], config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, with the options by model, where there are any, in the order of the models."""
    ordered = dict(config)
    for key in ("options", "models"):
        if isinstance(ordered.get(key), Mapping):
            ordered[key] = entries.sort_like(order, ordered[key])
    return ordered
