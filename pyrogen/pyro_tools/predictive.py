"""Draw new data from a Pyro pair."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from pyrogen.errors import ConfigError
from pyrogen.random import scoped_seed

MOST_DRAWS = 64
"""How many draws of the global latent variables one sample of many data is spread over."""
ROWS_LOOKED_AT = 3
"""How many rows are drawn to see whether a program reads what it observes."""


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
    observed = [
        name
        for name in probe.observation_nodes
        if not probe.nodes[name]["infer"].get("_deterministic") and type(probe.nodes[name]["fn"]).__name__ != "Unit"
    ]
    if len(observed) != 1:
        raise ConfigError(f"cannot tell which site is the data: expected one observed site, found {observed}")
    twice = poutine.trace(model).get_trace(*(torch.cat([t, t]) for t in (x, *rest)))
    sizes = {f.name: f.size for f in twice.nodes[observed[0]]["cond_indep_stack"]}
    plates = {f.name for f in probe.nodes[observed[0]]["cond_indep_stack"] if sizes[f.name] == 2 * f.size}
    given = poutine.trace(guide).get_trace(x, *rest)
    shared = [
        name
        for name in given.stochastic_nodes
        if not any(f.name in plates for f in given.nodes[name]["cond_indep_stack"])
    ]
    drawn = poutine.trace(poutine.uncondition(poutine.replay(model, trace=_only(given, shared)))).get_trace(x, *rest)
    site = drawn.nodes[observed[0]]
    value: Tensor = site["value"]
    dims = [f.dim - len(site["fn"].event_shape) for f in site["cond_indep_stack"] if f.vectorized and f.name in plates]
    value = value.movedim(dims[0], 0) if dims else value
    # A model may observe flattened data; what it draws is given the shape of what it was shown.
    return value.reshape(x.shape) if value.numel() == x.numel() else value


def draw(model: Callable[..., Any], guide: Callable[..., Any], like: Tensor, n: int, y: Tensor | None) -> Tensor:
    """``n`` data by ``predictive``, in at most ``MOST_DRAWS`` groups with a global draw each.

    The networks should be in evaluation mode.

    Args:
        like: one datum without its batch dimension, for shape, type and device.
        n: how many to draw.
        y: side information with ``n`` rows, or ``None``.

    Raises:
        ConfigError: if the program reads the values of its first argument, of which nothing is known here.
    """
    with torch.no_grad():
        _check_unread(model, guide, like, () if y is None else (y[: min(n, ROWS_LOOKED_AT)],), min(n, ROWS_LOOKED_AT))
    rows = torch.arange(n).tensor_split(min(n, MOST_DRAWS))
    with torch.no_grad():
        parts = [
            predictive(model, guide, like.new_zeros(len(i), *like.shape), *(() if y is None else (y[i.to(y.device)],)))
            for i in rows
        ]
    return torch.cat(parts)


def _check_unread(model: Callable[..., Any], guide: Callable[..., Any], like: Tensor, rest: Any, n: int) -> None:
    """Refuse a program whose draws change with the values of ``x``, under one seed and all else equal."""
    with scoped_seed(0):
        expected = predictive(model, guide, like.new_zeros(n, *like.shape), *rest)
    for i, x in enumerate(_templates(like, n)):
        try:
            with scoped_seed(0):
                drawn = predictive(model, guide, x, *rest)
        except Exception as error:
            if i == 0:  # values between 0 and 1 suit most programs; others may be out of a range that one asserts
                raise _reading(model) from error
            continue
        if drawn.shape != expected.shape:
            raise _reading(model)
        # What is merely multiplied by zero, `x * 0`, turns NaN into NaN.
        told = drawn.isnan() & x.isnan().any() & ~expected.isnan()
        if not torch.equal(torch.where(told, expected, drawn).nan_to_num(), expected.nan_to_num()):
            raise _reading(model)


def _templates(like: Tensor, n: int) -> Iterator[Tensor]:
    """Values of the type of the data to set against zeros."""
    shape = (n, *like.shape)
    if not like.is_floating_point():
        yield like.new_ones(shape)
        return
    with scoped_seed(1):
        yield like.new_empty(shape).uniform_()
        yield like.new_empty(shape).normal_(0.0, 10.0)
    yield like.new_full(shape, torch.nan)


def _reading(model: Callable[..., Any]) -> ConfigError:
    parameters = list(inspect.signature(getattr(model, "forward", model)).parameters.values())
    named = parameters and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL
    name = f"its argument {parameters[0].name!r}" if named else "its first argument"
    return ConfigError(
        f"cannot sample: the model reads the values of {name} beside observing them, and there are none to give; "
        f"give the model's class a `sample(n, y)` of its own, or pass what is known beforehand as y"
    )


def _only(trace: poutine.Trace, names: Any) -> poutine.Trace:
    kept = poutine.Trace()
    for name in names:
        kept.add_node(name, **trace.nodes[name])
    return kept
