"""Marginalised discrete latent variables against the forward algorithm, closed forms and Pyro's ``TraceEnum_ELBO``."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import LOCS, MIX, Couple, normal, points
from pyro import poutine
from pyro.infer import TraceEnum_ELBO, config_enumerate
from torch.optim import SGD

from pyrogen import SVI, evaluate
from pyrogen.data import Split
from pyrogen.errors import ConfigError
from pyrogen.measure.likelihood import bounds, pair_scores

START = torch.tensor([0.6, 0.3, 0.1])
MOVE = torch.tensor([[0.9, 0.05, 0.05], [0.1, 0.7, 0.2], [0.3, 0.3, 0.4]])
MEANS = torch.tensor([-2.0, 0.0, 2.5])


def forward(x, lengths=None, seen=None, means=MEANS):
    """log p(x_1 … x_T) of each row by the forward algorithm."""
    lengths = torch.full((len(x),), x.shape[1]) if lengths is None else lengths
    seen = torch.ones_like(x) if seen is None else seen.float()
    a = START.log().expand(len(x), 3)
    for t in range(x.shape[1]):
        moved = a if t == 0 else (a[:, :, None] + MOVE.log()).logsumexp(1)
        new = moved + normal(x[:, t : t + 1], means) * seen[:, t : t + 1]
        a = torch.where((t < lengths)[:, None], new, a)
    return a.logsumexp(1)


def loss_of(model, x, *rest, guide=lambda *_: None, depth=1):
    """The negative of Pyro's training loss."""
    with pyro.get_param_store().scope():
        return -TraceEnum_ELBO(max_plate_nesting=depth).loss(model, guide, x, *rest)


def chain(scope="observations", shift=lambda: 0.0):
    @config_enumerate
    def model(x, lengths=None, seen=None):
        s = None
        with pyro.plate("data", len(x), dim=-1):
            for t in pyro.markov(range(x.shape[1])):
                given = torch.tensor(True) if lengths is None else t < lengths
                with poutine.mask(mask=given if scope == "all" else True):
                    s = pyro.sample(f"s{t}", dist.Categorical(START if t == 0 else MOVE[s]))
                    alive = given if seen is None else given & seen[:, t]
                    with poutine.mask(mask=alive):
                        pyro.sample(f"x{t}", dist.Normal(MEANS[s] + shift(), 1.0), obs=x[:, t])

    return model


@pytest.mark.parametrize("n", [1, 2, 3, 9])
@pytest.mark.parametrize("steps", [1, 2, 3, 8])
def test_hidden_markov_model(n, steps):
    x = points(n, steps)
    elbo, iwae, what = bounds(Couple(chain()), x)
    assert torch.allclose(iwae, forward(x), atol=1e-4)
    assert torch.equal(elbo, iwae)
    assert float(iwae.sum()) == pytest.approx(loss_of(chain(), x), rel=1e-4)
    assert pair_scores(Couple(chain()), x)[0]["log_likelihood"].kind == "exact"
    assert what.no_bound_reason is None


def test_hidden_markov_model_of_a_step():
    x = points(20, 3)
    model = chain(shift=lambda: pyro.param("b", torch.zeros(())))
    step = SVI(model, None, partial(SGD, lr=0.0), TraceEnum_ELBO(max_plate_nesting=1))
    step(x)
    score = evaluate(step, Split(x))["log_likelihood"]
    assert (score.kind, score.value) == ("exact", pytest.approx(float(forward(x).mean()), rel=1e-5))


@pytest.mark.parametrize("scope", ["all", "observations"])
def test_chains_of_several_lengths(scope):
    x, lengths = points(7, 5), torch.tensor([5, 1, 3, 2, 5, 4, 1])
    model = chain(scope=scope)
    assert torch.allclose(bounds(Couple(model), x, lengths)[1], forward(x, lengths), atol=1e-4)
    assert float(forward(x, lengths).sum()) == pytest.approx(loss_of(model, x, lengths), rel=1e-4)


def test_chain_with_missing_values():
    x, seen = points(6, 4), points(6, 4, seed=1) > 0
    lengths = torch.full((6,), 4)
    assert torch.allclose(bounds(Couple(chain()), x, lengths, seen)[1], forward(x, lengths, seen), atol=1e-4)


def test_masks_of_distributions_do_not_count_the_values():
    @config_enumerate
    def model(x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(MIX).mask(x > 0))
            pyro.sample("x", dist.Normal(LOCS[k], 1.0).mask(x > 0), obs=x)

    x = points(9)
    exact = torch.logsumexp(MIX.log() + normal(x[:, None], LOCS), 1)
    assert torch.allclose(bounds(Couple(model), x)[1], torch.where(x > 0, exact, 0.0), atol=1e-5)


def test_second_order_chain():
    """s_t depends on the two previous states."""
    move = torch.stack([MOVE, MOVE.flip(0), MOVE.roll(1, 0)])

    @config_enumerate
    def model(x):
        a, b = 0, 0
        with pyro.plate("data", len(x)):
            for t in pyro.markov(range(x.shape[1]), history=2):
                s = pyro.sample(f"s{t}", dist.Categorical(move[a, b]))
                pyro.sample(f"x{t}", dist.Normal(MEANS[s], 1.0), obs=x[:, t])
                a, b = b, s

    x = points(5, 5)
    a = torch.full((5, 3, 3), -torch.inf)
    a[:, 0, 0] = 0.0
    for t in range(5):
        a = (a[..., None] + move.log()).logsumexp(1) + normal(x[:, t, None, None], MEANS)
    assert torch.allclose(bounds(Couple(model), x)[1], a.logsumexp((1, 2)), atol=1e-4)
    assert float(a.logsumexp((1, 2)).sum()) == pytest.approx(loss_of(model, x), rel=1e-4)


def test_factorial_chain():
    """Two independent chains whose means add up to that of the observation."""

    @config_enumerate
    def model(x):
        a = b = 0
        with pyro.plate("data", len(x)):
            for t in pyro.markov(range(x.shape[1])):
                a = pyro.sample(f"a{t}", dist.Categorical(MOVE[a]))
                b = pyro.sample(f"b{t}", dist.Categorical(MOVE[b]))
                pyro.sample(f"x{t}", dist.Normal(MEANS[a] - 0.4 * MEANS[b], 1.0), obs=x[:, t])

    x = points(4, 4)
    alpha = torch.full((4, 3, 3), -torch.inf)
    alpha[:, 0, 0] = 0.0
    emit = MEANS[:, None] - 0.4 * MEANS
    for t in range(4):
        alpha = (alpha[:, :, :, None, None] + MOVE.log()[:, None, :, None] + MOVE.log()[None, :, None, :]).logsumexp(
            (1, 2)
        )
        alpha = alpha + normal(x[:, t, None, None], emit)
    assert torch.allclose(bounds(Couple(model), x)[1], alpha.logsumexp((1, 2)), atol=1e-4)


@pytest.mark.parametrize("dims", [(-1, -2), (-2, -1)])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_a_latent_per_pixel(n, dims):
    """A class for each datum and, given it, one for each of its pixels: log Σ_c π_c Π_j Σ_k p(k | c) N(x_j; m_k, 1)."""
    given = torch.tensor([[0.8, 0.2], [0.1, 0.9]])

    def lay(x):
        return x.T if dims[0] == -1 else x

    @config_enumerate
    def model(x):
        with pyro.plate("data", len(x), dim=dims[0]):
            c = pyro.sample("c", dist.Categorical(MIX))
            with pyro.plate("pixels", x.shape[1], dim=dims[1]):
                k = pyro.sample("k", dist.Categorical(given[c]))
                pyro.sample("x", dist.Normal(LOCS[k], 1.0), obs=lay(x))

    x = points(n, 3)
    inner = torch.logsumexp(given.log()[:, None, None] + normal(x[:, :, None], LOCS), -1).sum(-1)  # (class, n)
    exact = torch.logsumexp(MIX.log()[:, None] + inner, 0)
    assert torch.allclose(bounds(Couple(model), x)[1], exact, atol=1e-5)
    assert float(exact.sum()) == pytest.approx(loss_of(model, x, depth=2), rel=1e-4)


@pytest.mark.parametrize("k", [1, 7])
def test_chain_beside_a_continuous_latent(k):
    """z ~ N(0, 1) shifts all steps of a chain; the guide has the wrong variance, so importance weights are needed."""

    @config_enumerate
    def model(x):
        s = None
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 0.3))
            for t in pyro.markov(range(x.shape[1])):
                s = pyro.sample(f"s{t}", dist.Categorical(START if t == 0 else MOVE[s]))
                pyro.sample(f"x{t}", dist.Normal(MEANS[s] + z, 1.0), obs=x[:, t])

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(len(x)), 0.35))

    x = points(4, 3)
    grid = torch.linspace(-2.5, 2.5, 2001)
    given = torch.stack([forward(x - z) for z in grid])
    exact = (given + normal(grid[:, None], 0.0, 0.09)).logsumexp(0) + (grid[1] - grid[0]).log()
    elbo, iwae, what = bounds(Couple(model, guide), x, k=4000 if k > 1 else 1)
    assert (what.latent, what.score_kind) == (True, "lower_bound")
    assert torch.allclose(iwae, exact, atol=0.02 if k > 1 else 2.0)
    assert k == 1 or (elbo < exact + 0.02).all()


def test_errors_for_sites_that_cannot_be_marginalised():
    @config_enumerate
    def grid(x):  # a Boltzmann machine: rows and columns, all pairs
        with pyro.plate("data", len(x), dim=-3):
            rows, columns = pyro.plate("rows", 3, dim=-1), pyro.plate("columns", 3, dim=-2)
            with rows:
                a = pyro.sample("a", dist.Categorical(MIX))
            with columns:
                b = pyro.sample("b", dist.Categorical(MIX))
            with rows, columns:
                pyro.sample("x", dist.Normal(LOCS[a] + LOCS[b], 1.0), obs=x)

    with pytest.raises(ConfigError, match=r"enumerated sites \('a', 'b'\) depend on each other across plates"):
        bounds(Couple(grid), points(4, 3, 3))

    def drawn(x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(MIX), infer={"enumerate": "parallel", "num_samples": 5})
            pyro.sample("x", dist.Normal(LOCS[k], 1.0), obs=x)

    with pytest.raises(ConfigError, match=r"'k' is enumerated by num_samples"):
        bounds(Couple(drawn), points(4))

    def continuous(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    with pytest.raises(ConfigError, match=r"'z' is marked for enumeration, but Normal cannot be enumerated"):
        bounds(Couple(continuous), points(4))


def test_a_subsampled_datum_is_rejected():
    def model(x):
        with pyro.plate("data", len(x), dim=-2), pyro.plate("pixels", 10, subsample_size=4, dim=-1) as index:
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x[:, index])

    with pytest.raises(ConfigError, match=r"'x' is in plate 'pixels', which subsamples 4 of 10"):
        bounds(Couple(model), points(5, 10))
