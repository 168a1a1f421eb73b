"""A picture of a table: the marginals of its columns and the pairs that depend on each other most.

Tables with more than ``MARGINALS`` columns are summarised by means, deviations and correlations.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pyrogen.data.columns import Column, array_names
from pyrogen.errors import DataError
from pyrogen.files import Target, write_optional
from pyrogen.report.axis_labels import Floats, text_width
from pyrogen.report.canvas import GENERATED, PANEL, REAL, canvas, png
from pyrogen.report.marginals import draw_marginal
from pyrogen.report.moments import Moments, column_moments, draw_correlations, draw_deviations, draw_means
from pyrogen.report.pairs import dependent_pairs, draw_pair

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARGINALS = 30
"""The most columns whose marginals are all drawn."""
FIRST = 6
"""The number of columns whose marginals are drawn of larger tables."""
PAIRS = 6
"""The number of pairs of columns that are drawn."""
WIDTH, MARGINAL_HEIGHT, PAIR_HEIGHT, HEADER = PANEL // 2, 116, 170, 22  # in points
TITLE_SIZE, LABEL_SIZE = 9.5, 8.5

Panel = tuple[int, Callable[["Axes"], None]]
"""The height of a panel in points, and the function that draws it."""


def table_png(
    samples: Tensor,
    reference: Tensor | None = None,
    columns: Sequence[Column] = (),
    path: Target = None,
    colour: str = GENERATED,
    across: int = 2,
) -> bytes:
    """Plot the marginals of generated rows over those of real ones, and the pairs of columns that depend most.

    Bins and limits are those of the real data, so that plots of several models are comparable; the shares of values
    outside are printed.

    Args:
        samples: generated rows in the user's units, ``(n, columns)``, with categories as codes.
        reference: real rows, ``(m, columns)``.
        columns: the columns; by default real ones, whose names are their positions.
        path: the file to write the PNG to, optional.
        colour: a matplotlib colour for generated values.
        across: the number of panels beside each other, two in the width of a phone.

    Returns:
        The bytes of the PNG.

    Raises:
        DataError: if the rows do not have these columns, or there are none.
    """
    columns = columns or real_columns(samples)
    drawn, real = as_rows(samples, columns), None if reference is None else as_rows(reference, columns)
    panels = _panels(drawn, real, columns, colour)
    lines = [part[i : i + across] for part in panels for i in range(0, len(part), across)]
    with canvas(across * WIDTH, HEADER + sum(line[0][0] for line in lines)) as figure:
        figure.set_layout_engine("none")  # panels of known size need none, and it takes half of the time
        top = float(HEADER)
        for line in lines:
            _draw_line(figure, line, top)
            top += line[0][0]
        note = f"below: the first {FIRST} of {len(columns)} columns" if len(columns) > MARGINALS else ""
        _legend(figure, real is not None, colour, note)
        return write_optional(png(figure), path)


def table_moments(samples: Tensor, reference: Tensor, columns: Sequence[Column] = ()) -> list[Moments]:
    """The mean and deviation of each of the first ``MARGINALS`` columns, and the share of each category."""
    columns = columns or real_columns(samples)
    drawn, real = (as_rows(part, columns)[:, :MARGINALS] for part in (samples, reference))
    return column_moments(real, drawn, columns[:MARGINALS])


def _draw_line(figure: "Figure", line: list[Panel], top: float) -> None:
    """Draw panels beside each other, below ``top`` in points, each with the margins that its labels need."""
    width, height = (72 * side for side in figure.get_size_inches())
    drawn = []
    for _, draw in line:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.tick_params(labelsize=LABEL_SIZE, length=2.5, pad=2.5)
        draw(axes)
        drawn.append(axes)
    bottom = max(_margin_below(axes) for axes in drawn)
    for i, (axes, (panel_height, _)) in enumerate(zip(drawn, line, strict=True)):
        left = max(30.0, 10 + LABEL_SIZE * max((text_width(t.get_text()) for t in axes.get_yticklabels()), default=0))
        room = WIDTH - left - 14
        base = height - top - panel_height + bottom
        axes.set_position(
            ((i * WIDTH + left) / width, base / height, room / width, (panel_height - bottom - 20) / height)
        )
        axes.set_title(axes.get_title("left"), loc="left", fontsize=TITLE_SIZE, x=(6 - left) / room, pad=4)
        axes.set_xlabel(axes.get_xlabel(), loc="right", fontsize=LABEL_SIZE, labelpad=2)


def _margin_below(axes: "Axes") -> float:
    """The points that tick labels and the label of the horizontal axis need."""
    labels = axes.get_xticklabels()
    vertical = LABEL_SIZE * max((text_width(t.get_text()) for t in labels if t.get_rotation()), default=0)
    return 8 + max(vertical, 10 if labels else 0) + (13 if axes.get_xlabel() else 0)


def real_columns(samples: Tensor) -> tuple[Column, ...]:
    """The columns of rows of which nothing is known but that they are real numbers."""
    return tuple(Column(name, "real") for name in array_names(samples.shape[1]))


def as_rows(values: Tensor, columns: Sequence[Column]) -> Floats:
    """Rows of a table as an array, ``(n, columns)``, ``float64``."""
    if values.dim() != 2 or values.shape[1] != len(columns) or not len(values):
        expected = f"(n, {len(columns)})"
        raise DataError(f"expected rows of shape {expected} with n > 0; got {tuple(values.shape)}")
    return values.detach().double().cpu().numpy()


def _panels(drawn: Floats, real: Floats | None, columns: Sequence[Column], colour: str) -> list[list[Panel]]:
    """The panels of each part of the picture."""
    base = drawn if real is None else real
    large = len(columns) > MARGINALS
    shown = columns[:FIRST] if large else columns
    marginals: list[Panel] = [
        (
            MARGINAL_HEIGHT,
            partial(
                draw_marginal, column=c, real=None if real is None else real[:, i], drawn=drawn[:, i], colour=colour
            ),
        )
        for i, c in enumerate(shown)
    ]
    if large:
        return [_moment_panels(drawn, base, columns, colour), marginals]
    finite = base[np.isfinite(base).all(1)]
    pairs = dependent_pairs(finite, columns, PAIRS) if len(finite) else []
    noise = np.random.default_rng(0)
    scatters: list[Panel] = [
        (
            PAIR_HEIGHT,
            partial(
                draw_pair, pair=[columns[i] for i in pair], real=None if real is None else real[:, pair],
                drawn=drawn[:, pair], colour=colour, noise=noise,
            ),
        )
        for pair in pairs
    ]  # fmt: skip
    return [marginals, scatters]


def _moment_panels(drawn: Floats, base: Floats, columns: Sequence[Column], colour: str) -> list[Panel]:
    compared = column_moments(base, drawn, columns)
    return [
        (PAIR_HEIGHT, partial(draw_means, compared=compared, colour=colour)),
        (PAIR_HEIGHT, partial(draw_deviations, compared=compared, colour=colour)),
        (PAIR_HEIGHT, partial(draw_correlations, real=base, drawn=drawn, columns=columns, colour=colour)),
    ]


def _legend(figure: "Figure", has_real: bool, colour: str, note: str) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=REAL, alpha=0.55, label="real")] if has_real else []
    handles.append(Patch(facecolor="none", edgecolor=colour, label="generated"))
    handles += [Patch(color="none", label=note)] * bool(note)
    figure.legend(handles=handles, loc="upper left", ncols=3, borderpad=0.4, handlelength=1.4, columnspacing=1.4)
