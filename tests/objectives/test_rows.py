"""Objectives: shapes that would be broadcast, the data plate, and particles as repeated rows."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch import nn

from pyrogen.errors import ConfigError
from pyrogen.objectives.elbo import IWAE, BetaELBO, FreeBits
from pyrogen.random import scoped_seed

EVERY = [
    BetaELBO,
    partial(BetaELBO, analytic=False),
    partial(BetaELBO, 1.0, 3),
    partial(FreeBits, 0.1),
    partial(IWAE, 3),
]
normal = dist.Normal(0.0, 1.0)


@pytest.fixture
def x():
    return torch.randn(6, generator=torch.Generator().manual_seed(0))


def empty(*_):
    pass


@pytest.mark.parametrize("make", EVERY)
@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("shape", ["(n,)", "()"])
def test_a_column_is_not_broadcast(make, validate, shape, x):
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z if shape == "(n,)" else 0.0, 1.0), obs=x[:, None])

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 1.0))

    with pyro.validation_enabled(validate), pytest.raises(ConfigError, match=r"site 'x' has .* shape \((\d+), \1\)"):
        make().loss(model, guide, x)


@pytest.mark.parametrize("make", EVERY)
def test_a_latent_of_another_shape_is_named(make, x):
    def program(x, obs):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(len(x), 1) + torch.zeros(len(x)), 1.0))
            if obs:
                pyro.sample("x", normal, obs=x)

    with (
        pyro.validation_enabled(False),
        pytest.raises(ConfigError, match=r"site '[xz]' has a log-probability of shape"),
    ):
        make().loss(partial(program, obs=True), partial(program, obs=False), x)


def two_plates(x):
    loc = pyro.param("loc", torch.zeros(()))
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
        pyro.sample("x", dist.Normal(z + loc, 1.0), obs=x)
    with pyro.plate("check", 3):
        pyro.sample("c", dist.Normal(loc, 1.0), obs=torch.zeros(3))


def rows_only(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x / 2, 0.5**0.5))


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("make", EVERY[:3])
def test_a_second_observed_plate_is_not_the_data(make, first, x):
    def other(x):
        with pyro.plate("check", 3):
            pyro.sample("c", normal, obs=torch.zeros(3))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    model, loss = two_plates if first else other, make()
    with pyro.get_param_store().scope():
        value = loss.per_datum(model, rows_only, x)
        total = loss.loss(model, rows_only, x)
    marginal = dist.Normal(0.0, 2**0.5).log_prob(x)  # the guide is the posterior
    assert value.shape == (6,)
    if not loss.analytic:
        assert torch.allclose(value, marginal, atol=1e-5)
        assert float(total) == pytest.approx(float(-marginal.sum() - 3 * normal.log_prob(torch.tensor(0.0))), rel=1e-5)


def test_a_plate_of_components_as_large_as_the_batch_is_not_the_data(x):
    def model(x):
        with pyro.plate("components", 6):
            loc = pyro.sample("loc", normal)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc.mean(), 1.0), obs=x)

    def guide(x):
        with pyro.plate("components", 6):
            pyro.sample("loc", dist.Normal(0.3, 0.5))

    with scoped_seed(0):
        loc = dist.Normal(0.3, 0.5).expand([6]).sample()
    with scoped_seed(0):
        value = BetaELBO(5.0, analytic=False).per_datum(model, guide, x)
    assert torch.allclose(value, dist.Normal(loc.mean(), 1.0).log_prob(x), atol=1e-5)
    with scoped_seed(0):
        total = BetaELBO(analytic=False).loss(model, guide, x)
    with scoped_seed(0):
        assert float(total) == pytest.approx(Trace_ELBO().loss(model, guide, x), rel=1e-5)
    for k in (2, 3):  # globals count once for all particles
        with scoped_seed(0):
            value = IWAE(k).loss(model, guide, x)
        expected = (
            -dist.Normal(loc.mean(), 1.0).log_prob(x).sum()
            - (normal.log_prob(loc) - dist.Normal(0.3, 0.5).log_prob(loc)).sum()
        )
        assert float(value) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("make", EVERY[2:3] + EVERY[4:])
@pytest.mark.parametrize("rows", [6, 5])
def test_latents_that_follow_the_rows_outside_the_plate_are_named(make, rows, x):
    def outside(x, loc):
        return pyro.sample("z", dist.Normal(loc, 1.0).expand([len(x), 1]).to_event(2))

    def model(x):
        z = outside(x, 0.0)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(z[:, 0], 1.0), obs=x)

    with pytest.raises(ConfigError, match="event shape of site 'z' depends on the batch size"):
        make().loss(model, partial(outside, loc=0.1), x[:rows])
    assert BetaELBO().loss(model, partial(outside, loc=0.1), x).isfinite()  # one particle counts all as they are


def test_a_shared_event_that_happens_to_be_as_large_as_the_rows_passes(x):
    def model(x):
        w = pyro.sample("w", normal.expand([18]).to_event(1))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(w.mean(), 1.0), obs=x)

    def guide(x):
        pyro.sample("w", dist.Normal(0.1, 1.0).expand([18]).to_event(1))

    assert IWAE(3).loss(model, guide, x).isfinite()


def test_particles_that_cannot_be_rows_are_refused(x):
    def fixed(*_):
        with pyro.plate("schools", 6):
            z = pyro.sample("z", normal)
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(*_):
        with pyro.plate("schools", 6):
            pyro.sample("z", dist.Normal(0.1, 1.0))

    with pytest.raises(ConfigError, match="3 particles are vectorised over rows of the batch: pass the data"):
        IWAE(3).loss(fixed, guide)
    with pytest.raises(ConfigError, match="plate 'schools' of 6 does not have the size of its 2 rows"):
        BetaELBO(particles=3).loss(fixed, guide, torch.zeros(2))

    def flat(x):
        pyro.sample("x", dist.Normal(torch.zeros(len(x)), 1.0).to_event(1), obs=x)

    with pytest.raises(ConfigError, match="'x' depends on the batch size"):
        IWAE(3).loss(flat, empty, x)
    assert torch.allclose(BetaELBO().loss(flat, empty, x), -normal.log_prob(x).sum())


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.BatchNorm1d(1), nn.Dropout(0.5))

    def model(self, x):
        w = pyro.sample("w", normal)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(w, 1.0), obs=x)

    def guide(self, x):
        pyro.sample("w", dist.Normal(self.net(x[:, None]).mean(), 1.0))


def test_looking_at_other_rows_leaves_state_and_chance_alone(x):
    first, second = Normed(), Normed()
    loss = IWAE(2)
    with scoped_seed(0):
        a = loss.loss(first.model, first.guide, x)
        b = loss.loss(first.model, first.guide, x)
    other = IWAE(2)
    other.loss(second.model, second.guide, x)  # has looked
    second.load_state_dict(Normed().state_dict())
    with scoped_seed(0):
        assert torch.equal(other.loss(second.model, second.guide, x), a)
        assert torch.equal(other.loss(second.model, second.guide, x), b)
    assert torch.equal(first.net[0].running_mean, second.net[0].running_mean)


@pytest.mark.parametrize("seen", [True, False])
def test_a_graph_has_no_second_run(seen, x):
    pair, loss = Normed().eval(), IWAE(2)
    if seen:
        loss.loss(pair.model, pair.guide, x)

    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.pair, self.loss = pair, loss

        def forward(self, x):
            return self.loss.differentiable_loss(self.pair.model, self.pair.guide, x)

    with pyro.validation_enabled(False):
        graph = torch.export.export(Module(), (x,), strict=False).module()
    with scoped_seed(2):
        expected = IWAE(2).differentiable_loss(pair.model, pair.guide, x)
    with scoped_seed(2):
        assert torch.allclose(graph(x), expected, rtol=1e-4)


def test_one_particle_needs_no_rows():
    x = torch.arange(4.0)

    def model():
        with pyro.plate("data", 4):
            pyro.sample("x", normal, obs=x)

    assert torch.allclose(BetaELBO().loss(model, empty), -normal.log_prob(x).sum())
    assert torch.allclose(BetaELBO().per_datum(model, empty), normal.log_prob(x))


@pytest.mark.parametrize("k", [2, 3])
def test_the_smallest_number_of_particles_is_checked_as_well(k, x):
    def outside(x):
        z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0).to_event(1))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0).to_event(1))

    with pytest.raises(ConfigError, match="depends on the batch size"):
        BetaELBO(particles=k).loss(outside, guide, x)

    def unplated(x):
        pyro.sample("x", dist.Normal(torch.zeros(6), 1.0).to_event(1), obs=x[:6])

    with pytest.raises(ConfigError, match=r"depends on the batch size|particle"):
        IWAE(k).loss(unplated, empty, x)


@pytest.mark.parametrize("event", [(), (3,), (2, 3)])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_particles_of_images_are_those_of_pyro_in_the_mean(event, k):
    x = torch.randn(4, *event, generator=torch.Generator().manual_seed(1))

    def model(x):
        with pyro.plate("components", 7, dim=-2):
            pyro.sample("w", normal)
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(torch.zeros(event), 1.0).to_event(len(event)), obs=x)

    def guide(x):
        with pyro.plate("components", 7, dim=-2):
            pyro.sample("w", normal)

    expected = -normal.log_prob(x).sum()
    for analytic in (True, False):
        assert torch.allclose(BetaELBO(1.0, k, analytic).loss(model, guide, x), expected, atol=1e-4)


def test_the_score_is_that_of_all_discrete_latents(x):
    def program(x, guide):
        with pyro.plate("data", len(x)):
            a = pyro.sample("a", dist.Bernoulli((x / 2).sigmoid() if guide else torch.full((6,), 0.5)))
            b = pyro.sample("b", dist.Bernoulli(torch.where(a > 0, 0.8, 0.3) if guide else torch.full((6,), 0.5)))
            if not guide:
                pyro.sample("x", dist.Normal(a + b, 1.0), obs=x)

    def model(x):
        program(x, guide=False)

    def guide(x):
        program(x, guide=True)

    for seed in range(3):
        with scoped_seed(seed):
            terms = BetaELBO().terms(model, guide, x)
        with scoped_seed(seed):
            trace = poutine.trace(guide).get_trace(x)
        trace.compute_log_prob()
        expected = trace.nodes["a"]["log_prob"] + trace.nodes["b"]["log_prob"]
        assert torch.allclose(terms.score.flatten(), expected, atol=1e-6)
