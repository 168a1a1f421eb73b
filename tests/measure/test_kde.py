"""The kernel-density estimate of samples, against scikit-learn and against the best bandwidth."""

from math import log, pi

import numpy as np
import pytest
import torch
from helpers import points
from sklearn.neighbors import KernelDensity

from pyrogen.measure.kde import kde_score
from pyrogen.nn.kernel_density import best_bandwidth, log_density


@pytest.mark.parametrize("bandwidth", [0.05, 0.4, 3.0])
@pytest.mark.parametrize("event", [(1,), (4,), (1, 2, 3)])
def test_kernel_density_agrees_with_scikit_learn(bandwidth, event):
    x, samples = points(60, *event).double(), points(80, *event, seed=1).double()
    theirs = KernelDensity(bandwidth=bandwidth).fit(samples.flatten(1).numpy()).score_samples(x.flatten(1).numpy())
    for rows in (1000, 7):
        assert np.allclose(log_density(x, samples, bandwidth, rows).numpy(), theirs, rtol=1e-9)
    single = log_density(x.float(), samples.float(), bandwidth)
    assert np.allclose(single.numpy(), theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("bandwidth", [0.1, 1.0])
def test_kernel_density_integrates_to_one(bandwidth):
    grid = torch.linspace(-12, 12, 20_001, dtype=torch.float64)[:, None]
    density = log_density(grid, points(50, 1).double(), bandwidth).exp()
    assert float(density.sum() * (grid[1] - grid[0])) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("dims", [2, 8, 32])
@pytest.mark.parametrize("n", [300, 1500])
def test_bandwidth_is_close_to_the_best(dims, n):
    samples, valid = points(n, dims), points(300, dims, seed=1)
    chosen = float(log_density(valid, samples, best_bandwidth(valid, samples)).mean())
    best = max(float(log_density(valid, samples, h).mean()) for h in np.geomspace(0.05, 5, 40))
    # Half a step of the grid from the best, 0.18 in log h, costs about 0.18² nats in each dimension.
    assert chosen == pytest.approx(best, abs=0.035 * dims)


def test_kernel_estimate_of_a_known_density():
    samples, valid, test = (points(n, 2, seed=i) for i, n in enumerate((4000, 500, 2000)))
    score = kde_score(test, samples, valid)
    truth = float((-0.5 * test.square().sum(1) - log(2 * pi)).mean())
    assert score.value == pytest.approx(truth, abs=0.04)
    assert (score.kind, score.unit, score.detail["samples"], score.detail["n"]) == ("estimate", "nats", 4000, 2000)
    assert score.detail["bandwidth"] == best_bandwidth(valid, samples)
    assert "unreliable" in score.detail["note"]


def test_bandwidth_in_one_dimension():
    samples, valid = points(3000, 1), points(600, 1, seed=1)
    chosen = float(log_density(valid, samples, best_bandwidth(valid, samples)).mean())
    best = max(float(log_density(valid, samples, h).mean()) for h in np.geomspace(0.01, 1, 20))
    assert chosen == pytest.approx(best, abs=0.05)


@pytest.mark.parametrize("dims", [32, 128])
def test_bandwidth_in_many_dimensions(dims):
    samples, valid = points(1500, dims), points(300, dims, seed=1)
    chosen = float(log_density(valid, samples, best_bandwidth(valid, samples)).mean())
    best = max(float(log_density(valid, samples, h).mean()) for h in np.geomspace(0.3, 3, 80))
    assert chosen == pytest.approx(best, abs=0.1)
