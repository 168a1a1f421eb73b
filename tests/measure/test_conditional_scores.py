"""Likelihoods of x given y are labelled and not ranked with those of x."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import Couple, empty, points

import pyrogen
from pyrogen import SVI, evaluate, recipes
from pyrogen.data import Dataset, Space, Split
from pyrogen.explicit import MADE, Label
from pyrogen.measure.evaluate import likelihood_scores
from pyrogen.nn.conditions import Attributes
from pyrogen.report.ranking import best, group_models, is_conditional

X, Y = points(60, 2), torch.arange(60) % 3


def observe(x, loc):
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(loc, 1.0).expand([len(x), 2]).to_event(1), obs=x)


def uses(x, y):
    observe(x, y[:, None].float())


def ignores(x, y=None):
    observe(x, 0.0)


def latent(x, y=None, use=0.0):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1))
        shift = 0 if y is None or not use else use * y[:, None].float()
        pyro.sample("x", dist.Normal(z + shift, 1.0).to_event(1), obs=x)


def latent_of_y(x, y=None):
    latent(x, y, 0.5)


def informed(x, y=None):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x / 2 + 0.01 * y[:, None], 0.8).to_event(1))


class Density:
    def __init__(self, use):
        self.use = use

    def log_prob(self, x, y=None):
        return -(x - self.use * y[:, None]).square().sum(1)


class OneLabel(Density):
    def log_prob(self, x, y=None):
        assert (y == Y[: len(y)]).all(), "only the labels of these rows"
        return super().log_prob(x, y)


@pytest.mark.parametrize(
    ("model", "of"),
    [
        (Couple(uses), "log p(x | y)"),
        (Couple(ignores), None),
        (Couple(latent, informed), None),
        (Couple(latent_of_y, informed), "log p(x | y)"),
        (Density(1.0), "log p(x | y)"),
        (Density(0.0), None),
        (OneLabel(0.0), "log p(x | y)"),
        (Couple(lambda x: observe(x, 0.0)), None),
    ],
    ids=["pair", "ignores", "guide", "latent", "density", "flat", "refuses", "x alone"],
)
def test_a_program_that_uses_y_is_of_x_given_y(model, of):
    scores = likelihood_scores(model, Split(X, Y), k=3)
    assert {score.detail.get("of") for score in scores.values()} == {of}
    assert all(is_conditional(score.as_dict()) == (of is not None) for score in scores.values())


def test_labels_of_one_value_tell_nothing():
    score = likelihood_scores(Couple(ignores), Split(X, torch.ones(60)))["log_likelihood"]
    assert score.detail["of"] == "log p(x | y)"


def test_a_step_and_models_of_the_library_say_what_they_are_of():
    means = torch.nn.Parameter(torch.arange(3.0))
    step = SVI(lambda x, y: observe(x, means[y][:, None]), empty)
    step(X, Y)
    assert evaluate(step, Split(X, Y))["log_likelihood"].detail["of"] == "log p(x | y)"
    of_label = MADE((2,), (8,), condition=Label(3))
    with torch.no_grad():
        for weight in of_label.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    binary = (X > 0).float()
    assert "of" not in likelihood_scores(of_label, Split(binary, Y))["log_likelihood"].detail
    given = MADE((2,), (8,), condition=Attributes(3))
    with torch.no_grad():
        for weight in given.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    score = likelihood_scores(given, Split(binary, torch.eye(3)[Y]))["log_likelihood"]
    assert score.detail["of"] == "log p(x | y)"


def test_a_completion_is_of_the_hidden_part():
    setup = recipes.recipe("cvae")(pyrogen.load("digits"), condition="quadrants", hidden=(8,), latent=2)
    scores = likelihood_scores(setup.model, setup.data, k=2)
    assert {score.detail["of"] for score in scores.values()} == {"log p(x_hidden | x_observed)"}
    plain = recipes.recipe("vae")(pyrogen.load("digits"), hidden=(8,), latent=2)
    whole, partial = (likelihood_scores(plain.model, data, k=2) for data in (plain.data, setup.data))
    assert whole == partial  # an unconditional model is one of all pixels, whatever is observed
    assert "bits_per_dim" in partial


def test_side_information_that_is_no_part_of_x_keeps_the_units_of_x():
    """Standardised columns of deviation 10: the density is in the units of the table."""
    table = pyrogen.load((10 * points(300, 2)).numpy())
    y = torch.arange(len(table.test)).float()
    data = table.with_side_information(lambda x, _: y[: len(x)] % 2)

    def shifted(x, y):
        observe(x, 0.01 * y[:, None])

    score = likelihood_scores(Couple(shifted), data)["log_likelihood"]
    assert score.value == pytest.approx(likelihood_scores(Couple(ignores), table)["log_likelihood"].value, abs=0.05)
    assert score.detail["of"] == "log p(x | y)"


def test_likelihoods_given_y_are_not_ranked():
    data = Dataset("plane", *[Split(X, Y)] * 3, (2,), Space("real"))
    models = {"given": Couple(uses), "far": Couple(lambda x: observe(x, 1.0)), "x": Couple(ignores)}
    scores = {
        name: {key: score.as_dict() for key, score in likelihood_scores(model, data).items()}
        for name, model in models.items()
    }
    scores["given"]["log_likelihood"]["value"] = 0.0  # higher than the others
    assert best(scores, "log_likelihood") == {"x"}
    groups = group_models({name: {"scores": entry} for name, entry in scores.items()})
    assert groups["known"] == ["x", "far"]
    assert groups["conditional"] == ["given"]
    assert groups["unknown"] == []
