"""Annealed particles, of posteriors that are known."""

import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from pyrogen.measure.annealing.particles import anneal


def test_narrow_modes_far_from_each_other_have_their_shares():
    centres = torch.full((2, 6), 1.5) * torch.tensor([[1.0], [-1.0]])
    likelihood = MixtureSameFamily(
        Categorical(torch.tensor([0.7, 0.3])), Independent(Normal(centres, torch.full((2, 6), 0.05)), 1)
    )
    torch.manual_seed(0)
    u, n, each = torch.randn(60 * 64, 6), 60, 64
    found = anneal(lambda origin: lambda u: (Normal(0, 1).log_prob(u).sum(1), likelihood.log_prob(u)), u, each)
    above = found.u.mean(1) > 0
    assert 0.58 < float(above.double().mean()) < 0.82  # three standard errors of 60 data
    assert bool((found.origin // each == torch.arange(n).repeat_interleave(each)).all())
    precision = 1 + 0.05**-2
    mean, std = torch.tensor(1.5 * 0.05**-2 / precision), torch.tensor(precision**-0.5)
    for side, sign in ((above, 1), (~above, -1)):
        torch.testing.assert_close(sign * found.u[side].mean(), mean, atol=2e-3, rtol=0)
        torch.testing.assert_close(found.u[side].std(0).mean(), std, atol=0, rtol=0.1)


def test_states_of_no_likelihood_are_left():
    torch.manual_seed(0)

    def log_joint(u):
        return Normal(0, 1).log_prob(u).sum(1), torch.where(u[:, 0] > 1.5, 0.0, -torch.inf)

    found = anneal(lambda origin: log_joint, torch.randn(20 * 64, 2), 64)
    assert bool((found.u[:, 0] > 1.5).all())
