"""Chains of every datum that are drawn anew in proportion to their weights, where few of them carry the weight.

``resample`` draws each chain by itself, as an estimate with one chain that is always kept needs; ``systematic`` spaces
the draws equally, so that the numbers of copies vary least.
"""

from math import log

import torch
from torch import Tensor

from pyrogen.pyro_tools.hmc import Point


def log_mean_exp(log_weights: Tensor) -> Tensor:
    """Log of the mean weight of every datum."""
    return log_weights.logsumexp(1) - log(log_weights.shape[1])


def effective(log_weights: Tensor) -> Tensor:
    """The effective number of chains, ``(n,)``: (Σ w)² / Σ w²."""
    return (2 * log_weights.logsumexp(1) - (2 * log_weights).logsumexp(1)).exp()


def resample(
    point: Point, log_weights: Tensor, total: Tensor, keep_first: bool = False
) -> tuple[Point, Tensor, Tensor]:
    """Draw the chains anew of the data whose effective number of them is below half.

    Args:
        point: the chains.
        log_weights: ``(n, chains)``.
        total: the log of the product of the mean weights at earlier times, ``(n,)``.
        keep_first: whether the first chain of every datum is kept.

    Returns:
        The three, with weights of 1 for chains that are drawn anew.
    """
    n, chains = log_weights.shape
    few = effective(log_weights) < chains / 2
    if not bool(few.any()):
        return point, log_weights, total
    own = torch.arange(chains, device=few.device).expand(n, -1)
    drawn = torch.multinomial(log_weights.softmax(1), chains, replacement=True)
    if keep_first:
        drawn[:, 0] = 0
    chosen = torch.where(few[:, None], drawn, own) + chains * torch.arange(n, device=few.device)[:, None]
    total = torch.where(few, total + log_mean_exp(log_weights), total)
    return point.rows(chosen.flatten()), torch.where(few[:, None], 0.0, log_weights), total


def systematic(weights: Tensor) -> Tensor:
    """Rows of states in proportion to weights ``(n, each)`` by systematic resampling, ``(n * each,)``.

    Args:
        weights: of every datum's states; they add up to 1.
    """
    n, each = weights.shape
    places = (torch.arange(each, device=weights.device) + torch.rand(n, 1, device=weights.device)) / each
    index = torch.searchsorted(weights.cumsum(1), places.to(weights), right=True).clamp_max(each - 1)
    return (index + each * torch.arange(n, device=weights.device)[:, None]).flatten()
