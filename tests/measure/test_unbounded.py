"""Densities that can grow without bound on the data at hand are not called exact."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import Couple, latent, points

import pyrogen
from pyrogen.data import Space, Split
from pyrogen.data.checks import unbounded_reason
from pyrogen.data.space import real_space
from pyrogen.errors import DataWarning
from pyrogen.explicit import Gaussian
from pyrogen.measure.evaluate import likelihood_scores

N = 400


def with_column(values):
    x = points(N, 3)
    x[:, 1] = values
    return x


LATTICES = {
    "constant": with_column(torch.full((N,), 0.3)),
    "whole numbers": with_column((1000 * points(N, seed=1)).round()),
    "decimals": with_column((points(N, seed=1) * 10).round() / 10),
    "one value": with_column(torch.where(torch.arange(N) % 12 == 0, 0.25, points(N, seed=1))),
}


@pytest.mark.parametrize("name", LATTICES)
def test_repeated_values_make_an_exact_density_an_estimate(name):
    x = LATTICES[name]
    score = likelihood_scores(Gaussian.from_data(x, jitter=1e-6), Split(x))["log_likelihood"]
    assert score.kind == "estimate"
    assert "dimension 1 repeats values" in score.detail["note"]
    assert "no upper bound" in score.detail["note"]
    named = likelihood_scores(Gaussian((3,)), Split(x, space=real_space("abc")))["log_likelihood"]
    assert "column 'b' repeats values" in named.detail["note"]


@pytest.mark.parametrize(
    ("x", "space"),
    [
        (points(N, 3), None),
        (points(3, 3), None),
        (points(2, 3).round(), None),
        (points(N), None),
        (points(10_000, 2), real_space("ab")),
        (points(N, 2).round(), Space("unit", 256)),
        (points(N, 2).round(), Space("binary")),
    ],
    ids=["vectors", "few", "two", "numbers", "many", "levels", "mass"],
)
def test_continuous_and_dequantised_data_are_bounded(x, space):
    assert unbounded_reason(x, space) is None


@pytest.mark.parametrize("name", ["digits", "digits-logit", "digits-binary", "ring", "checkerboard", "moons"])
def test_data_of_the_catalogue_are_bounded(name):
    data = pyrogen.load(name)
    assert unbounded_reason(data.test.tensors()[0], data.space) is None
    if name == "digits":  # noise in a tensor without its space looks continuous too
        assert unbounded_reason(data.test.tensors()[0]) is None


def test_a_lattice_that_is_recognised_is_bounded_and_another_is_not():
    draws = np.random.default_rng(0)
    real, whole = draws.standard_normal((600, 1)), draws.integers(0, 9, (600, 1))
    data = pyrogen.load(np.concatenate([real, whole], 1))
    assert data.space.is_lattice
    assert likelihood_scores(Gaussian((2,)), data)["log_likelihood"].kind == "lower_bound"
    real[:90] = 0.5
    with pytest.warns(DataWarning, match="has no upper bound"):
        spiked = pyrogen.load(np.concatenate([real, whole], 1))
    score = likelihood_scores(Gaussian((2,)), spiked)["log_likelihood"]
    assert score.kind == "estimate"
    assert "column '0' repeats values" in score.detail["note"]
    assert "dequantised" in score.detail["note"]


def test_bounds_become_estimates_too_and_masses_do_not():
    x = points(N).round()
    scores = likelihood_scores(latent(), Split(x), k=3)
    assert {score.kind for score in scores.values()} == {"estimate"}

    def counts(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Poisson(2.0), obs=x)

    score = likelihood_scores(Couple(counts), Split(x.abs()))["log_likelihood"]
    assert (score.kind, score.detail.get("note")) == ("exact", None)


def test_a_log_prob_of_unknown_probability_is_told_how_to_declare_a_mass():
    class Counts:
        def log_prob(self, x):
            return dist.Poisson(2.0).log_prob(x)

    x = points(N).round().abs()
    score = likelihood_scores(Counts(), Split(x))["log_likelihood"]
    assert score.kind == "estimate"
    assert "a log-mass declares probability = 'mass'" in score.detail["note"]
    Counts.probability = "mass"
    assert likelihood_scores(Counts(), Split(x))["log_likelihood"].kind == "exact"


def test_float_images_with_an_even_background_are_unbounded():
    images = torch.rand(200, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    images[:, :, 0] = 0.0
    score = pyrogen.evaluate(Gaussian((1, 6, 6)), Split(images, space=Space("unit")))["log_likelihood"]
    assert score.kind == "estimate"
    assert "dimension 0 repeats values (1 distinct in 200 rows), as 5 others do" in score.detail["note"]


def test_a_peak_shows_that_the_density_has_no_bound():
    """A narrower peak at the value that repeats raises the likelihood of test data by log 10 a tenth of the rows."""
    x = torch.where(torch.arange(N) % 2 == 0, 0.25, points(N))

    def peak(width):
        class Peak:
            probability = "density"

            def log_prob(self, x):
                both = torch.stack([dist.Normal(0.25, width).log_prob(x), dist.Normal(0.0, 1.0).log_prob(x)])
                return both.logsumexp(0) - np.log(2)

        return likelihood_scores(Peak(), Split(x))["log_likelihood"]

    values = [peak(width).value for width in (1e-2, 1e-4, 1e-6)]
    assert np.diff(values) == pytest.approx([np.log(100) / 2] * 2, abs=0.05)
    assert peak(1e-2).kind == "estimate"
