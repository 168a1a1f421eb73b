"""Lipschitz rules: penalties in closed form, spectra, clips."""

import copy

import pytest
import torch
from torch import nn

from pyrogen.explicit import Gaussian
from pyrogen.implicit import ConvCritic, Packed, ResCritic
from pyrogen.objectives import GradientPenalty, LikelihoodPenalty, R1Penalty, apply_spectral_norm, clip_weights
from pyrogen.random import scoped_seed


def batch(n=16, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))


class Linear(nn.Module):
    """f(x) = k <u, x> with a unit vector u: k-Lipschitz everywhere."""

    def __init__(self, dims, k, column=False):
        super().__init__()
        u = torch.randn(dims, generator=torch.Generator().manual_seed(dims), dtype=torch.float32)
        self.u = nn.Parameter(k * u / u.norm())
        self.column = column

    def forward(self, x):
        score = x.flatten(1) @ self.u
        return score[:, None] if self.column else score


@pytest.mark.parametrize("n", [1, 2, 16, 64])
@pytest.mark.parametrize("shape", [(2,), (50,), (1, 8, 8), (3, 9, 11)])
@pytest.mark.parametrize("column", [False, True])
def test_gradient_penalty_of_a_linear_critic(n, shape, column):
    generator = torch.Generator().manual_seed(n)
    real, fake = (torch.rand(n, *shape, generator=generator) for _ in range(2))
    dims = torch.Size(shape).numel()
    assert GradientPenalty(10.0)(Linear(dims, 1.0, column), real, fake).item() == pytest.approx(0, abs=1e-6)
    for k, weight in ((3.0, 10.0), (0.5, 10.0), (3.0, 0.1), (0.0, 2.0)):
        penalty = GradientPenalty(weight)(Linear(dims, k, column), real, fake)
        assert penalty.item() == pytest.approx(weight * (k - 1) ** 2, rel=1e-4)
        assert penalty.shape == ()


def test_gradient_penalty_is_taken_between_data_and_samples():
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x.square().sum(1)

    real, fake = torch.zeros(2000, 2), torch.ones(2000, 2)
    with scoped_seed(0):
        penalty = GradientPenalty(1.0)(critic, real, fake)
    between = seen[0]
    assert torch.equal(between[:, 0], between[:, 1])  # one place on the line for each pair
    assert between[:, 0].mean().item() == pytest.approx(0.5, abs=0.03)
    assert between[:, 0].var().item() == pytest.approx(1 / 12, abs=0.01)
    # ‖∇‖ = 2 √2 t with t uniform: E (2 √2 t - 1)² = 8 / 3 - 2 √2 + 1
    assert penalty.item() == pytest.approx(8 / 3 - 8**0.5 + 1, abs=0.1)


def test_gradient_penalty_trains_the_critic_alone():
    critic = Linear(2, 3.0)
    real, fake = batch(8), batch(8, 1).requires_grad_()
    penalty = GradientPenalty()(critic, real, fake)
    penalty.backward()
    # d/dk λ (k - 1)² along u
    assert (critic.u.grad @ critic.u.detach() / 3).item() == pytest.approx(10 * 2 * 2, rel=1e-4)
    assert fake.grad is None
    assert real.grad is None
    with torch.no_grad():
        assert GradientPenalty()(critic, real, fake).item() == pytest.approx(40, rel=1e-4)


def test_gradient_penalty_passes_labels_on():
    seen = []

    def critic(x, y):
        seen.append(y)
        return x.sum(1)

    y = torch.arange(4)
    GradientPenalty()(critic, batch(4), batch(4, 1), y)
    assert torch.equal(seen[0], y)


@pytest.mark.parametrize("n", [2, 16, 64])
@pytest.mark.parametrize("pack", [1, 2, 4])
def test_penalties_of_a_packed_linear_critic(n, pack):
    """The norm is that of a score's gradient by all that is in the pack."""
    n *= pack
    real, fake = batch(n), batch(n, 1)
    critic = Packed(Linear(2 * pack, 3.0), pack)
    assert GradientPenalty(1.0)(critic, real, fake).item() == pytest.approx(4, rel=1e-4)
    assert R1Penalty(1.0)(critic, real, fake).item() == pytest.approx(4.5, rel=1e-4)


@pytest.mark.parametrize("n", [1, 16, 64])
@pytest.mark.parametrize("shape", [(2,), (3, 9, 11)])
def test_zero_penalty_of_a_linear_critic(n, shape):
    real, fake = torch.rand(n, *shape), torch.rand(n, *shape)
    critic = Linear(torch.Size(shape).numel(), 3.0)
    assert R1Penalty(10.0)(critic, real, fake).item() == pytest.approx(10 / 2 * 9, rel=1e-4)
    assert R1Penalty(10.0, samples=True)(critic, real, fake).item() == pytest.approx(10 * 9, rel=1e-4)


def test_zero_penalty_looks_at_the_data_alone_unless_asked():
    def critic(x):
        return 0.5 * x.square().sum(1)  # its slope is x

    real, fake = torch.full((4, 1), 2.0), torch.full((4, 1), 3.0)
    assert R1Penalty(2.0)(critic, real, fake).item() == pytest.approx(4)
    assert R1Penalty(2.0, samples=True)(critic, real, fake).item() == pytest.approx(4 + 9)


@pytest.mark.parametrize("make", [lambda: ConvCritic((1, 8, 8), 4, norm="none"), lambda: ResCritic((1, 28, 28), 8, 10)])
def test_spectral_norm_is_one(make):
    with scoped_seed(0):
        critic = apply_spectral_norm(make())
    shape = (4, 1, 8, 8) if isinstance(critic, ConvCritic) else (4, 1, 28, 28)
    for _ in range(100):
        critic(torch.rand(shape), torch.arange(4))
    seen = 0
    for module in critic.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
            seen += 1
            sigma = torch.linalg.matrix_norm(module.weight.flatten(1), 2).item()
            assert sigma == pytest.approx(1, abs=1e-3)
    assert seen >= 2


def test_spectral_norm_bounds_a_critics_slope_and_can_be_copied():
    with scoped_seed(0):
        net = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
        with torch.no_grad():
            net[0].weight.mul_(50)
        critic = copy.deepcopy(apply_spectral_norm(net))
    for _ in range(50):
        critic(batch())
    x, y = batch(500, 1), batch(500, 2)
    slope = (critic(x) - critic(y)).abs().squeeze(1) / (x - y).norm(dim=1)
    assert slope.max() <= 1.001
    assert slope.max() > 0.1


def test_clipping_bounds_every_weight():
    net = nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5))
    before = copy.deepcopy(net)
    clip_weights(net, 0.1)
    for old, new in zip(before.parameters(), net.parameters(), strict=True):
        assert torch.equal(new, old.clamp(-0.1, 0.1))


def test_gradient_penalty_in_double_precision():
    critic = nn.Linear(2, 1).double()
    assert GradientPenalty()(critic, batch(4).double(), batch(4, seed=1).double()).isfinite()


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_likelihood_penalty_is_the_weighted_nats_per_datum(weight):
    model, x = Gaussian((2,)), batch()
    found = LikelihoodPenalty(weight)(model, x, torch.zeros(16))
    assert found.item() == pytest.approx(-weight * model.log_prob(x).mean().item())
    found.backward()
    assert all(p.grad is not None for p in model.parameters())
