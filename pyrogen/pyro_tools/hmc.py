"""Hamiltonian Monte Carlo with many chains side by side, each with its own step size and acceptance.

    log π(u) = Σ_i w_i log f_i(u),   H(u, v) = -log π(u) + ½ |v|²

A transition makes L leapfrog steps of size ε and accepts the end with probability min(1, exp(H - H')). With a factor A
of the covariance of π, or of a guess at it, A Aᵀ ≈ Cov(u), it moves in the coordinates A⁻¹ u.

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
LogTerms = Callable[[Tensor], tuple[Tensor, ...]]
"""The terms ``log f_i(u)``, each as for ``LogDensity``."""


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


@dataclass(frozen=True)
class Point:
    """The states of many chains, and the terms of the log-density there.

    Args:
        u: ``(chains, d)``.
        values: of each term, ``(terms, chains)``.
        gradients: of each term, ``(terms, chains, d)``.
    """

    u: Tensor
    values: Tensor
    gradients: Tensor

    @classmethod
    def at(cls, u: Tensor, terms: LogTerms) -> "Point":
        """Evaluate the terms and their gradients at u."""
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            values = terms(u)
            gradients = [_gradient(v, u) for v in values]
        return cls(u.detach(), torch.stack([v.detach() for v in values]), torch.stack(gradients))

    def log_density(self, weights: Tensor) -> Tensor:
        """Log π, ``(chains,)``, for weights ``(terms, 1)`` or ``(terms, chains)``."""
        return (weights * self.values).sum(0)

    def gradient(self, weights: Tensor) -> Tensor:
        """∇ log π, ``(chains, d)``."""
        return (weights[..., None] * self.gradients).sum(0)

    def rows(self, chosen: Tensor) -> "Point":
        """The states of chosen chains."""
        return Point(self.u[chosen], self.values[:, chosen], self.gradients[:, chosen])

    def where(self, taken: Tensor, other: "Point") -> "Point":
        """These states where ``taken (chains,)``, elsewhere the others."""
        return Point(
            torch.where(taken[:, None], self.u, other.u),
            torch.where(taken, self.values, other.values),
            torch.where(taken[:, None], self.gradients, other.gradients),
        )


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

    def terms(u: Tensor) -> tuple[Tensor]:
        return (log_density(u),)

    point = Point.at(start.clone(), terms)
    weights = torch.ones_like(point.values[:, :1])
    size = torch.as_tensor(step_size).to(point.u).expand(len(point.u)).clone()
    states, acceptances = [], []
    for t in range(1, warmup + kept * thin + 1):
        point, accepted = transition(terms, point, weights, size, leapfrog)
        if t <= warmup:
            size = size * ((accepted - TARGET_ACCEPTANCE) * t**-0.5).exp()
        else:
            acceptances.append(accepted)
            if (t - warmup) % thin == 0:
                states.append(point.u)
    return Chains(torch.stack(states), torch.stack(acceptances).mean(0), size)


def transition(
    terms: LogTerms, start: Point, weights: Tensor, size: Tensor, leapfrog: int, factor: Tensor | None = None
) -> tuple[Point, Tensor]:
    """One transition of every chain, which leaves π invariant.

    Args:
        terms: the terms of log π.
        start: the states.
        weights: of the terms, ``(terms, 1)`` or ``(terms, chains)``.
        size: ε of each chain, ``(chains,)``; it is jittered by up to a fifth, so that no orbit is periodic.
        leapfrog: L.
        factor: A of each group of chains, ``(groups, d, d)``; the chains of a group are consecutive. I by default.

    Returns:
        The new states, and the acceptance probabilities, ``(chains,)``.
    """
    velocity = torch.randn_like(start.u)
    step = (size * (0.8 + 0.4 * torch.rand_like(size)))[:, None]
    before = start.log_density(weights) - 0.5 * velocity.square().sum(1)
    velocity = velocity + 0.5 * step * _times(factor, start.gradient(weights), transposed=True)
    end = start
    for i in range(leapfrog):
        end = Point.at(end.u + step * _times(factor, velocity), terms)
        push = _times(factor, end.gradient(weights), transposed=True)
        velocity = velocity + (1.0 if i < leapfrog - 1 else 0.5) * step * push
    after = end.log_density(weights) - 0.5 * velocity.square().sum(1)
    accepted = (after - before).clamp_max(0).exp().nan_to_num(0.0)  # a diverging orbit is rejected
    return end.where(torch.rand_like(accepted) < accepted, start), accepted


def _gradient(values: Tensor, u: Tensor) -> Tensor:
    """Of each value by its own row of u; 0 where it does not depend on it."""
    if not values.requires_grad:
        return torch.zeros_like(u)
    (gradient,) = torch.autograd.grad(values.sum(), u, retain_graph=True, allow_unused=True, materialize_grads=True)
    return gradient


def _times(factor: Tensor | None, v: Tensor, transposed: bool = False) -> Tensor:
    """A v or Aᵀ v of every chain."""
    if factor is None:
        return v
    rows = v.view(len(factor), -1, v.shape[1])
    return torch.bmm(rows, factor if transposed else factor.mT).view_as(v)
