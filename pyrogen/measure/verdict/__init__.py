"""Tests of what is wrong with samples."""

from pyrogen.measure.verdict.neighbours import nearest_neighbour

__all__ = ["nearest_neighbour"]
