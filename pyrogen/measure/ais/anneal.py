"""Annealed importance sampling of p(x), from q to the posterior and back.

    w = Π_t f_{β_t}(u_{t-1}) / f_{β_{t-1}}(u_{t-1}),   E[w] = p(x)                      forwards, u_0 ~ q
    w = Π_t f_{β_{t-1}}(u_t) / f_{β_t}(u_t),           E[w] = 1 / p(x)                  backwards, u_T ~ p(u | x)

By Jensen's inequality, log mean w is in expectation at most log p(x), and -log mean w of the way back at least. A draw
of the posterior is at hand for data that are drawn from the model.

Neal, "Annealed importance sampling", 2001; Grosse, Ghahramani and Adams, "Sandwiching the marginal likelihood using
bidirectional Monte Carlo", 2015.
"""

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from pyrogen.measure.ais.path import Rows
from pyrogen.measure.ais.plan import LEAPFROG, Plan
from pyrogen.pyro_tools.hmc import Point, transition

CURVE = 64
"""The most temperatures at which rate and distortion are kept."""


@dataclass(frozen=True)
class Forward:
    """The chains of some data at the end of the path.

    Args:
        log_weights: ``(n, chains)``, float64.
        point: the chains.
        kept: the temperatures at which the next two are kept.
        log_normalisers: the estimate of log ∫ f_β du there, ``(kept, n)``.
        tilts: the estimate of E_{f_β}[log p(x, u) - log q(u)] there, ``(kept, n)``.
    """

    log_weights: Tensor
    point: Point
    kept: Tensor
    log_normalisers: Tensor
    tilts: Tensor

    @property
    def log_prob(self) -> Tensor:
        """The estimate of log p(x), ``(n,)``."""
        return log_mean_exp(self.log_weights)

    @property
    def effective(self) -> Tensor:
        """The effective number of chains, ``(n,)``: (Σ w)² / Σ w²."""
        return (2 * self.log_weights.logsumexp(1) - (2 * self.log_weights).logsumexp(1)).exp()


def log_mean_exp(log_weights: Tensor) -> Tensor:
    """Log of the mean weight of every datum."""
    return log_weights.logsumexp(1) - log(log_weights.shape[1])


def forward(rows: Rows, plan: Plan) -> Forward:
    """Move the chains from q to the posterior."""
    betas, terms, n = plan.schedule.betas, rows.terms, len(rows.x)
    steps = len(betas) - 1
    keep = {round(i * steps / (CURVE - 1)) for i in range(CURVE)}
    with torch.no_grad():
        point = Point.at(rows.draw(), terms)
    log_weights = point.values.new_zeros(n, rows.chains, dtype=torch.float64)
    normalisers, tilts = [], []
    for t in range(1, steps + 1):
        tilt = point.values[1].double().view(n, -1)
        log_weights = log_weights + float(betas[t] - betas[t - 1]) * tilt
        point = _move(rows, plan, point, float(betas[t]))
        if t in keep:
            tilt = point.values[1].double().view(n, -1)
            normalisers.append(log_mean_exp(log_weights))
            tilts.append((log_weights.softmax(1) * tilt).sum(1))
    kept = betas[sorted(keep - {0})]
    return Forward(log_weights, point, kept, torch.stack(normalisers), torch.stack(tilts))


def backward(rows: Rows, plan: Plan, u: Tensor) -> Tensor:
    """Move the chains from draws of the posterior, ``u (n, d)``, to q; log w, ``(n, chains)``."""
    betas, n = plan.schedule.betas, len(rows.x)
    point = Point.at(u.repeat_interleave(rows.chains, 0), rows.terms)
    log_weights = point.values.new_zeros(n, rows.chains, dtype=torch.float64)
    for t in range(len(betas) - 1, 0, -1):
        point = _move(rows, plan, point, float(betas[t]))
        log_weights = log_weights - float(betas[t] - betas[t - 1]) * point.values[1].double().view(n, -1)
    return log_weights


def _move(rows: Rows, plan: Plan, point: Point, beta: float) -> Point:
    weights = point.values.new_tensor([[1.0], [beta]])
    size = plan.size(beta).repeat_interleave(rows.chains)
    return transition(rows.terms, point, weights, size, LEAPFROG, plan.factor(beta))[0]
