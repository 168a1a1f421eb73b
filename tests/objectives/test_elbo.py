"""Objectives: against closed form, against Pyro's own under one seed, and as the loss of either SVI."""

import warnings
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from pyro.infer.autoguide import AutoNormal
from torch import nn
from torch.optim import Adam

from pyrogen import SVI
from pyrogen.errors import ConfigError
from pyrogen.measure.likelihood import bounds
from pyrogen.objectives.elbo import IWAE, BetaELBO, FreeBits, Warmup
from pyrogen.random import scoped_seed

EVERY = {
    "elbo": BetaELBO,
    "sampled": partial(BetaELBO, analytic=False),
    "beta": partial(BetaELBO, 4.0),
    "warmup": partial(BetaELBO, Warmup(10)),
    "free": partial(FreeBits, 0.1),
    "iwae": partial(IWAE, 3),
}


class Linear(nn.Module):
    """z ~ N(0, I), x | z ~ N(W z + b, s² I): its evidence, posterior and ELBO are known."""

    def __init__(self, s=0.7):
        super().__init__()
        self.W = nn.Parameter(torch.tensor([[1.0, 0.5], [-0.3, 0.8], [0.2, -1.1]]))
        self.b = nn.Parameter(torch.tensor([0.5, -1.0, 2.0]))
        self.A = nn.Parameter(torch.tensor([[0.5, -0.2, 0.1], [0.1, 0.4, -0.6]]))
        self.log_scale = nn.Parameter(torch.tensor([-0.3, -0.8]))
        self.s = s

    def model(self, x, y=None):
        pyro.module("linear", self)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ self.W.T + self.b, self.s).to_event(1), obs=x)

    def guide(self, x, y=None):
        with pyro.plate("data", len(x)):
            loc = (x - self.b) @ self.A.T
            pyro.sample("z", dist.Normal(loc, self.log_scale.exp()).to_event(1))

    def evidence(self, x):
        return dist.MultivariateNormal(self.b, self.W @ self.W.T + self.s**2 * torch.eye(3)).log_prob(x)

    @torch.no_grad()
    def parts(self, x):
        """E_q[log p(x | z)] and the KL of each dimension, both exact."""
        loc, var = (x - self.b) @ self.A.T, (2 * self.log_scale).exp()
        spread = ((self.W.square() * var).sum()) / (2 * self.s**2)
        expected = dist.Normal(loc @ self.W.T + self.b, self.s).log_prob(x).sum(1) - spread
        return expected, 0.5 * (loc.square() + var - 1 - var.log())


@pytest.fixture
def x():
    return torch.tensor([0.5, -1.0, 2.0]) + torch.randn(6, 3, generator=torch.Generator().manual_seed(1))


def many(loss, pair, x, n=4000):
    """The mean of a loss's per-datum values over many draws."""
    with scoped_seed(0), torch.no_grad():
        return torch.stack([loss.per_datum(pair.model, pair.guide, x) for _ in range(n // 100)]).mean(0)


def gradients(loss, pair, x):
    pair.zero_grad()
    value = loss.differentiable_loss(pair.model, pair.guide, x)
    value.backward()
    return value.detach(), {name: p.grad.clone() for name, p in pair.named_parameters()}


def test_elbo_in_closed_form(x):
    pair = Linear()
    expected, kl = pair.parts(x)
    particles = 200
    for loss, value in (
        (BetaELBO(1.0, particles), expected - kl.sum(1)),
        (BetaELBO(1.0, particles, analytic=False), expected - kl.sum(1)),
        (BetaELBO(3.0, particles), expected - 3 * kl.sum(1)),
        (BetaELBO(0.0, particles), expected),
    ):
        got = many(loss, pair, x)
        assert got.shape == (6,)
        assert torch.allclose(got, value, atol=0.12), (loss.beta, got - value)
        assert (got <= pair.evidence(x) + 0.12).all() or loss.beta == 0


def test_iwae_climbs_to_the_evidence(x):
    pair = Linear()
    exact = pair.evidence(x).detach()
    gaps = [float((exact - many(IWAE(k), pair, x)).mean()) for k in (1, 5, 50, 2000)]
    expected, kl = pair.parts(x)
    assert gaps[0] == pytest.approx(float((exact - expected + kl.sum(1)).mean()), abs=0.1)
    assert gaps[0] > gaps[1] > gaps[2] > gaps[3] > -0.01
    assert gaps[3] < 0.02


def test_iwae_is_what_is_measured(x):
    pair = Linear()
    _, measured, _ = bounds(pair, x, k=400)
    assert torch.allclose(many(IWAE(400), pair, x), measured, atol=0.1)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (BetaELBO(analytic=False), Trace_ELBO()),
        (BetaELBO(), TraceMeanField_ELBO()),
        (FreeBits(0.0), TraceMeanField_ELBO()),
        (IWAE(1), Trace_ELBO()),
        (IWAE(7), RenyiELBO(alpha=0, num_particles=7, vectorize_particles=True, max_plate_nesting=1)),
    ],
)
def test_value_and_gradients_are_those_of_pyro(ours, theirs, x):
    pair = Linear()
    with scoped_seed(3):
        value, found = gradients(ours, pair, x)
    pair.zero_grad()
    with scoped_seed(3), pyro.get_param_store().scope():
        stock = theirs.loss_and_grads(pair.model, pair.guide, x)
    assert float(value) == pytest.approx(float(stock), rel=1e-4)
    for name, p in pair.named_parameters():
        assert torch.allclose(found[name], p.grad, rtol=1e-3, atol=1e-4), name


@pytest.mark.parametrize("name", EVERY)
def test_either_svi_takes_it(name, x):
    pair = Linear()
    step = SVI(pair.model, pair.guide, partial(Adam, lr=0.01), EVERY[name]())
    curve = [float(step(x)["loss"]) for _ in range(60)]
    assert sum(curve[-10:]) < sum(curve[:10]) or name == "warmup"
    assert step.evaluate(x)["loss"].isfinite()
    with pyro.get_param_store().scope():
        stock = pyro.infer.SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 0.01}), EVERY[name]())
        assert isinstance(stock.step(x), float)


@pytest.mark.parametrize("name", EVERY)
def test_values_of_the_data_sum_to_the_loss_and_nothing_is_read(name, x, monkeypatch):
    pair, loss = Linear(), EVERY[name]()
    with scoped_seed(1):
        value = loss.per_datum(pair.model, pair.guide, x)
    with scoped_seed(1):
        total = loss.loss(pair.model, pair.guide, x)
    assert value.shape == (6,)
    assert torch.allclose(total, -value.sum(), rtol=1e-4)

    def read(self):
        raise AssertionError("a number was read from the device")

    for method in ("item", "__float__", "__int__", "tolist"):
        monkeypatch.setattr(torch.Tensor, method, read)
    with poutine.block():
        loss.differentiable_loss(pair.model, pair.guide, x).backward()


@pytest.mark.parametrize("name", EVERY)
def test_exports_to_one_graph(name, x):
    pair, loss = Linear(), EVERY[name]()

    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.pair, self.loss = pair, loss

        def forward(self, x):
            return self.loss.differentiable_loss(self.pair.model, self.pair.guide, x)

    with pyro.validation_enabled(False):
        graph = torch.export.export(Module(), (x,), strict=False).module()
    with scoped_seed(2):
        expected = EVERY[name]().differentiable_loss(pair.model, pair.guide, x)
    with scoped_seed(2):
        assert torch.allclose(graph(x), expected, rtol=1e-4)


def test_free_bits_cost_nothing_below_and_the_rest_as_ever(x):
    pair = Linear()
    _, kl = pair.parts(x)
    between = kl.mean(0).mean().item()  # one dimension lies below, the other above
    assert kl.mean(0).min() < between < kl.mean(0).max()
    with scoped_seed(0):
        free = FreeBits(between).per_datum(pair.model, pair.guide, x)
    with scoped_seed(0):
        plain = BetaELBO().per_datum(pair.model, pair.guide, x)
    low = int(kl.mean(0).argmin())
    assert torch.allclose(free, plain + kl[:, low] - between, atol=1e-4)
    _, grads = gradients(FreeBits(100.0), pair, x)
    with scoped_seed(0):
        _, free = gradients(FreeBits(100.0), pair, x)
    with scoped_seed(0):
        _, none = gradients(BetaELBO(0.0), pair, x)
    for key in grads:
        assert torch.allclose(free[key], none[key], atol=1e-4)


def test_free_bits_of_a_posterior_that_does_not_factorise_are_of_all_dimensions(x):
    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.MultivariateNormal(torch.zeros(len(x), 2), torch.eye(2)))

    pair = Linear()
    with scoped_seed(0):
        free = FreeBits(0.5).per_datum(pair.model, guide, x)
    with scoped_seed(0):
        plain = BetaELBO(0.0).per_datum(pair.model, guide, x)
    assert torch.allclose(free, plain - 2 * 0.5, atol=1e-4)


def test_warmup_rises_with_the_calls_is_saved_and_is_over_in_evaluation(x):
    pair = Linear()
    expected, kl = (part.sum() for part in pair.parts(x))

    def step_of(pair):
        return SVI(pair.model, pair.guide, partial(Adam, lr=1e-9), BetaELBO(Warmup(4, beta=2.0), 2000))

    step = step_of(pair)
    got = [float(step(x)["loss"]) * 6 for _ in range(6)]
    for t, value in enumerate(got, 1):
        assert value == pytest.approx(float(2 * min(1, t / 4) * kl - expected), rel=0.05)
    assert float(step.evaluate(x)["loss"]) * 6 == pytest.approx(float(2 * kl - expected), rel=0.05)
    assert step.state_dict()["weights"]["loss.calls"] == 6

    other = step_of(Linear())
    other.load_state_dict(step.state_dict())
    other.setup(x)
    assert other.loss.calls == 6
    other(x)
    assert other.loss.calls == 7


@pytest.mark.slow
@pytest.mark.parametrize("name", ["elbo", "warmup", "free", "iwae"])
def test_it_compiles(name, x):
    curves = []
    for compiled in (False, True):
        pair = Linear()
        step = SVI(pair.model, pair.guide, partial(Adam, lr=0.01), EVERY[name](), compile=compiled)
        with scoped_seed(0):
            step(x)
            curves.append([float(step(x)["loss"]) for _ in range(5)])
    assert step._compiled.refused is None
    assert curves[0] == pytest.approx(curves[1], rel=1e-3)
    assert name != "warmup" or step.loss.calls == 6


def test_a_subsample_stands_for_the_whole(x):
    pair = Linear()

    def model(x):
        with pyro.plate("data", 600, subsample_size=len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ pair.W.T + pair.b, pair.s).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", 600, subsample_size=len(x)):
            pyro.sample("z", dist.Normal((x - pair.b) @ pair.A.T, pair.log_scale.exp()).to_event(1))

    for loss in (BetaELBO(analytic=False), BetaELBO(particles=2), IWAE(5), FreeBits(0.2)):
        with scoped_seed(0):
            value = loss.per_datum(model, guide, x)
        with scoped_seed(0):
            assert torch.allclose(loss.loss(model, guide, x), -100 * value.sum(), rtol=1e-4)
        step = SVI(model, guide, loss=loss)
        with scoped_seed(0):
            got = step.evaluate(x) if step.optimizer else step(x)
        assert got["loss"] == pytest.approx(float(-value.detach().mean()), rel=0.3)
    with scoped_seed(0):
        ours = BetaELBO(analytic=False).loss(model, guide, x)
    with scoped_seed(0):
        assert float(ours) == pytest.approx(Trace_ELBO().loss(model, guide, x), rel=1e-4)


@pytest.mark.parametrize("k", [1, 4])
def test_k_particles_are_counted_as_one_datum(x, k):
    pair = Linear()
    step = SVI(pair.model, pair.guide, partial(Adam, lr=1e-9), IWAE(k))
    with scoped_seed(0):
        got = step(x)["loss"]
    with scoped_seed(0):
        assert float(got) == pytest.approx(
            float(-IWAE(k).per_datum(pair.model, pair.guide, x).detach().mean()), rel=1e-4
        )


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_several_latents_plates_within_and_guides_in_another_order(x, order, inner):
    def draw(name, fn):
        if not (inner and name == "b"):
            return pyro.sample(name, fn)
        with pyro.plate("inner", 3, dim=-2):
            return pyro.sample(name, fn).sum(0)

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            a = draw("a", dist.Normal(0.3, 1.0))
            b = draw("b", dist.Normal(0.5 * a, 2.0))
            pyro.sample("x", dist.Normal(a + b, 1.0), obs=x[:, 0])

    def guide(x):
        with pyro.plate("rows", len(x), dim=-1):
            for name in order:
                draw(name, dist.Normal(0.1, 0.9))

    for loss in (BetaELBO(analytic=False), IWAE(1)):
        with scoped_seed(0):
            value = loss.per_datum(model, guide, x)
        assert value.shape == (6,)
        with scoped_seed(0), warnings.catch_warnings():  # Pyro wants plates of one name in both
            warnings.simplefilter("ignore")
            assert float(-value.sum()) == pytest.approx(Trace_ELBO().loss(model, guide, x), rel=1e-4)
    with scoped_seed(0):
        closed, drawn = (BetaELBO(1.0, 20_000, how).per_datum(model, guide, x) for how in (True, False))
        assert IWAE(3).per_datum(model, guide, x).shape == (6,)
    assert torch.allclose(closed, drawn, atol=0.3)


@pytest.mark.parametrize("plate", [True, False])
def test_latents_of_all_data_count_once(x, plate):
    def model(x):
        loc = pyro.sample("loc", dist.Normal(0.0, 10.0).expand([3]).to_event(1))
        if plate:
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(loc, 0.5).to_event(1), obs=x)
        else:
            pyro.sample("x", dist.Normal(loc, 0.5).expand([len(x), 3]).to_event(2), obs=x)

    guide = AutoNormal(model)
    guide(x)
    with scoped_seed(0):
        ours = BetaELBO(analytic=False).differentiable_loss(model, guide, x).detach()
    with scoped_seed(0):
        assert float(ours) == pytest.approx(Trace_ELBO().loss(model, guide, x), rel=1e-4)
    if plate:
        assert BetaELBO().per_datum(model, guide, x).shape == (6,)
        assert IWAE(3).loss(model, guide, x) <= ours + 50
    else:
        with pytest.raises(ConfigError, match="no value for each datum"):
            BetaELBO().per_datum(model, guide, x)


@pytest.mark.parametrize("loss", [BetaELBO(), BetaELBO(particles=2), BetaELBO(analytic=False), IWAE(2)])
def test_discrete_latents_have_the_score_function_gradient(loss):
    logit, prior, p = nn.Parameter(torch.tensor(0.4)), torch.tensor([0.7, 0.3]), torch.tensor([0.2, 0.9])

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Categorical(prior.expand(len(x), 2)))
            pyro.sample("x", dist.Bernoulli(p[z]), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Categorical(logits=torch.stack([torch.zeros(()), logit]).expand(len(x), 2)))

    x = torch.ones(40_000)
    with scoped_seed(0):
        value = loss.differentiable_loss(model, guide, x) / len(x)
    q = torch.stack([1 - logit.sigmoid(), logit.sigmoid()])
    w = prior * p / q
    bound = (q * w.log()).sum()
    if isinstance(loss, IWAE):
        bound = (q[:, None] * q * (w[:, None] / 2 + w / 2).log()).sum()
    assert float(value.detach()) == pytest.approx(-bound.item(), abs=0.02)
    (got,), (expected,) = torch.autograd.grad(value, logit), torch.autograd.grad(-bound, logit)
    assert float(got) == pytest.approx(float(expected), abs=0.02)


def test_mistakes_are_named(x):
    pair = Linear()
    with pytest.raises(ConfigError, match="beta must not be negative; got -1"):
        BetaELBO(-1.0)
    with pytest.raises(ConfigError, match="at least 1 particle; got 0"):
        IWAE(0)
    with pytest.raises(ConfigError, match="free bits must not be negative"):
        FreeBits(-0.1)
    with pytest.raises(ConfigError, match="'z' is latent in the model but not in the guide"):
        BetaELBO().loss(pair.model, lambda x: None, x)
