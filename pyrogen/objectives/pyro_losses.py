"""The losses that ``SVI`` takes, in one form: a Pyro ELBO, an object with ``loss_and_grads``, or a plain function."""

from collections.abc import Callable
from typing import Any

from pyrogen.errors import ConfigError


class FunctionLoss:
    """A plain function ``loss(model, guide, *args, **kwargs)`` in the form of a Pyro ELBO.

    Args:
        function: returns a scalar tensor, which is differentiated.
        loss_and_grads: computes the loss and adds its gradients to the parameters, in place of differentiation.
    """

    def __init__(self, function: Callable[..., Any], loss_and_grads: Callable[..., Any] | None = None) -> None:
        self.loss = function
        if loss_and_grads is None:
            self.differentiable_loss = function
        else:
            self.loss_and_grads = loss_and_grads


def as_loss(loss: Any, loss_and_grads: Callable[..., Any] | None = None) -> Any:
    """The loss with Pyro's methods.

    Raises:
        ConfigError: if it is neither a loss of Pyro's form nor a function.
    """
    if hasattr(loss, "loss") and (hasattr(loss, "differentiable_loss") or hasattr(loss, "loss_and_grads")):
        return loss
    if callable(loss):
        return FunctionLoss(loss, loss_and_grads)
    raise ConfigError(f"loss must be a Pyro ELBO or a function loss(model, guide, *args); got {type(loss).__name__}")
