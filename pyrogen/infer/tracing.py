"""Pyro's losses without a look at any value, so that a graph can be made of them.

Pyro reads the loss as a number, warns of NaN, validates what it samples, and leaves impossible values of enumerated
sites out of a sum. None of that is arithmetic of the loss, and each asks for a value that a graph does not have yet.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import pyro
import torch
from pyro.infer import trace_elbo, trace_mean_field_elbo, traceenum_elbo, tracegraph_elbo
from pyro.infer.util import Dice
from torch import Tensor
from torch.distributions import Distribution


def differentiable(loss: Any, model: Any, guide: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """``loss.differentiable_loss(model, guide, *args)`` with its value left on the device."""
    with ExitStack() as stack:
        for module in (trace_elbo, trace_mean_field_elbo, traceenum_elbo, tracegraph_elbo):
            for name in ("torch_item", "warn_if_nan"):
                if hasattr(module, name):
                    stack.enter_context(patch.object(module, name, _left))
        value: Tensor = loss.differentiable_loss(model, guide, *args, **kwargs)
    return value


@contextmanager
def unchecked() -> Iterator[None]:
    """No validation, by arguments, by samples or by structure, inside."""
    with ExitStack() as stack:
        stack.enter_context(pyro.validation_enabled(False))
        stack.enter_context(patch.object(Distribution, "_validate_sample", lambda *_: None))
        # Pyro skips its own checks where torch says that it is being traced.
        stack.enter_context(patch.object(torch._C, "_get_tracing_state", lambda: True))
        stack.enter_context(patch.object(Dice, "compute_expectation", _expectation))
        yield


_compute_expectation = Dice.compute_expectation


def _expectation(self: Any, costs: Any) -> Any:
    """Impossible values add zero to the sum, where Pyro selects the possible ones."""
    with patch.object(Tensor, "masked_select", lambda x, mask: torch.where(mask, x, torch.zeros_like(x))):
        return _compute_expectation(self, costs)


def _left(value: Any, *_: Any, **__: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value
