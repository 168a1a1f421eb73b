"""The scores of a model follow from its methods, and evaluation changes nothing."""

from dataclasses import replace
from math import log

import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import InModelCoordinates, points
from torch import nn

import pyrogen
from pyrogen import SVI, evaluate
from pyrogen.data import Dataset, Space, Split
from pyrogen.data.toy import ring
from pyrogen.errors import ConfigError
from pyrogen.explicit import VAE, Gaussian
from pyrogen.implicit import GAN
from pyrogen.measure.evaluate import likelihood_scores
from pyrogen.measure.samples import draw_samples, in_chunks, reference_scores, sample_scores
from pyrogen.random import scoped_seed


def dataset(shape=(2,), space="real", levels=0, n=(300, 100, 100), truth=None):
    x = [points(size, *shape, seed=i) for i, size in enumerate(n)]
    if space == "unit":
        x = [torch.sigmoid(part) for part in x]
    if space == "binary":
        x = [(part > 0).float() for part in x]
    return Dataset("made", *map(Split, x), tuple(shape), Space(space, levels), truth=truth)


class Standard:
    """The standard normal, the true density of ``dataset()``, as a plain object with ``sample``."""

    def __init__(self, shape=(2,)):
        self.shape = shape

    def sample(self, n, y=None):
        return torch.randn(n, *self.shape)


class StandardDensity(Standard):
    def log_prob(self, x, y=None):
        return dist.Normal(0.0, 1.0).log_prob(x).flatten(1).sum(1)


class StandardPair(Standard):
    """z ~ N(0, 1 / 2) in both dimensions, x | z ~ N(z, 1 / 2)."""

    def model(self, x, y=None):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 0.5**0.5).to_event(1))
            pyro.sample("x", dist.Normal(z, 0.5**0.5).to_event(1), obs=x)

    def guide(self, x, y=None):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 0.5).to_event(1))


def fitted(x, y=None):
    loc = pyro.param("loc", torch.zeros(2))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)


SAMPLE_SCORES = {"mmd2", "c2st", "nearest_neighbour"}


def trained_step():
    step = SVI(fitted)
    step(points(10, 2))
    return step


@pytest.mark.usefixtures("quick_measures")
@pytest.mark.parametrize(
    ("make", "names", "kind"),
    [
        (StandardDensity, {"log_likelihood"}, "exact"),
        (StandardPair, {"log_likelihood", "elbo", "iwae"}, "lower_bound"),
        (trained_step, {"log_likelihood"}, "exact"),
        (Standard, {"kde"}, "estimate"),
    ],
    ids=["density", "pair", "step", "sampler"],
)
def test_evaluate_by_capability(make, names, kind):
    data = dataset(n=(300, 100, 60))
    model = make()
    scores = evaluate(model, data)
    assert scores.keys() == names | SAMPLE_SCORES
    score = scores["kde" if kind == "estimate" else "log_likelihood"]
    assert (score.kind, score.unit, score.detail["n"]) == (kind, "nats", 60)
    truth = StandardDensity().log_prob(data.test.x)
    assert score.value == pytest.approx(float(truth.mean()), abs=0.05 if kind == "estimate" else 1e-2)
    assert scores["mmd2"].detail["p_value"] > 0.01
    assert scores["nearest_neighbour"].detail["ratio"] == pytest.approx(1, abs=0.4)
    assert evaluate(model, data.test).keys() == names


@pytest.mark.usefixtures("quick_measures")
def test_evaluate_depends_on_its_seed_and_changes_nothing():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
            self.net[1].eval()

        def sample(self, n, y=None):
            return self.net(torch.randn(n, 2))

        def log_prob(self, x, y=None):
            return StandardDensity().log_prob(self.net(x))

    model, data = Noisy(), dataset(n=(60, 30, 30))
    state = {name: t.clone() for name, t in model.state_dict().items()}
    modes = [part.training for part in model.modules()]
    torch.manual_seed(0)
    random = torch.get_rng_state()
    first = evaluate(model, data, seed=1)
    assert torch.equal(torch.get_rng_state(), random)
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(t, state[name]) for name, t in model.state_dict().items())
    torch.manual_seed(1)
    assert evaluate(model, data, seed=1) == first
    assert not torch.equal(draw_samples(model, data, 5, 1), draw_samples(model, data, 5, 2))


@pytest.mark.usefixtures("quick_measures")
def test_adversarial_model_on_binary_data_has_no_likelihood():
    data = dataset((1, 8, 8), "binary", n=(60, 30, 30))
    gan = GAN(data.shape, 3, (8,))
    assert evaluate(gan, data).keys() == SAMPLE_SCORES
    assert likelihood_scores(gan, dataset((1, 8, 8), "unit")).keys() == {"kde"}


def test_a_kernel_density_estimate_has_no_bits_per_dim():
    data = dataset((1, 8, 8), "unit", 17)
    assert likelihood_scores(GAN(data.shape, 3, (8,)), data).keys() == {"kde"}


class Uniform:
    """The uniform density on [0, 1]^D."""

    probability = "density"

    def sample(self, n, y=None):
        return torch.rand(n, 1, 4, 4)

    def log_prob(self, x, y=None):
        return x.new_zeros(len(x))


class UniformLogit(Uniform):
    """The same density in logit space."""

    def log_prob(self, x, y=None):
        squeeze = 1e-6
        s = torch.sigmoid(x.double())
        return (s.log() + (1 - s).log() - log(1 - 2 * squeeze)).flatten(1).sum(1)


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("support", ["unit", "logit"])
def test_bits_per_dim_of_the_uniform_density(levels, support):
    space = Space(support, levels)
    x = space.from_unit(torch.rand(50, 1, 4, 4, generator=torch.Generator().manual_seed(0)))
    data = replace(dataset((1, 4, 4), "unit", levels), test=Split(x), space=space)
    model = Uniform() if support == "unit" else UniformLogit()
    score = likelihood_scores(model, data)["bits_per_dim"]
    assert score.value == pytest.approx(log(levels) / log(2), abs=1e-4)
    assert score.stderr == pytest.approx(0, abs=1e-4)
    assert score.unit == "bits/dim"


def test_bits_per_dim_of_a_likelihood():
    data = pyrogen.load("digits")
    scores = likelihood_scores(Gaussian.from_data(data.train.tensors()[0], jitter=1e-3), data)
    nats = scores["log_likelihood"]
    assert scores["bits_per_dim"].value == pytest.approx((log(17) - nats.value / 64) / log(2), rel=1e-5)
    assert scores["bits_per_dim"].stderr == pytest.approx(nats.stderr / 64 / log(2), rel=1e-5)
    vae = VAE(data.shape, 2, (8,), likelihood=pyrogen.explicit.DiscretizedLogisticLikelihood(17))
    bound = likelihood_scores(vae, data, k=2)
    assert (bound["log_likelihood"].kind, bound["bits_per_dim"].kind) == ("lower_bound", "upper_bound")
    assert bound["bits_per_dim"].value == pytest.approx((log(17) - bound["iwae"].value / 64) / log(2), rel=1e-4)


def test_densities_and_masses_are_not_compared():
    binary, unit = dataset((1, 4, 4), "binary"), dataset((1, 4, 4), "unit")
    with pytest.raises(ConfigError, match=r"density.*mass on \{0, 1\}"):
        evaluate(Uniform(), binary)
    with pytest.raises(ConfigError, match=r"density.*mass on \{0, 1\}"):
        evaluate(Gaussian((1, 4, 4)), binary)
    with pytest.raises(ConfigError, match=r"mass.*density on \[0, 1\]"):
        evaluate(VAE((1, 4, 4), 2, (8,)), unit)


def test_the_error_names_a_model_that_cannot_be_evaluated():
    with pytest.raises(ConfigError, match="cannot evaluate a Linear"):
        evaluate(nn.Linear(2, 2), dataset())

    class Broken(Standard):
        def sample(self, n, y=None):
            x = super().sample(n)
            x[3, 0], x[5, 1] = torch.nan, torch.inf
            return x

    with pytest.raises(ConfigError, match="2 of 1000 samples are not finite"):
        sample_scores(Broken().sample(1000), dataset())


@pytest.mark.parametrize("n", [1, 4])
def test_few_test_data_have_no_two_sample_test(n):
    data = dataset(n=(40, 5, n))
    assert evaluate(StandardDensity(), data).keys() == {"log_likelihood", "nearest_neighbour"}


def test_mode_scores_of_a_density_with_known_modes():
    toy = ring()
    data = dataset(truth=toy)
    x = toy.sample(200, torch.Generator().manual_seed(0))
    data = replace(data, train=Split(x), test=Split(x[:60]))
    scores = sample_scores(toy.sample(100, torch.Generator().manual_seed(1)), data)
    assert scores.keys() == SAMPLE_SCORES | {"modes", "high_quality", "reverse_kl"}
    assert scores["modes"].value == 8


def test_true_density_scores_minus_its_entropy():
    data = pyrogen.load("gaussian")
    score = likelihood_scores(InModelCoordinates(data.truth, data.space), data)["log_likelihood"]
    assert score.value == pytest.approx(-data.truth.entropy, abs=4 * score.stderr)
    assert score.detail["n"] == 10_000


def test_reference_scores_use_training_data_as_samples():
    data = dataset((1, 4, 4), "unit", 17)
    scores = reference_scores(data)
    assert scores.keys() == SAMPLE_SCORES
    assert scores["nearest_neighbour"].detail["ratio"] == 1
    assert scores["mmd2"].detail["p_value"] > 0.01
    assert scores["c2st"].value == pytest.approx(0.5, abs=0.12)


def test_samples_are_compared_as_images():
    """Differences within a grey level do not count: bin centres score as dequantised values do."""
    data = dataset((1, 4, 4), "unit", 2)
    x = data.test.x[:25]
    coarse = ((x * 2).floor().clamp(0, 1) + 0.5) / 2
    assert sample_scores(x, data) == sample_scores(coarse, data)


def test_samples_use_the_side_information_of_test_rows():
    seen = []

    class Conditional(Standard):
        def sample(self, n, y=None):
            seen.append(y)
            return super().sample(n)

    data = dataset(n=(60, 30, 30))
    draw_samples(Conditional(), data, 10, 0)
    assert seen == [None]
    data = data.with_side_information(lambda x, y: x[:, :1])
    drawn = draw_samples(Conditional(), data, 50, 0)
    assert len(drawn) == 50
    assert torch.equal(seen[1], data.test.x[:, :1][torch.arange(50) % 30])


@pytest.mark.parametrize(("n", "sizes"), [(25, [10, 10, 5]), (10, [10]), (3, [3])])
def test_chunks(n, sizes):
    counts, rows = [], []

    class Counter(Standard):
        def sample(self, n, y=None):
            counts.append(n)
            rows.append(y)
            return super().sample(n)

    y = torch.arange(n)
    assert len(in_chunks(Counter(), n, y, rows=10)) == n
    assert counts == sizes
    assert torch.equal(torch.cat(rows), y)
    with scoped_seed(0):
        assert in_chunks(Standard((1, 2)), n).shape == (n, 1, 2)
