"""``compare``: train several models with the same budget on one data set, and write one scorecard."""

from pyrogen.comparison.compare import compare, run_comparison
from pyrogen.comparison.config import ComparisonConfig, prepare
from pyrogen.comparison.models import grid

__all__ = ["ComparisonConfig", "compare", "grid", "prepare", "run_comparison"]
