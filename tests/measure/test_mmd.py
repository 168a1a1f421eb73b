"""The maximum mean discrepancy against plain loops, under the null hypothesis, and for differing distributions."""

from math import exp

import numpy as np
import pytest
import torch
from helpers import points

from pyrogen.data.toy import ring
from pyrogen.measure.mmd import mmd2
from pyrogen.nn.mmd import (
    gaussian_kernel,
    mmd2_interaction_variance,
    mmd2_pseudo_values,
    polynomial_kernel,
    unbiased_mmd2,
)


def naive_mmd2(samples, real):
    """The unbiased estimate by plain loops, bandwidths as documented."""
    x, y = samples.flatten(1).double().tolist(), real.flatten(1).double().tolist()

    def square(a, b):
        return sum((p - q) ** 2 for p, q in zip(a, b, strict=True))

    apart = sorted(square(a, b) ** 0.5 for i, a in enumerate(y) for j, b in enumerate(y) if i != j)
    median = apart[(len(apart) - 1) // 2]

    def k(a, b):
        return sum(exp(-square(a, b) / (2 * (c * median) ** 2)) for c in (0.5, 1, 2)) / 3

    n, m = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_x + within_y - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


@pytest.mark.parametrize(("n", "m", "event"), [(7, 5, (3,)), (5, 8, (1, 2, 2)), (3, 3, (1,))])
def test_mmd_agrees_with_loops(n, m, event):
    samples, real = points(n, *event) + 0.5, points(m, *event, seed=1)
    score = mmd2(samples, real, permutations=5)
    assert score.value == pytest.approx(naive_mmd2(samples, real), abs=1e-6)
    assert (score.kind, score.detail["n"]) == ("estimate", min(n, m))


def test_pseudo_values_are_those_of_leaving_rows_out():
    n, m = 7, 9
    kernel = gaussian_kernel(points(n + m, 2).double(), [0.7, 2.0])
    rows = torch.arange(n + m)
    without = [rows[rows != i] for i in rows]
    left_out = torch.stack([unbiased_mmd2(kernel[k][:, k], n - (i < n)) for i, k in enumerate(without)])
    parts = [(len(v) - 1) / len(v) * (v - v.mean()).square().sum() for v in (left_out[:n], left_out[n:])]
    values = mmd2_pseudo_values(kernel, n)
    assert sum(float(v.var() / len(v)) for v in values) == pytest.approx(float(sum(parts)), rel=1e-9)
    assert torch.allclose(values[1], -(m - 1) * (left_out[n:] - left_out[n:].mean()))


def test_pairs_of_rows_are_the_whole_variance_of_equal_distributions():
    kernels = [gaussian_kernel(points(70, 4, seed=i).double(), [1.0, 3.0]) for i in range(300)]
    values = torch.stack([unbiased_mmd2(kernel, 30) for kernel in kernels])
    expected = torch.stack([mmd2_interaction_variance(kernel, 30) for kernel in kernels])
    assert float(expected.mean().sqrt()) == pytest.approx(float(values.std()), rel=0.15)
    assert float(expected.std() / expected.mean()) < 0.3


def test_intervals_of_different_distributions_cover():
    scores = [mmd2(1.3 * points(150, 8, seed=i), points(150, 8, seed=1000 + i), 2) for i in range(120)]
    values = torch.tensor([score.value for score in scores])
    errors = torch.tensor([score.stderr for score in scores])
    assert float(errors.mean()) == pytest.approx(float(values.std()), rel=0.2)
    assert 0.88 < ((values - values.mean()).abs() < 1.96 * errors).float().mean() <= 1


def test_mmd_is_unbiased_under_the_null():
    values = [mmd2(points(30, 2, seed=i), points(20, 2, seed=1000 + i), permutations=2).value for i in range(300)]
    stderr = np.std(values) / 300**0.5
    assert abs(np.mean(values)) < 3.5 * stderr
    assert stderr < 2e-3
    assert min(values) < 0 < max(values)


def test_mmd_of_permuted_rows_by_formula_and_by_recomputation():
    kernel = gaussian_kernel(points(12, 2).double(), [0.7, 2.0])
    sign = torch.zeros(6, 12, dtype=torch.bool)
    for row, seed in zip(sign, range(6), strict=True):
        row[torch.randperm(12, generator=torch.Generator().manual_seed(seed))[:5]] = True
    values = unbiased_mmd2(kernel, sign)
    for value, row in zip(values, sign, strict=True):
        a, b = row.nonzero()[:, 0], (~row).nonzero()[:, 0]
        within = [(kernel[i][:, i].sum() - kernel[i, i].sum()) / (len(i) * (len(i) - 1)) for i in (a, b)]
        assert value.item() == pytest.approx((sum(within) - 2 * kernel[a][:, b].mean()).item(), abs=1e-12)


@pytest.mark.parametrize(("shift", "deviation", "dims"), [(0.0, 1.0, 1), (1.5, 1.0, 2), (0.5, 2.0, 3)])
@pytest.mark.parametrize("bandwidths", [(1.0,), (0.5, 3.0)])
def test_mmd_of_two_gaussians_in_closed_form(shift, deviation, dims, bandwidths):
    """E exp(-|x - y|² / 2h²) = (h² / v)^(d/2) exp(-|m|² / 2v) with x - y ~ N(m, (v - h²) I)."""

    def expected(difference, variance):
        v = [h**2 + variance for h in bandwidths]
        return sum(
            (h**2 / w) ** (dims / 2) * exp(-dims * difference**2 / (2 * w)) for h, w in zip(bandwidths, v, strict=True)
        )

    within = expected(0, 2) + expected(0, 2 * deviation**2)
    closed = (within - 2 * expected(shift, 1 + deviation**2)) / len(bandwidths)
    values = []
    for seed in range(200):
        x, y = points(40, dims, seed=seed).double(), deviation * points(30, dims, seed=1000 + seed).double() + shift
        values.append(unbiased_mmd2(gaussian_kernel(torch.cat([x, y]), bandwidths), 40).item())
    assert np.mean(values) == pytest.approx(closed, abs=4 * np.std(values) / 200**0.5)
    assert np.std(values) / 200**0.5 < 0.01


def test_kernels_by_their_formulas():
    x = points(30, 3).double() + 100  # far from the origin: no digits may be lost
    for i, j in ((0, 1), (4, 4), (7, 29)):
        square = (x[i] - x[j]).square().sum()
        expected = 0.5 * ((-square / 0.5).exp() + (-square / 8).exp())
        assert gaussian_kernel(x, [0.5, 2.0])[i, j].item() == pytest.approx(expected.item(), abs=1e-9)
        assert polynomial_kernel(x)[i, j].item() == pytest.approx(((x[i] @ x[j]).item() / 3 + 1) ** 3, rel=1e-12)
        assert gaussian_kernel(x.float(), [0.5, 2.0])[i, j].item() == pytest.approx(expected.item(), abs=1e-4)


def test_mmd_p_value_is_uniform_under_the_null():
    p = [
        mmd2(points(25, 2, seed=i), points(25, 2, seed=5000 + i), permutations=99, seed=i).detail["p_value"]
        for i in range(300)
    ]
    assert np.mean(p) == pytest.approx(0.5, abs=4 * (1 / 12 / 300) ** 0.5)
    for level in (0.1, 0.5, 0.9):
        share = np.mean(np.array(p) <= level)
        assert share == pytest.approx(level, abs=4 * (level * (1 - level) / 300) ** 0.5)


def test_mmd_grows_with_a_shift_of_the_mean():
    real = points(200, 2)
    scores = [mmd2(points(200, 2, seed=1) + shift, real, permutations=199) for shift in (0.0, 0.3, 1.0, 3.0)]
    values = [score.value for score in scores]
    assert values == sorted(values)
    assert [score.detail["p_value"] for score in scores[2:]] == pytest.approx([1 / 200, 1 / 200])
    assert scores[0].detail["p_value"] > 0.01


def test_mmd_detects_mode_collapse():
    toy, generator = ring(), torch.Generator().manual_seed(0)
    real, fair = toy.sample(300, generator), toy.sample(300, generator)
    values = []
    for kept in (8, 6, 3, 1):
        which = torch.arange(300) % kept
        values.append(mmd2(toy.modes[which] + 0.01 * points(300, 2), real, permutations=50).value)
    assert mmd2(fair, real, permutations=50).value < values[1]
    assert values == sorted(values)


def test_mmd_depends_on_its_seed():
    x, y = points(30, 2), points(30, 2, seed=1)
    state = torch.get_rng_state()
    assert mmd2(x, y, seed=3) == mmd2(x, y, seed=3)
    assert mmd2(x, y, seed=3).detail["p_value"] != mmd2(x, y, seed=4).detail["p_value"]
    assert torch.equal(torch.get_rng_state(), state)
