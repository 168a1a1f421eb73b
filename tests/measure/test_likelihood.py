"""The likelihood of Pyro pairs against closed forms: exact, enumerated, bounded, Bayesian."""

from math import log

import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import LOCS, MIX, Couple, latent, mixture, mixture_log_prob, normal, points
from pyro.infer import config_enumerate
from pyro.infer.autoguide import AutoDelta, AutoNormal
from pyro.nn import PyroModule, PyroSample
from torch import nn

from pyrogen.measure.likelihood import bounds, density_scores, log_weights, mean_score, pair_scores, pair_structure
from pyrogen.random import scoped_seed


@pytest.mark.parametrize("n", [1, 2, 7])
def test_a_pair_without_latents_is_exact(n):
    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(1.0, 2.0).expand([3]).to_event(1), obs=x)

    x = points(n, 3)
    elbo, iwae, what = bounds(Couple(model), x, k=50)
    expected = normal(x, 1.0, 4.0).sum(1)
    assert torch.allclose(elbo, expected, atol=1e-5)
    assert torch.allclose(iwae, expected, atol=1e-5)
    assert (what.probability, what.latent, what.shared, what.depth) == ("density", False, False, 1)
    scores, values = pair_scores(Couple(model), x)
    assert scores.keys() == {"log_likelihood"}
    score = scores["log_likelihood"]
    assert (score.kind, score.unit, score.detail["n"]) == ("exact", "nats", n)
    assert score.value == pytest.approx(float(expected.mean()), rel=1e-5)
    stderr = float(expected.double().std() / n**0.5) if n > 1 else 0.0
    assert score.stderr == pytest.approx(stderr, rel=1e-4)
    assert values.shape == (n,)


def test_score_kinds_of_a_pair_with_latents():
    scores, values = pair_scores(latent(), points(50), k=20)
    assert scores.keys() == {"log_likelihood", "elbo", "iwae"}
    assert {score.kind for score in scores.values()} == {"lower_bound"}
    assert scores["log_likelihood"] == scores["iwae"]
    assert scores["elbo"].value < scores["iwae"].value < float(normal(points(50), 0.0, 2.0).mean()) + 0.01
    assert scores["iwae"].value == pytest.approx(float(values.mean()), rel=1e-5)


@pytest.mark.parametrize("n", [1, 2, 30])
def test_true_posterior_gives_the_marginal(n):
    x = points(n)
    for value in bounds(latent(spread=1.0), x, k=3)[:2]:
        assert torch.allclose(value, normal(x, 0.0, 2.0), atol=1e-5)


def test_a_batch_has_the_values_of_its_rows():
    x = points(5)
    whole = bounds(latent(1.2), x, k=20_000)[1]
    single = torch.cat([bounds(latent(1.2), row[None], k=20_000)[1] for row in x])
    assert torch.allclose(whole, single, atol=0.03)
    assert torch.allclose(whole, normal(x, 0.0, 2.0), atol=0.03)


@pytest.mark.parametrize("n", [1, 2, 9])
def test_enumerated_mixture_is_exact(n):
    x = 2 * points(n)
    elbo, iwae, what = bounds(Couple(config_enumerate(mixture)), x, k=30)
    assert torch.allclose(elbo, mixture_log_prob(x), atol=1e-5)
    assert torch.equal(elbo, iwae)
    assert not what.latent
    assert pair_scores(Couple(config_enumerate(mixture)), x)[0]["log_likelihood"].kind == "exact"


def test_two_dependent_enumerated_sites():
    transition = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.3, 0.5]])
    locs = torch.tensor([-1.0, 0.0, 4.0])

    @config_enumerate
    def model(x):
        with pyro.plate("data", len(x)):
            a = pyro.sample("a", dist.Categorical(MIX))
            b = pyro.sample("b", dist.Categorical(transition[a]))
            pyro.sample("x", dist.Normal(locs[b], 1.0), obs=x)

    x = points(6)
    expected = torch.logsumexp((MIX @ transition).log() + normal(x[:, None], locs), 1)
    assert torch.allclose(bounds(Couple(model), x)[1], expected, atol=1e-5)


def test_enumerated_beside_a_continuous_latent():
    """k is marginalised and z importance-weighted: x ~ Σ_k π_k N(m_k, 2)."""

    @config_enumerate
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
            k = pyro.sample("k", dist.Categorical(MIX))
            pyro.sample("x", dist.Normal(z + LOCS[k], 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))

    x = points(20)
    elbo, iwae, what = bounds(Couple(model, guide), x, k=5000)
    expected = torch.logsumexp(MIX.log() + normal(x[:, None], LOCS, 2.0), 1)
    assert what.latent
    assert torch.allclose(iwae, expected, atol=0.1)
    assert (elbo < expected).all()


@pytest.mark.parametrize("mark", [lambda model: model, config_enumerate], ids=["plain", "marked"])
def test_discrete_latent_that_the_guide_draws(mark):
    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Categorical(logits=MIX.log() + normal(x[:, None], LOCS)))

    x = points(9)
    elbo, iwae, what = bounds(Couple(mark(mixture), guide), x, k=4)
    assert what.latent
    assert torch.allclose(elbo, mixture_log_prob(x), atol=1e-5)
    assert torch.allclose(iwae, mixture_log_prob(x), atol=1e-5)


class Bayes(PyroModule):
    """θ ~ N(0, 9), x_i | θ ~ N(θ, 1)."""

    def __init__(self):
        super().__init__()
        self.theta = PyroSample(dist.Normal(0.0, 3.0))

    def model(self, x):
        theta = self.theta
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(theta, 1.0), obs=x)

    def forward(self, x):
        return self.model(x)


def test_global_latent_gives_the_posterior_predictive():
    train, test = 1 + points(20), 1 + points(30, seed=1)
    variance = 1 / (20 + 1 / 9)
    mean = variance * train.sum()
    model = Bayes()
    guide = AutoNormal(model)
    guide(train)
    guide.locs.theta.data.copy_(mean)
    guide.scales.theta = torch.tensor(variance**0.5)
    elbo, iwae, what = bounds(Couple(model, guide), test, k=1000)
    exact = normal(test, mean, 1 + variance)
    assert what.shared
    assert what.latent
    assert torch.allclose(iwae, exact, atol=0.05)  # Monte Carlo error: √(Var w / k) / E w, below 0.02 for |x - m| < 3
    # E_q log N(x; θ, 1) = log N(x; m, 1) - v / 2
    assert torch.allclose(elbo, normal(test, mean) - variance / 2, atol=0.05)
    assert pair_scores(Couple(model, guide), test, k=5)[0]["log_likelihood"].kind == "lower_bound"


def test_a_point_estimate_of_a_global_latent_is_used_as_its_value():
    model = Bayes()
    guide = AutoDelta(model)
    guide(points(5))
    guide.theta.data.fill_(0.7)
    x = points(9)
    for value in bounds(Couple(model, guide), x, k=3)[:2]:
        assert torch.allclose(value, normal(x, 0.7), atol=1e-5)


def test_global_and_local_latents_together():
    """θ ~ N(0, 1) by its exact "posterior" N(a, v); z | x, θ by its exact posterior: x ~ N(a, 2 + v)."""

    def model(x):
        theta = pyro.sample("theta", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(theta, 1.0).expand([len(x)]))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        theta = pyro.sample("theta", dist.Normal(0.5, 0.3))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal((x + theta) / 2, 0.5**0.5))

    x = points(12)
    _, iwae, what = bounds(Couple(model, guide), x, k=600)
    assert what.shared
    assert torch.allclose(iwae, normal(x, 0.5, 2.09), atol=0.06)


def test_pair_structure():
    what = pair_structure(latent(), points(3))
    assert (what.depth, what.probability, what.latent, what.shared) == (1, "density", True, False)
    assert pair_structure(Couple(config_enumerate(mixture)), points(3)).latent is False


def test_the_guide_runs_once_for_each_datum_and_the_model_for_each_draw():
    pair, rows = latent(), {"model": 0, "guide": 0}

    def counting(name):
        def program(x):
            rows[name] += len(x)
            getattr(pair, name)(x)

        return program

    counted = Couple(counting("model"), counting("guide"))
    what = pair_structure(counted, points(4))
    rows.update(model=0, guide=0)
    assert log_weights(counted, points(4), structure=what, k=7).shape == (7, 4)
    assert rows == {"model": 28, "guide": 4}


def test_log_weights_average_to_the_marginal():
    with scoped_seed(0):
        w = log_weights(latent(1.2), points(4), k=50_000)
    assert torch.allclose(w.logsumexp(0) - log(50_000), normal(points(4), 0.0, 2.0), atol=0.02)


class Noisy(nn.Module):
    """A pair whose networks have buffers and a training mode."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2))
        self.decoder = nn.Sequential(nn.Linear(1, 3), nn.BatchNorm1d(3))
        self.decoder[1].eval()

    def model(self, x):
        pyro.module("noisy", self)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        loc, log_scale = self.encoder(x).chunk(2, -1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


def test_bounds_change_nothing():
    pair = Noisy()
    x = points(6, 3)
    state = {name: t.clone() for name, t in pair.state_dict().items()}
    modes = [part.training for part in pair.modules()]
    random = torch.get_rng_state()
    elbo, _, _ = bounds(pair, x, k=3)
    assert not elbo.requires_grad
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(t, state[name]) for name, t in pair.state_dict().items())
    assert [part.training for part in pair.modules()] == modes
    assert all(p.grad is None for p in pair.parameters())
    assert torch.equal(x, points(6, 3))


def test_seeds_reproduce():
    x = points(6)
    torch.manual_seed(0)
    first = bounds(latent(), x, k=5, seed=1)
    torch.manual_seed(1)
    again, other = bounds(latent(), x, k=5, seed=1), bounds(latent(), x, k=5, seed=2)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


def test_large_data_are_split_into_chunks():
    seen = []

    def model(x):
        seen.append(len(x))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    x = points(25_001)
    values = bounds(Couple(model), x)[1]
    assert torch.allclose(values, normal(x), atol=1e-6)
    assert max(seen) <= 10_000
    calls = []

    class Density:
        def log_prob(self, x):
            calls.append(len(x))
            return normal(x).sum(1)

    wide = points(1001, 2000)
    scores, values = density_scores(Density().log_prob, wide)
    assert torch.allclose(values, normal(wide).sum(1))
    assert len(calls) > 1
    assert (scores["log_likelihood"].kind, scores["log_likelihood"].detail["n"]) == ("exact", 1001)


def test_mean_score():
    score = mean_score(torch.tensor([1.0, 2.0, 6.0]), "estimate", "bits/dim", k=3)
    assert (score.value, score.kind, score.unit) == (3, "estimate", "bits/dim")
    assert score.stderr == pytest.approx((14 / 2 / 3) ** 0.5)
    assert score.as_dict() == {
        "value": score.value,
        "stderr": score.stderr,
        "kind": "estimate",
        "unit": "bits/dim",
        "interval": list(score.interval),
        "n": 3,
        "k": 3,
    }
    assert mean_score(torch.tensor([4.0]), "exact").stderr == 0
