"""PPCA: the closed form, SVI against it, and the latent space."""

import pytest
import torch
from torch.distributions import MultivariateNormal

import pyrogen
from pyrogen import SVI, fit
from pyrogen.errors import ConfigError, DataError
from pyrogen.explicit import PPCA
from pyrogen.random import scoped_seed
from pyrogen.recipes.densities import ppca
from pyrogen.steps import ClosedForm


def plane(n=4000, d=6, k=2, sigma=0.3, seed=0):
    """Data of a PPCA whose parameters are known: ``(x, mean, covariance)``."""
    generator = torch.Generator().manual_seed(seed)
    W = torch.randn(d, k, generator=generator)
    mean = torch.randn(d, generator=generator)
    x = torch.randn(n, k, generator=generator) @ W.T + mean + sigma * torch.randn(n, d, generator=generator)
    return x, mean, W @ W.T + sigma**2 * torch.eye(d)


@pytest.mark.parametrize("latent", [1, 2, 5])
def test_log_prob_is_that_of_the_marginal_gaussian(latent):
    x, *_ = plane()
    model = PPCA.from_data(x, latent)
    covariance = model.weight @ model.weight.T + (2 * model.log_sigma).exp() * torch.eye(6)
    assert torch.allclose(model.log_prob(x), MultivariateNormal(model.mean, covariance).log_prob(x), atol=1e-3)


def test_closed_form_is_a_maximum():
    x, *_ = plane()
    model = PPCA.from_data(x, 2).double()
    loss = -model.log_prob(x.double()).mean()
    for gradient in torch.autograd.grad(loss, list(model.parameters())):
        assert gradient.abs().max() < 1e-5


def test_closed_form_finds_the_parameters():
    x, mean, covariance = plane(n=100_000)
    found = PPCA.from_data(x, 2).distribution()
    assert torch.allclose(found.mean, mean, atol=0.03)
    assert torch.allclose(found.covariance_matrix, covariance, atol=0.06)


def test_all_but_one_component_is_the_full_gaussian():
    x, *_ = plane(k=6)
    flat = x.double()
    full = MultivariateNormal(flat.mean(0), flat.T.cov(correction=0))
    assert torch.allclose(PPCA.from_data(x, 5).double().log_prob(flat), full.log_prob(flat), atol=1e-4)


def test_svi_reaches_the_closed_form_on_digits():
    data = pyrogen.load("digits")
    x = data.train.tensors()[0]
    with scoped_seed(0):
        setup = ppca(data, latent=10, fit="svi", steps=600, lr=0.02)
    assert isinstance(setup.step, SVI)
    for _ in fit(setup.step, data.train, steps=600, batch_size=256):
        pass
    with torch.no_grad():
        closed, found = (m.log_prob(x).mean().item() for m in (PPCA.from_data(x, 10), setup.model))
    assert found == pytest.approx(closed, abs=0.1)


def test_the_recipe_learns_in_its_first_step():
    data = pyrogen.load("digits")
    setup = ppca(data, latent=4)
    assert isinstance(setup.step, ClosedForm)
    (x,) = data.valid.tensors()[:1]
    before = setup.step.evaluate(x)["loss"]
    for _ in fit(setup.step, data.train, steps=1, batch_size=32):
        pass
    expected = PPCA.from_data(data.train.tensors()[0], 4).log_prob(x).mean()
    assert setup.step.evaluate(x)["loss"] == pytest.approx(-expected.item(), abs=1e-3)
    assert expected > -before + 10
    again = ppca(data, latent=4)
    again.step.load_state_dict(setup.step.state_dict())
    assert torch.equal(again.model.log_prob(x), setup.model.log_prob(x))
    assert again.step.fitted


def test_encoding_is_the_posterior_mean():
    x, *_ = plane()
    model = PPCA.from_data(x, 2)
    W, noise = model.weight, (2 * model.log_sigma).exp()
    expected = (x - model.mean) @ torch.linalg.inv(W @ W.T + noise * torch.eye(6)) @ W  # by regression of z on x
    z = model.encode(x)
    assert torch.allclose(z, expected, atol=1e-4)
    assert model.decode(z).shape == x.shape
    assert (model.decode(z) - x).square().mean() < 0.3**2


def test_samples_have_the_moments_of_the_density():
    x, *_ = plane()
    model = PPCA.from_data(x, 2)
    with scoped_seed(1):
        drawn = model.sample(50_000)
    assert (drawn.mean(0) - model.mean).abs().max() < 0.05
    assert (drawn.T.cov() - model.distribution().covariance_matrix).abs().max() < 0.1


@pytest.mark.parametrize("latent", [0, 6, 7])
def test_latent_must_be_below_the_dimension(latent):
    with pytest.raises(ConfigError, match=rf"from 1 to 5.*got {latent}"):
        PPCA((6,), latent)


def test_bad_data_are_named():
    with pytest.raises(DataError, match="no variance outside 2 components"):
        PPCA.from_data(plane(sigma=0.0)[0], 2)
    with pytest.raises(DataError, match="NaN"):
        PPCA.from_data(torch.full((5, 3), torch.nan), 2)
    with pytest.raises(ConfigError, match=r"PPCA computes a probability density.*mass"):
        ppca(pyrogen.load("digits-binary"))
    with pytest.raises(ConfigError, match="did you mean 'closed'"):
        ppca(pyrogen.load("digits"), fit="close")
