"""Likelihoods under nested and subsampled plates, masks and several observed sites."""

from math import log

import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import Couple, empty, latent, mixture_log_prob, normal, points
from pyro import poutine
from pyro.infer import config_enumerate

from pyrogen.measure.likelihood import bounds

MIX, LOCS = torch.tensor([0.3, 0.7]), torch.tensor([-2.0, 2.0])


@pytest.mark.parametrize("n", [1, 6, 40])
@pytest.mark.parametrize("size", [40, 1000, 10**6])
def test_subsampled_plate_does_not_scale(n, size):
    def model(x):
        with pyro.plate("data", size, subsample_size=len(x)):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    x = points(n)
    assert torch.allclose(bounds(Couple(model), x)[1], normal(x), atol=1e-6)


def test_subsampled_plate_with_a_latent():
    pair = latent(1.0, lambda n: pyro.plate("data", 50_000, subsample_size=n))
    x = points(30)
    assert torch.allclose(bounds(pair, x, k=10)[1], normal(x, 0.0, 2.0), atol=1e-5)


def test_the_likelihood_ignores_scaling_of_the_loss():
    pair = latent(1.0)
    scaled = Couple(poutine.scale(pair.model, 0.01), poutine.scale(pair.guide, 0.01))
    x = points(6)
    assert torch.allclose(bounds(scaled, x)[1], normal(x, 0.0, 2.0), atol=1e-5)


@pytest.mark.parametrize("order", ["data last", "data first", "data first, unnamed"])
@pytest.mark.parametrize(("n", "pixels"), [(5, 3), (1, 3), (2, 4), (4, 1)])
def test_nested_plates(order, n, pixels):
    means = torch.arange(float(pixels))

    def model(x):
        if order == "data last":
            with pyro.plate("pixels", pixels, dim=-2), pyro.plate("data", len(x), dim=-1):
                pyro.sample("x", dist.Normal(means[:, None], 1.0), obs=x.T)
        elif order == "data first":
            with pyro.plate("data", len(x), dim=-2), pyro.plate("pixels", pixels, dim=-1):
                pyro.sample("x", dist.Normal(means, 1.0), obs=x)
        else:
            with pyro.plate("pixels", pixels), pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(means, 1.0), obs=x)

    x = points(n, pixels)
    _, iwae, what = bounds(Couple(model), x)
    assert what.depth == 2
    assert torch.allclose(iwae, normal(x, means).sum(1), atol=1e-5)


@pytest.mark.parametrize("dims", [(-1, -2), (-2, -1)])
def test_nested_plates_with_latents_at_both_depths(dims):
    """A latent per datum and one per pixel, with exact conditional posteriors."""
    data_dim, pixel_dim = dims
    pixels = 3

    def lay(x):
        return x.T if data_dim == -1 else x

    def column(z):
        return z if data_dim == -1 else z[:, None]

    def model(x):
        with pyro.plate("data", len(x), dim=data_dim):
            a = pyro.sample("a", dist.Normal(torch.zeros_like(column(x[:, 0])), 1.0))
            with pyro.plate("pixels", pixels, dim=pixel_dim):
                z = pyro.sample("z", dist.Normal(a, 1.0).expand(lay(x).shape))
                pyro.sample("x", dist.Normal(z, 1.0), obs=lay(x))

    def guide(x):
        with pyro.plate("data", len(x), dim=data_dim):
            # x_j | a ~ N(a, 2): the posterior of a has precision 1 + 3 / 2.
            a = pyro.sample("a", dist.Normal(column(x.sum(1) / 2 / 2.5), 2.5**-0.5))
            with pyro.plate("pixels", pixels, dim=pixel_dim):
                pyro.sample("z", dist.Normal((lay(x) + a) / 2, 0.5**0.5))

    x = points(7, pixels)
    marginal = dist.MultivariateNormal(torch.zeros(pixels), 2 * torch.eye(pixels) + 1)
    for value in bounds(Couple(model, guide), x, k=2)[:2]:
        assert torch.allclose(value, marginal.log_prob(x), atol=1e-5)


def test_masked_values_do_not_count():
    def model(x):
        with pyro.plate("data", len(x)), poutine.mask(mask=x > 0):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    x = points(12)
    assert torch.allclose(bounds(Couple(model), x)[1], torch.where(x > 0, normal(x), 0.0), atol=1e-6)


@pytest.mark.parametrize("mask", [True, False])
def test_masked_pixels_and_masked_handlers(mask):
    visible = torch.tensor([True, False, True])

    def model(x):
        with pyro.plate("data", len(x)), poutine.mask(mask=mask):
            pyro.sample("x", dist.Normal(0.0, 1.0).expand([len(x), 3]).mask(visible).to_event(1), obs=x)

    x = points(5, 3)
    assert torch.allclose(bounds(Couple(model), x)[1], normal(x)[:, visible].sum(1) * mask, atol=1e-6)


def test_masked_observation_of_an_enumerated_mixture():
    @config_enumerate
    def model(x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(MIX))
            with poutine.mask(mask=x > 0):
                pyro.sample("x", dist.Normal(LOCS[k], 1.0), obs=x)

    x = points(9)
    assert torch.allclose(bounds(Couple(model), x)[1], torch.where(x > 0, mixture_log_prob(x), 0.0), atol=1e-5)


def test_several_observed_sites_and_side_information():
    def model(x, y):
        with pyro.plate("data", len(x)):
            pyro.sample("a", dist.Normal(y.float(), 1.0), obs=x[:, 0])
            pyro.sample("b", dist.Bernoulli(0.25), obs=(x[:, 1] > 0).float())

    x, y = points(7, 2), torch.arange(7)
    expected = normal(x[:, 0], y.float()) + torch.where(x[:, 1] > 0, log(0.25), log(0.75))
    _, iwae, what = bounds(Couple(model, empty), x, y)
    assert torch.allclose(iwae, expected, atol=1e-5)
    assert what.probability == "density"
