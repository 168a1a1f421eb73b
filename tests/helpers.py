"""Data and pairs that several test files judge."""

import pyro.distributions as dist
import torch


def points(*shape, seed=0):
    """The same standard normal draws for the same seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def normal(x, mean=0.0, variance=1.0):
    """``log N(x; mean, variance)``."""
    return dist.Normal(mean, variance**0.5).log_prob(x)


def empty(*_):
    """The guide of a model without latent variables."""


class Couple:
    """Any two programs as a pair."""

    def __init__(self, model, guide=empty):
        self.model, self.guide = model, guide

    def sample(self, n, y=None):
        raise AssertionError("a likelihood needs no samples")
