"""Draws from posteriors p(u | y) of many data side by side, by raising β from 0 to 1 in p(u) p(y | u)^β.

Each datum has its own particles and its own β. A step δ of β is the greatest that leaves half of the particles
effective, (Σ w)² ≥ Σ w² m / 2 for m weights w = p(y | u)^δ; the particles are resampled by w, then moved by Hamiltonian
Monte Carlo. Del Moral, Doucet and Jasra, "Sequential Monte Carlo samplers", JRSS B 2006.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrogen.measure.annealing.resampling import effective, systematic
from pyrogen.pyro_tools.hmc import TARGET_ACCEPTANCE, LogTerms, Point, transition

MOVES, LEAPFROG, FIRST_STEP = 2, 10, 0.1
"""Transitions at each β, their leapfrog steps, and the first size of these."""
HALVINGS = 40


@dataclass(frozen=True)
class Particles:
    """States of every datum, one datum after the other.

    Args:
        u: ``(n * each, d)``.
        origin: the row of the first states that each is descended from, ``long (n * each,)``.
        step_size: of Hamiltonian Monte Carlo, ``(n * each,)``.
    """

    u: Tensor
    origin: Tensor
    step_size: Tensor


@torch.no_grad()
def anneal(terms: Callable[[Tensor], LogTerms], u: Tensor, each: int) -> Particles:
    """Turn draws from p(u) into draws from p(u | y), with torch's global random numbers.

    Args:
        terms: ``terms(origin)``: the terms log p(u) and log p(y | u), in nats, of states with these origins.
        u: the first states, ``(n * each, d)``.
        each: how many belong to one datum; p(y | u) is finite and above 0 for at least one of them.
    """
    origin = torch.arange(len(u), device=u.device)
    step_size = u.new_full((len(u) // each, 1), FIRST_STEP)
    beta = torch.zeros_like(step_size, dtype=torch.float64)
    _, fit = terms(origin)(u)
    while bool((beta < 1).any()):
        fit = fit.double().view(-1, each)
        fit = fit.where(fit.isfinite(), -torch.inf)
        delta = _step(fit, 1 - beta)
        beta += delta
        chosen = systematic(_log_weights(fit, delta).softmax(1))
        origin = origin[chosen]
        power = beta.expand(-1, each).flatten().to(u)
        weights, point = torch.stack([torch.ones_like(power), power]), Point.at(u[chosen], terms(origin))
        for _ in range(MOVES):
            size = step_size.expand(-1, each).flatten()
            point, accepted = transition(terms(origin), point, weights, size, LEAPFROG)
            step_size = step_size * (accepted.view(-1, each).mean(1, keepdim=True) - TARGET_ACCEPTANCE).exp()
        u, fit = point.u, point.values[1]
    return Particles(u, origin, step_size.expand(-1, each).flatten())


def _log_weights(fit: Tensor, delta: Tensor) -> Tensor:
    """δ log p(y | u) of each datum's states, ``(n, each)``."""
    return (delta * fit).where(fit.isfinite(), -torch.inf)


def _step(fit: Tensor, most: Tensor) -> Tensor:
    """The greatest δ of at most ``most`` that leaves half of the possible states effective, ``(n, 1)``."""
    least = fit.isfinite().sum(1, keepdim=True) / 2

    def keeps(delta: Tensor) -> Tensor:
        return effective(_log_weights(fit, delta))[:, None] >= least

    low, high = torch.zeros_like(most), most
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = middle.where(keeps(middle), low), high.where(keeps(middle), middle)
    return most.where(keeps(most), high)
