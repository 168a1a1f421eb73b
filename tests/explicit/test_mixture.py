"""Mixtures of Gaussians: two ways to the same likelihood, starts that cannot collapse, what training reaches."""

import pytest
import torch
from pyro.infer import TraceEnum_ELBO
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

import pyrogen
from pyrogen import SVI, fit
from pyrogen.errors import ConfigError
from pyrogen.explicit import GaussianMixture
from pyrogen.random import scoped_seed
from pyrogen.recipes.densities import mixture

COVARIANCES = ["diagonal", "full"]


def some(covariance, d=3, components=4):
    with scoped_seed(0):
        model = GaussianMixture((d,), components, covariance, mean=torch.randn(d), scale=torch.rand(d) + 0.5)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_enumeration_and_the_sum_agree(covariance):
    model = some(covariance)
    x = torch.randn(50, 3)
    enumerated = SVI(model.model, loss=TraceEnum_ELBO(max_plate_nesting=1))
    summed = SVI(model.marginal)
    expected = -model.log_prob(x).mean().item()
    assert enumerated.evaluate(x)["loss"].item() == pytest.approx(expected, abs=1e-4)
    assert summed.evaluate(x)["loss"].item() == pytest.approx(expected, abs=1e-4)
    gradients = []
    for program, loss in ((model.model, TraceEnum_ELBO(max_plate_nesting=1)), (model.marginal, None)):
        step = SVI(program, optim=lambda parameters: torch.optim.SGD(parameters, lr=0.0), loss=loss)
        step(x)
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters()})
        model.zero_grad()
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-3), name


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_log_prob_is_that_of_the_mixture(covariance):
    model = some(covariance)
    factor = model.factor if covariance == "full" else torch.diag_embed(model.diagonal)
    components = MultivariateNormal(model.mean + model.scale * model.loc, scale_tril=model.scale[:, None] * factor)
    expected = MixtureSameFamily(Categorical(logits=model.logits), components)
    x = torch.randn(50, 3)
    assert torch.allclose(model.log_prob(x), expected.log_prob(x), atol=1e-4)
    r = model.responsibilities(x)
    assert torch.allclose(r.sum(1), torch.ones(50))
    by_bayes = components.log_prob(x[:, None]) + model.logits.log_softmax(0) - expected.log_prob(x)[:, None]
    assert torch.allclose(r, by_bayes.exp(), atol=1e-4)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_training_finds_the_modes_of_the_grid(covariance):
    data = pyrogen.load("grid")
    with scoped_seed(0):
        setup = mixture(data, components=25, covariance=covariance, min_std=1e-3, steps=300)
    for _ in fit(setup.step, data.train, steps=300, batch_size=512):
        pass
    with torch.no_grad():
        value = setup.model.log_prob(data.test.x).mean().item() + data.space.log_det
    assert -data.truth.entropy - 0.02 < value < -data.truth.entropy + 0.02
    assert setup.model.responsibilities(data.space.standardise(data.truth.modes)).argmax(1).unique().numel() == 25


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_singular_data_cannot_collapse_it(covariance):
    x = torch.randn(200, 5)
    x[:, 1] = 3.0  # a constant
    x[:60] = x[0]  # one datum many times
    x[:, 4] = x[:, 3]
    model = GaussianMixture.from_clusters(x, 8, covariance, min_std=0.01)
    step = SVI(model.model, loss=TraceEnum_ELBO(max_plate_nesting=1))
    for _ in fit(step, x, steps=200, batch_size=200):
        pass
    with torch.no_grad():
        highest = -model.scale.log().sum() - 5 * torch.tensor(0.01).log() - 2.5 * torch.tensor(2 * torch.pi).log()
        assert model.log_prob(x).isfinite().all()
        assert model.log_prob(x).max() <= highest
        assert model.diagonal.min() >= 0.01


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_one_component_starts_at_the_gaussian(covariance):
    x = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0)) @ torch.tensor(
        [[1.0, 0.5, 0], [0, 1, 0.3], [0, 0, 2]]
    )
    start = GaussianMixture.from_clusters(x, 1, covariance)
    with torch.no_grad():
        closed = pyrogen.explicit.Gaussian.from_data(x, covariance).log_prob(x).mean()
        assert start.log_prob(x).mean().item() == pytest.approx(closed.item(), abs=1e-3)


def test_bad_input_is_named():
    with pytest.raises(ConfigError, match=r"6 components needs at least as many data.*got 5"):
        GaussianMixture.from_clusters(torch.randn(5, 2), 6)
    with pytest.raises(ConfigError, match="did you mean 'full'"):
        GaussianMixture((2,), 3, "ful")
    with pytest.raises(ConfigError, match="min_std > 0"):
        GaussianMixture((2,), 3, min_std=0.0)
    with pytest.raises(ConfigError, match=r"a mixture of Gaussians computes a probability density.*mass"):
        mixture(pyrogen.load("digits-binary"))
