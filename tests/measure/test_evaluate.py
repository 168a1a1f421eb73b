"""``evaluate`` on steps, conditional models and bare pairs."""

import json
from importlib import import_module
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
from pyrogen.errors import ConfigError
from pyrogen.explicit import CVAE, Label
from pyrogen.measure.evaluate import likelihood_scores
from pyrogen.measure.kde import kde_score
from pyrogen.measure.likelihood import pair_scores
from pyrogen.measure.mmd import mmd2
from pyrogen.measure.samples import draw_samples, in_chunks, reference_scores, sample_scores
from pyrogen.measure.verdict.neighbours import nearest_neighbour
from pyrogen.protocols import Score
from pyrogen.random import derive, random_rows, scoped_seed


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
    setup = recipes.recipe("cvae")(
        pyrogen.load("digits"), condition="quadrants", observed=observed, hidden=(8,), latent=2
    )
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


class Shifted:
    """An implicit model of points in the plane; with labels, a point for each."""

    def __init__(self, dims=2):
        self.dims = dims
        self.asked = []

    def sample(self, n, y=None):
        self.asked.append(n)
        return torch.randn(n, self.dims) + (0.5 if y is None else y[:, None].float())


def plane(n=40, side_fn=None, **spaces):
    parts = [Split(points(n, 2, seed=seed), side_fn=side_fn) for seed in range(3)]
    return Dataset("plane", *parts, (2,), Space("real"), **spaces)


@pytest.fixture
def quick(monkeypatch):
    """The module with a two-sample test that takes no time."""
    module = import_module("pyrogen.measure.evaluate")
    monkeypatch.setattr(module, "KDE_SAMPLES", 300)
    monkeypatch.setattr("pyrogen.measure.samples.c2st", one_sample_test)
    return module


def one_sample_test(samples, real, seed=0):
    return Score(float(samples.sum() - 2 * real.sum()), 0.0, "statistic", "accuracy", {"n": len(real), "seed": seed})


@pytest.mark.usefixtures("quick")
def test_evaluate_is_the_sum_of_its_parts_under_one_seed():
    data = plane()
    for seed in (0, 5):
        scores = evaluate(Shifted(), data, seed=seed) if seed else evaluate(Shifted(), data)
        samples = draw_samples(Shifted(), data, 1000, seed)
        expected = likelihood_scores(Shifted(), data, seed=seed) | sample_scores(samples, data, seed)
        assert scores == expected
    assert scores.keys() == {"kde", "mmd2", "c2st", "nearest_neighbour"}
    assert draw_samples(Shifted(), data, 3, 0).tolist() != draw_samples(Shifted(), data, 3, 1).tolist()
    test, train = data.test.x, data.train.x
    real = random_rows(test, 1000, 5, "test")
    assert scores["mmd2"] == mmd2(samples, real, seed=5)
    assert scores["c2st"] == one_sample_test(samples, real, seed=5)
    assert scores["nearest_neighbour"].value == nearest_neighbour(samples, train, test).value
    with scoped_seed(derive(5, "kde")):
        made = torch.randn(300, 2) + 0.5
    assert scores["kde"] == kde_score(test, made, data.valid.x)
    half = likelihood_scores(Shifted(), data.test, seed=5)["kde"]  # of one split, half chooses the bandwidth
    rows = random_rows(test, 40, 5, "kde")
    assert half == kde_score(rows[20:], made, rows[:20])


def test_importance_samples_and_their_seed_reach_the_bound():
    def model(x, y=None):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x, y=None):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 3, 1.0).to_event(1))

    class Both:
        pass

    pair = Both()
    pair.model, pair.guide = model, guide
    data = plane(6)
    for how in (evaluate, likelihood_scores):
        few, default, again, other = (how(pair, data, **o) for o in ({"k": 3}, {}, {"seed": 0}, {"seed": 1}))
        assert few["iwae"].detail["k"] == 3
        assert default["iwae"].detail["k"] == 100
        assert default == again
        assert default["elbo"].value != other["elbo"].value
        expected, _ = pair_scores(pair, data.test.x, k=3)
        assert few == expected
    assert likelihood_scores(pair, data.test, k=3) == expected


@pytest.mark.usefixtures("quick")
def test_few_test_data_get_no_two_sample_test():
    assert "mmd2" not in sample_scores(points(50, 2), plane(19))
    assert {"mmd2", "c2st"} <= sample_scores(points(50, 2), plane(20)).keys()
    assert "mmd2" not in sample_scores(points(19, 2), plane(50))
    assert sample_scores(points(25, 2), plane(50))["mmd2"].detail["n"] == 25
    with pytest.raises(ConfigError, match="2 of 3 samples are not finite"):
        sample_scores(torch.tensor([[0.0, float("nan")], [1.0, 1.0], [float("inf"), float("nan")]]), plane())


def test_samples_are_drawn_in_chunks():
    model = Shifted()
    y = torch.arange(25) % 3
    x = in_chunks(model, 25, y, rows=10, shape=(2,))
    assert model.asked == [10, 10, 5]
    assert (x - y[:, None]).mean().abs() < 0.5
    model.asked.clear()
    in_chunks(model, 2001)
    assert model.asked == [1000, 1000, 1]
    with pytest.raises(ConfigError, match=r"sample\(25\) of a Shifted: expected shape \(25, 3\), got \(25, 2\)"):
        in_chunks(model, 25, shape=(3,))

    class Wrong:
        def sample(self, n, y=None):
            return torch.zeros(n - 1, 2) if n > 1 else [0.0]

    with pytest.raises(ConfigError, match=r"expected shape \(5, 2\), got \(4, 2\)"):
        in_chunks(Wrong(), 5)
    with pytest.raises(ConfigError, match=r"expected shape \(1,\), got list"):
        in_chunks(Wrong(), 1)


@pytest.mark.usefixtures("quick")
def test_conditional_samples_are_given_the_side_information_of_test_rows():
    data = plane(30, side_fn=lambda x, y: 10 + torch.arange(len(x)) % 2)
    x = draw_samples(Shifted(), data, 20, 0)
    assert x.shape == (20, 2)
    assert (x.mean(1).round() >= 8).all()
    assert len(draw_samples(Shifted(), data, 50, 0)) == 50


@pytest.mark.usefixtures("quick")
def test_anchors_are_training_data():
    data = plane(60)
    scores = reference_scores(data)
    assert scores["nearest_neighbour"] == nearest_neighbour(data.test.x, data.train.x, data.test.x)
    assert scores["nearest_neighbour"].detail["ratio"] == 1
    rows = random_rows(data.train.x, 1000, 3, "anchor")
    assert reference_scores(data, 3)["mmd2"] == sample_scores(rows, data, 3)["mmd2"]


def test_a_density_of_the_wrong_kind_or_shape_is_named():
    class Mass:
        probability = "mass"

        def log_prob(self, x):
            return x.sum(1)

    with pytest.raises(ConfigError, match="the model has a mass"):
        likelihood_scores(Mass(), plane())
    assert likelihood_scores(Mass(), Split(points(4, 2)))["log_likelihood"].kind == "exact"

    class Wide(Mass):
        def log_prob(self, x):
            return x if len(x) > 4 else x.sum(1).tolist()

    with pytest.raises(ConfigError, match=r"of 5 data: expected shape \(5,\).* got \(5, 2\)"):
        likelihood_scores(Wide(), Split(points(5, 2)))
    with pytest.raises(ConfigError, match=r"of 4 data.* got list"):
        likelihood_scores(Wide(), Split(points(4, 2)))
    with pytest.raises(ConfigError, match="cannot evaluate a object"):
        likelihood_scores(object(), plane())


class Halving:
    """An autoencoder without a likelihood or samples."""

    def reconstruct(self, x, y=None):
        return x / 2 if y is None else x / 2 + y[:, None]


def test_an_autoencoder_has_its_reconstruction_alone():
    data = plane(30)
    scores = evaluate(Halving(), data)
    assert scores.keys() == {"reconstruction"}
    assert scores["reconstruction"].value == pytest.approx((data.test.x / 2).square().mean().item(), rel=1e-5)
    labelled = Split(points(4, 2), y=torch.arange(4.0))
    x = labelled.x
    expected = (x / 2 - labelled.y[:, None]).square().mean().item()
    assert evaluate(Halving(), labelled)["reconstruction"].value == pytest.approx(expected, rel=1e-5)


def test_an_exact_conditional_likelihood_bounds_the_marginal():
    class ByLabel:
        condition = Label(3, torch.tensor([1, 1, 2]))

        def model(self, x, y):
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(y[:, None].float(), 1.0).expand([len(x), 2]).to_event(1), obs=x)

        def guide(self, x, y):
            pass

    x, y = points(5, 2), torch.tensor([0, 1, 2, 2, 1])
    scores, values = pair_scores(ByLabel(), x, y)
    given = dist.Normal(y[:, None].float(), 1.0).log_prob(x).sum(1)
    expected = given + torch.tensor([0.25, 0.25, 0.5]).log()[y]
    assert torch.allclose(values, expected, atol=1e-3)
    assert scores.keys() == {"log_likelihood"}
    assert scores["log_likelihood"].kind == "lower_bound"
    bare = ByLabel()
    bare.condition = None
    scores, values = pair_scores(bare, x, y)
    assert torch.allclose(values, given, atol=1e-5)
    assert scores["log_likelihood"].kind == "exact"
