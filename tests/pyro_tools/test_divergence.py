"""The divergence of each latent coordinate of a pair, where it is known in closed form."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import Couple, points

from pyrogen.errors import ConfigError
from pyrogen.pyro_tools.divergence import coordinate_divergence
from pyrogen.pyro_tools.latents import LatentProgram


def pair(p=lambda n: dist.Normal(torch.zeros(n, 2), 1.0).to_event(1), q=None):
    """x | z ~ N(z, 1) of two coordinates, q(z | x) = N(x / 2, 0.5)."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", p(len(x)))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", (q or (lambda x: dist.Normal(x / 2, 0.5).to_event(1)))(x))

    return Couple(model, guide)


def divergence(couple, x):
    return coordinate_divergence(couple, LatentProgram(couple, x), x)


def test_normal_coordinates():
    x = points(7, 2)
    expected = (0.25 + x.square() / 4 - 1) / 2 - torch.tensor(0.5).log()
    torch.testing.assert_close(divergence(pair(), x), expected)


def test_two_variables_in_the_order_of_the_model():
    def model(x):
        with pyro.plate("data", len(x)):
            above = pyro.sample("above", dist.Normal(x.new_zeros(len(x)), 1.0))
            below = pyro.sample("below", dist.Normal(above, 2.0))
            pyro.sample("x", dist.Normal(below, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            above = pyro.sample("above", dist.Normal(x, 1.0))
            pyro.sample("below", dist.Normal(above, 2.0))

    x = points(6)
    expected = torch.stack([x.square() / 2, torch.zeros(6)], 1)  # given the same draw above, the lower ones are equal
    torch.testing.assert_close(divergence(Couple(model, guide), x), expected)


@pytest.mark.parametrize(
    ("couple", "message"),
    [
        (pair(q=lambda x: dist.MultivariateNormal(x / 2, torch.eye(2))), "site 'z' are dependent: q is a Multivariate"),
        (pair(lambda n: dist.MultivariateNormal(torch.zeros(n, 2), torch.eye(2))), "dependent: .* p a Multivariate"),
        (pair(lambda n: dist.StudentT(3.0, torch.zeros(n, 2), 1.0).to_event(1)), "no closed form: .* p a StudentT"),
        (pair(q=lambda x: dist.Delta(x / 2, event_dim=1)), "posterior of site 'z' is a point"),
    ],
)
def test_what_has_none_is_named(couple, message):
    with pytest.raises(ConfigError, match=message):
        divergence(couple, points(5, 2))
