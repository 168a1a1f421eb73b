"""A closed-form fit with the interface of a step, so that ``pyrogen.fit`` trains such models too."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pyrogen.errors import DataError, Diverged
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.pyro_tools.parameters import assign
from pyrogen.steps.guard import check_finite_update
from pyrogen.steps.locate import LossTerm
from pyrogen.steps.origins import is_finite
from pyrogen.summary import Facts, Summarised


class ClosedForm(Summarised):
    """The first call fits the model to all training data; later calls change nothing.

    Args:
        model: the fitted weights are copied into it.
        fit: ``fit() -> model`` of the same architecture, fitted.
        loss: ``loss(x) -> scalar``; by default the negative log-likelihood in nats per datum, by ``model.log_prob``.
    """

    def __init__(
        self, model: nn.Module, fit: Callable[[], nn.Module], loss: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.network, self.fit, self.fitted, self.t = model, fit, False, 0
        self.loss = loss or self._nats

    def summary(self) -> tuple[str, Facts]:
        """The model, and whether it is fitted."""
        return "ClosedForm", {"model": type(self.network).__name__, "fitted": self.fitted}

    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """Fit at the first call; return the loss of the batch, ``{"loss": scalar}``.

        Raises:
            DataError: if the data cannot be fitted.
            Diverged: if a fitted weight, in place of taking it, or the loss is not finite.
        """
        if not self.fitted:
            try:
                state = self.fit().state_dict()
            except DataError as error:
                raise DataError(f"step 1, closed-form fit to all training data: {error}") from error
            for name, weight in state.items():
                if not is_finite(weight):
                    raise Diverged(f"step 1: the fit of {name} is not finite")
            self.network.load_state_dict(state)
            self.fitted = True
        self.t += 1
        logs = self.evaluate(*batch)
        check_finite_update(logs.values(), (), self.t)
        return logs

    def evaluate(self, *batch: Tensor) -> dict[str, Tensor]:
        """The loss of the batch in evaluation mode, ``{"loss": scalar}``."""
        with torch.no_grad(), eval_mode(self.network):
            return {"loss": self.loss(batch[0])}

    def loss_terms(self, *batch: Tensor) -> Iterator[LossTerm]:
        """The loss on the batch; see ``steps.locate``."""
        yield LossTerm("loss", self.evaluate(*batch)["loss"], {})

    def _nats(self, x: Tensor) -> Tensor:
        log_prob: Any = self.network.log_prob
        nats: Tensor = -log_prob(x).mean()
        return nats

    def state_dict(self) -> dict[str, Any]:
        """The weights, and whether they have been fitted."""
        return {"weights": self.network.state_dict(), "fitted": self.fitted}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned.

        Raises:
            KeyError: if the weights are not those of this model.
        """
        assign(dict(self.network.state_dict(keep_vars=True)), state["weights"])
        self.fitted = state["fitted"]
