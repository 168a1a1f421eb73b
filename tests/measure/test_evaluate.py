"""``evaluate`` on steps, conditional models and bare pairs."""

import json
from math import log

import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import points
from torch import nn

import pyrogen
from pyrogen import SVI, evaluate, recipes
from pyrogen.data import Dataset, Space, Split
from pyrogen.explicit import CVAE, Label
from pyrogen.measure.evaluate import likelihood_scores


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))

    def model(self, x, y=None):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(self.net(x * 0), 1.0).to_event(1), obs=x)


class Holder:
    """An object that is not a module but has one as an attribute."""

    def __init__(self, noisy):
        self.noisy = noisy

    def model(self, x, y=None):
        return self.noisy.model(x)

    def guide(self, x, y=None):
        pass

    def sample(self, n, y=None):
        return torch.randn(n, 2)


@pytest.mark.parametrize("how", ["step", "holder"])
def test_evaluate_does_not_change_networks_held_by_other_objects(how):
    noisy = Noisy()
    model = Holder(noisy) if how == "holder" else SVI(noisy.model)
    if how == "step":
        model(points(10, 2))
    before = {name: t.clone() for name, t in noisy.state_dict().items()}
    evaluate(model, Split(points(20, 2)))
    assert all(torch.equal(t, before[name]) for name, t in noisy.state_dict().items())


def test_step_scores_as_its_model():
    data = pyrogen.load("digits-binary")
    cvae = CVAE(data.shape, Label(10), 2, (8,))
    step = SVI(cvae.model, cvae.guide)
    step(*data.train.read(slice(0, 64), torch.Generator()))
    a, b = (likelihood_scores(m, data.test, k=2)["log_likelihood"].value for m in (cvae, step))
    assert a == pytest.approx(b, abs=1e-3)


def test_step_of_a_conditional_model_can_be_evaluated():
    data = pyrogen.load("digits-binary")
    cvae = CVAE(data.shape, Label(10), 2, (8,))
    step = SVI(cvae.model, cvae.guide)
    step(*data.train.read(slice(0, 64), torch.Generator()))
    assert "mmd2" in evaluate(step, data, k=2)


@pytest.mark.parametrize("observed", [1, 3])
def test_bits_per_dim_of_a_completion_counts_hidden_pixels(observed):
    setup = recipes.cvae(pyrogen.load("digits"), condition="quadrants", observed=observed, hidden=(8,), latent=2)
    scores = likelihood_scores(setup.model, setup.data, k=2)
    hidden = 64 * (4 - observed) / 4
    expected = (log(17) - scores["log_likelihood"].value / hidden) / log(2)
    assert "bits_per_dim" not in scores or scores["bits_per_dim"].value == pytest.approx(expected, rel=1e-3)


def test_pair_without_a_sampler_can_be_measured():
    class Bare:
        def model(self, x, y=None):
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1), obs=x)

        def guide(self, x, y=None):
            pass

    assert evaluate(Bare(), Split(points(20, 2)))["log_likelihood"].kind == "exact"


def test_a_class_missing_from_training_gives_a_finite_score():
    data = Dataset("d", *[Split((points(30, 2) > 0).float(), torch.arange(30) % 3)] * 3, (2,), Space("binary"))
    cvae = CVAE((2,), Label(3, torch.tensor([5, 5, 0])), 2, (4,))
    value = likelihood_scores(cvae, data, k=2)["log_likelihood"].value
    json.dumps(value, allow_nan=False)
