"""What a likelihood is of: x, x given side information y, or the hidden part of x given the rest."""

from typing import Any

import pyro
import torch
from torch import Tensor

from pyrogen.measure.likelihood import log_weights
from pyrogen.nn.conditions import Label
from pyrogen.protocols import Pair
from pyrogen.pyro_tools.programs import arity, drop_extra_args
from pyrogen.pyro_tools.structure import programs
from pyrogen.random import derive, generator, scoped_seed

GIVEN_Y = "log p(x | y)"
GIVEN_PART = "log p(x_hidden | x_observed)"
_ROWS = 64


def conditional_target(model: Any, x: Tensor, *rest: Tensor) -> str | None:
    """What a model's likelihood of x is of, if it is not ``log p(x)``: ``GIVEN_Y``, ``GIVEN_PART`` or ``None``.

    A model that takes y need not use it, nor does a bound become one on ``log p(x | y)`` where only the guide uses it.
    So the values of some data are compared with those under the y of other data, and the same draws of the guide.

    Args:
        model: a density or a Pyro pair.
        x: the data, ``(n, *event)``.
        rest: side information with as many rows.
    """
    log_prob = getattr(model, "log_prob", None)
    program = log_prob if callable(log_prob) else getattr(model, "model", None)
    if not rest or not callable(program) or isinstance(getattr(model, "condition", None), Label) or arity(program) < 2:
        return None
    y = rest[0]
    if y.shape == x.shape and y.is_floating_point() and y.isnan().any():
        return GIVEN_PART
    order = torch.randperm(len(x), generator=generator(0, "labels")).to(x.device)
    rows, others = order[:_ROWS], order.roll(1)[:_ROWS]
    if torch.equal(y[rows], y[others]):  # of one y alone nothing can be told
        return GIVEN_Y
    given, swapped = [t[rows] for t in rest], [t[others] for t in rest]
    try:
        if callable(log_prob):
            same = torch.equal(*(_drawn_alike(drop_extra_args(log_prob), x[rows], *z) for z in (given, swapped)))
        else:
            pair: Any = _Relabelled(model, len(rest))
            same = torch.equal(*(_drawn_alike(_weights, pair, x[rows], *given, *z) for z in (given, swapped)))
    except Exception:  # a program that does not accept another y uses it
        return GIVEN_Y
    return None if same else GIVEN_Y


class _Relabelled:
    """A pair whose guide gets the first ``n`` tensors of side information, and whose model the others."""

    def __init__(self, pair: Pair, n: int) -> None:
        model, guide = programs(pair)
        self.model = lambda x, *rest: model(x, *rest[n:])
        self.guide = lambda x, *rest: guide(x, *rest[:n])


def _weights(pair: Pair, *batch: Tensor) -> Tensor:
    store = pyro.get_param_store()
    with store.scope(store.get_state()):
        return log_weights(pair, *batch)


def _drawn_alike(function: Any, *args: Any) -> Tensor:
    with torch.no_grad(), scoped_seed(derive(0, "labels")):
        value: Tensor = function(*args)
        return value
