"""Hamiltonian Monte Carlo with many chains side by side, each with its own step size and acceptance.

    H(u, v) = -log π(u) + ½ |v|²;   L leapfrog steps of size ε;   accept with probability min(1, exp(H - H'))

Neal, "MCMC using Hamiltonian dynamics", 2011. Pyro's kernels run one chain, with one acceptance for all rows of a
batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

TARGET_ACCEPTANCE = 0.8
"""The acceptance to which step sizes are adapted."""

LogDensity = Callable[[Tensor], Tensor]
"""``log_density(u) -> (chains,)`` for ``u (chains, d)``; each value depends on its own row alone."""


@dataclass(frozen=True)
class Chains:
    """States of many chains.

    Args:
        states: kept states, ``(kept, chains, d)``.
        acceptance: the mean acceptance probability of each chain after the warm-up, ``(chains,)``.
        step_size: of each chain, ``(chains,)``.
    """

    states: Tensor
    acceptance: Tensor
    step_size: Tensor


def hmc(
    log_density: LogDensity,
    start: Tensor,
    *,
    warmup: int = 100,
    kept: int = 1,
    thin: int = 10,
    leapfrog: int = 10,
    step_size: float | Tensor = 0.1,
) -> Chains:
    """Run Hamiltonian Monte Carlo from ``start (chains, d)``, with torch's global random numbers.

    Args:
        log_density: log π up to a constant.
        start: the first states.
        warmup: transitions in which the step size of each chain is adapted; they are dropped.
        kept: the states kept of each chain.
        thin: transitions from one kept state to the next.
        leapfrog: steps per transition.
        step_size: the first step size, one for all or ``(chains,)``.
    """
    u = start.detach().clone()
    size = torch.as_tensor(step_size).to(u).expand(len(u)).clone()
    value, gradient = _value_and_gradient(log_density, u)
    states, acceptances = [], []
    for t in range(1, warmup + kept * thin + 1):
        u, value, gradient, accepted = transition(log_density, u, value, gradient, size, leapfrog)
        if t <= warmup:
            size = size * ((accepted - TARGET_ACCEPTANCE) * t**-0.5).exp()
        else:
            acceptances.append(accepted)
            if (t - warmup) % thin == 0:
                states.append(u)
    return Chains(torch.stack(states), torch.stack(acceptances).mean(0), size)


def transition(
    log_density: LogDensity, u: Tensor, value: Tensor, gradient: Tensor, size: Tensor, leapfrog: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One transition of every chain.

    Args:
        log_density: log π up to a constant.
        u: the states, ``(chains, d)``.
        value, gradient: log π and its gradient there.
        size: ε of each chain, ``(chains,)``; it is jittered by up to a fifth, so that no orbit is periodic.
        leapfrog: L.

    Returns:
        The new states, their log π and gradient, and the acceptance probabilities, ``(chains,)``.
    """
    velocity = torch.randn_like(u)
    step = (size * (0.8 + 0.4 * torch.rand_like(size)))[:, None]
    before = value - 0.5 * velocity.square().sum(1)
    end, end_gradient, end_value = u, gradient, value
    velocity = velocity + 0.5 * step * gradient
    for i in range(leapfrog):
        end = end + step * velocity
        end_value, end_gradient = _value_and_gradient(log_density, end)
        velocity = velocity + (1.0 if i < leapfrog - 1 else 0.5) * step * end_gradient
    after = end_value - 0.5 * velocity.square().sum(1)
    accepted = (after - before).clamp_max(0).exp().nan_to_num(0.0)  # a diverging orbit is rejected
    take = torch.rand_like(accepted) < accepted
    return (
        torch.where(take[:, None], end, u),
        torch.where(take, end_value, value),
        torch.where(take[:, None], end_gradient, gradient),
        accepted,
    )


def _value_and_gradient(log_density: LogDensity, u: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        u = u.detach().requires_grad_()
        value = log_density(u)
        (gradient,) = torch.autograd.grad(value.sum(), u)
    return value.detach(), gradient
