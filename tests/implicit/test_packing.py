"""Packing, residual players, scales of data, and priors in pieces."""

import pytest
import torch
from torch import nn

from pyrogen import AdversarialGame, Sampler
from pyrogen.errors import ConfigError
from pyrogen.implicit import (
    DCGAN,
    GAN,
    WGAN,
    ConvCritic,
    MLPCritic,
    Packed,
    ResGAN,
    packed_shape,
)
from pyrogen.random import scoped_seed

# Packing


class Total(nn.Module):
    """Scores a pack by the sum of what is in it."""

    def forward(self, x):
        return x.flatten(1).sum(1)


@pytest.mark.parametrize("shape", [(2,), (3, 8, 9)])
@pytest.mark.parametrize("pack", [1, 2, 3])
def test_a_pack_holds_rows_that_follow_each_other(shape, pack):
    x = torch.rand(6, *shape)
    seen = []

    def critic(packed):
        seen.append(packed)
        return Total()(packed)

    module = Packed(Total(), pack)
    module.critic.forward = critic
    scores = module(x, torch.arange(6))
    assert scores.shape == (6 // pack,)
    assert torch.allclose(scores, x.flatten(1).sum(1).view(-1, pack).sum(1), atol=1e-5)
    assert seen[0].shape == (6 // pack, *packed_shape(shape, pack))
    assert torch.equal(seen[0][0], torch.cat(list(x[:pack])))


def test_rows_left_over_are_not_scored_and_too_few_are_an_error():
    x = torch.rand(7, 2)
    assert torch.equal(Packed(Total(), 3)(x), Packed(Total(), 3)(x[:6]))
    with pytest.raises(ConfigError, match=r"pack=3 needs at least 3 rows; got 2"):
        Packed(Total(), 3)(x[:2])
    with pytest.raises(ConfigError, match="at least 1"):
        Packed(Total(), 0)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_a_packed_critic_plays(network):
    if network == "mlp":
        model, critic, x = GAN((2,), 3, (8,), unit=False), MLPCritic((4,), (8,)), torch.randn(8, 2)
    else:
        model, critic, x = DCGAN((1, 8, 8), 3, 4), ConvCritic((2, 8, 8), 4), torch.rand(8, 1, 8, 8)
    step = AdversarialGame(model.generator, Packed(critic, 2), model.prior)
    logs = step(x, torch.arange(8))
    assert all(value.isfinite() for value in logs.values())
    assert step.evaluate(x).keys() == {"critic_loss", "generator_loss"}


def test_a_packed_critic_sees_too_little_variety():
    """All samples at one datum: a single row looks real, a pair of equal rows does not."""
    x = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0)).sign()
    losses = []
    for pack in (1, 2):
        with scoped_seed(0):
            critic = Packed(MLPCritic((pack,), (16,)), pack)
        optimizer = torch.optim.Adam(critic.parameters(), 0.02)
        fake = x[torch.randperm(4000, generator=torch.Generator().manual_seed(1))].view(-1, 2)[:, :1]
        fake = fake.expand(-1, 2).reshape(-1, 1)  # pairs are equal, and each row alone is as the data
        for _ in range(100):
            optimizer.zero_grad()
            real_loss = nn.functional.softplus(-critic(x)).mean()
            loss = real_loss + nn.functional.softplus(critic(fake)).mean()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1.38  # 2 log 2: blind
    assert losses[1] < 1.15


# Residual networks


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 11), (1, 28, 28), (3, 64, 64)])
@pytest.mark.parametrize("classes", [0, 3])
def test_residual_players(shape, classes):
    model = ResGAN(shape, 5, 4, classes)
    y = torch.tensor([0, 2]) if classes else None
    x = model.sample(2, y)
    assert isinstance(model, Sampler)
    assert x.shape == (2, *shape)
    assert ((x >= 0) & (x <= 1)).all()
    assert model.critic(x, y).shape == (2,)
    assert not [m for m in model.critic.modules() if isinstance(m, nn.BatchNorm2d)]
    if classes:
        with pytest.raises(ValueError, match="labels"):
            model.critic(x)
        with pytest.raises(ValueError, match="labels"):
            model.generator(model.prior(2))


def test_projection_adds_an_inner_product_with_the_labels_embedding():
    critic = ResGAN((1, 8, 8), 3, 4, classes=3).critic
    x, y = torch.rand(5, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1])
    phi = critic.features(x)
    expected = phi @ critic.linear.weight[0] + critic.linear.bias + (critic.embedding.weight[y] * phi).sum(1)
    assert torch.allclose(critic(x, y), expected, atol=1e-5)


@pytest.mark.parametrize(("side", "layers"), [(8, 2), (16, 2), (28, 2), (32, 3), (64, 4), (128, 5)])
def test_dcgan_from_8_to_128_pixels(side, layers):
    model = DCGAN((3, side, side), 4, 2)
    assert sum(isinstance(layer, nn.Conv2d) for layer in model.critic.modules()) == layers
    assert sum(isinstance(layer, nn.ConvTranspose2d) for layer in model.generator.modules()) == layers
    x = model.sample(1)
    assert x.shape == (1, 3, side, side)
    assert model.critic.eval()(x).shape == (1,)


# Labels and prior


def test_fully_connected_players_given_a_label():
    model = GAN((2,), 3, (8,), unit=False, classes=3)
    y = torch.tensor([0, 1, 2, 0])
    made = model.generator(torch.zeros(4, 3), y)
    assert torch.equal(made[0], made[3])
    assert not torch.allclose(made[0], made[1])
    assert model.critic(made, y).shape == (4,)
    with pytest.raises(ValueError, match="labels"):
        model.critic(made)


@pytest.mark.parametrize("make", [GAN, WGAN])
def test_bits_of_the_prior_are_fair_signs(make):
    model = make((2,), 5, (8,), unit=False, n_binary=3)
    with scoped_seed(0):
        z = model.prior(20_000)
    assert set(z[:, 2:].unique().tolist()) == {-1.0, 1.0}
    assert z.mean(0).abs().max() < 0.04
    assert (z.T.cov() - torch.eye(5)).abs().max() < 0.05
    assert len(z[:, :2].unique()) > 30_000
    with pytest.raises(ConfigError, match="latent=5; got 6"):
        make((2,), 5, (8,), n_binary=6)
