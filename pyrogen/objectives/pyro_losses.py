"""Conversion of the losses that ``SVI`` accepts to the interface of a Pyro ELBO."""

from collections.abc import Callable
from typing import Any

from pyrogen.errors import ConfigError


class FunctionLoss:
    """A function ``loss(model, guide, *args, **kwargs)`` with the interface of a Pyro ELBO.

    Args:
        function: returns a scalar tensor, which is differentiated.
        loss_and_grads: if given, it is called instead of differentiating ``function``: it returns the loss and
            accumulates its gradients in the parameters.
    """

    def __init__(self, function: Callable[..., Any], loss_and_grads: Callable[..., Any] | None = None) -> None:
        self.loss = function
        if loss_and_grads is None:
            self.differentiable_loss = function
        else:
            self.loss_and_grads = loss_and_grads


def as_loss(loss: Any, loss_and_grads: Callable[..., Any] | None = None) -> Any:
    """The loss as an object with the methods of a Pyro ELBO.

    Args:
        loss: a Pyro ELBO, any object with ``loss`` and ``differentiable_loss`` or ``loss_and_grads``, or a function
            ``loss(model, guide, *args, **kwargs)``.
        loss_and_grads: as for ``FunctionLoss``, for a function.

    Raises:
        ConfigError: if it is none of these.
    """
    if hasattr(loss, "loss") and (hasattr(loss, "differentiable_loss") or hasattr(loss, "loss_and_grads")):
        return loss
    if callable(loss):
        return FunctionLoss(loss, loss_and_grads)
    raise ConfigError(f"loss must be a Pyro ELBO or a function loss(model, guide, *args); got {type(loss).__name__}")
