"""Pyro's own tools on a pyrogen step: Predictive, render_model, the parameter store, and posteriors for ArviZ."""

import sys
from functools import partial

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions import constraints
from pyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from torch import nn
from torch.optim import Adam

import pyrogen
from pyrogen.errors import ConfigError
from pyrogen.random import scoped_seed
from pyrogen.use import to_arviz

X = torch.tensor([[0.1, 1.0], [0.9, -0.4], [-1.2, 0.3], [0.4, 0.4]])
Y = torch.tensor([1.0, 2.0, -2.0, 0.5])


def regression(x, y=None):
    w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    noise = pyro.sample("noise", dist.LogNormal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        local = pyro.sample("local", dist.Normal(0.0, 1.0))
        return pyro.sample("y", dist.Normal((x * w).sum(-1) + local, noise), obs=y)


def trained(make):
    """A step of Pyro or of pyrogen after the same training."""
    pyro.clear_param_store()
    torch.manual_seed(0)
    guide = AutoNormal(regression)
    step = make(regression, guide, pyro.optim.Adam({"lr": 0.05}), Trace_ELBO())
    for _ in range(5):
        step.step(X, Y)
    return step, guide


def test_predictive_draws_what_it_draws_for_pyro() -> None:
    drawn = []
    theirs, guide = trained(SVI)
    with scoped_seed(1):
        drawn.append(Predictive(regression, guide=guide, num_samples=3)(X))
    ours, _ = trained(pyrogen.SVI)
    pyro.clear_param_store()
    with scoped_seed(1):
        drawn.append(Predictive(ours.model, guide=ours.guide, num_samples=3)(X))
    assert theirs is not None
    assert drawn[0].keys() == drawn[1].keys() == {"w", "noise", "local", "y"}
    for name, expected in drawn[0].items():
        torch.testing.assert_close(drawn[1][name], expected)


def test_a_step_is_rendered_as_its_model() -> None:
    step, _ = trained(pyrogen.SVI)
    expected = pyro.render_model(regression, model_args=(X, Y), render_distributions=True)
    found = pyro.render_model(step.model, model_args=(X, Y), render_distributions=True)
    assert found.source == expected.source
    assert "w ~ Normal" in found.source


def test_the_store_of_a_step_has_its_sites_alone() -> None:
    net = nn.Linear(2, 1)

    def model(x):
        scale = pyro.param("scale", torch.tensor(2.0), constraint=constraints.positive)
        pyro.module("net", net)
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(net(x)[:, 0], scale), obs=Y)

    pyro.clear_param_store()
    step = pyrogen.SVI(model, lambda x: None, partial(Adam, lr=0.1))
    step(X)
    store = step.get_param_store()
    assert set(store.keys()) == {"scale", "net$$$weight", "net$$$bias"}
    assert torch.equal(store["scale"], step.param("scale"))
    assert store["net$$$weight"] is net.weight
    assert store["scale"] > 0
    assert not pyro.get_param_store().keys()
    shared = pyrogen.SVI(model, lambda x: None, partial(Adam, lr=0.1), store="global")
    shared(X)
    assert torch.equal(shared.get_param_store()["scale"], pyro.get_param_store()["scale"])
    pyro.clear_param_store()


def test_the_posterior_of_shared_variables_is_a_tree() -> None:
    step, _ = trained(pyrogen.SVI)
    tree = to_arviz(step, X, Y, draws=400)
    posterior = tree["posterior"]
    assert {name: value.shape for name, value in posterior.data_vars.items()} == {"w": (1, 400, 2), "noise": (1, 400)}
    with torch.no_grad():
        quantiles = step._guide.quantiles([0.5])  # of the mean-field normals, in the space of the variables
    expected = np.asarray(quantiles["w"]).reshape(2)
    assert np.abs(np.median(posterior["w"].values[0], 0) - expected).max() < 0.05
    assert to_arviz(step, X, Y, draws=3, seed=1).equals(to_arviz(step, X, Y, draws=3, seed=1))


def test_chains_are_a_tree_with_their_divergences() -> None:
    chains = MCMC(NUTS(regression), num_samples=6, warmup_steps=4, disable_progbar=True)
    with scoped_seed(0):
        chains.run(X, Y)
    tree = to_arviz(chains)
    assert np.array_equal(tree["posterior"]["w"].values[0], chains.get_samples()["w"].numpy())
    diverging = tree["sample_stats"]["diverging"].values
    assert diverging.shape == (1, 6)
    assert np.flatnonzero(diverging[0]).tolist() == [i for i in chains.diagnostics()["divergences"]["chain 0"] if i < 6]


def test_without_shared_variables_or_arviz_it_is_refused(monkeypatch) -> None:
    vae = pyrogen.explicit.VAE((2,), 1, (4,), pyrogen.explicit.GaussianLikelihood())
    step = pyrogen.SVI(vae.model, vae.guide)
    step(X)
    with pytest.raises(ConfigError, match="no latent variable outside the data plate"):
        to_arviz(step, X)
    monkeypatch.setitem(sys.modules, "arviz_base", None)
    with pytest.raises(ConfigError, match=r"pip install 'pyrogen\[arviz\]'"):
        to_arviz(step, X)
