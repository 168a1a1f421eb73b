"""``compare``: several models trained under one budget on one data set, and one scorecard of them."""

from pyrogen.comparison.compare import compare, run_comparison
from pyrogen.comparison.config import ComparisonConfig, prepare

__all__ = ["ComparisonConfig", "compare", "prepare", "run_comparison"]
