"""Pyro's losses as one compiled graph: value and gradients in a single call, with no change to model or guide.

``CompiledTrace_ELBO`` stands where ``Trace_ELBO`` or ``JitTrace_ELBO`` stood, in ``pyrogen.SVI`` and in
``pyro.infer.SVI`` alike. Pyro's handlers run once for each shape of the batch; after that, its steps cost what
hand-written compiled code costs. Nothing is trusted before it was compared with the eager loss under the same
random state, and what cannot be compiled runs eagerly, after one line that says why.
"""

import copy
from collections.abc import Collection
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer import ELBO, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from torch import Tensor

from pyrogen.compile.checked_graph import Gradients
from pyrogen.compile.pyro_patches import differentiable
from pyrogen.compile.verified import VerifiedFunction
from pyrogen.errors import ConfigError
from pyrogen.pyro_tools.recorder import SiteRecorder
from pyrogen.random import random_state, set_random_state

REPEATED = (Trace_ELBO, TraceMeanField_ELBO, TraceEnum_ELBO)
"""Losses whose sequential particles are means of independent draws: the graph of one particle is run for each."""


class CompiledELBO(ELBO):
    """A Pyro loss that is computed, value and gradients, by one compiled graph (see ``VerifiedFunction``).

    The first call is eager: lazy guides and ``pyro.param`` statements make their parameters in it.

    Args:
        loss: what to compile: a Pyro ELBO, or any loss with ``differentiable_loss(model, guide, *args)``.
        constant: names of attributes and variables of model and guide that never change (see ``VerifiedFunction``).

    Raises:
        ConfigError: if the loss has not the methods of an ELBO.
    """

    def __init__(self, loss: ELBO, constant: Collection[str] = ()) -> None:
        if not hasattr(loss, "loss_and_grads") and not hasattr(loss, "differentiable_loss"):
            raise ConfigError(f"CompiledELBO takes a Pyro ELBO; a {type(loss).__name__} goes into SVI as it is")
        super().__init__(num_particles=getattr(loss, "num_particles", 1))
        self.eager: Any = loss
        self.constant = constant
        self._verified: dict[Any, VerifiedFunction] = {}
        self._cannot = self.refused

    @property
    def refused(self) -> str | None:
        """Why the loss runs eagerly; ``None`` while it is compiled."""
        name = type(self.eager).__name__
        if name.startswith("Jit"):
            return f"{name} compiles by itself: use {name.removeprefix('Jit')}"
        if not hasattr(self.eager, "differentiable_loss"):
            return f"{name} has no differentiable_loss"
        return next((trusted.refused for trusted in self._verified.values() if trusted.refused), None)

    def loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """The loss without gradients, eagerly: it is called seldom, and in any mode."""
        value: float = self.eager.loss(model, guide, *args, **kwargs)
        return value

    def loss_and_grads(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """Add the gradients to the parameters and return the loss, as ``pyro.infer.SVI`` wants it."""
        found = self.gradients(model, guide, args, kwargs)
        if found is None:
            value: float = self.eager.loss_and_grads(model, guide, *args, **kwargs)
            return value
        found.store(add=True)
        for name in found.noted:
            pyro.param(name)  # for whoever listens: Pyro's SVI finds its parameters so
        return float(found.values[0])

    def __getattr__(self, name: str) -> Any:
        """What else the loss has, such as ``compute_marginals``."""
        if name == "eager":
            raise AttributeError(name)
        return getattr(self.eager, name)

    def gradients(
        self,
        model: Any,
        guide: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        begun: bool = False,
    ) -> Gradients | None:
        """The loss and its gradients by the compiled graph, all on the device; ``None`` to compute them eagerly.

        The second value is the number of data that the loss speaks of; noted are the parameter sites that were met.

        Args:
            model, guide: the pair.
            args, kwargs: their arguments.
            begun: whether the pair has run before, so that its parameters are there.
        """
        if self._cannot:
            return None
        pair = tuple((getattr(f, "__func__", f), id(getattr(f, "__self__", None))) for f in (model, guide))
        trusted = self._verified.get(pair)
        if trusted is None:
            trusted = self._verified[pair] = VerifiedFunction(model, guide, self.eager, constant=self.constant)
        recorder, loss, times = SiteRecorder(), self.eager, 1
        if type(loss) in REPEATED and loss.num_particles > 1 and not loss.vectorize_particles:
            times = loss.num_particles
            loss = copy.copy(loss)
            loss.num_particles = 1

        def value(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, ...]:
            with poutine.block(hide_types=["param"]), recorder:
                result = differentiable(loss, model, guide, args, kwargs)
            return result, torch.full((), float(recorder.count(args)))

        def positional(*args: Any) -> tuple[Tensor, ...]:
            return value(args, {})

        store = pyro.get_param_store()
        function, given = (value, (args, kwargs)) if kwargs else (positional, args)
        found: Gradients | None = None
        before = random_state() if times > 1 else None
        for i in range(times):
            one = trusted(
                *(function, given),
                sites=store._params,
                constraints=store._constraints,
                begun=begun or i > 0,
                note=lambda: frozenset(recorder.params),
            )
            if one is None:
                if before is not None:  # the eager loss draws all particles anew
                    set_random_state(before)
                return None
            found = one if times == 1 else _mean(found, one, times)
        return found

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Any:
        return self.eager._get_trace(model, guide, args, kwargs)


def _mean(before: Gradients | None, one: Gradients, times: int) -> Gradients:
    """Add one of ``times`` particles to the mean of all."""
    values = [value / times for value in one.values]
    gradients = [gradient / times for gradient in one.gradients]  # new memory: a replayed graph writes over its own
    if before is not None:
        torch._foreach_add_(values, list(before.values))
        torch._foreach_add_(gradients, list(before.gradients))
    return Gradients(tuple(values), one.weights, gradients, one.noted)


class CompiledTrace_ELBO(CompiledELBO):  # noqa: N801 (Pyro's form of the name)
    """``Trace_ELBO``, compiled; takes the same arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(Trace_ELBO(*args, **kwargs))
