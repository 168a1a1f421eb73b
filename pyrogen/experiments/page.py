"""The page of an experiment: what it asks, what its results say, plots, and the scores of every model."""

from collections.abc import Mapping
from pathlib import Path

from pyrogen.experiments.registry import Card
from pyrogen.files import write_whole
from pyrogen.report import formatting
from pyrogen.report.canvas import PANEL
from pyrogen.report.templates import data_url, render_page


def write_page(path: Path, card: Card, figures: Mapping[str, str]) -> Path:
    """Write the results of an experiment as a self-contained HTML page, and return its path.

    Args:
        path: the file to write; its folder must exist.
        card: the contents of ``results.json``.
        figures: plots as SVG, by title.

    Raises:
        RunError: if the file cannot be written.
    """
    page = render_page(
        "pyrogen.experiments",
        "page.html",
        filters={
            "count": formatting.format_count,
            "config_value": formatting.config_value,
            "duration": formatting.format_duration,
            "p_value": formatting.format_p_value,
            "number": formatting.format_number,
            "title_of": formatting.score_title,
            "unit_of": formatting.score_unit,
            "kind": formatting.KIND_LABELS.__getitem__,
            "value_and_margin": formatting.value_and_margin,
        },
        card=card,
        figures={title: data_url(svg.encode(), "image/svg+xml") for title, svg in figures.items()},
        panel=PANEL,
    )
    return write_whole(path, page)
