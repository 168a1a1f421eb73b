"""Data and pairs that several test files judge."""

import pyro
import pyro.distributions as dist
import torch

MIX, LOCS = torch.tensor([0.3, 0.7]), torch.tensor([-2.0, 2.0])


def points(*shape, seed=0):
    """The same standard normal draws for the same seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def normal(x, mean=0.0, variance=1.0):
    """``log N(x; mean, variance)``."""
    return dist.Normal(mean, variance**0.5).log_prob(x)


def empty(*_):
    """The guide of a model without latent variables."""


class InModelCoordinates:
    """A density in the user's units, as a model of the standardised data of ``space``."""

    def __init__(self, density, space):
        self.density, self.space = density, space

    def log_prob(self, z, y=None):
        return self.density.log_prob(self.space.unstandardise(z)) - self.space.log_det

    def sample(self, n, y=None):
        return self.space.standardise(self.density.sample(n))


class Couple:
    """Any two programs as a pair."""

    def __init__(self, model, guide=empty):
        self.model, self.guide = model, guide

    def sample(self, n, y=None):
        raise AssertionError("a likelihood needs no samples")


def latent(spread=1.5, plate=lambda n: pyro.plate("data", n)):
    """z ~ N(0, 1), x | z ~ N(z, 1), marginal N(0, 2), posterior N(x / 2, 1 / 2), spoilt by ``spread``."""

    def model(x):
        with plate(len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with plate(len(x)):
            pyro.sample("z", dist.Normal(x / 2, spread * 0.5**0.5))

    return Couple(model, guide)


def mixture(x):
    """Two Gaussians of deviation 1, the component to be enumerated."""
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Categorical(MIX))
        pyro.sample("x", dist.Normal(LOCS[k], 1.0), obs=x)


def mixture_log_prob(x):
    """Its log-density, in closed form."""
    return torch.logsumexp(MIX.log() + normal(x[:, None], LOCS), 1)
