"""Annealed importance sampling of p(x) with resampling, from q to the posterior, and a bound from the other side.

Chains move through f_{β_0} = q, …, f_{β_T} = p(x, ·), and their weights gain f_{β_t} / f_{β_{t-1}} at every step. Where
the effective number of chains of a datum falls below half of them, they are drawn anew in proportion to their weights:
chains in modes that the posterior does not have are dropped. The product of the mean weights is an estimate with

    E[w] = p(x),    so that E[log w] ≤ log p(x)

If one of the chains has the states of a chain that was run from a draw of the posterior back to q, and is always kept,

    E[1 / w] = 1 / p(x),    so that E[log w] ≥ log p(x)

A draw of the posterior is at hand for data that are drawn from the model.

Neal, "Annealed importance sampling", 2001; Del Moral, Doucet and Jasra, "Sequential Monte Carlo samplers", 2006;
Grosse, Ghahramani and Adams, "Sandwiching the marginal likelihood using bidirectional Monte Carlo", 2015. That the
estimate has these expectations with resampling at such times: Whiteley, Lee and Heine, Bernoulli 2016; Andrieu, Doucet
and Holenstein, "Particle Markov chain Monte Carlo methods", 2010.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyrogen.measure.annealing.path import Rows
from pyrogen.measure.annealing.plan import LEAPFROG, Plan
from pyrogen.measure.annealing.resampling import log_mean_exp, resample
from pyrogen.pyro_tools.hmc import Point, transition

CURVE = 64
"""The most temperatures at which rate and distortion are kept."""


@dataclass(frozen=True)
class Annealed:
    """The chains of some data at the end of the path.

    Args:
        log_prob: the estimate of log p(x), ``(n,)``, float64.
        log_weights: of the chains since they were last drawn anew, ``(n, chains)``.
        point: the chains.
        kept: the temperatures at which the next two are kept.
        log_normalisers: the estimate of log ∫ f_β dv there, ``(kept, n)``.
        tilts: the estimate of E_{f_β}[log p(x, v) - log q(v)] there, ``(kept, n)``.
    """

    log_prob: Tensor
    log_weights: Tensor
    point: Point
    kept: Tensor
    log_normalisers: Tensor
    tilts: Tensor


def anneal(rows: Rows, plan: Plan, kept: Tensor | None = None) -> Annealed:
    """Move the chains from q to the posterior.

    Args:
        rows: the chains.
        plan: their transitions.
        kept: the states of the chain that is always kept, ``(steps + 1, n, d)``, from ``back``; by default none is.
    """
    betas, terms, n = plan.schedule.betas, rows.terms, len(rows.x)
    steps = len(betas) - 1
    keep = {round(i * steps / (CURVE - 1)) for i in range(CURVE)} - {0}
    with torch.no_grad():
        start = rows.draw()
    point = Point.at(start, terms)
    one = rows.with_chains(1).terms
    if kept is not None:
        point = _put_first(point, Point.at(kept[0], one), rows.chains)
    log_weights = point.values.new_zeros(n, rows.chains, dtype=torch.float64)
    total = log_weights.new_zeros(n)
    normalisers, tilts = [], []
    for t in range(1, steps + 1):
        log_weights = log_weights + float(betas[t] - betas[t - 1]) * point.values[1].double().view(n, -1)
        point, log_weights, total = resample(point, log_weights, total, kept is not None)
        point = _move(rows, plan, point, float(betas[t]))
        if kept is not None:
            point = _put_first(point, Point.at(kept[t], one), rows.chains)
        if t in keep:
            tilt = point.values[1].double().view(n, -1)
            normalisers.append(total + log_mean_exp(log_weights))
            tilts.append((log_weights.softmax(1) * tilt).sum(1))
    log_prob = total + log_mean_exp(log_weights)
    return Annealed(log_prob, log_weights, point, betas[sorted(keep)], torch.stack(normalisers), torch.stack(tilts))


def back(rows: Rows, plan: Plan, u: Tensor) -> Tensor:
    """Move one chain of every datum from a draw of the posterior, ``u (n, d)``, to q.

    Args:
        rows: as for ``anneal``.
        plan: its transitions.
        u: in the coordinates v.

    Returns:
        The states in the order of the temperatures, ``(steps + 1, n, d)``.
    """
    one, betas = rows.with_chains(1), plan.schedule.betas
    point = Point.at(u, one.terms)
    states = [point.u]
    for beta in betas[1:].flip(0).tolist():
        point = _move(one, plan, point, beta)
        states.append(point.u)
    return torch.stack(states[::-1])


def _put_first(point: Point, other: Point, chains: int) -> Point:
    """The chains, the first of every datum replaced."""
    u, values, gradients = point.u.clone(), point.values.clone(), point.gradients.clone()
    u[::chains], values[:, ::chains], gradients[:, ::chains] = other.u, other.values, other.gradients
    return Point(u, values, gradients)


def _move(rows: Rows, plan: Plan, point: Point, beta: float) -> Point:
    weights = point.values.new_tensor([[1.0], [beta]])
    size = plan.size(beta).repeat_interleave(rows.chains)
    return transition(rows.terms, point, weights, size, LEAPFROG, plan.factor(beta))[0]
