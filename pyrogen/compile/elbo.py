"""Pyro's losses as one compiled graph: value and gradients in a single call, without changes to model or guide.

``CompiledTrace_ELBO`` replaces ``Trace_ELBO`` or ``JitTrace_ELBO``, in ``pyrogen.SVI`` and in ``pyro.infer.SVI``
alike. Pyro's handlers run once for each batch shape; after that a step costs as much as hand-written compiled code.
A graph is compared with the eager loss under the same random state before it is used. A loss that cannot be compiled
runs eagerly, and one logged line gives the reason.
"""

import copy
from collections.abc import Collection
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer import ELBO, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from torch import Tensor

from pyrogen.compile.checked_graph import Gradients, Update
from pyrogen.compile.library_checks import differentiable_loss
from pyrogen.compile.verified import VerifiedFunction
from pyrogen.errors import ConfigError
from pyrogen.pyro_tools.recorder import SiteRecorder
from pyrogen.random import random_state, set_random_state

AVERAGED_PARTICLES = (Trace_ELBO, TraceMeanField_ELBO, TraceEnum_ELBO)
"""Losses that are means over independent particles: the graph of one particle runs once per particle."""


class CompiledELBO(ELBO):
    """A Pyro loss whose value and gradients are computed by one compiled graph (see ``VerifiedFunction``).

    The first call is eager, so that lazy guides and ``pyro.param`` statements create their parameters eagerly.

    Args:
        loss: a Pyro ELBO, or any loss with ``differentiable_loss(model, guide, *args)``.
        constant: names of attributes and variables of model and guide that never change (see ``VerifiedFunction``).

    Raises:
        ConfigError: if the loss has neither ``loss_and_grads`` nor ``differentiable_loss``.
    """

    def __init__(self, loss: ELBO, constant: Collection[str] = ()) -> None:
        if not hasattr(loss, "loss_and_grads") and not hasattr(loss, "differentiable_loss"):
            raise ConfigError(f"CompiledELBO expects a Pyro ELBO; pass a {type(loss).__name__} directly to SVI")
        super().__init__(num_particles=getattr(loss, "num_particles", 1))
        self.eager: Any = loss
        self.constant = constant
        self._verified: dict[Any, VerifiedFunction] = {}
        self._unsupported = self.refused

    @property
    def refused(self) -> str | None:
        """The reason why the loss runs eagerly; ``None`` while it is compiled."""
        name = type(self.eager).__name__
        if name.startswith("Jit"):
            return f"{name} has its own compiler: use {name.removeprefix('Jit')}"
        if not hasattr(self.eager, "differentiable_loss"):
            return f"{name} has no differentiable_loss"
        return next((verified.refused for verified in self._verified.values() if verified.refused), None)

    def loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """Return the loss without gradients, computed eagerly."""
        value: float = self.eager.loss(model, guide, *args, **kwargs)
        return value

    def loss_and_grads(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """Add the gradients to ``param.grad`` and return the loss, as ``pyro.infer.SVI`` expects."""
        found = self.gradients(model, guide, args, kwargs)
        if found is None:
            value: float = self.eager.loss_and_grads(model, guide, *args, **kwargs)
            return value
        found.store(add=True)
        for name in found.param_sites:
            pyro.param(name)  # Pyro's SVI records the sites that it sees here as its parameters
        return float(found.values[0])

    def __getattr__(self, name: str) -> Any:
        """Forward other attributes, such as ``compute_marginals``, to the loss."""
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
        update: Update | None = None,
    ) -> Gradients | None:
        """Compute the loss and its gradients by the compiled graph; ``None`` if they must be computed eagerly.

        The second value is the number of data that the loss refers to. All results stay on the device.

        Args:
            model, guide: the pair.
            args, kwargs: their arguments.
            begun: whether the pair has run before, so that its parameters exist.
            update: an update of the weights to be made by the graph, if it can be part of it.
        """
        if self._unsupported:
            return None
        pair = tuple((getattr(f, "__func__", f), id(getattr(f, "__self__", None))) for f in (model, guide))
        verified = self._verified.get(pair)
        if verified is None:
            verified = self._verified[pair] = VerifiedFunction(model, guide, self.eager, constant=self.constant)
        recorder, loss, times = SiteRecorder(), self.eager, 1
        if type(loss) in AVERAGED_PARTICLES and loss.num_particles > 1 and not loss.vectorize_particles:
            times = loss.num_particles
            loss = copy.copy(loss)
            loss.num_particles = 1

        def value(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, ...]:
            with poutine.block(hide_types=["param"]), recorder:
                result = differentiable_loss(loss, model, guide, args, kwargs)
            return result, torch.full((), float(recorder.count(args)))

        def positional(*args: Any) -> tuple[Tensor, ...]:
            return value(args, {})

        store = pyro.get_param_store()
        function, given = (value, (args, kwargs)) if kwargs else (positional, args)
        found: Gradients | None = None
        before = random_state() if times > 1 else None
        for i in range(times):
            one = verified(
                *(function, given),
                sites=store._params,
                constraints=store._constraints,
                begun=begun or i > 0,
                update=update if times == 1 else None,
                get_param_sites=lambda: frozenset(recorder.params),
            )
            if one is None:
                if before is not None:  # the eager loss redraws all particles
                    set_random_state(before)
                return None
            found = one if times == 1 else _mean(found, one, times)
        return found

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Any:
        return self.eager._get_trace(model, guide, args, kwargs)


def _mean(before: Gradients | None, one: Gradients, times: int) -> Gradients:
    """Add one of ``times`` particles to the running mean."""
    values = [value / times for value in one.values]
    gradients = [gradient / times for gradient in one.gradients]  # new memory: a CUDA graph overwrites its outputs
    if before is not None:
        torch._foreach_add_(values, list(before.values))
        torch._foreach_add_(gradients, list(before.gradients))
    return Gradients(tuple(values), one.weights, gradients, one.param_sites)


class CompiledTrace_ELBO(CompiledELBO):  # noqa: N801 (Pyro's form of the name)
    """A compiled ``Trace_ELBO`` with the same arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(Trace_ELBO(*args, **kwargs))
