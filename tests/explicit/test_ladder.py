"""The ladder VAE: its factors, its merge in closed form, and its bound."""

from functools import partial

import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import TraceMeanField_ELBO
from torch.optim import Adam

import pyrogen
from pyrogen import SVI
from pyrogen.data import Split
from pyrogen.errors import ConfigError
from pyrogen.explicit import GaussianLikelihood, LadderVAE
from pyrogen.measure.likelihood import bounds
from pyrogen.objectives import IWAE, BetaELBO, FreeBits
from pyrogen.random import scoped_seed
from pyrogen.recipes import recipe
from pyrogen.testing import check_latent_variable, check_pair, check_sampler


def make(latents=(5, 3), hidden=(16, 8), **options):
    with scoped_seed(0):
        return LadderVAE((1, 8, 8), latents, hidden, **options)


@pytest.fixture
def x():
    return torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)).round()


@pytest.mark.parametrize("latents", [(5,), (5, 3), (6, 4, 2)])
@pytest.mark.parametrize("n", [1, 6])
def test_contract(latents, n, x):
    model, x = make(latents, (16,) * len(latents)), x[:n]
    for check in (check_sampler, check_pair, check_latent_variable):
        check(model, Split(x))
    assert model.encode(x).shape == (n, 5 if len(latents) < 3 else 6)
    assert model.sample_mean(n).shape == x.shape
    for run in (model.model, model.guide):
        names = [name for name in poutine.trace(run).get_trace(x).stochastic_nodes if name.startswith("z")]
        assert names == [f"z{i}" for i in range(len(latents), 0, -1)]
    *_, what = bounds(model, x, k=1)
    assert (what.latent, what.shared) == (True, False)


def test_the_merge_is_the_normalised_product():
    a, b = (dist.Normal(torch.tensor([[m]]), torch.tensor([[s]])).to_event(1) for m, s in ((0.5, 0.8), (-1.0, 2.0)))
    q = make().merged_posterior(a, b)
    grid = torch.linspace(-8, 8, 4001)[:, None]
    product = (a.log_prob(grid) + b.log_prob(grid)).exp()
    product = product / (product.sum() * 16 / 4000)
    assert torch.allclose(q.log_prob(grid).exp(), product, atol=1e-3)


@pytest.mark.parametrize("merge", [True, False])
def test_every_weight_learns_by_every_objective_and_the_closed_form_is_right(merge, x):
    for loss in (BetaELBO(), BetaELBO(analytic=False), FreeBits(0.1), IWAE(3)):
        model = make(merge=merge)
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        SVI(model.model, model.guide, loss=loss)(x)
        assert [name for name, p in model.named_parameters() if torch.equal(p, before[name])] == []
    with scoped_seed(0):
        ours = BetaELBO().loss(model.model, model.guide, x)
    with scoped_seed(0):
        assert float(ours) == pytest.approx(TraceMeanField_ELBO().loss(model.model, model.guide, x), rel=1e-4)
    with scoped_seed(0), torch.no_grad():
        closed, drawn = (BetaELBO(1.0, 3000, how).per_datum(model.model, model.guide, x[:2]) for how in (True, False))
    assert torch.allclose(closed, drawn, atol=0.3)


def test_bounds_stay_below_a_known_marginal():
    """With linear maps throughout, x is Gaussian: x = W (V z₂ + σ ε) + s ε'."""
    with scoped_seed(1):
        model = LadderVAE((4,), (3, 2), (8, 8), GaussianLikelihood(0.5, unit=False))
        W, V = torch.randn(4, 3), torch.randn(3, 2)
    model.decoder = torch.nn.Linear(3, 4, bias=False)
    model.down[0] = torch.nn.Linear(2, 6, bias=False)
    with torch.no_grad():
        model.decoder.weight.copy_(W)
        model.down[0].weight.copy_(torch.cat([V, torch.zeros(3, 2)]))
    covariance = W @ (V @ V.T + torch.eye(3)) @ W.T + 0.25 * torch.eye(4)
    marginal = dist.MultivariateNormal(torch.zeros(4), covariance)
    n = 40_000
    with scoped_seed(0):
        drawn = model.sample(n)
    assert (drawn.T.cov() - covariance).abs().max() < 5 * covariance.max() * (2 / n) ** 0.5
    for part in (model.decoder, model.down):
        part.requires_grad_(False)
    model.eval().offset.requires_grad_(False)  # Pyro warns of weights that are frozen in training
    step = SVI(model.model, model.guide, partial(Adam, lr=5e-3), BetaELBO())
    for _ in pyrogen.fit(step, drawn, steps=1200, batch_size=200, seed=0):
        pass
    x = drawn[:200]
    exact = marginal.log_prob(x).mean()
    few, many = (bounds(model, x, k=k)[1].mean() for k in (1, 5000))
    assert few < many < exact + 0.05
    assert many > exact - 0.1


def test_the_recipe_learns():
    data = pyrogen.load("digits-binary")
    setup = recipe("ladder-vae")(data, latents=(4, 2), hidden=(16, 8), steps=60, warmup=0)
    losses = [float(logs["loss"]) for _, logs in pyrogen.fit(setup.step, setup.data.train, steps=60, seed=0)]
    assert sum(losses[-5:]) < sum(losses[:5])


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match=r"needs a width: got latents \(5, 3\), hidden \(16,\)"):
        make((5, 3), (16,))
    with pytest.raises(ConfigError, match="needs a width"):
        make((), ())
