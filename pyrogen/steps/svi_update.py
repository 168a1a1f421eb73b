"""What a step of variational inference holds and moves: networks, sites, optimiser, and their state."""

import logging
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from pyro.nn import PyroModule
from torch import Tensor

from pyrogen.compile.elbo import CompiledELBO
from pyrogen.compile.verified import should_compile
from pyrogen.errors import ConfigError
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.pyro_tools import template
from pyrogen.pyro_tools.parameters import assign, leaves
from pyrogen.pyro_tools.programs import Program
from pyrogen.pyro_tools.recorder import SiteRecorder
from pyrogen.random import random_state, scoped_seed, set_random_state
from pyrogen.steps.optimizers import NamedOptimizer
from pyrogen.steps.trained_parameters import Owned

log = logging.getLogger(__name__)

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class Learning:
    """The parameters of a pair and their optimiser; ``SVI`` is its public face.

    Args:
        model, guide: the pair.
        compiled: its loss.
        optim, schedule, clip_norm: as for ``NamedOptimizer``.
        shared: whether the sites are Pyro's global ones.

    Attributes:
        t: the number of steps taken.
        template: the first batch, for a checkpoint; ``None`` before it.
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
        self.owned = Owned(model, guide, compiled.eager, shared)
        self._glimpsed: list[weakref.ref[Tensor]] = []
        self._warned = False
        self._pending: dict[str, Any] | None = None
        self._refused: str | None = None
        self.template: dict[str, Any] | None = None
        self.t = 0
        self._known_model = self._registered  # one object, by which a loss may know it again

    def step(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], compile: bool | None, lenient: bool = False
    ) -> tuple[Any, Any]:
        """Update the parameters once; the loss before it, and how many data it speaks of.

        Args:
            args, kwargs: of model and guide.
            compile: as for ``SVI``.
            lenient: whether a step with nothing to train is one that moves nothing, as in Pyro, and no error.
        """
        self.setup_pending(args, kwargs)
        first = self.optimizer.optimizer is None
        if self.optimizer.optimizer is not None:
            self.optimizer.optimizer.zero_grad()  # of all weights: another step may have left gradients on shared ones
        found = None
        loss: Any
        count: Any
        with torch.enable_grad(), self.owned.sites:
            if not first and self._refused is None and should_compile(compile, self.t):
                found = self.compiled.gradients(self.model, self.guide, args, kwargs, begun=self.t > 0)
            if found is not None:
                self._adopt(found.weights)
                found.store()
                (loss, count), met = found.values, found.param_sites
            else:
                with SiteRecorder() as recorder:
                    loss = self._eager(args, kwargs, lenient)
                count, met = recorder.count(args), recorder.params
            self.optimizer.complete(self.owned.sites.params, met)
        if self.optimizer.optimizer is not None:
            self.optimizer.step()
        self.t += 1
        return loss, count

    def loss(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, int]:
        """``function(model, guide, *args, **kwargs)`` without gradients, and how many data it speaks of."""
        self.setup_pending(args, kwargs)
        with torch.no_grad(), self.owned.sites, SiteRecorder() as recorder:
            loss = function(self.model, self.guide, *args, **kwargs)
        return loss, recorder.count(args)

    def run(self, program: Program, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A program under the sites."""
        self.setup_pending(args, kwargs)
        with self.owned.sites:
            return program(*args, **kwargs)

    def setup(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Make the parameters and the optimiser without learning, and take up a loaded state."""
        self.setup_pending(args, kwargs)
        if self.optimizer.optimizer is None:
            with scoped_seed(0), torch.enable_grad(), self.owned.sites:
                self._eager(args, kwargs)
            assert self.optimizer.optimizer is not None
            self.optimizer.optimizer.zero_grad()

    def setup_pending(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Take up a loaded state that has waited for a batch."""
        if self._pending is not None:
            self._take(self._pending, (args, kwargs))

    def require_state(self) -> None:
        """Raise ``ConfigError`` while a loaded state waits for a batch."""
        if self._pending is not None:
            raise ConfigError(f"the restored step needs one batch, `step.setup(*batch)`, first: {self._why_pending}")

    def _eager(self, args: tuple[Any, ...], kwargs: dict[str, Any], lenient: bool = False) -> Any:
        """The loss, with its gradients added to the parameters."""
        loss = self.compiled.eager
        if hasattr(loss, "differentiable_loss"):
            before = random_state() if isinstance(loss, TraceEnum_ELBO) else None
            try:
                value = torch.as_tensor(loss.differentiable_loss(self.model, self.guide, *args, **kwargs))
            except ValueError as error:  # it depends on no parameter: all sites that do are summed out
                if before is None or "differentiated" not in str(error):
                    raise
                set_random_state(before)
                value = torch.as_tensor(loss.loss(self.model, self.guide, *args, **kwargs))
            self._meet(leaves(value), args, kwargs, lenient)
            if value.requires_grad:
                value.backward()
            return value.detach()
        with poutine.trace(param_only=True) as capture:
            value = loss.loss_and_grads(self._known_model, self.guide, *args, **kwargs)
        met = [site["value"].unconstrained() for site in capture.trace.nodes.values()]
        self._meet([*met, *(t for t in self.owned.reached() if t.grad is not None)], args, kwargs, lenient)
        return value

    def _registered(self, *args: Any, **kwargs: Any) -> Any:
        """The model with every network at a parameter site: without one, Pyro takes no gradient by itself."""
        for name, module in self.owned.networks.items():
            if not isinstance(module, PyroModule):  # which has sites of its own
                pyro.module(name, module)
        return self.model(*args, **kwargs)

    def _meet(self, found: Iterable[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any], lenient: bool) -> None:
        """Train the leaves of a loss; at the first one, make the optimiser of all parameters."""
        if self.optimizer.optimizer is not None:
            self._adopt(found)
            return
        self.template = template.describe(args, kwargs)
        self.owned.name_strays(found)
        trained = {name: t for name, t in self.owned.weights().items() if t.requires_grad}
        if not trained and lenient:
            return
        if not trained:
            raise ConfigError(
                "nothing to train: model and guide have no network, pyro.param or autoguide that requires a gradient"
            )
        self.optimizer.begin(trained, self.owned.sites.params)

    def _adopt(self, found: Iterable[Tensor]) -> None:
        """Train what has appeared, was unfrozen or was replaced since."""
        fresh = [t for t in found if t.requires_grad and not self.optimizer.trains(t)]
        fresh = self._lasting(fresh) if fresh else fresh
        if fresh:
            self.owned.name_strays(fresh)
            marks = {id(t) for t in fresh}
            self.optimizer.add(
                {n: t for n, t in self.owned.weights().items() if id(t) in marks}, self.owned.sites.params
            )

    def _lasting(self, found: list[Tensor]) -> list[Tensor]:
        """Without leaves that the program makes when it runs: they are others in each step, and cannot be trained."""
        held = {id(t) for t in (*self.owned.weights().values(), *self.owned.reached())}
        before, passing = self._glimpsed, [t for t in found if id(t) not in held]
        self._glimpsed = [weakref.ref(t) for t in passing]
        lasting = [t for t in found if id(t) in held or any(t is ref() for ref in before)]
        if before and len(lasting) < len(found) and not self._warned:
            self._warned = True
            shape = tuple(next(t for t in passing if all(t is not ref() for ref in before)).shape)
            log.warning(
                "the program makes a parameter of shape %s anew in each step, which is not trained: "
                "make networks and leaves outside of it, or use pyro.param",
                shape,
            )
        return lasting

    @property
    def refused(self) -> str | None:
        """Why the loss runs eagerly although it was to be compiled."""
        return self._refused or self.compiled.refused

    def state_dict(self) -> dict[str, Any]:
        """Weights, sites, optimiser, schedule, step number, and a template of the batch."""
        if self._pending is not None:
            return self._pending
        weights = self.owned.weights()
        names = {id(t): name for name, t in weights.items()}
        return {
            "weights": {name: t.detach() for name, t in weights.items()},
            "sites": self.owned.sites.state_dict(names, with_networks=self.optimizer.optimizer is not None),
            **self.optimizer.state_dict(),
            "template": self.template,
            "refused": self.refused,
            "t": self.t,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Become the step that ``state`` was taken of; where that fails, nothing has changed."""
        pending, self._pending = self._pending, None
        strays, sites = dict(self.owned.strays), self.owned.sites.copy()
        values = [(t, t.detach().clone()) for t in self.owned.weights().values()]
        try:
            self._take(state, None)
        except Exception:
            self._pending, self.owned.strays = pending, strays
            self.owned.sites.restore(sites)
            with torch.no_grad():
                for tensor, value in values:
                    tensor.copy_(value)
            raise

    def _take(self, state: dict[str, Any], batch: Arguments | None) -> None:
        """Make what ``state`` has and this step has not yet, and copy the values.

        Sites are made from their description. What else is missing is made by the programs themselves, which are run
        on ``batch``, or on the template of the one that they were trained on; without either, the state waits.
        """
        weights, extra = state["weights"], self.owned.weights().keys() - state["weights"].keys()
        if extra and weights.keys() - self.owned.weights().keys():
            assign(self.owned.weights(), weights)  # another model's: it says which
        for name in extra:  # sites that a later step has made
            self.owned.sites.remove(name.removeprefix("param."))
        if not self.owned.weights().keys() - weights.keys():
            free = {name: t for name, t in weights.items() if name.startswith("param.") and "$$$" not in name}
            self.owned.sites.load_state_dict(state.get("sites", {}), free, self.owned.device)
            self.owned.find_strays(weights)
            if weights.keys() - self.owned.weights().keys() or self.optimizer.optimizer is None:
                failure = self._make_missing(state.get("template"), batch)
                if failure is not None and weights.keys() - self.owned.weights().keys():
                    self._pending, self._why_pending = state, failure
                    return
        assign({name: t.detach() for name, t in self.owned.weights().items()}, weights)
        self.owned.sites.load_state_dict(state.get("sites", {}), self.owned.weights(), self.owned.device)
        self.optimizer.load_state_dict(state, self.owned.weights(), self.owned.sites.params)
        self._refused, self.template, self.t = state.get("refused"), state.get("template"), state["t"]
        self._pending = None

    def _make_missing(self, description: dict[str, Any] | None, batch: Arguments | None) -> str | None:
        """Run the pair once, so that it makes its parameters; why that was not possible, or ``None``."""
        if batch is None and description is None:
            return "its first batch could not be kept"
        args, kwargs = batch or template.rebuild(description or {}, self.owned.device)
        loss = self.compiled.eager
        try:
            with scoped_seed(0), torch.enable_grad(), self.owned.sites, eval_mode(self.owned):
                if hasattr(loss, "differentiable_loss"):
                    value = torch.as_tensor(loss.differentiable_loss(self.model, self.guide, *args, **kwargs))
                    self.owned.name_strays(leaves(value))
                else:
                    loss.loss(self._known_model, self.guide, *args, **kwargs)
        except Exception as error:
            if batch is not None:
                raise
            return f"on its template the program raised {type(error).__name__}: {error}"
        return None
