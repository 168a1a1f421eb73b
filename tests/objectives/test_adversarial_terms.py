"""Any generator and any critic play: a user's own, with and without labels, partly frozen, on few data."""

import pytest
import torch
from games import adversary, batch, players, prior
from torch import nn

from pyrogen import AdversarialGame
from pyrogen.implicit import DCGAN, GAN, WGAN
from pyrogen.objectives import GradientPenalty


class OnlyX(nn.Module):
    """A critic that knows nothing of labels; its scores are a column."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(2, 1)

    def forward(self, x):
        return self.net(x)


class WithLabels(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.net, self.seen = nn.Linear(inputs + 1, outputs), []

    def forward(self, x, y):
        self.seen.append(y)
        return self.net(torch.cat([x, y[:, None].float()], 1))


@pytest.mark.parametrize("penalty", [None, GradientPenalty()])
@pytest.mark.parametrize("critic", [OnlyX, lambda: nn.Linear(2, 1), lambda: WithLabels(2, 1)])
@pytest.mark.parametrize("generator", [lambda: nn.Linear(3, 2), lambda: WithLabels(3, 2)])
def test_own_networks_plug_in(generator, critic, penalty):
    g, c = generator(), critic()
    step = AdversarialGame(g, c, prior, penalty=penalty)
    y = torch.arange(16) % 2
    logs = step(batch(), y)
    assert all(value.shape == () and value.isfinite() and not value.requires_grad for value in logs.values())
    assert step.evaluate(batch(), y).keys() == {"critic_loss", "generator_loss"}
    for network in (g, c):
        assert all(torch.equal(seen, y) for seen in getattr(network, "seen", []))
    if not hasattr(g, "seen") and not hasattr(c, "seen"):
        assert step(batch()).keys() == logs.keys()


@pytest.mark.parametrize("n", [1, 2])
def test_small_batches(n):
    for model in (GAN((2,), 3, (4,)), WGAN((2,), 3, (4,))):
        assert adversary(model)(batch(n))["critic_loss"].isfinite()
    for model in (DCGAN((1, 28, 28), 3, 4), WGAN((1, 28, 28), 3, (4,), "conv")):
        assert adversary(model, penalty=GradientPenalty())(torch.rand(n, 1, 28, 28))["penalty"].isfinite()


def test_conditional_players_learn_from_labels():
    model = DCGAN((1, 8, 8), 3, 4, classes=2)
    step = adversary(model, penalty=GradientPenalty())
    x, y = torch.rand(8, 1, 8, 8), torch.arange(8) % 2
    before = {name: t.clone() for name, t in step.weights().items()}
    step(x, y)
    assert not torch.equal(step.weights()["critic.layers.0.weight"], before["critic.layers.0.weight"])
    with pytest.raises(ValueError, match="labels"):
        step(x)


def test_frozen_layers_are_left_out():
    critic = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 1))
    critic[0].requires_grad_(False)
    AdversarialGame(players()[0], critic, prior)(batch(8))


def test_optional_second_argument_is_not_taken_for_labels():
    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 1)

        def forward(self, x, features=False):
            return x if features else self.net(x)

    AdversarialGame(players()[0], Critic(), prior)(batch(4), torch.arange(4))
