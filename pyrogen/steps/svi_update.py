"""The update behind ``SVI``: parameters of a pair of programs, their optimiser, and the state of both."""

import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from pyro.nn import PyroModule
from torch import Tensor

from pyrogen.compile.checked_graph import Gradients
from pyrogen.compile.elbo import CompiledELBO
from pyrogen.compile.verified import should_compile
from pyrogen.errors import ConfigError
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.objectives.shared_plates import plates_of_batch
from pyrogen.pyro_tools import template
from pyrogen.pyro_tools.parameters import assign, leaves
from pyrogen.pyro_tools.programs import Program
from pyrogen.pyro_tools.recorder import SiteRecorder
from pyrogen.random import random_state, scoped_seed, set_random_state
from pyrogen.steps.guard import Guard
from pyrogen.steps.optimizers import NamedOptimizer
from pyrogen.steps.trained_parameters import TrainedParameters

log = logging.getLogger(__name__)

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class SVIUpdate:
    """The parameters of a pair and their optimiser; the implementation of ``SVI``.

    Parameters are created lazily: a guide or a ``pyro.param`` site may create them on the first batch. A state that is
    loaded before they can be created is kept as pending until a batch is seen.

    Args:
        model, guide: the pair.
        compiled: its loss.
        optim, schedule, clip_norm: as for ``NamedOptimizer``.
        shared: whether the sites are kept in Pyro's global parameter store.

    Attributes:
        trained: the parameters.
        t: the number of steps taken.
        guard: prevents updates by values that are not finite.
        template: a description of the first batch, saved in checkpoints; ``None`` before it.
    """

    def __init__(
        self,
        model: Program,
        guide: Program,
        compiled: CompiledELBO,
        optim: Any,
        schedule: Any,
        clip_norm: float | None,
        shared: bool,
    ) -> None:
        self.model, self.guide, self.compiled = model, guide, compiled
        self.optimizer = NamedOptimizer(optim, schedule, clip_norm)
        self.trained = TrainedParameters(model, guide, compiled.eager, shared)
        self._pending: dict[str, Any] | None = None
        self._refused: str | None = None
        self.template: dict[str, Any] | None = None
        self.t = 0
        self.guard = Guard()
        self._known_model = self._registered  # one object for all calls: a loss may cache by identity

    def step(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], compile: bool | None, lenient: bool = False
    ) -> tuple[Any, Any]:
        """Update the parameters once; return the loss before the update and the number of data it sums over.

        Args:
            args, kwargs, compile: as for ``SVI``.
            lenient: whether a step without trainable parameters is allowed, as in Pyro, instead of an error.
        """
        found = None if kwargs else self.optimizer.in_graph.again(args)
        loss: Any
        count: Any
        if found is None:
            found, loss, count = self._compute(args, kwargs, compile, lenient)
        else:
            found.store()
            loss, count = found.values
        if self.optimizer.in_graph.finish(found, args, self.t + 1):
            self.optimizer.step_schedule()
        elif self.optimizer.optimizer is not None:
            losses = loss if isinstance(loss, tuple) else (loss,)
            self.guard.update(self.optimizer.optimizer, losses, self.t + 1, self.optimizer.step)
        self.t += 1
        return loss, count

    def _compute(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], compile: bool | None, lenient: bool
    ) -> tuple[Gradients | None, Any, Any]:
        """What the graph returned, if there is one; the loss; the number of data. Gradients are in ``.grad``."""
        self.setup_pending(args, kwargs)
        optimizer = self.optimizer.optimizer
        (optimizer or self.trained).zero_grad()  # another step may have left gradients on shared weights
        found: Gradients | None = None
        loss: Any
        count: Any
        with torch.enable_grad(), self.trained.sites, self._plates(args):
            if optimizer is not None and self._refused is None and should_compile(compile, self.t):
                update = self.optimizer.next_in_graph(self.guard)
                found = self.compiled.gradients(self.model, self.guide, args, kwargs, self.t > 0, update)
            if found is not None:
                self._extend(found.weights)
                found.store()
                (loss, count), met = found.values, found.param_sites
            else:
                with SiteRecorder() as recorder:
                    loss = self._eager(args, kwargs, lenient)
                count, met = recorder.count(args), recorder.params
            self.optimizer.complete(self.trained.sites.params, met)
        return found, loss, count

    def _plates(self, args: tuple[Any, ...]) -> AbstractContextManager[object]:
        return plates_of_batch(self.compiled.eager, self.model, self.guide, args)

    def loss(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], grad: bool = False
    ) -> tuple[Any, int]:
        """``function(model, guide, *args, **kwargs)`` and the number of data it sums over; with a graph if ``grad``."""
        self.setup_pending(args, kwargs)
        with torch.set_grad_enabled(grad), self.trained.sites, SiteRecorder() as recorder:
            loss = function(self.model, self.guide, *args, **kwargs)
        return loss, recorder.count(args)

    def run(self, program: Program, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """``program(*args, **kwargs)`` with the values of the trained sites."""
        self.setup_pending(args, kwargs)
        with self.trained.sites:
            return program(*args, **kwargs)

    def setup(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Create the parameters and the optimiser without an update, and restore a pending state."""
        self.setup_pending(args, kwargs)
        if self.optimizer.optimizer is None:
            with scoped_seed(0), torch.enable_grad(), self.trained.sites:
                self._eager(args, kwargs)
            assert self.optimizer.optimizer is not None
            self.optimizer.optimizer.zero_grad()

    def setup_pending(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Restore a pending state, now that a batch is known."""
        if self._pending is not None:
            self._restore(self._pending, (args, kwargs))

    def require_state(self) -> None:
        """Raise ``ConfigError`` if a loaded state is pending."""
        if self._pending is not None:
            raise ConfigError(f"the restored step needs one batch, `step.setup(*batch)`, first: {self._why_pending}")

    def _eager(self, args: tuple[Any, ...], kwargs: dict[str, Any], lenient: bool = False) -> Any:
        """The loss, computed eagerly; its gradients are accumulated in the parameters."""
        loss = self.compiled.eager
        if hasattr(loss, "differentiable_loss"):
            before = random_state() if isinstance(loss, TraceEnum_ELBO) else None
            try:
                value = torch.as_tensor(loss.differentiable_loss(self.model, self.guide, *args, **kwargs))
            except ValueError as error:  # the loss depends on no parameter: all sites that do are summed out
                if before is None or "differentiated" not in str(error):
                    raise
                set_random_state(before)
                value = torch.as_tensor(loss.loss(self.model, self.guide, *args, **kwargs))
            self._train(leaves(value), args, kwargs, lenient)
            if value.requires_grad:
                value.backward()
            return value.detach()
        with poutine.trace(param_only=True) as capture:
            value = loss.loss_and_grads(self._known_model, self.guide, *args, **kwargs)
        met = [site["value"].unconstrained() for site in capture.trace.nodes.values()]
        self._train([*met, *(t for t in self.trained.reached() if t.grad is not None)], args, kwargs, lenient)
        return value

    def _registered(self, *args: Any, **kwargs: Any) -> Any:
        """The model with every network registered as a site: Pyro's own losses differentiate registered ones only."""
        for name, module in self.trained.networks.items():
            if not isinstance(module, PyroModule):  # a PyroModule registers its own parameters
                pyro.module(name, module)
        return self.model(*args, **kwargs)

    def _train(self, found: Iterable[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any], lenient: bool) -> None:
        """Train the leaf tensors of a loss: create the optimiser at the first call, later add new leaves to it."""
        if self.optimizer.optimizer is not None:
            self._extend(found)
            return
        self.template = template.describe(args, kwargs)
        self.trained.register(found)
        trained = {name: t for name, t in self.trained.weights().items() if t.requires_grad}
        if not trained and lenient:
            return
        if not trained:
            raise ConfigError(
                "no trainable parameters: expected a network, pyro.param or autoguide that requires gradients"
            )
        self.optimizer.begin(trained, self.trained.sites.params)

    def _extend(self, found: Iterable[Tensor]) -> None:
        """Add leaves to the optimiser that are new, unfrozen or replaced."""
        fresh = [t for t in found if t.requires_grad and not self.optimizer.trains(t)]
        fresh = self.trained.persistent(fresh) if fresh else fresh
        if fresh:
            self.trained.register(fresh)
            marks = {id(t) for t in fresh}
            self.optimizer.add(
                {n: t for n, t in self.trained.weights().items() if id(t) in marks}, self.trained.sites.params
            )

    @property
    def refused(self) -> str | None:
        """Why the loss runs eagerly although compilation was asked for; ``None`` if it does not."""
        return self._refused or self.compiled.refused

    def state_dict(self) -> dict[str, Any]:
        """Weights, sites, optimiser, schedule, step count, and the template of the batch."""
        if self._pending is not None:
            return self._pending
        weights = self.trained.weights()
        names = {id(t): name for name, t in weights.items()}
        return {
            "weights": {name: t.detach() for name, t in weights.items()},
            "sites": self.trained.sites.state_dict(names, with_networks=self.optimizer.optimizer is not None),
            **self.optimizer.state_dict(),
            "template": self.template,
            "refused": self.refused,
            "t": self.t,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned; if that fails, nothing is changed."""
        pending, self._pending = self._pending, None
        leaves_before, sites = dict(self.trained.leaves), self.trained.sites.copy()
        values = [(t, t.detach().clone()) for t in self.trained.weights().values()]
        try:
            self._restore(state, None)
        except Exception:
            self._pending, self.trained.leaves = pending, leaves_before
            self.trained.sites.restore(sites)
            with torch.no_grad():
                for tensor, value in values:
                    tensor.copy_(value)
            raise

    def _restore(self, state: dict[str, Any], batch: Arguments | None) -> None:
        """Create the parameters of ``state`` that do not exist yet, and copy all values.

        Sites are created from their description. Other missing parameters are created by running the programs on
        ``batch``, or on the template of their first batch; if neither is possible, the state is pending.
        """
        weights, extra = state["weights"], self.trained.weights().keys() - state["weights"].keys()
        if extra and weights.keys() - self.trained.weights().keys():
            assign(self.trained.weights(), weights)  # of another model: raises with the names
        for name in extra:  # sites that a later step created
            self.trained.sites.remove(name.removeprefix("param."))
        if not self.trained.weights().keys() - weights.keys():
            free = {name: t for name, t in weights.items() if name.startswith("param.") and "$$$" not in name}
            self.trained.sites.load_state_dict(state.get("sites", {}), free, self.trained.device)
            self.trained.register_saved(weights)
            if weights.keys() - self.trained.weights().keys() or self.optimizer.optimizer is None:
                failure = self._make_missing(state.get("template"), batch)
                if failure is not None and weights.keys() - self.trained.weights().keys():
                    self._pending, self._why_pending = state, failure
                    return
        assign({name: t.detach() for name, t in self.trained.weights().items()}, weights)
        self.trained.sites.load_state_dict(state.get("sites", {}), self.trained.weights(), self.trained.device)
        self.optimizer.load_state_dict(state, self.trained.weights(), self.trained.sites.params)
        self._refused, self.template, self.t = state.get("refused"), state.get("template"), state["t"]
        self._pending = None

    def _make_missing(self, description: dict[str, Any] | None, batch: Arguments | None) -> str | None:
        """Run the pair once so that it creates its parameters; return why that was not possible, or ``None``."""
        if batch is None and description is None:
            return "its first batch could not be described in the checkpoint"
        args, kwargs = batch or template.rebuild(description or {}, self.trained.device)
        loss = self.compiled.eager
        try:
            with scoped_seed(0), torch.enable_grad(), self.trained.sites, eval_mode(self.trained):
                if hasattr(loss, "differentiable_loss"):
                    value = torch.as_tensor(loss.differentiable_loss(self.model, self.guide, *args, **kwargs))
                    self.trained.register(leaves(value))
                else:
                    loss.loss(self._known_model, self.guide, *args, **kwargs)
        except Exception as error:
            if batch is not None:
                raise
            return f"on its template the program raised {type(error).__name__}: {error}"
        return None
