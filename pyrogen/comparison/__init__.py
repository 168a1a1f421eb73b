"""The main job: several models trained under one budget on one data set, and one scorecard of them."""

from pyrogen.comparison.compare import begin, compare, compare_in

__all__ = ["begin", "compare", "compare_in"]
