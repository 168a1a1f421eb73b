"""The structure of a pair: weighted latent variables, data plates, and errors for pairs without a likelihood."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import LOCS, MIX, Couple, latent, normal, points
from pyro import poutine
from pyro.infer import config_enumerate
from pyro.infer.autoguide import AutoNormal

import pyrogen
from pyrogen import SVI
from pyrogen.data import Space
from pyrogen.errors import ConfigError
from pyrogen.explicit import VAE
from pyrogen.measure.likelihood import bounds, pair_scores, pair_structure


def test_latent_without_a_guide_is_rejected():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 0.01))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    with pytest.raises(ConfigError, match="'z'"):
        bounds(Couple(model), points(6))


@pytest.mark.parametrize("without", ["model", "guide"])
def test_latent_in_the_data_plate_of_only_one_program_is_rejected(without):
    def model(x):
        if without == "model":
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)
        else:
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        if without == "guide":
            pyro.sample("z", dist.Normal(x / 2, 0.5**0.5))
        else:
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(x / 2, 0.5**0.5))

    with pytest.raises(ConfigError, match="'z'"):
        bounds(Couple(model, guide), points(6))


def test_sequential_enumeration_is_marginalised_or_rejected():
    mix, locs = torch.tensor([0.3, 0.7]), torch.tensor([-3.0, 3.0])

    @config_enumerate(default="sequential")
    def model(x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(mix))
            pyro.sample("x", dist.Normal(locs[k], 1.0), obs=x)

    x = points(6)
    exact = torch.logsumexp(mix.log() + normal(x[:, None], locs), 1)
    try:
        value = bounds(Couple(model), x)[1]
    except ConfigError:
        return
    assert torch.allclose(value, exact, atol=1e-5)


@pytest.mark.parametrize("components", [1, 2, 3, 6])
@pytest.mark.parametrize("n", [1, 2, 6])
def test_global_latent_in_a_plate_of_its_own(components, n):
    def model(x):
        with pyro.plate("components", components):
            loc = pyro.sample("loc", dist.Normal(0.0, 5.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc.mean(), 1.0), obs=x)

    def guide(x):
        with pyro.plate("components", components):
            pyro.sample("loc", dist.Normal(0.0, 1.0))

    x = points(n)
    pair = Couple(model, guide)
    assert pair_structure(pair, x).shared
    assert torch.allclose(bounds(pair, x, k=1000)[1], normal(x, 0.0, 1 + 1 / components), atol=0.1)


@pytest.mark.parametrize(("n", "pixels"), [(2, 2), (3, 3)])
def test_outer_pixel_plate_as_large_as_the_batch(n, pixels):
    means = torch.arange(float(pixels))

    def model(x):
        with pyro.plate("pixels", pixels, dim=-2), pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(means[:, None], 1.0), obs=x.T)

    x = points(n, pixels)
    assert torch.allclose(bounds(Couple(model), x)[1], normal(x, means).sum(1), atol=1e-5)


def test_deterministic_sites_are_not_observations():
    def inside(x):
        with pyro.plate("data", len(x)):
            logits = pyro.deterministic("logits", torch.zeros(len(x)))
            pyro.sample("x", dist.Bernoulli(logits=logits), obs=x)

    x = (points(4) > 0).float()
    assert pair_structure(Couple(inside), x).probability == "mass"


def test_deterministic_sites_outside_the_plate():
    def outside(x):
        logit = pyro.deterministic("logit", pyro.param("l", torch.zeros(())) + 0.0)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Bernoulli(logits=logit), obs=x)

    x = (points(4) > 0).float()
    step = SVI(outside)
    step(x)
    assert step.sample(3).shape == (3,)  # infer/predictive.py: "expected one observed site"
    assert torch.allclose(bounds(Couple(outside), x)[1], torch.full((4,), -math.log(2.0)))


@pytest.mark.parametrize("size", [10, 1000])
def test_subsampled_plate_smaller_than_data_times_particles(size):
    def plate(x):
        return pyro.plate("data", size, subsample_size=len(x))

    def model(x):
        with plate(x):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with plate(x):
            pyro.sample("z", dist.Normal(x / 2, 0.5**0.5))

    x = points(10)
    assert torch.allclose(bounds(Couple(model, guide), x, k=200)[1], normal(x, 0.0, 2.0), atol=1e-4)


def test_masked_enumerated_site_does_not_count():
    mix, locs = torch.tensor([0.3, 0.7]), torch.tensor([-3.0, 3.0])

    @config_enumerate
    def model(x):
        with pyro.plate("data", len(x)), poutine.mask(mask=x > 0):
            k = pyro.sample("k", dist.Categorical(mix))
            pyro.sample("x", dist.Normal(locs[k], 1.0), obs=x)

    x = points(9)
    exact = torch.logsumexp(mix.log() + normal(x[:, None], locs), 1)
    assert torch.allclose(bounds(Couple(model), x)[1], torch.where(x > 0, exact, 0.0), atol=1e-5)  # log 2 too much
    # pyro.infer.TraceEnum_ELBO(max_plate_nesting=1).loss(...) gives the sum of these.


def test_evaluation_does_not_change_the_parameter_store():
    pyro.clear_param_store()
    x = pyrogen.load("digits-binary").train.tensors(0)[0][:32]
    bounds(VAE(x.shape[1:], 2, (8,)), x)
    left = list(pyro.get_param_store().keys())
    pyro.clear_param_store()
    assert left == []


def test_the_error_for_a_missing_plate():
    def model(x):
        pyro.sample("pixels", dist.Normal(0.0, 1.0).expand([len(x)]), obs=x)

    with pytest.raises(ConfigError, match=r"'pixels' is observed outside a data plate.*pyro\.plate"):
        bounds(Couple(model), points(5))


def test_the_error_for_a_plate_of_another_size():
    def model(x):
        with pyro.plate("data", 3):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x[:3])

    with pytest.raises(ConfigError, match=r"'x' is observed outside a data plate"):
        bounds(Couple(model), points(5))


def test_the_error_for_a_model_without_observations():
    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))

    with pytest.raises(ConfigError, match="obs=x"):
        bounds(Couple(model), points(5))


def test_the_error_for_enumeration_outside_the_data_plate():
    @config_enumerate
    def shared(x):
        k = pyro.sample("k", dist.Categorical(MIX))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(LOCS[k], 1.0), obs=x)

    with pytest.raises(ConfigError, match=r"'k' is enumerated outside the data plate"):
        bounds(Couple(shared), points(5))


def test_the_error_for_a_guide_that_is_not_amortised():
    model = latent().model
    guide = AutoNormal(model)
    guide(points(20))
    with pytest.raises(ConfigError, match=r"'z.*' for each of 20 training data.*amortise"):
        bounds(Couple(model, guide), points(8))


@pytest.mark.parametrize(
    ("likelihood", "space"), [(dist.Bernoulli(0.5), "unit"), (dist.Normal(0.0, 1.0), "binary")], ids=["mass", "density"]
)
def test_masses_and_densities_are_not_mixed(likelihood, space):
    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", likelihood, obs=x)

    x = (points(4) > 0).float()
    kind = "mass" if space == "unit" else "density"
    with pytest.raises(ConfigError, match=f"the model computes a probability {kind}"):
        pair_scores(Couple(model), x, space=Space(space))
    other = Space("binary" if space == "unit" else "real")
    assert pair_scores(Couple(model), x, space=other)[0]["log_likelihood"].kind == "exact"
