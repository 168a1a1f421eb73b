"""A small two-player game that several test files play."""

import torch
from torch import nn

from pyrogen import AdversarialGame
from pyrogen.random import scoped_seed


def prior(n):
    return torch.randn(n, 3)


def players(seed=0):
    with scoped_seed(seed):
        return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)), nn.Sequential(
            nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)
        )


def game(seed=0, **options):
    return AdversarialGame(*players(seed), prior, **options)


def batch(n=16, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))


def same(a, b):
    return all(torch.equal(t, b[name]) for name, t in a.items())


def adversary(model, **options):
    return AdversarialGame(model.generator, model.critic, model.prior, **options)
