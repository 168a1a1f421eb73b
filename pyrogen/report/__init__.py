"""Results as people look at them: pictures while a model learns, one page when several are compared."""

from pyrogen.report.html import write_report as write_report
from pyrogen.report.plots import curves_png as curves_png
from pyrogen.report.plots import curves_svg as curves_svg
from pyrogen.report.plots import histogram_png as histogram_png
from pyrogen.report.plots import samples_png as samples_png
from pyrogen.report.plots import scatter_png as scatter_png
from pyrogen.report.sheet import grid_png as grid_png
