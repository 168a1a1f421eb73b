"""Draw new data from a Pyro pair."""

from collections.abc import Callable
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from pyrogen.errors import ConfigError

MOST_DRAWS = 64
"""How many draws of the global latent variables one sample of many data is spread over."""


def predictive(model: Callable[..., Any], guide: Callable[..., Any], x: Tensor, *rest: Any) -> Tensor:
    """Draw one datum for each row of ``x``, whose values only lend their shape and type.

    Latent variables inside the data plate are drawn from the model's prior. Those outside, which all
    data share, are drawn from the guide, so that a Bayesian model gives its posterior predictive.

    Args:
        model: a Pyro program with ``x`` observed at one site.
        guide: its guide, possibly empty.
        x: a batch to imitate, ``(n, *event)``.
        rest: further arguments of both, e.g. labels.

    Returns:
        The value drawn at the observed site, ``(n, *event)``.
    """
    probe = poutine.trace(model).get_trace(x, *rest)
    observed = probe.observation_nodes
    if len(observed) != 1:
        raise ConfigError(f"cannot tell which site is the data: expected one observed site, found {observed}")
    plates = {f.name for f in probe.nodes[observed[0]]["cond_indep_stack"] if f.size == len(x)}
    given = poutine.trace(guide).get_trace(x, *rest)
    shared = [
        name
        for name in given.stochastic_nodes
        if not any(f.size == len(x) or f.name in plates for f in given.nodes[name]["cond_indep_stack"])
    ]
    drawn = poutine.trace(poutine.uncondition(poutine.replay(model, trace=_only(given, shared)))).get_trace(x, *rest)
    value: Tensor = drawn.nodes[observed[0]]["value"]
    return value


def draw(model: Callable[..., Any], guide: Callable[..., Any], like: Tensor, n: int, y: Tensor | None) -> Tensor:
    """``n`` data by ``predictive``, in at most ``MOST_DRAWS`` groups with a global draw each.

    Args:
        like: one datum without its batch dimension, for shape, type and device.
        n: how many to draw.
        y: side information with ``n`` rows, or ``None``.
    """
    rows = torch.arange(n).tensor_split(min(n, MOST_DRAWS))
    with torch.no_grad():
        parts = [
            predictive(model, guide, like.new_zeros(len(i), *like.shape), *(() if y is None else (y[i.to(y.device)],)))
            for i in rows
        ]
    drawn = torch.cat(parts)
    # A model may observe flattened data; what it draws is given the shape of what it was shown.
    return drawn.view(n, *like.shape) if drawn.numel() == n * like.numel() else drawn


def _only(trace: poutine.Trace, names: Any) -> poutine.Trace:
    kept = poutine.Trace()
    for name in names:
        kept.add_node(name, **trace.nodes[name])
    return kept
