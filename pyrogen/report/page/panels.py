"""The pictures of the page: samples, means and nearest training images of each model, and its training curves."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from pyrogen.data.columns import Column
from pyrogen.data.shown.image_grid import GAP, grid_png, image_scale
from pyrogen.report.canvas import GENERATED, PANEL, REAL
from pyrogen.report.curve_data import LogRows, base_name, group_curves
from pyrogen.report.moments import Moments
from pyrogen.report.page.glossary import LOGGED
from pyrogen.report.pictures import Pictures
from pyrogen.report.plots import curves_svg, plot_kind, samples_png
from pyrogen.report.table_plots import table_moments
from pyrogen.report.templates import data_url


def panels(shown: Pictures, reference: Tensor | None, columns: Sequence[Column], family: str | None) -> list[Any]:
    """The pictures of a model beside each other; ``family`` is ``None`` for real data."""
    if shown.drawn.dim() != 4:
        return [_plot(shown.drawn, reference, columns, family)]
    title = "samples, as judged" if shown.means is None else "draws of p(x | z), as judged"
    if family == "reconstruction":
        title = "reconstructions of test data"
    walls = [_wall(shown.drawn, "test data" if family is None else title)]
    if shown.means is not None:
        walls.append(_wall(shown.means, "means of p(x | z), not judged"))
    if shown.nearest is not None:
        kind = "test image" if family is None else "reconstruction" if family == "reconstruction" else "sample"
        walls.append(_wall(shown.drawn, f"each {kind} above its nearest training image", shown.nearest))
    return walls


def _wall(images: Tensor, title: str, below: Tensor | None = None) -> dict[str, Any]:
    """A grid of images, or of pairs one above the other, at most as wide as a phone's screen."""
    height, width = images.shape[2:]
    scale = image_scale(height, width)
    across = max(1, (PANEL + GAP) // (width * scale + GAP))
    rows = max(1, (PANEL + GAP) // ((1 if below is None else 2) * (height * scale + GAP)))
    shown = images[: across * rows]
    png = grid_png(shown, columns=across, scale=scale, beneath=None if below is None else below[: across * rows])
    width, height = _size(png)
    return {
        "title": title, "url": data_url(png, "image/png"), "width": width, "height": height, "shown": len(shown),
        "total": len(images), "broken": int(shown.flatten(1).isnan().any(1).sum()), "pixels": width <= PANEL,
        "moments": [],
    }  # fmt: skip


def _plot(drawn: Tensor, reference: Tensor | None, columns: Sequence[Column], family: str | None) -> dict[str, Any]:
    """A scatter plot, histogram or plot of a table, at most as wide as a phone's screen."""
    moments: list[Moments] = []
    png = samples_png(drawn, reference, colour=REAL if family is None else GENERATED, columns=columns, across=2)
    if reference is not None and plot_kind(drawn, reference, columns) == "table":
        moments = table_moments(drawn, reference, columns)
    width, height = (side // 2 for side in _size(png))
    return {
        "title": "test data" if family is None else "samples, as judged", "url": data_url(png, "image/png"),
        "width": width, "height": height, "shown": len(drawn), "total": len(drawn),
        "broken": int((~drawn.reshape(len(drawn), -1).isfinite().all(1)).sum()), "pixels": False, "moments": moments,
    }  # fmt: skip


def curve(name: str, rows: LogRows, model: Mapping[str, Any]) -> dict[str, Any]:
    """The training curves of a model, and the step of its weights."""
    unit = "nats per datum" if model.get("family") == "explicit" else None
    return {
        "name": name,
        "weights": model.get("weights"),
        "url": svg_url(curves_svg(rows, unit)) if group_curves(rows) else None,
    }


def logged_quantities(curves: Mapping[str, LogRows]) -> dict[str, str]:
    """What the quantities in the curves are, by their name in the legend."""
    drawn = {name for rows in curves.values() for axis in group_curves(rows).values() for name in axis}
    drawn |= {base_name(name) for name in drawn}
    return {name.replace("_", " "): words for name, words in LOGGED.items() if name in drawn}


def svg_url(svg: str) -> str:
    """An SVG as a data URL."""
    return data_url(svg.encode(), "image/svg+xml")


def _size(png: bytes) -> tuple[int, int]:
    """Return width and height in pixels from a PNG header."""
    return int.from_bytes(png[16:20]), int.from_bytes(png[20:24])
