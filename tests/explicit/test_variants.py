"""The VAE's variants: flow posteriors, the VampPrior, and the objectives that a recipe's options name."""

import pyro.distributions as dist
import pytest
import torch

import pyrogen
from pyrogen import SVI
from pyrogen.errors import ConfigError
from pyrogen.explicit import VAE, DiagonalNormal, FlowPosterior, StandardNormal, VampPrior
from pyrogen.explicit.priors import UniformMixture
from pyrogen.measure.likelihood import bounds
from pyrogen.objectives import IWAE, BetaELBO, FreeBits, Warmup
from pyrogen.random import scoped_seed
from pyrogen.recipes import recipe
from pyrogen.recipes.latent import objective


def make(prior=None, posterior=None):
    with scoped_seed(0):
        return VAE((1, 8, 8), 4, (16,), prior=prior, posterior=posterior)


@pytest.fixture
def x():
    return torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)).round()


@pytest.mark.parametrize("flow", ["planar", "iaf"])
@pytest.mark.parametrize("layers", [1, 3])
def test_a_flow_knows_the_density_of_its_draws(flow, layers):
    with scoped_seed(1):
        q_z = FlowPosterior(2, flow, layers, context=3)
        h = torch.randn(1, q_z.outputs)
        q = q_z(h)
        base = q.base_dist.sample().requires_grad_()
        z = base
        for f in q.transforms:
            z = f(z)
        jacobian = torch.stack([torch.autograd.grad(z[0, i], base, retain_graph=True)[0][0] for i in range(2)])
    expected = q.base_dist.log_prob(base) - jacobian.det().abs().log()
    assert torch.allclose(q.log_prob(z), expected, atol=1e-5)
    moved = q_z.point_estimate(h) - q.base_dist.mean
    assert moved.abs().max() > 1e-3


@pytest.mark.parametrize("flow", ["planar", "iaf"])
def test_a_flow_posterior_trains_every_weight_and_every_objective_takes_it(flow, x):
    for loss in (BetaELBO(), BetaELBO(analytic=False), FreeBits(0.1), IWAE(3)):
        vae = make(posterior=FlowPosterior(4, flow, 2, 5))
        step = SVI(vae.model, vae.guide, loss=loss)
        before = {name: p.detach().clone() for name, p in vae.named_parameters()}
        with scoped_seed(0):
            step(x)
        assert [name for name, p in vae.named_parameters() if torch.equal(p, before[name])] == []
        with scoped_seed(0):
            assert float(step(x)["loss"]) == pytest.approx(float(step.evaluate(x)["loss"]), rel=0.2)
    elbo, iwae, _ = bounds(vae, x, k=20)
    assert (elbo.isfinite() & (elbo <= iwae + 1e-4)).all()
    assert vae.encode(x).shape == (5, 4)
    assert vae.sample(3).shape == (3, 1, 8, 8)


@pytest.mark.parametrize("flow", ["planar", "iaf"])
def test_a_flow_comes_closer_to_a_bent_posterior_than_a_normal(flow):
    """Max over q of E_q[log p] for an unnormalised target whose mass is one: KL(q || p) must fall."""

    def target(z):
        return dist.Normal(0.0, 1.0).log_prob(z[:, 0]) + dist.Normal(z[:, 0].square() - 1, 0.3).log_prob(z[:, 1])

    gaps = {}
    for name in ("normal", flow):
        with scoped_seed(0):
            q_z = DiagonalNormal(2) if name == "normal" else FlowPosterior(2, flow, 6, context=2)
            h = torch.nn.Parameter(torch.zeros(1, q_z.outputs))
            optimizer = torch.optim.Adam([h, *q_z.parameters()], 1e-2)
            for _ in range(600):
                q = q_z(h.expand(64, -1))
                z = q.rsample()
                gap = (q.log_prob(z) - target(z)).mean()
                optimizer.zero_grad()
                gap.backward()
                optimizer.step()
            with torch.no_grad():
                q = q_z(h.expand(4000, -1))
                z = q.rsample()
                gaps[name] = float((q.log_prob(z) - target(z)).mean())
    assert gaps[flow] > -0.02
    assert gaps[flow] < 0.6 * gaps["normal"]


def test_vamp_prior_is_the_mean_of_posteriors_at_its_inputs(x):
    vae = make(prior=VampPrior(x))
    z = torch.randn(7, 4)
    expected = torch.stack([vae.posterior_dist(u[None]).log_prob(z) for u in x]).logsumexp(0) - torch.tensor(5.0).log()
    assert torch.allclose(vae.prior_dist(7).log_prob(z), expected, atol=1e-4)
    with scoped_seed(0):
        drawn = vae.prior_dist(20_000).sample()
    mean = torch.stack([vae.posterior_dist(u[None]).mean[0] for u in x]).mean(0)
    assert torch.allclose(drawn.mean(0), mean, atol=0.05)
    step = SVI(vae.model, vae.guide, loss=BetaELBO())
    before = vae.p_z.inputs.detach().clone()
    step(x)
    assert not torch.equal(before, vae.p_z.inputs)
    assert vae.sample(3).shape == (3, 1, 8, 8)
    assert bounds(vae, x, k=3)[0].isfinite().all()


def test_an_even_mixture_of_narrow_normals_loses_no_digits():
    with scoped_seed(0):
        loc, scale = torch.randn(50, 16), 0.003 + 0.1 * torch.rand(50, 16)
        mixture = UniformMixture(loc, scale, 200)
        z = mixture.sample()
    even, normals = dist.Categorical(logits=torch.zeros(50).double()), dist.Normal(loc.double(), scale.double())
    exact = dist.MixtureSameFamily(even, normals.to_event(1)).log_prob(z.double())
    torch.testing.assert_close(mixture.log_prob(z), exact.float(), rtol=1e-5, atol=1e-4)
    assert mixture.expand([3]).sample((2,)).shape == (2, 3, 16)


def test_default_parts_are_the_standard_ones():
    vae = make()
    assert isinstance(vae.p_z, StandardNormal)
    assert isinstance(vae.q_z, DiagonalNormal)
    assert {name.split(".")[0] for name in vae.state_dict()} == {"encoder", "decoder", "offset"}


def test_options_name_one_objective():
    assert type(objective(1.0, 0, 0.0, 5)) is IWAE
    assert objective(1.0, 0, 0.25, 1).nats == 0.25
    assert objective(4.0, 0, 0.0, 1).beta == 4.0
    assert objective(4.0, 100, 0.0, 1).beta == Warmup(100, 4.0)
    with pytest.raises(ConfigError, match="k and free_bits select different objectives"):
        objective(1.0, 0, 0.1, 5)
    with pytest.raises(ConfigError, match="at least 1 particle; got 0"):
        objective(1.0, 0, 0.0, 0)


@pytest.mark.parametrize(
    "options",
    [{"prior": "vamp", "components": 7}, {"posterior": "iaf"}, {"posterior": "planar", "k": 3}, {"warmup": 5},
     {"beta": 4.0}, {"free_bits": 0.1}, {"network": "conv", "hidden": (8,), "k": 4}],
)  # fmt: skip
def test_the_recipe_builds_and_learns_each_variant(options):
    data = pyrogen.load("digits-binary")
    setup = recipe("vae")(data, **{"hidden": (32,), "latent": 4, "steps": 40, **options})
    losses = [
        float(logs["loss"]) for _, logs in pyrogen.fit(setup.step, setup.data.train, steps=40, batch_size=64, seed=0)
    ]
    assert all(loss == loss for loss in losses)
    assert sum(losses[-5:]) < sum(losses[:5]) or "warmup" in options
    assert setup.model.sample(2).shape == (2, 1, 8, 8)


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match=r"unknown flow 'radial' \(known: iaf, planar\)"):
        FlowPosterior(2, "radial")
    with pytest.raises(ConfigError, match="got a FlowPosterior"):
        make(VampPrior(torch.zeros(1, 1, 8, 8)), FlowPosterior(4))
    data = pyrogen.load("digits-binary")
    with pytest.raises(ConfigError, match="unknown prior 'vampp'; did you mean 'vamp'"):
        recipe("vae")(data, prior="vampp")
    with pytest.raises(ConfigError, match="unknown posterior 'maf'"):
        recipe("vae")(data, posterior="maf")
    with pytest.raises(ConfigError, match="at least 1 pseudo-input"):
        VampPrior(torch.zeros(0, 2))
