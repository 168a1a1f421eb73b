"""Pyro's losses as one compiled graph: value and gradients in a single call, with no change to model or guide.

``CompiledTrace_ELBO`` stands where ``Trace_ELBO`` or ``JitTrace_ELBO`` stood, in ``pyrogen.SVI`` and in
``pyro.infer.SVI`` alike. Pyro's handlers run once for each shape of the batch; after that, its steps cost what
hand-written compiled code costs. Nothing is trusted before it was compared with the eager loss under the same
random state, and what cannot be compiled runs eagerly, after one line that says why.
"""

from typing import Any

import pyro
from pyro import poutine
from pyro.infer import ELBO, Trace_ELBO
from torch import Tensor

from pyrogen.infer.tracing import differentiable
from pyrogen.infer.trusted import Gradients, Trusted


class CompiledELBO(ELBO):
    """A Pyro loss that is computed, value and gradients, by one compiled graph (see ``Trusted``).

    The first call is eager: lazy guides and ``pyro.param`` statements make their parameters in it.

    Args:
        loss: what to compile: a Pyro ELBO, or any loss with ``differentiable_loss(model, guide, *args)``.
    """

    def __init__(self, loss: ELBO) -> None:
        super().__init__(num_particles=getattr(loss, "num_particles", 1))
        self.eager: Any = loss
        self._trusted: dict[Any, Trusted] = {}

    @property
    def refused(self) -> str | None:
        """Why the loss runs eagerly; ``None`` while it is compiled."""
        if not hasattr(self.eager, "differentiable_loss"):
            return f"{type(self.eager).__name__} has no differentiable_loss"
        return next((trusted.refused for trusted in self._trusted.values() if trusted.refused), None)

    def loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """The loss without gradients, eagerly: it is called seldom, and in any mode."""
        value: float = self.eager.loss(model, guide, *args, **kwargs)
        return value

    def loss_and_grads(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """Add the gradients to the parameters and return the loss, as ``pyro.infer.SVI`` wants it."""
        found = self.gradients(model, guide, *args, **kwargs)
        if found is None:
            value: float = self.eager.loss_and_grads(model, guide, *args, **kwargs)
            return value
        found.store(add=True)
        trained = {id(weight) for weight in found.weights}
        for name, site in list(pyro.get_param_store()._params.items()):
            if id(site) in trained:
                pyro.param(name)  # for whoever listens: Pyro's SVI finds its parameters so
        return float(found.values[0])

    def differentiable_loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Tensor:
        """The loss as a tensor to differentiate, eagerly."""
        return differentiable(self.eager, model, guide, args, kwargs)

    def gradients(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Gradients | None:
        """The loss and its gradients by the compiled graph, all on the device; ``None`` to compute them eagerly."""
        if not hasattr(self.eager, "differentiable_loss"):
            return None
        pair = tuple((getattr(f, "__func__", f), id(getattr(f, "__self__", None))) for f in (model, guide))
        trusted = self._trusted.get(pair)
        if trusted is None:
            trusted = self._trusted[pair] = Trusted(model, guide, self.eager)

        def value(*xs: Any) -> tuple[Tensor]:
            with poutine.block(hide_types=["param"]):
                return (differentiable(self.eager, model, guide, xs, kwargs),)

        sites = tuple(map(id, pyro.get_param_store()._params.values()))
        return trusted(value, args, around=(sites, *sorted(kwargs.items())))

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Any:
        return self.eager._get_trace(model, guide, args, kwargs)


class CompiledTrace_ELBO(CompiledELBO):  # noqa: N801 (Pyro's form of the name)
    """``Trace_ELBO``, compiled; takes the same arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(Trace_ELBO(*args, **kwargs))
