"""Divergences of known densities, and the bounds of critics."""

from math import log

import pytest
import torch
from torch.distributions import Normal

from pyrogen.data.toy import ToyMixture, ring
from pyrogen.errors import ConfigError
from pyrogen.measure.divergence import (
    CriticBudget,
    jensen_shannon,
    js_by_critic,
    optimal_discriminator,
    w1_by_critic,
    w1_exact,
)

QUICK = CriticBudget(hidden=(64, 64), steps=800)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def truth_of(p, q):
    """The Jensen-Shannon divergence by quadrature in one dimension."""
    x = torch.linspace(-25, 25, 100_001, dtype=torch.float64)
    log_p, log_q = p.log_prob(x), q.log_prob(x)
    log_m = torch.logaddexp(log_p, log_q) - log(2)
    return 0.5 * torch.trapezoid(log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m), x).item()


def samples(p, n, seed):
    return (p.loc + p.scale * torch.randn(n, 1, generator=generator(seed))).float()


def test_the_optimal_discriminator_maximises_its_objective():
    p, q = torch.tensor([0.2, 0.5, 0.3]), torch.tensor([0.6, 0.3, 0.1])
    best = optimal_discriminator(p.log(), q.log())
    assert torch.allclose(best, p / (p + q))

    def value(d):
        return float((p * d.log()).sum() + (q * (1 - d).log()).sum())

    m = (p + q) / 2
    js = 0.5 * float((p * (p / m).log() + q * (q / m).log()).sum())
    assert value(best) == pytest.approx(-2 * log(2) + 2 * js, abs=1e-6)
    for seed in range(20):
        assert value(best) > value((best + 0.1 * torch.rand(3, generator=generator(seed))).clamp(0.01, 0.99))


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (1.0, 1.0), (3.0, 0.5)])
def test_jensen_shannon_of_two_gaussians(mean, deviation):
    p, q = Normal(0.0, 1.0), Normal(mean, deviation)
    x, y = samples(p, 40_000, 1), samples(q, 40_000, 2)
    truth = truth_of(p, q)
    known = jensen_shannon(lambda t: p.log_prob(t).sum(1), lambda t: q.log_prob(t).sum(1), x, y)
    assert known.value == pytest.approx(truth, abs=4 * known.stderr + 1e-6)
    by_critic = js_by_critic(x, y, QUICK)
    assert by_critic.value == pytest.approx(truth, abs=0.02)
    assert by_critic.value < truth + 4 * by_critic.stderr + 1e-6
    assert by_critic.kind == "lower_bound"


def test_jensen_shannon_of_a_ring_that_lost_modes():
    whole = ring()
    part = ToyMixture(whole.means[:5], whole.scale)
    x, y = whole.sample(20_000, generator(1)), part.sample(20_000, generator(2))
    m = torch.tensor([(1 / 8 + 1 / 5) / 2] * 5 + [1 / 16] * 3)
    p, q = torch.full((8,), 1 / 8), torch.tensor([1 / 5] * 5 + [0] * 3)
    truth = 0.5 * float((torch.special.xlogy(p, p / m) + torch.special.xlogy(q, q / m)).sum())
    assert jensen_shannon(whole.log_prob, part.log_prob, x, y).value == pytest.approx(truth, abs=0.01)
    assert js_by_critic(x, y, QUICK).value == pytest.approx(truth, abs=0.02)


def test_more_training_raises_the_bound_of_a_critic():
    p, q = Normal(0.0, 1.0), Normal(2.0, 1.0)
    x, y = samples(p, 20_000, 1), samples(q, 20_000, 2)
    values = [js_by_critic(x, y, CriticBudget(hidden=(64, 64), steps=steps)).value for steps in (1, 20, 400)]
    assert values[0] < values[1] < values[2] < truth_of(p, q) + 0.01


@pytest.mark.parametrize(("shift", "scale"), [(1.0, 1.0), (0.0, 3.0), (20.0, 1.0)])
def test_wasserstein_on_the_line(shift, scale):
    x = torch.randn(20_000, 1, generator=generator(1))
    y = shift + scale * torch.randn(20_000, 1, generator=generator(2))
    exact = w1_exact(x, y)
    expected = abs(shift) if scale == 1 else (scale - 1) * (2 / torch.pi) ** 0.5
    assert exact == pytest.approx(expected, rel=0.03)
    estimate = w1_by_critic(x, y, QUICK)
    assert estimate.value == pytest.approx(exact, rel=0.1)
    assert estimate.unit == "data"


def test_wasserstein_by_assignment():
    x = torch.rand(50, 3, generator=generator(0))
    shuffled = x[torch.randperm(50, generator=generator(1))]
    assert w1_exact(x, shuffled) == pytest.approx(0, abs=1e-9)
    assert w1_exact(x, shuffled + torch.tensor([0.0, 3.0, 4.0])) == pytest.approx(5)
    line = torch.rand(30, 1, generator=generator(2)), torch.rand(30, 1, generator=generator(3))
    in_plane = [torch.cat([part, torch.zeros(30, 1)], 1) for part in line]
    assert w1_exact(*line) == pytest.approx(w1_exact(*in_plane))
    with pytest.raises(ConfigError, match="50 and 49"):
        w1_exact(x, x[:49])
