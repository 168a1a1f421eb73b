"""The classifier two-sample test between chance and certainty."""

import numpy as np
import pytest
from helpers import points

from pyrogen.measure.c2st import c2st


def test_c2st_between_chance_and_certainty():
    n, real = 120, points(120, 1, 2, 2)
    null = c2st(points(n, 1, 2, 2, seed=1), real)
    half = 1.96 * (0.25 / (2 * n)) ** 0.5
    assert null.detail == {"null": pytest.approx([0.5 - half, 0.5 + half]), "n": 2 * n}
    assert null.value == pytest.approx(0.5, abs=1.5 * half)
    apart = c2st(points(n + 50, 1, 2, 2, seed=1) + 20, real)
    assert (apart.value, apart.stderr, apart.detail["n"]) == (1.0, 0.0, 2 * n)
    shifted = c2st(points(n, 1, 2, 2, seed=1) + 0.7, real)
    assert null.value + half < shifted.value < 1
    assert shifted.kind == "statistic"


def test_c2st_finds_no_difference_in_identical_copies():
    x = points(120, 2)
    np.random.seed(0)
    score = c2st(x, x.clone())
    assert score.value <= score.detail["null"][1]
    assert score == c2st(x, x.clone())
    assert np.random.rand() == pytest.approx(0.5488135)  # numpy's own stream was not drawn from
