"""Observation models: the discretised logistic is a distribution, links invert means, mistakes are named."""

import pytest
import torch
from scipy import stats

from pyrogen.errors import ConfigError
from pyrogen.explicit import (
    BernoulliLikelihood,
    DiscretizedLogistic,
    DiscretizedLogisticLikelihood,
    GaussianLikelihood,
)
from pyrogen.explicit.likelihoods import make_likelihood
from pyrogen.random import scoped_seed

LEVELS = (2, 17, 256)
# Narrow, wide, and far to both sides of the data.
PLACES = [(loc, scale) for loc in (-50.0, -0.2, 0.0, 0.33, 1.0, 1.4, 100.0) for scale in (1e-3, 0.05, 1.0, 148.0)]


def logistic(loc, scale, levels, dtype=torch.float64):
    return DiscretizedLogistic(torch.tensor(loc, dtype=dtype), torch.tensor(scale, dtype=dtype), levels)


def centres(levels, dtype=torch.float64):
    return (torch.arange(levels, dtype=dtype) + 0.5) / levels


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize(("loc", "scale"), PLACES)
def test_masses_sum_to_one(levels, loc, scale):
    masses = logistic(loc, scale, levels).log_prob(centres(levels)).exp() / levels
    assert float(masses.sum()) == pytest.approx(1, abs=1e-6)
    single = logistic(loc, scale, levels, torch.float32).log_prob(centres(levels, torch.float32)).exp() / levels
    assert float(single.sum()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize(("loc", "scale"), [(0.33, 0.05), (0.33, 1.0), (1.0, 0.05), (-0.2, 0.3)])
def test_agrees_with_the_difference_of_two_sigmoids(levels, loc, scale):
    edges = torch.arange(levels + 1, dtype=torch.float64) / levels
    cdf = torch.sigmoid((edges - loc) / scale)
    cdf[0], cdf[-1] = 0.0, 1.0
    naive = cdf.diff()
    ours = logistic(loc, scale, levels).log_prob(centres(levels)).exp() / levels
    assert torch.allclose(ours, naive, rtol=1e-6, atol=1e-15)


@pytest.mark.parametrize("levels", LEVELS)
def test_density_is_constant_within_bins(levels):
    d = logistic(0.4, 0.1, levels, torch.float32)
    inside = torch.tensor([0.01, 0.3, 0.5, 0.99])
    values = d.log_prob((torch.arange(levels)[:, None] + inside) / levels)
    assert torch.equal(values, values[:, :1].expand_as(values))
    assert len(values[:, 0].unique()) > levels // 4
    ends = d.log_prob(torch.tensor([0.0, 1.0, 1 - 2**-24]))
    assert torch.equal(ends, values[:, 0][[0, -1, -1]])


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("loc", [-1e4, -3.0, 0.5, 4.0, 1e4])
@pytest.mark.parametrize("log_scale", [-1e3, -9.0, 0.0, 9.0, 1e3])
def test_value_and_gradient_are_finite_in_the_tails(levels, loc, log_scale):
    h = torch.tensor([[loc, log_scale]]).expand(levels, 2).clone().requires_grad_()
    log_prob = DiscretizedLogisticLikelihood(levels)(h).log_prob(centres(levels, torch.float32)[:, None])
    assert log_prob.isfinite().all()
    log_prob.sum().backward()
    assert h.grad.isfinite().all()


def test_gradient_agrees_with_finite_differences():
    loc, scale = (torch.tensor([v], dtype=torch.float64, requires_grad=True) for v in (0.3, 0.07))

    def log_prob(loc, scale):
        return DiscretizedLogistic(loc, scale, 17).log_prob(centres(17))

    assert torch.autograd.gradcheck(log_prob, (loc, scale))


def test_a_far_off_location_pulls_back():
    loc = torch.tensor([-40.0, 40.0], requires_grad=True)
    DiscretizedLogistic(loc, torch.full((2,), 0.01), 256).log_prob(torch.full((2,), 0.5)).sum().backward()
    assert loc.grad.tolist() == pytest.approx([100, -100], rel=1e-4)  # 1 / scale


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize(("loc", "scale"), [(0.33, 0.08), (0.02, 0.05), (1.3, 0.2)])
def test_samples_have_the_masses(levels, loc, scale):
    n = 20_000
    d = DiscretizedLogistic(torch.tensor([loc]), torch.tensor([scale]), levels)
    with scoped_seed(1):
        x = d.sample((n,)).double().flatten()
    assert x.min() >= 0
    assert x.max() < 1
    expected = n * logistic(loc, scale, levels).log_prob(centres(levels)).exp() / levels
    counts = torch.bincount((x * levels).floor().long(), minlength=levels).double()
    rare = expected < 8
    observed = [*counts[~rare].tolist(), float(counts[rare].sum())]
    wanted = [*expected[~rare].tolist(), float(expected[rare].sum())]
    chi2 = sum((o - e) ** 2 / e for o, e in zip(observed, wanted, strict=True) if e > 1)
    assert chi2 < stats.chi2.ppf(0.999, max(len(wanted) - 1, 1))
    assert stats.kstest((x * levels) % 1, "uniform").pvalue > 1e-3


def test_shapes_and_expansion():
    d = DiscretizedLogistic(torch.zeros(3, 4), torch.ones(3, 4), 17)
    assert d.batch_shape == (3, 4)
    assert d.sample((5,)).shape == (5, 3, 4)
    assert d.expand((2, 3, 4)).log_prob(torch.zeros(3, 4)).shape == (2, 3, 4)
    assert d.to_event(1).log_prob(torch.zeros(3, 4)).shape == (3,)


@pytest.mark.parametrize(
    "likelihood",
    [BernoulliLikelihood(), GaussianLikelihood(), GaussianLikelihood(0.1, unit=False), DiscretizedLogisticLikelihood()],
    ids=["bernoulli", "gaussian", "gaussian on R", "discretized logistic"],
)
@pytest.mark.parametrize("shape", [(4,), (1, 8, 8), (3, 5, 7)])
def test_link_is_the_inverse_of_the_mean(likelihood, shape):
    mean = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 0.99 + 0.005
    h = likelihood.link(mean)
    assert h.shape == (likelihood.outputs * shape[0], *shape[1:])
    # The logistic's location is the mean; its spread, cut off at 0 and 1, moves what is expected near them.
    atol = 0.1 if isinstance(likelihood, DiscretizedLogisticLikelihood) else 1e-5
    assert torch.allclose(likelihood.mean(h[None])[0], mean, atol=atol)
    assert likelihood(h[None]).batch_shape == (1, *shape)


@pytest.mark.parametrize("likelihood", [BernoulliLikelihood(), GaussianLikelihood()])
def test_link_of_a_constant_pixel_is_finite(likelihood):
    h = likelihood.link(torch.tensor([0.0, 1.0]))
    assert h.abs().max() < 7
    assert torch.allclose(likelihood.mean(h), torch.tensor([0.0, 1.0]), atol=2e-3)


def test_link_of_gaussian_on_the_real_line_is_any_number():
    mean = torch.tensor([-20.0, 0.0, 300.0])
    likelihood = GaussianLikelihood(unit=False)
    assert torch.equal(likelihood.mean(likelihood.link(mean)), mean)


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("sigma", [0.3, "learned"])
def test_gaussian_likelihood_in_closed_form(unit, sigma):
    likelihood = GaussianLikelihood(sigma, unit)
    s = 0.3 if sigma == 0.3 else torch.e**-1
    h, x = torch.tensor([[-1.0, 0.5]]), torch.tensor([[0.2, 0.9]])
    mean = torch.sigmoid(h) if unit else h
    expected = -0.5 * ((x - mean) / s) ** 2 - torch.tensor(s * (2 * torch.pi) ** 0.5).log()
    value = likelihood(h).log_prob(x)
    assert torch.allclose(value, expected, atol=1e-5)
    assert likelihood.log_sigma.requires_grad == (sigma == "learned")


def test_bernoulli_likelihood_in_closed_form():
    h = torch.tensor([[-3.0, 0.5]])
    p = torch.sigmoid(h)
    for x in (0.0, 1.0):
        value = BernoulliLikelihood()(h).log_prob(torch.full((1, 2), x)).exp()
        assert torch.allclose(value, p if x else 1 - p)


@pytest.mark.parametrize(
    ("name", "probability"), [("bernoulli", "mass"), ("gaussian", "density"), ("discretized_logistic", "density")]
)
def test_likelihoods_by_name(name, probability):
    assert make_likelihood(name).probability == probability


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match=r"'bernouli'; did you mean 'bernoulli'"):
        make_likelihood("bernouli")
    with pytest.raises(ConfigError, match="at least 2 grey levels; got 0"):
        make_likelihood("discretized_logistic", levels=0)
    for sigma in (0, -1.0, "learnt", None):
        with pytest.raises(ConfigError, match=r"positive number or 'learned'"):
            make_likelihood("gaussian", sigma=sigma)


def test_mean_of_the_discretised_logistic():
    likelihood = DiscretizedLogisticLikelihood(17)
    h = torch.tensor([[-0.45, 2.0]])
    with scoped_seed(0):
        drawn = likelihood(h).sample((100_000,)).mean()
    assert likelihood.mean(h).item() == pytest.approx(drawn.item(), abs=0.03)


def test_the_moments_of_an_extreme_discretised_logistic_are_those_of_a_point_in_a_bin():
    loc = torch.tensor([-1e4, -3.0, 0.0, 1e-4, 1.0, 3.0, 1e4])
    extreme = DiscretizedLogisticLikelihood(16)(torch.stack([loc - 0.5, torch.full_like(loc, -5.0)], 1)[:, :, None])
    assert bool(((extreme.mean >= 0) & (extreme.mean <= 1)).all())
    assert float(extreme.variance.min()) == pytest.approx(1 / (12 * 16**2))
