"""The canvas of all plots: colours, sizes and a style of their own.

The backend and ``rcParams`` of the caller are neither used nor changed, and matplotlib is imported only when a plot is
drawn.
"""

import gc
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = 350  # width of a plot in points; fits a phone of 390
TITLE_LENGTH = 44  # characters that fit above one plot
DPI = 144  # two pixels per point
TEXT, MUTED = "#23272f", "#5f6673"
REAL, GENERATED = "#858d9b", "#1f66d1"
SERIES = (GENERATED, "#d06a0b", "#12806a", "#a8328f", "#7a6a14", "#b3302f")
STYLE: dict[Any, Any] = {
    "font.size": 9.5, "text.color": TEXT, "axes.labelcolor": TEXT, "xtick.color": MUTED, "ytick.color": MUTED,
    "axes.edgecolor": MUTED, "axes.linewidth": 0.7, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": "#e6e8ec", "grid.linewidth": 0.7, "axes.xmargin": 0.02,
    "lines.linewidth": 1.5, "legend.frameon": False, "legend.fontsize": 9, "legend.markerscale": 2,
    "svg.fonttype": "path", "svg.hashsalt": "pyrogen",
}  # fmt: skip


def legend_above(axes: "Axes") -> None:
    """Place the legend above the axes, where it does not cover a curve."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0.2, columnspacing=1.4, handlelength=1.6)


@contextmanager
def canvas(width: float, height: float) -> Iterator["Figure"]:
    """Yield a figure of ``width`` by ``height`` points, independent of the caller's backend and settings."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield Figure(figsize=(width / 72, height / 72), layout="constrained")


@contextmanager
def figures_freed() -> Iterator[None]:
    """Free the figures that are drawn inside, which consist of cycles: Python would keep several megabytes of them.

    Only what was made inside is collected: a walk over all objects of a process takes longer than the drawing.
    """
    freeze = not gc.get_freeze_count()  # else the caller has frozen objects, which `unfreeze` would thaw
    if freeze:
        gc.freeze()
    try:
        yield
        gc.collect()
    finally:
        if freeze:
            gc.unfreeze()


def png(figure: "Figure") -> bytes:
    """Render a figure as PNG."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # names in scripts that matplotlib's font lacks
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
