"""The mass of discrete columns: bounded, tight, and never above minus the entropy."""

from math import lgamma, log

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import Couple

import pyrogen
from pyrogen.explicit import Gaussian
from pyrogen.measure.likelihood import DRAWS, LATTICE_NOTE, mean_over_dequantisations


def counts(n=4000, seed=0):
    """Poisson(3), Bernoulli(½) and Poisson(1)."""
    r = np.random.default_rng(seed)
    return np.c_[r.poisson(3, n), r.integers(0, 2, n), r.poisson(1, n)]


class Cells:
    """The density that is constant in each cell, with the true mass: its bound is exact."""

    def __init__(self, space):
        self.space = space

    def log_prob(self, z, y=None):
        v = self.space.unstandardise(z).floor()
        mass = sum(v[:, i] * log(rate) - rate - torch.lgamma(v[:, i] + 1) for i, rate in ((0, 3), (2, 1)))
        return mass - log(2) - self.space.log_det

    def sample(self, n, y=None):
        raise AssertionError("a likelihood needs no samples")


def true_mass(data):
    """log P of each test row under the truth."""
    rows = data.space.to_user(data.test.x).numpy()
    poisson = lambda k, rate: k * log(rate) - rate - np.vectorize(lgamma)(k + 1)  # noqa: E731
    return poisson(rows[:, 0], 3) + poisson(rows[:, 2], 1) - log(2)


def test_a_density_constant_in_cells_has_exactly_their_mass():
    data = pyrogen.load(counts())
    score = pyrogen.evaluate(Cells(data.space), data.test)["log_likelihood"]
    assert score.value == pytest.approx(true_mass(data).mean(), abs=1e-4)
    assert score.kind == "lower_bound"
    assert score.detail["note"] == LATTICE_NOTE


def test_the_bound_of_a_gaussian_is_below_the_mass_of_its_cells_and_near_it():
    data = pyrogen.load(counts())
    model = Gaussian.from_data(data.train.tensors()[0])
    score = pyrogen.evaluate(model, data.test)["log_likelihood"]
    rows = data.space.to_user(data.test.x)
    location = data.space.unstandardise(model.mean[None])[0]
    scale = model.scale.double() * data.space.scale
    cell = lambda v: torch.special.ndtr((v - location) / scale)  # noqa: E731
    mass = (cell(rows + 1) - cell(rows)).log().sum(1).mean()
    one = model.log_prob(data.test.x).mean() + data.space.log_det
    assert mass.item() - 0.03 < score.value < mass.item() + 0.01
    assert one.item() < score.value


def test_a_pair_gains_as_a_density_does():
    data = pyrogen.load(counts())
    fitted = Gaussian.from_data(data.train.tensors()[0])

    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(fitted.mean, fitted.scale).to_event(1), obs=x)

    exact = pyrogen.evaluate(fitted, data.test)["log_likelihood"]
    pair = pyrogen.evaluate(Couple(model), data.test)["log_likelihood"]
    assert pair.kind == "lower_bound"
    assert pair.value == pytest.approx(exact.value, abs=0.02)


def test_real_columns_are_evaluated_once():
    data = pyrogen.load(np.random.default_rng(0).normal(size=(100, 2)))
    calls = []
    values = mean_over_dequantisations(lambda z: calls.append(z) or z[:, 0], data.test.x, data.space, 0)
    assert torch.equal(values, data.test.x[:, 0])
    assert len(calls) == 1
    lattice = pyrogen.load(counts(100))
    mean_over_dequantisations(lambda z: calls.append(z) or z[:, 0], lattice.test.x, lattice.space, 0)
    assert len(calls) == 1 + DRAWS
