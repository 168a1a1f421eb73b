"""Predictive samples from a Pyro pair."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from pyrogen.errors import ConfigError
from pyrogen.random import scoped_seed

MAX_GLOBAL_DRAWS = 64
"""The most draws of global latent variables that one call of ``sample_predictive`` uses."""
PROBE_ROWS = 3
"""The rows drawn to check whether a program reads the values of its observed argument."""


def predictive(model: Callable[..., Any], guide: Callable[..., Any], x: Tensor, *rest: Any) -> Tensor:
    """Draw one datum for each row of ``x``.

    Local latent variables (inside the data plate) are drawn from the model's prior, global ones (outside) from the
    guide, so that a Bayesian model gives its posterior predictive.

    Args:
        model: a Pyro program with ``x`` observed at one site.
        guide: its guide, possibly empty.
        x: a template batch, ``(n, *event)``; only shape, dtype and device are used.
        rest: further arguments of both, e.g. labels.

    Returns:
        The value drawn at the observed site, ``(n, *event)``.

    Raises:
        ConfigError: if the model does not have exactly one observed site.
    """
    probe = poutine.trace(model).get_trace(x, *rest)
    observed = [
        name
        for name in probe.observation_nodes
        if not probe.nodes[name]["infer"].get("_deterministic") and type(probe.nodes[name]["fn"]).__name__ != "Unit"
    ]
    if len(observed) != 1:
        raise ConfigError(f"expected one observed site, the data; found {observed}")
    doubled = poutine.trace(model).get_trace(*(torch.cat([t, t]) for t in (x, *rest)))
    sizes = {f.name: f.size for f in doubled.nodes[observed[0]]["cond_indep_stack"]}
    plates = {f.name for f in probe.nodes[observed[0]]["cond_indep_stack"] if sizes[f.name] == 2 * f.size}
    given = poutine.trace(guide).get_trace(x, *rest)
    shared = [
        name
        for name in given.stochastic_nodes
        if not any(f.name in plates for f in given.nodes[name]["cond_indep_stack"])
    ]
    drawn = poutine.trace(poutine.uncondition(poutine.replay(model, trace=_subtrace(given, shared)))).get_trace(
        x, *rest
    )
    site = drawn.nodes[observed[0]]
    value: Tensor = site["value"]
    dims = [f.dim - len(site["fn"].event_shape) for f in site["cond_indep_stack"] if f.vectorized and f.name in plates]
    value = value.movedim(dims[0], 0) if dims else value
    # A model may observe flattened data: restore the shape of the template.
    return value.reshape(x.shape) if value.numel() == x.numel() else value


def sample_predictive(
    model: Callable[..., Any], guide: Callable[..., Any], like: Tensor, n: int, y: Tensor | None
) -> Tensor:
    """Draw ``n`` data by ``predictive``, in up to ``MAX_GLOBAL_DRAWS`` groups that share their global latent variables.

    The networks should be in evaluation mode.

    Args:
        model, guide: as for ``predictive``.
        like: a template datum without batch dimension; only shape, dtype and device are used.
        n: the number of samples.
        y: side information with ``n`` rows, or ``None``.

    Returns:
        The samples, ``(n, *event)``.

    Raises:
        ConfigError: if the program's draws depend on the values of its first argument, for which none are available.
    """
    with torch.no_grad():
        _check_values_unused(model, guide, like, () if y is None else (y[: min(n, PROBE_ROWS)],), min(n, PROBE_ROWS))
    rows = torch.arange(n).tensor_split(min(n, MAX_GLOBAL_DRAWS))
    with torch.no_grad():
        parts = [
            predictive(model, guide, like.new_zeros(len(i), *like.shape), *(() if y is None else (y[i.to(y.device)],)))
            for i in rows
        ]
    return torch.cat(parts)


def _check_values_unused(model: Callable[..., Any], guide: Callable[..., Any], like: Tensor, rest: Any, n: int) -> None:
    """Raise if draws under one seed depend on the values of ``x``."""
    with scoped_seed(0):
        expected = predictive(model, guide, like.new_zeros(n, *like.shape), *rest)
    for i, x in enumerate(_templates(like, n)):
        try:
            with scoped_seed(0):
                drawn = predictive(model, guide, x, *rest)
        except Exception as error:
            if i == 0:  # values in [0, 1] are valid for most programs; others may violate an assertion
                raise _reads_values_error(model) from error
            continue
        if drawn.shape != expected.shape:
            raise _reads_values_error(model)
        # `x * 0` does not depend on the values of x, but is NaN where x is.
        only_nan = drawn.isnan() & x.isnan().any() & ~expected.isnan()
        if not torch.equal(torch.where(only_nan, expected, drawn).nan_to_num(), expected.nan_to_num()):
            raise _reads_values_error(model)


def _templates(like: Tensor, n: int) -> Iterator[Tensor]:
    """Yield batches of the data's dtype with values other than zeros."""
    shape = (n, *like.shape)
    if not like.is_floating_point():
        yield like.new_ones(shape)
        return
    with scoped_seed(1):
        yield like.new_empty(shape).uniform_()
        yield like.new_empty(shape).normal_(0.0, 10.0)
    yield like.new_full(shape, torch.nan)


def _reads_values_error(model: Callable[..., Any]) -> ConfigError:
    parameters = list(inspect.signature(getattr(model, "forward", model)).parameters.values())
    named = parameters and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL
    name = f"its argument {parameters[0].name!r}" if named else "its first argument"
    return ConfigError(
        f"cannot sample: the model reads the values of {name} besides observing them, and none are available; "
        f"define `sample(n, y)` on the model's class, or pass known inputs as y"
    )


def _subtrace(trace: poutine.Trace, names: Any) -> poutine.Trace:
    subtrace = poutine.Trace()
    for name in names:
        subtrace.add_node(name, **trace.nodes[name])
    return subtrace
