"""A verdict on samples: tests of copies, of samples off the data, of their variety and of missing parts."""

from pyrogen.measure.verdict.hypothesis import FAULTS, Test
from pyrogen.measure.verdict.judge import Judge, judge_samples
from pyrogen.measure.verdict.neighbours import nearest_neighbour
from pyrogen.measure.verdict.verdict import Verdict

__all__ = ["FAULTS", "Judge", "Test", "Verdict", "judge_samples", "nearest_neighbour"]
