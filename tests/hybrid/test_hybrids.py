"""Adversarial autoencoder and VAE/GAN: what they are, what each step moves, and that they learn."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn
from torch.optim import Adam

import pyrogen
from pyrogen import Density, Pair
from pyrogen.data import Split
from pyrogen.errors import ConfigError
from pyrogen.explicit.likelihoods import GaussianLikelihood
from pyrogen.hybrid import AAE, VAEGAN, LabelMixture
from pyrogen.objectives import R1Penalty
from pyrogen.random import scoped_seed
from pyrogen.recipes import recipe
from pyrogen.recipes.setup import cosine_schedule
from pyrogen.steps.sequential import LatentAdversarialStep, SequentialSteps
from pyrogen.testing import check_sampler


@pytest.fixture(scope="module")
def digits():
    return pyrogen.load("digits")


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 11)])
@pytest.mark.parametrize("make", [AAE, VAEGAN])
def test_shapes_and_what_they_claim(make, shape, network):
    model = make(shape, 3, (8,), network=network)
    x = model.sample(4)
    check_sampler(model, Split(x))
    assert ((x >= 0) & (x <= 1)).all()
    assert model.encode(x).shape == (4, 3)
    assert model.decode(model.encode(x)).shape == x.shape
    assert not isinstance(model, Density | Pair)  # neither bounds a likelihood of x
    with pytest.raises(ConfigError, match="cnn"):
        make(shape, network="cnn")


def test_mixture_by_label():
    prior = LabelMixture(5, 4, radius=4.0, deviation=0.5)
    with scoped_seed(0):
        z = prior(8000, torch.full((8000,), 1))
    assert torch.allclose(z.mean(0), torch.tensor([0.0, 4, 0, 0, 0]), atol=0.03)
    assert torch.allclose(z.std(0), torch.full((5,), 0.5), atol=0.02)
    with pytest.raises(ConfigError, match="latent >= 2"):
        LabelMixture(1, 4)


def sizes(module):
    return [tuple(p.shape) for name, p in module.named_parameters() if name.endswith("weight")]


def test_default_networks():
    aae = AAE((1, 8, 8), classes=3)
    assert sizes(aae.encoder) == [(512, 64), (512, 512), (8, 512)]
    assert sizes(aae.decoder) == [(512, 8), (512, 512), (64, 512)]
    assert sizes(aae.critic) == [(256, 8 + 3), (256, 256), (1, 256)]
    assert aae.prior.means.shape == (3, 8)
    vaegan = VAEGAN((1, 8, 8))
    assert sizes(vaegan.encoder) == [(256, 64), (256, 256), (2 * 32, 256)]
    assert sizes(vaegan.generator) == [(256, 32), (256, 256), (64, 256)]
    assert sizes(vaegan.critic) == [(256, 64), (256, 256), (64, 256), (1, 64)]
    assert vaegan.pair.sigma == 0.3


def test_the_decoder_mirrors_the_encoder():
    for model in (AAE((5,), 2, (4, 3)), VAEGAN((5,), 2, (4, 3))):
        decoder = model.decoder if isinstance(model, AAE) else model.generator
        assert [out for out, _ in sizes(model.encoder)][:2] == [4, 3]
        assert [out for out, _ in sizes(decoder)] == [3, 4, 5]
    conv = AAE((2, 8, 12), 3, (6,), network="conv")
    assert sizes(conv.encoder) == [(6, 2, 4, 4), (3, 6 * 4 * 6)]
    assert sizes(conv.decoder) == [(6 * 4 * 6, 3), (6, 2, 4, 4)]
    conv = VAEGAN((2, 8, 12), 3, (6,), network="conv", features=7)
    assert sizes(conv.encoder)[0] == (6, 2, 4, 4)
    assert sizes(conv.encoder)[-1][0] == 2 * 3
    assert sizes(conv.critic.body)[0] == (6, 2, 4, 4)
    assert sizes(conv.critic)[-2:] == [(7, sizes(conv.encoder)[-1][1]), (1, 7)]
    assert all(isinstance(m, nn.LeakyReLU) and m.negative_slope == 0.2 for m in activations(conv.critic))
    assert all(isinstance(m, nn.LeakyReLU) and m.negative_slope == 0.2 for m in activations(VAEGAN((5,)).critic))


def test_a_convolutional_vaegan_is_as_deep_on_either_side():
    model = VAEGAN((1, 16, 16), 3, (4,), network="conv")
    for part, kind in (
        (model.encoder, nn.Conv2d),
        (model.critic.body, nn.Conv2d),
        (model.generator, nn.ConvTranspose2d),
    ):
        assert sum(isinstance(m, kind) for m in part.modules()) == 2
    small = VAEGAN((1, 8, 8), 3, (4,), network="conv")
    deep = sum(isinstance(m, nn.ConvTranspose2d) for m in small.generator.modules())
    assert sum(isinstance(m, nn.Conv2d) for m in small.encoder.modules()) == deep


def activations(module):
    found = [m for m in module.modules() if type(m).__module__ == "torch.nn.modules.activation"]
    assert found
    return found


@pytest.mark.parametrize("outputs", [1, 2])
def test_an_aae_in_closed_form(outputs):
    likelihood = GaussianLikelihood(0.5, unit=False) if outputs == 1 else GaussianLikelihood("learned", unit=False)
    with scoped_seed(0):
        model = AAE((3,), 2, (4,), likelihood).double()
    x = torch.linspace(-1, 1, 15, dtype=torch.float64).reshape(5, 3)
    z = model.encoder(x)
    assert torch.equal(model.encode(x), z)
    assert torch.equal(model.decode(z), model.likelihood.mean(model.decoder(z)))
    trace = poutine.trace(model.reconstruction).get_trace(x)
    assert {name for name, site in trace.nodes.items() if site["type"] == "sample"} == {"data", "x"}
    expected = likelihood(model.decoder(z)).to_event(1).log_prob(x)
    assert torch.allclose(trace.log_prob_sum(), expected.sum())
    assert trace.nodes["x"]["fn"].event_shape == (3,)


@pytest.mark.parametrize("classes", [0, 3])
def test_samples_are_decoded_draws_of_the_prior(classes):
    with scoped_seed(0):
        model = AAE((4,), 3, (8,), classes=classes).double().train()
    model.decoder.insert(0, nn.Dropout(0.9))
    for y in (None, torch.tensor([1, 0, 2, 2, 1]), torch.tensor([2]))[: 3 if classes else 1]:
        with scoped_seed(1):
            x = model.sample(5, y)
        with scoped_seed(1):
            labels = model.side(5, y, draw=True)
            z = model.prior(5, labels) if classes else model.prior(5)
        assert z.dtype == torch.float64
        assert torch.equal(x, model.eval().decode(z))
        assert not x.requires_grad
        model.train()


def test_normal_prior():
    with scoped_seed(0):
        z = AAE((4,), 3, (8,)).prior(20_000)
    assert z.shape == (20_000, 3)
    assert torch.allclose(z.T.cov(), torch.eye(3), atol=0.03)
    assert torch.allclose(z.mean(0), torch.zeros(3), atol=0.03)


def test_a_vaegan_in_closed_form():
    with scoped_seed(0):
        model = VAEGAN((4,), 2, (6,), features=3, sigma=0.7)
        x = torch.rand(5, 4)
    body, head = model.critic.body, model.critic.head
    assert torch.equal(model.critic(x), head(body(2 * x - 1)).squeeze(1))
    h = model.encoder(x)
    assert torch.equal(model.encode(x), h[:, :2])
    posterior = model.pair.posterior_dist(x)
    assert torch.equal(posterior.base_dist.scale, h[:, 2:].exp())
    assert posterior.event_shape == (2,)
    guide = poutine.trace(model.pair.guide).get_trace(x)
    z = guide.nodes["z"]["value"]
    assert torch.allclose(guide.log_prob_sum(), posterior.log_prob(z).sum())
    (frame,) = guide.nodes["z"]["cond_indep_stack"]
    assert (frame.name, frame.size, model.latent) == ("data", 5, 2)
    with pytest.raises(ConfigError, match="side information"):
        model.sample(5, torch.zeros(5))
    made = model.decode(z)
    assert torch.equal(made, model.generator(z))
    trace = poutine.trace(poutine.condition(model.pair.model, {"z": z})).get_trace(x)
    f, g = body(2 * x - 1), body(2 * made - 1)
    unit = f.std(0, correction=0)
    assert torch.allclose(trace.nodes["f"]["value"], f / unit)
    expected = dist.Normal(0.0, 1.0).log_prob(z).sum() + dist.Normal(g / unit, 0.7).log_prob(f / unit).sum()
    assert torch.allclose(trace.log_prob_sum(), expected)
    assert {s["fn"].event_shape for s in (trace.nodes["z"], trace.nodes["f"])} == {(2,), (3,)}
    with torch.no_grad():
        body[1][-1].weight.zero_()  # features that do not differ are not divided by zero
    assert poutine.trace(model.pair.model).get_trace(x).log_prob_sum().isfinite()


def test_a_vaegan_samples_in_evaluation_mode():
    with scoped_seed(0):
        model = VAEGAN((4,), 2, (6,)).double().train()
    model.generator.layers.insert(0, nn.Dropout(0.9))
    with scoped_seed(1):
        x = model.sample(6)
    with scoped_seed(1):
        z = model.prior(6)
    assert z.dtype == torch.float64
    assert torch.equal(x, model.eval().generator(z))
    assert not x.requires_grad


def weights(module):
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def moved(before, module):
    return {name.split(".")[0] for name, p in module.named_parameters() if not torch.equal(p, before[name])}


def test_each_half_of_an_aae_moves_its_own(digits):
    setup = recipe("aae")(digits, hidden=(16,), steps=10)
    batch = digits.train.read(slice(0, 32), torch.Generator())
    before = weights(setup.model)
    setup.step.steps["reconstruction"](batch[0])
    assert moved(before, setup.model) == {"encoder", "decoder"}
    before = weights(setup.model)
    setup.step.steps["game"](*batch)
    assert moved(before, setup.model) == {"encoder", "critic"}


def test_likeness_never_moves_the_critic(digits):
    setup = recipe("vaegan")(digits, hidden=(16,), network="mlp", steps=10)
    batch = digits.train.read(slice(0, 32), torch.Generator())
    before = weights(setup.model)
    setup.step.steps["similarity"](batch[0])
    assert moved(before, setup.model) == {"encoder", "generator"}
    before = weights(setup.model)
    setup.step.steps["game"](*batch)
    assert moved(before, setup.model) == {"generator", "critic"}


def similarity_terms(model, x, z):
    """The log-density of the observed features, ``(batch,)``, given codes z."""
    trace = pyro.poutine.trace(pyro.poutine.condition(model.pair.model, {"z": z})).get_trace(x)
    trace.compute_log_prob()
    return trace.nodes["f"]["log_prob"]


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_similarity_is_measured_in_units_of_the_features_deviation(network):
    with scoped_seed(0):
        model, x, z = (
            VAEGAN((1, 8, 8), 3, (8,), network, features=5, sigma=0.4),
            torch.rand(16, 1, 8, 8),
            torch.randn(16, 3),
        )
        model.eval()
    with torch.no_grad():
        real, made = model.critic.features(x), model.critic.features(model.decode(z))
        unit = real.var(0, correction=0).sqrt()
        assert (unit > 1e-3).all()
        expected = torch.distributions.Normal(made / unit, 0.4).log_prob(real / unit).sum(1)
        assert (unit - 1).abs().min() > 0.1  # so that the unit matters
        before = similarity_terms(model, x, z)
        assert torch.allclose(before, expected, rtol=1e-4)
        last = [part for part in model.critic.body.modules() if isinstance(part, nn.Linear)][-1]
        last.weight.mul_(7)
        last.bias.mul_(7)
        assert torch.allclose(similarity_terms(model, x, z), before, rtol=1e-3)  # a larger critic weighs no more


def test_features_that_do_not_vary_have_a_unit_of_a_thousandth():
    model = VAEGAN((1, 8, 8), 3, (8,), features=5, sigma=0.4).eval()
    x, z = torch.rand(1, 1, 8, 8).expand(4, 1, 8, 8), torch.randn(4, 3)
    with torch.no_grad():
        real, made = model.critic.features(x), model.critic.features(model.decode(z))
        expected = torch.distributions.Normal(made / 1e-3, 0.4).log_prob(real / 1e-3).sum(1)
        assert torch.allclose(similarity_terms(model, x, z), expected, rtol=1e-3)


def test_sequential_steps_merge_their_logs():
    class Says:
        def __init__(self, **said):
            self.said = said

        def __call__(self, *batch):
            return self.said

        evaluate = __call__

    both = SequentialSteps(a=Says(loss=1, x=2), b=Says(x=3))
    assert both() == both.evaluate() == {"loss": 1, "x": 3}


def test_codes_come_to_follow_the_prior():
    encoder = nn.Linear(2, 2)
    with torch.no_grad():
        encoder.weight.mul_(0.1).add_(0.1 * torch.eye(2))
    with scoped_seed(0):
        critic = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    x = 1 + torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    start = encoder(x).detach()
    optim = partial(Adam, lr=1e-2, betas=(0.0, 0.9))
    step = LatentAdversarialStep(
        encoder, critic, lambda n: torch.randn(n, 2), optim=optim, penalty=R1Penalty(1.0), schedule=cosine_schedule(800)
    )
    for _ in pyrogen.fit(step, x, steps=800, batch_size=128):
        pass
    z = encoder(x).detach()
    assert start.mean(0).norm() > 0.5 or start.std(0).mean() < 0.5
    assert z.mean(0).norm() < 0.3
    assert 0.7 < z.std(0).mean() < 1.3
    assert step.evaluate(x).keys() == {"critic_loss", "generator_loss"}


@pytest.mark.parametrize(
    ("name", "data", "options", "words"),
    [
        ("aae", "ring", {"prior": "label"}, "needs labels"),
        ("aae", "digits", {"prior": "uniform"}, "normal"),
        ("vaegan", "ring", {}, r"\[0, 1\]"),
        ("vaegan", "digits", {"network": "cnn"}, "conv"),
        ("cgan", "ring", {}, "needs labels"),
        ("sngan", "ring", {}, "needs images"),
        ("packed-gan", "ring", {"batch_size": 7}, "multiple of pack"),
        ("relativistic-gan", "ring", {"r1": -1.0}, "r1 must be"),
        ("relativistic-gan", "ring", {"critic_rate": 0.0}, "critic_rate must be"),
        ("packed-gan", "ring", {"pack": 0}, "pack must be"),
        ("gan", "ring", {"critic_rate": 0.0}, "critic_rate must be"),
        ("gan", "ring", {"r1": -1.0}, "r1 must be"),
        ("gan", "ring", {"r1_start": 1.0}, "r1_start needs r1"),
        ("wgan-gp", "ring", {"network": "conv"}, "needs images"),
        ("sngan", "digits", {"loss": "hinges"}, "hinge"),
    ],
)
def test_mistakes_are_named(name, data, options, words):
    with pytest.raises(ConfigError, match=words):
        recipe(name)(pyrogen.load(data), **options)
