"""A fit without gradients as a step, so that what is known in closed form goes through the same loop."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pyrogen.nn.eval_mode import eval_mode
from pyrogen.pyro_tools.parameters import assign


class ClosedForm:
    """The first call fits the model to all the training data; later ones find nothing left to learn.

    Args:
        model: it takes the fitted weights.
        fit: makes a fitted model of the same form.
        loss: ``loss(x) -> scalar``; by default the negative log-likelihood in nats per datum, by ``model.log_prob``.
    """

    def __init__(
        self, model: nn.Module, fit: Callable[[], nn.Module], loss: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.network, self.fit, self.fitted = model, fit, False
        self.loss = loss or self._nats

    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """Fit at the first call; return the loss of the batch."""
        if not self.fitted:
            self.network.load_state_dict(self.fit().state_dict())
            self.fitted = True
        return self.evaluate(*batch)

    def evaluate(self, *batch: Tensor) -> dict[str, Tensor]:
        """The loss of the batch."""
        with torch.no_grad(), eval_mode(self.network):
            return {"loss": self.loss(batch[0])}

    def _nats(self, x: Tensor) -> Tensor:
        log_prob: Any = self.network.log_prob
        nats: Tensor = -log_prob(x).mean()
        return nats

    def state_dict(self) -> dict[str, Any]:
        """The weights, and whether they are the fitted ones."""
        return {"weights": self.network.state_dict(), "fitted": self.fitted}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back ``state_dict``.

        Raises:
            KeyError: if the weights are not those of this model.
        """
        assign(dict(self.network.state_dict(keep_vars=True)), state["weights"])
        self.fitted = state["fitted"]
