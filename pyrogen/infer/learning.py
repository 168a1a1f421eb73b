"""What a step of variational inference holds and moves: networks, sites, optimiser, and their state."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from torch import Tensor, nn

from pyrogen.errors import ConfigError
from pyrogen.infer import template
from pyrogen.infer.compiled import CompiledELBO
from pyrogen.infer.fingerprint import Fingerprint
from pyrogen.infer.kinds import Opaque
from pyrogen.infer.optimizers import NamedOptimizer
from pyrogen.infer.parameters import assign, leaves, modules_of, unique, weights_of
from pyrogen.infer.recorder import SiteRecorder
from pyrogen.infer.sites import Sites
from pyrogen.infer.trusted import compiles
from pyrogen.nn.modes import evaluating
from pyrogen.programs import Program
from pyrogen.random import random_state, scoped_seed, set_random_state

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
        self.sites = Sites(shared)
        self._modules = modules_of(model, "model")
        owned = {id(m) for m in self._modules.values()}
        self._modules |= {name: m for name, m in modules_of(guide, "guide").items() if id(m) not in owned}
        if isinstance(compiled.eager, nn.Module):  # an objective with a schedule keeps its place in it
            self._modules["loss"] = compiled.eager
        self._reach = Fingerprint(model, guide, compiled.eager, lenient=True)
        self._strays: dict[str, Tensor] = {}  # leaves of the loss that no network and no site owns
        self._pending: dict[str, Any] | None = None
        self._refused: str | None = None
        self.template: dict[str, Any] | None = None
        self.t = 0

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
        with torch.enable_grad(), self.sites:
            if not first and self._refused is None and compiles(compile, self.t):
                found = self.compiled.gradients(self.model, self.guide, args, kwargs, begun=self.t > 0)
            if found is not None:
                self._adopt(found.weights)
                found.store()
                (loss, count), met = found.values, found.noted
            else:
                with SiteRecorder() as recorder:
                    loss = self._eager(args, kwargs, lenient)
                count, met = recorder.count(args), recorder.params
            self.optimizer.complete(self.sites.params, met)
        if self.optimizer.optimizer is not None:
            self.optimizer.step()
        self.t += 1
        return loss, count

    def loss(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, int]:
        """``function(model, guide, *args, **kwargs)`` without gradients, and how many data it speaks of."""
        self.setup_pending(args, kwargs)
        with torch.no_grad(), self.sites, SiteRecorder() as recorder:
            loss = function(self.model, self.guide, *args, **kwargs)
        return loss, recorder.count(args)

    def run(self, program: Program, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A program under the sites."""
        self.setup_pending(args, kwargs)
        with self.sites:
            return program(*args, **kwargs)

    def setup(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Make the parameters and the optimiser without learning, and take up a loaded state."""
        self.setup_pending(args, kwargs)
        if self.optimizer.optimizer is None:
            with scoped_seed(0), torch.enable_grad(), self.sites:
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
            value = loss.loss_and_grads(self._registered, self.guide, *args, **kwargs)
        met = [site["value"].unconstrained() for site in capture.trace.nodes.values()]
        self._meet([*met, *(t for t in self._reached() if t.grad is not None)], args, kwargs, lenient)
        return value

    def _registered(self, *args: Any, **kwargs: Any) -> Any:
        """The model with every network at a parameter site: without one, Pyro takes no gradient by itself."""
        for name, module in self._modules.items():
            pyro.module(name, module)
        return self.model(*args, **kwargs)

    def _meet(self, found: Iterable[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any], lenient: bool) -> None:
        """Train the leaves of a loss; at the first one, make the optimiser of all parameters."""
        if self.optimizer.optimizer is not None:
            self._adopt(found)
            return
        self.template = template.describe(args, kwargs)
        self._name_strays(found)
        trained = {name: t for name, t in self.weights().items() if t.requires_grad}
        if not trained and lenient:
            return
        if not trained:
            raise ConfigError(
                "nothing to train: model and guide have no network, pyro.param or autoguide that requires a gradient"
            )
        self.optimizer.begin(trained, self.sites.params)

    def _adopt(self, found: Iterable[Tensor]) -> None:
        """Train what has appeared, was unfrozen or was replaced since."""
        fresh = [t for t in found if t.requires_grad and not self.optimizer.trains(t)]
        if fresh:
            self._name_strays(fresh)
            marks = {id(t) for t in fresh}
            self.optimizer.add({n: t for n, t in self.weights().items() if id(t) in marks}, self.sites.params)

    def _name_strays(self, found: Iterable[Tensor]) -> None:
        """Give a name to leaves that no network and no site owns: where the programs hold them, if that is seen."""
        owned = {id(t) for t in self.weights().values()}
        paths = self._paths()
        for tensor in found:
            if id(tensor) not in owned:
                owned.add(id(tensor))
                name = paths.get(id(tensor), str(len(self._strays)))
                self._strays[f"leaf.{name}"] = tensor

    def _look(self) -> bool:
        """Whether all that the programs reach is seen; it is then up to date."""
        try:
            self._reach.update(self.sites.params, self.sites.constraints)
        except Opaque:
            return False
        return True

    def _reached(self) -> list[Tensor]:
        return [t for t in self._reach.tensors if t.requires_grad] if self._look() else []

    def _paths(self) -> dict[int, str]:
        return {id(t): path for path, t in self._reach.named_tensors().items()} if self._look() else {}

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        return next((t.device for t in self.weights().values()), torch.device("cpu"))

    @property
    def refused(self) -> str | None:
        """Why the loss runs eagerly although it was to be compiled."""
        return self._refused or self.compiled.refused

    def modules(self) -> Iterator[nn.Module]:
        """Every network that is reached, and its parts."""
        found = {id(part): part for module in self._modules.values() for part in module.modules()}
        if self._look():
            found |= {id(module): module for module in self._reach.modules}
        yield from found.values()

    def weights(self) -> dict[str, Tensor]:
        """All that was learned, by name; the live tensors."""
        sites = {f"param.{name}": t for name, t in self.sites.params.items()}
        return unique(weights_of(self._modules) | sites | self._strays | self._stray_buffers())

    def _stray_buffers(self) -> dict[str, Tensor]:
        """What networks that are only found by looking, in a list for example, keep beside their parameters."""
        if not self._look():
            return {}
        parts = [(m, m._non_persistent_buffers_set) for m in self._reach.modules]
        kept = {id(b) for m, passing in parts for n, b in m._buffers.items() if b is not None and n not in passing}
        return {f"leaf.{path}": t for path, t in self._reach.named_tensors().items() if id(t) in kept}

    def state_dict(self) -> dict[str, Any]:
        """Weights, sites, optimiser, schedule, step number, and a template of the batch."""
        if self._pending is not None:
            return self._pending
        weights = self.weights()
        return {
            "weights": {name: t.detach() for name, t in weights.items()},
            "sites": self.sites.state_dict({id(t): name for name, t in weights.items()}),
            **self.optimizer.state_dict(),
            "template": self.template,
            "refused": self.refused,
            "t": self.t,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Become the step that ``state`` was taken of; where that fails, nothing has changed."""
        pending, self._pending = self._pending, None
        strays, sites = dict(self._strays), self.sites.copy()
        values = [(t, t.detach().clone()) for t in self.weights().values()]
        try:
            self._take(state, None)
        except Exception:
            self._pending, self._strays = pending, strays
            self.sites.put_back(sites)
            with torch.no_grad():
                for tensor, value in values:
                    tensor.copy_(value)
            raise

    def _take(self, state: dict[str, Any], batch: Arguments | None) -> None:
        """Make what ``state`` has and this step has not yet, and copy the values.

        Sites are made from their description. What else is missing is made by the programs themselves, which are run
        on ``batch``, or on the template of the one that they were trained on; without either, the state waits.
        """
        weights, extra = state["weights"], self.weights().keys() - state["weights"].keys()
        if extra and weights.keys() - self.weights().keys():
            assign(self.weights(), weights)  # another model's: it says which
        for name in extra:  # sites that a later step has made
            self.sites.forget(name.removeprefix("param."))
        if not self.weights().keys() - weights.keys():
            free = {name: t for name, t in weights.items() if name.startswith("param.") and "$$$" not in name}
            self.sites.load_state_dict(state.get("sites", {}), free, self.device)
            self._find_strays(weights)
            if weights.keys() - self.weights().keys():
                failure = self._make_missing(state.get("template"), batch)
                if failure is not None and weights.keys() - self.weights().keys():
                    self._pending, self._why_pending = state, failure
                    return
        assign({name: t.detach() for name, t in self.weights().items()}, weights)
        self.sites.load_state_dict(state.get("sites", {}), self.weights(), self.device)
        self.optimizer.load_state_dict(state, self.weights(), self.sites.params)
        self._refused, self.template, self.t = state.get("refused"), state.get("template"), state["t"]
        self._pending = None

    def _find_strays(self, weights: dict[str, Tensor]) -> None:
        wanted = {name for name in weights if name.startswith("leaf.")} - self._strays.keys()
        if wanted and self._look():
            held = {f"leaf.{path}": t for path, t in self._reach.named_tensors().items()}
            self._strays |= {name: held[name] for name in weights if name in wanted and name in held}

    def _make_missing(self, description: dict[str, Any] | None, batch: Arguments | None) -> str | None:
        """Run the pair once, so that it makes its parameters; why that was not possible, or ``None``."""
        if batch is None and description is None:
            return "its first batch could not be kept"
        args, kwargs = batch or template.rebuild(description or {}, self.device)
        loss = self.compiled.eager
        try:
            with scoped_seed(0), torch.enable_grad(), self.sites, evaluating(self):
                if hasattr(loss, "differentiable_loss"):
                    value = torch.as_tensor(loss.differentiable_loss(self.model, self.guide, *args, **kwargs))
                    self._name_strays(leaves(value))
                else:
                    loss.loss(self._registered, self.guide, *args, **kwargs)
        except Exception as error:
            if batch is not None:
                raise
            return f"on its template the program raised {type(error).__name__}: {error}"
        return None
