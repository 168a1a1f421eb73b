"""Write the page on which a model is explored: one HTML file, whose pictures lie in sheets."""

import os
from math import ceil, floor, log10, sqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyrogen.data.shown.image_grid import image_png
from pyrogen.files import write_whole
from pyrogen.report import formatting
from pyrogen.report.explorer.contents import ACTIVE, Exploration, Plane, Units
from pyrogen.report.templates import data_url, render_page

COLOURS, SHAPES = 8, 5
"""Classes differ by colour and by the shape of their points, in 40 ways."""
WIDTH, HEIGHT = 400, 340
"""The size of the plane in units of its drawing, which is scaled to the screen."""
MARGIN = 14
UNITS = 64
"""The most units that are listed."""


def write_explorer(path: str | os.PathLike[str], found: Exploration) -> Path:
    """Write what ``pyrogen.use.explore`` has found as a self-contained HTML page, and return its path.

    Args:
        path: the file to write; its folder must exist.
        found: what the page shows.

    Raises:
        RunError: if the file cannot be written.
    """
    sheets = {
        "data": found.pictures if found.plane is None else torch.cat([found.pictures, found.plane.reconstructions]),
        "sliders": found.sliders.pictures.flatten(0, 2),
    }
    if found.paths is not None:
        sheets["paths"] = found.paths.flatten(0, 1)
    plane = None if found.plane is None else _drawn_plane(found.plane, found.labels)
    height, width = found.pictures.shape[-2:]
    return write_whole(
        path,
        render_page(
            "pyrogen.report.explorer",
            "explorer.html",
            script="explorer.js",
            filters={"number": formatting.format_number, "count": formatting.format_count},
            found=found,
            urls={name: data_url(image_png(sheet(pictures)), "image/png") for name, pictures in sheets.items()},
            plane=plane,
            markers=[(label % COLOURS, label % SHAPES) for label in range(max(1, len(found.classes)))],
            units=None if found.units is None else _listed(found.units),
            active=ACTIVE,
            anchors=[_name(found, i) for i in found.anchors.tolist()],
            slider_units=found.sliders.units.tolist(),
            known={
                "size": [width, height],
                "columns": {name: _columns(len(pictures)) for name, pictures in sheets.items()},
                "names": [_name(found, i) for i in range(len(found.rows))],
                "anchors": found.anchors.tolist(),
                "labels": None if found.labels is None else found.labels.tolist(),
                "points": plane and plane["places"],
                "deviations": _rounded(found.sliders.deviations),
                "values": _rounded(found.sliders.values),
                "steps": 0 if found.paths is None else found.paths.shape[1],
            },
        ),
    )


def sheet(pictures: Tensor) -> Tensor:
    """Pictures ``(n, c, h, w)`` in one, row by row without gaps, ``(c, rows * h, columns * w)``."""
    n, channels, height, width = pictures.shape
    columns = _columns(n)
    rows = ceil(n / columns)
    blank = pictures.new_zeros(rows * columns - n, channels, height, width)
    tiles = torch.cat([pictures, blank]).view(rows, columns, channels, height, width)
    return tiles.permute(2, 0, 3, 1, 4).reshape(channels, rows * height, columns * width)


def _columns(n: int) -> int:
    """Pictures per row of a sheet of ``n``."""
    return ceil(sqrt(n))


def _rounded(values: Tensor) -> Any:
    """Numbers of two decimals, in lists."""
    return values.double().mul(100).round().div(100).tolist()


def _name(found: Exploration, i: int) -> str:
    """What picture ``i`` is."""
    kind = "draw" if found.plane is None else "datum"
    label = "" if found.labels is None else f", class {found.classes[int(found.labels[i])]}"
    return f"{kind} {formatting.format_count(int(found.rows[i]))}{label}"


def _drawn_plane(plane: Plane, labels: Tensor | None) -> dict[str, Any]:
    """Points, by class too, and marks at round numbers, in the coordinates of the drawing."""
    low, high = plane.points.min(0).values, plane.points.max(0).values
    size = plane.points.new_tensor([WIDTH, HEIGHT])
    scale = (size - 2 * MARGIN) / (high - low)  # infinite along an axis on which all points are one
    if not plane.is_line:
        scale = scale.min().expand(2)  # as long on both axes
    scale = torch.where(scale.isfinite(), scale, size / 4) * scale.new_tensor([1.0, -1.0])
    shift = size / 2 - scale * (low + high) / 2
    places = [[round(x, 1), round(y, 1)] for x, y in (plane.points * scale + shift).tolist()]
    groups: dict[int, list[list[float]]] = {}
    for i, place in enumerate(places):
        groups.setdefault(0 if labels is None else int(labels[i]), []).append(place)
    ticks = [_ticks(float(scale[axis]), float(shift[axis]), (WIDTH, HEIGHT)[axis]) for axis in range(2)]
    return {
        "places": places,
        "groups": dict(sorted(groups.items())),
        "ticks": (ticks[0], [] if plane.is_line else ticks[1]),
        "size": (WIDTH, HEIGHT),
    }


def _ticks(scale: float, shift: float, length: int) -> list[tuple[float, str]]:
    """Marks at round numbers along an axis, about five: place and label."""
    ends = sorted((place - shift) / scale for place in (0, length))
    rough = (ends[1] - ends[0]) / 5
    power = 10 ** floor(log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    marks = [step * k for k in range(ceil(ends[0] / step), floor(ends[1] / step) + 1)]
    return [(round(mark * scale + shift, 1), f"{round(mark, 9):g}".replace("-", formatting.MINUS)) for mark in marks]


def _listed(units: Units) -> dict[str, Any]:
    """The units in order, and the sum of their divergences."""
    shown = units.variance if units.divergence is None else units.divergence
    largest = max(float(shown.max()), 1e-12)
    order = units.order.tolist()
    return {
        "rows": [
            {
                "name": f"z{i + 1}",
                "share": round(100 * max(float(shown[i]), 0) / largest, 1),
                "value": float(shown[i]),
                "variance": float(units.variance[i]),
                "active": bool(units.active[i]),
            }
            for i in order[:UNITS]
        ],
        "left_out": len(order) - len(order[:UNITS]),
        "number": len(order),
        "active": int(units.active.sum()),
        "sum": None if units.divergence is None else float(units.divergence.sum()),
    }
