"""Density, coverage and the sliced Wasserstein distance: known values, and the sums of their definitions."""

from math import gamma, pi

import pytest
import torch

from pyrogen.errors import DataError
from pyrogen.measure import density_coverage, sliced_wasserstein, w1_exact


def normal(n, d=3, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_density_and_coverage_by_loops():
    samples, real, k = normal(9, 2) + 0.5, normal(12, 2, 1), 3
    radius = [sorted(float((x - other).norm()) for other in real)[k] for x in real]
    inside = [[float((x - s).norm()) <= r for s in samples] for x, r in zip(real, radius, strict=True)]
    scores = density_coverage(samples, real, k)
    assert scores["density"].value == pytest.approx(sum(map(sum, inside)) / (k * 9))
    assert scores["coverage"].value == pytest.approx(sum(map(any, inside)) / 12)


def test_their_values_for_one_distribution():
    scores = [density_coverage(normal(60, seed=i), normal(40, seed=1000 + i)) for i in range(200)]
    for name in ("density", "coverage"):
        values = torch.tensor([score[name].value for score in scores])
        assert float(values.mean()) == pytest.approx(scores[0][name].detail["floor"], abs=4 * float(values.std()) / 14)


def test_they_see_what_is_narrow_and_what_is_off():
    real = normal(300, seed=1)
    narrow, off = density_coverage(0.2 * normal(300), real), density_coverage(normal(300) + 6, real)
    assert narrow["density"].value > 0.8
    assert narrow["coverage"].value < 0.5
    assert off["density"].value < 0.05
    with pytest.raises(DataError, match="density and coverage: expected at least 6 rows of samples, got 5"):
        density_coverage(normal(5), real)


def test_sliced_distance_of_shifted_gaussians():
    shift, d = 3.0, 5
    score = sliced_wasserstein(normal(4000, d), normal(4000, d, 1) + torch.tensor([shift, 0, 0, 0, 0]))
    expected = shift * gamma(d / 2) / (pi**0.5 * gamma((d + 1) / 2))
    assert score.value == pytest.approx(expected, abs=0.05)
    assert score.kind == "estimate"


def test_sliced_distance_on_the_line_is_exact():
    x, y = normal(50, 1), 2 * normal(50, 1, 1)
    assert sliced_wasserstein(x, y, directions=1).value == pytest.approx(w1_exact(x, y))
    twice = torch.cat([y, y])
    assert sliced_wasserstein(x, twice, 1).value == pytest.approx(w1_exact(x, y))
    assert sliced_wasserstein(x, x).value == 0
