"""The joint of a pair as functions of one vector per datum."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import points
from torch import nn

from pyrogen.errors import ConfigError
from pyrogen.explicit import VAE, BernoulliLikelihood, LadderVAE
from pyrogen.pyro_tools.latents import LatentProgram

X = points(7, 4)


class Scales(nn.Module):
    """x = precision of two steps: latents on the positive reals, in a plate inside the data plate."""

    def model(self, x):
        with pyro.plate("data", len(x), dim=-2):
            loc = pyro.sample("loc", dist.Normal(1.0, 2.0))
            with pyro.plate("steps", 4, dim=-1):
                scale = pyro.sample("scale", dist.Gamma(2.0, 3.0))
                pyro.sample("x", dist.Normal(loc, scale), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("loc", dist.Normal(x.mean(1, keepdim=True), 1.0))
            with pyro.plate("steps", 4, dim=-1):
                pyro.sample("scale", dist.Gamma(2.0 * torch.ones_like(x), 2.0))


class NoLatent:
    def model(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(0.0, 1.0).expand([4]).to_event(1), obs=x)

    def guide(self, x):
        pass


def test_a_vae_has_its_own_encoder_decoder_and_densities():
    vae = VAE((4,), latent=3, hidden=(8,), likelihood=BernoulliLikelihood())
    x = (X > 0).float()
    program = LatentProgram(vae, x)
    z = program.encode(x)
    torch.testing.assert_close(z, vae.encode(x))
    torch.testing.assert_close(program.mean(z), vae.decode(z))
    prior, likelihood = program.log_joint(z, x)
    torch.testing.assert_close(prior, dist.Normal(0.0, 1.0).log_prob(z).sum(1))
    torch.testing.assert_close(likelihood, vae.observation_dist(z, None).log_prob(x).sum(1))
    assert program.encode(x, draw=True).sub(z).abs().min() > 0


def test_all_layers_of_a_ladder_are_one_vector():
    ladder = LadderVAE((4,), latents=(3, 2), hidden=(8, 8))
    x = (X > 0).float()
    program = LatentProgram(ladder, x)
    assert [(site.name, site.size) for site in program.sites] == [("z2", 2), ("z1", 3)]
    z = program.draw(5)
    prior, _ = program.log_joint(z, x[:5])
    below = ladder.conditional_prior_dist(0, z[:, :2]).log_prob(z[:, 2:])
    torch.testing.assert_close(prior, dist.Normal(0.0, 1.0).log_prob(z[:, :2]).sum(1) + below)
    torch.testing.assert_close(program.mean(z), ladder.decode(z[:, 2:]))


def test_plates_inside_the_data_plate_and_constrained_variables():
    program = LatentProgram(Scales(), X.abs())
    assert [(site.name, site.shape) for site in program.sites] == [("loc", (1,)), ("scale", (4,))]
    z = program.draw(7)
    loc, scale = z[:, :1], z[:, 1:]
    prior, likelihood = program.log_joint(z, X)
    expected = dist.Normal(1.0, 2.0).log_prob(loc)[:, 0] + dist.Gamma(2.0, 3.0).log_prob(scale).sum(1)
    torch.testing.assert_close(prior, expected)
    torch.testing.assert_close(likelihood, dist.Normal(loc, scale).log_prob(X).sum(1))
    torch.testing.assert_close(program.mean(z), loc.expand(7, 4))
    u = program.unconstrain(z)
    torch.testing.assert_close(u[:, 1:], scale.log())
    back, log_det = program.constrain(u)
    torch.testing.assert_close(back, z)
    torch.testing.assert_close(log_det, scale.log().sum(1))
    assert program.is_continuous


def test_gradients_reach_z():
    program = LatentProgram(VAE((4,), latent=2, hidden=(8,)), (X > 0).float())
    z = torch.zeros(7, 2, requires_grad=True)
    sum(program.log_joint(z, (X > 0).float())).sum().backward()
    assert z.grad.abs().sum() > 0


def test_what_has_no_vector_is_refused():
    with pytest.raises(ConfigError, match="no latent variable"):
        LatentProgram(NoLatent(), X)
    program = LatentProgram(VAE((4,), latent=2, hidden=(8,)), X)
    with pytest.raises(ConfigError, match=r"\(n, 2\), got \(7, 3\)"):
        program.mean(torch.zeros(7, 3))
