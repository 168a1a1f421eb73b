"""Whether a value is exact, a bound or an estimate of log p(x), for every kind of guide."""

from functools import partial
from math import log

import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import MIX, Couple, empty, latent, normal, points
from pyro import poutine
from pyro.contrib.easyguide import EasyGuide
from pyro.distributions.transforms import affine_autoregressive
from pyro.infer import config_enumerate
from pyro.infer.autoguide import (
    AutoDelta,
    AutoDiagonalNormal,
    AutoDiscreteParallel,
    AutoGaussian,
    AutoGuideList,
    AutoIAFNormal,
    AutoLaplaceApproximation,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
    AutoNormalizingFlow,
    AutoStructured,
)
from torch import nn
from torch.optim import Adam

from pyrogen import SVI
from pyrogen.data import Space, Split
from pyrogen.errors import ConfigError
from pyrogen.explicit import VQVAE
from pyrogen.measure.evaluate import evaluate, likelihood_scores
from pyrogen.measure.likelihood import pair_scores, pair_structure
from pyrogen.measure.samples import in_chunks


def score_of(model, guide, x, *rest):
    scores, _ = pair_scores(Couple(model, guide), x, *rest, k=5)
    assert len({(s.kind, s.detail.get("note")) for s in scores.values()}) == 1
    return scores["log_likelihood"]


def delta(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Delta(x / 2))


def test_a_point_estimate_of_a_continuous_latent_gives_an_estimate():
    """z ~ N(0, 1 / 100), x | z ~ N(z, 1): log p(x, z*) at the mode lies above log p(x) ~ N(0, 1.01)."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 0.1))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def mode(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(x / 101))

    x = points(50)
    score = score_of(model, mode, x)
    assert score.value > float(normal(x, 0.0, 1.01).mean()) + 1
    assert score.kind == "estimate"
    assert "point estimate of 'z'" in score.detail["note"]
    assert score.detail["k"] == 1


class Global(nn.Module):
    """Global latent variables with several supports."""

    def forward(self, x):
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        s = pyro.sample("s", dist.LogNormal(0.0, 0.3))
        w = pyro.sample("w", dist.Dirichlet(torch.ones(3)))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(a + w[0], s), obs=x)


def listed(model):
    guide = AutoGuideList(model)
    guide.append(AutoNormal(poutine.block(model, expose=["a", "w"])))
    guide.append(AutoDelta(poutine.block(model, expose=["s"])))
    return guide


class Easy(EasyGuide):
    fixed = ()

    def guide(self, x):
        for name in ("a", "s", "w"):
            group = self.group(match=f"^{name}$")
            site = self.prototype_trace.nodes[name]
            if name in self.fixed:
                self.map_estimate(name)
                continue
            size = int(group.event_shape.numel())
            loc = pyro.param(f"{name}_loc", torch.zeros(size))
            group.sample(f"{name}_free", dist.Normal(loc, 0.1).to_event(1))
            assert site is not None


class MemoryMapped(Easy):
    fixed = ("s",)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (AutoNormal, "lower_bound"),
        (AutoDiagonalNormal, "lower_bound"),
        (AutoMultivariateNormal, "lower_bound"),
        (AutoLowRankMultivariateNormal, "lower_bound"),
        (AutoIAFNormal, "lower_bound"),
        (lambda m: AutoNormalizingFlow(m, lambda d: affine_autoregressive(d, hidden_dims=[8])), "lower_bound"),
        (AutoStructured, "lower_bound"),
        (AutoGaussian, "lower_bound"),
        (Easy, "lower_bound"),
        (AutoDelta, "estimate"),
        (AutoLaplaceApproximation, "estimate"),
        (listed, "estimate"),
        (MemoryMapped, "estimate"),
    ],
)
def test_guides_of_pyro(make, kind):
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    model, x = Global(), points(20)
    guide = make(model)
    guide(x)
    score = score_of(model, guide, x)
    assert score.kind == kind
    assert (score.detail.get("note") is None) == (kind == "lower_bound")
    if make is AutoLaplaceApproximation:
        step = SVI(model, guide, partial(Adam, lr=0.05))
        for _ in range(300):
            step(x)
        settled = guide.laplace_approximation(x)
        settled(x)
        assert score_of(model, settled, x).kind == "lower_bound"


def discrete(x):
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Categorical(MIX))
        pyro.sample("x", dist.Normal(4.0 * k, 1.0), obs=x)


def test_a_point_estimate_of_a_discrete_latent_gives_a_bound():
    def code(x):
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Delta((x > 2).long()))

    x = points(30) * 3
    score = score_of(discrete, code, x)
    exact = torch.logsumexp(MIX.log() + normal(x[:, None], torch.tensor([0.0, 4.0])), 1)
    assert score.kind == "lower_bound"
    assert score.value < float(exact.mean())
    vae = VQVAE((1, 8, 8), 4, 2)
    assert likelihood_scores(vae, Split(torch.rand(10, 1, 8, 8)))["log_likelihood"].kind == "lower_bound"


def test_automatic_discrete_guide_is_a_bound():
    model = config_enumerate(lambda x: (pyro.sample("k", dist.Categorical(MIX)), plain(x))[0])
    guide = AutoDiscreteParallel(model)
    guide(points(4))
    score, _ = pair_scores(Couple(model, guide), points(4))
    assert score["log_likelihood"].kind == "lower_bound"


def plain(x):
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)


def auxiliary(x):
    """q(u) q(z | u) with an auxiliary u that the model does not have."""
    with pyro.plate("data", len(x)):
        u = pyro.sample("u", dist.Normal(x / 2, 0.5), infer={"is_auxiliary": True})
        pyro.sample("z", dist.Normal(u, 0.5))


def factor(x):
    latent().guide(x)
    with pyro.plate("rows", len(x)):
        pyro.factor("f", torch.ones(len(x)), has_rsample=True)


def by_chance(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Delta(x / 2 + torch.randn(len(x))))


def pushed(x):
    """z = x / 2 + u / 2 with its density."""
    with pyro.plate("data", len(x)):
        u = pyro.sample("u", dist.Normal(torch.zeros(len(x)), 2**0.5), infer={"is_auxiliary": True})
        pyro.sample("z", dist.Delta(x / 2 + u / 2, log_density=torch.full((len(x),), log(2.0))))


def counted(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Bernoulli(0.5))


def masked(x):
    with pyro.plate("data", len(x)), poutine.mask(mask=torch.tensor(False)):
        pyro.sample("z", dist.Normal(x / 2, 0.5))


@pytest.mark.parametrize(
    ("guide", "note"),
    [
        (auxiliary, "1|2 auxiliary values for 0 latent values"),
        (factor, "pyro.factor, 'f'"),
        (by_chance, "at random outside its sites"),
        (counted, "'z' has a mass in the guide"),
        (masked, "'z' has different masks"),
        (delta, "point estimate of 'z'"),
    ],
)
def test_guides_that_are_not_distributions_over_the_latents(guide, note):
    score = score_of(latent().model, guide, points(20))
    assert score.kind == "estimate"
    assert any(part in score.detail["note"] for part in note.split("|"))


def test_a_transformed_auxiliary_density_gives_the_marginal():
    x = points(20)
    score = score_of(latent().model, pushed, x)
    assert (score.kind, score.value) == ("lower_bound", pytest.approx(float(normal(x, 0.0, 2.0).mean()), abs=1e-4))


def test_bits_of_an_estimate_are_an_estimate():
    class Rounded:
        model = staticmethod(latent().model)
        guide = staticmethod(delta)

    scores = likelihood_scores(Rounded(), Split(torch.rand(20), space=Space("unit", 256)))
    assert scores["bits_per_dim"].kind == "estimate"


@pytest.mark.parametrize("shape", [(4, 1), (1, 4), (2,)])
def test_wrong_shapes_are_rejected(shape):
    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x[:, None] if shape == (4, 1) else x.expand(len(x), len(x)))

    with pytest.raises(ConfigError, match=r"site 'x' has a log-probability of shape \(2, 2\).*\(data\) imply \(2,\)"):
        pair_structure(Couple(model), points(4))


@pytest.mark.parametrize("side", ["model", "guide"])
def test_the_error_names_an_event_that_depends_on_the_batch_size(side):
    def outside(x, loc=0.0, scale=1.0):
        return pyro.sample("z", dist.Normal(loc, scale).expand([len(x), 1]).to_event(2))

    def inside(x):
        with pyro.plate("data", len(x)):
            return pyro.sample("z", dist.Normal(0.0, 1.0).expand([len(x), 1]).to_event(1))

    def model(x):
        z = outside(x)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(z[:, 0], 1.0), obs=x)

    def other(x):
        plain(x)

    def guide(x):
        pyro.sample("u", dist.Normal(0.0, 1.0).expand([len(x)]).to_event(1), infer={"is_auxiliary": True})

    pair = Couple(model, lambda x: outside(x, 0.1)) if side == "model" else Couple(other, guide)
    with pytest.raises(ConfigError, match=r"the event shape of site '[zu]' depends on the batch size"):
        pair_structure(pair, points(5))


def test_the_error_names_a_latent_that_exists_only_for_larger_batches():
    def both(x):
        return torch.stack([pyro.sample(f"z{i}", dist.Normal(0.0, 1.0)) for i in range(len(x))])

    def model(x):
        z = both(x)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    with pytest.raises(ConfigError, match=r"site 'z1' exists only for larger batches"):
        pair_structure(Couple(model, both), points(5))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_non_finite_values_are_rejected(value):
    class Density:
        def log_prob(self, x, y=None):
            return torch.where(x > 0, value, x)

    x = points(20)
    broken = int((x > 0).sum())
    with pytest.raises(ConfigError, match=rf"log_prob is not finite for {broken} of 20 data"):
        likelihood_scores(Density(), Split(x))

    def model(x):
        plain(x)
        with pyro.plate("rows", len(x)):
            pyro.factor("f", torch.where(x > 0, value, x))

    with (
        pyro.validation_enabled(False),
        pytest.raises(ConfigError, match=rf"of the pair is not finite for {broken} of 20 data"),
    ):
        likelihood_scores(Couple(model, empty), Split(x))


@pytest.mark.parametrize("reduce", [lambda t: t, lambda t: t.mean(), lambda t: t.sum((1, 2))[:1], lambda t: 1.0])
def test_a_log_prob_of_another_shape_is_rejected(reduce):
    class Density:
        def log_prob(self, x, y=None):
            return reduce(normal(x))

    with pytest.raises(ConfigError, match=r"log_prob of 6 data: expected shape \(6,\)"):
        likelihood_scores(Density(), Split(points(6, 2, 2)))


@pytest.mark.parametrize("make", [lambda n: torch.randn(n - 1, 2), lambda n: torch.randn(n, 3), lambda n: [0.0] * n])
def test_samples_of_another_shape_are_rejected(make):
    class Sampler:
        def sample(self, n, y=None):
            return make(n)

    with pytest.raises(ConfigError, match=r"sample\(1000\) of a Sampler: expected shape \(1000"):
        evaluate(Sampler(), Split(points(40, 2)))
    assert len(in_chunks(type("Any", (), {"sample": lambda self, n, y=None: torch.zeros(n, 3)})(), 5)) == 5


def test_side_information_that_the_model_does_not_take_is_dropped():
    def model(x, annealing=1.0):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(0.0, annealing), obs=x)

    x, y = points(6), torch.arange(6)
    assert score_of(model, lambda x, y: None, x, y).value == pytest.approx(float(normal(x).mean()), rel=1e-5)
