"""Pictures, curves, the report page of a comparison, and the page on which a model is explored."""

from pyrogen.data.shown.image_grid import grid_png
from pyrogen.report.explorer import Exploration, write_explorer
from pyrogen.report.page import write_report
from pyrogen.report.plots import curves_png, curves_svg, histogram_png, samples_png, scatter_png
from pyrogen.report.table_plots import table_png

__all__ = [
    "Exploration",
    "curves_png",
    "curves_svg",
    "grid_png",
    "histogram_png",
    "samples_png",
    "scatter_png",
    "table_png",
    "write_explorer",
    "write_report",
]
