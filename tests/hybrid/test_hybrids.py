"""Adversarial autoencoder and VAE/GAN: what they are, what each step moves, and that they learn."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import Adam

import pyrogen
from pyrogen import Density, Pair
from pyrogen.data import Split
from pyrogen.errors import ConfigError
from pyrogen.hybrid import AAE, VAEGAN, LabelMixture
from pyrogen.objectives import R1Penalty
from pyrogen.random import scoped_seed
from pyrogen.recipes import recipe
from pyrogen.recipes.setup import cosine
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


def test_in_turn_merges_what_the_steps_tell():
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
        encoder, critic, lambda n: torch.randn(n, 2), optim=optim, penalty=R1Penalty(1.0), schedule=cosine(800)
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
        ("packed-gan", "ring", {"pack": 0}, "multiple of pack"),
        ("gan", "ring", {"critic_rate": 0.0}, "positive"),
        ("gan", "ring", {"r1": -1.0}, "negative"),
        ("gan", "ring", {"r1_start": 1.0}, "set r1 too"),
        ("wgan-gp", "ring", {"network": "conv"}, "needs images"),
        ("sngan", "digits", {"loss": "hinges"}, "hinge"),
    ],
)
def test_mistakes_are_named(name, data, options, words):
    with pytest.raises(ConfigError, match=words):
        recipe(name)(pyrogen.load(data), **options)
