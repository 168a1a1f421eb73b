"""Optimisers of named parameters, from a factory of torch optimisers or from a ``pyro.optim`` optimiser."""

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

import torch
from pyro.optim import PyroOptim
from pyro.optim.lr_scheduler import PyroLRScheduler
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pyrogen.errors import ConfigError
from pyrogen.steps.guard import Guard
from pyrogen.steps.in_graph.update import GraphUpdate
from pyrogen.steps.in_graph.updates import UpdatesInGraph

MakeOptimizer = Callable[[Iterable[Tensor]], Optimizer]
"""Makes a torch optimiser of parameters, e.g. ``partial(Adam, lr=1e-3)``."""


def make_optimizer(make: MakeOptimizer, parameters: Iterable[Any]) -> Optimizer:
    """The optimiser, with torch's fused update where it exists and no other implementation was chosen.

    The fused update computes the same as torch's loop over parameters, which costs several times as much on a CPU.
    """
    optimizer = make(parameters)
    if type(optimizer) in (SGD, Adam, AdamW):
        for group in optimizer.param_groups:
            apart = any(group.get(way) for way in ("foreach", "capturable", "differentiable"))
            plain = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in group["params"])
            if group["fused"] is None and plain and not apart:
                group["fused"] = True
    return optimizer


def load_optimizer(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Restore the state of an optimiser from copies: torch would share the tensors with the optimiser they are from."""
    optimizer.load_state_dict(deepcopy(dict(state)))


def follow(optimizer: Optimizer, parameters: Iterable[Tensor]) -> None:
    """Add parameters that a network has gained to its optimiser, and remove those that it has lost."""
    current = {id(p): p for p in parameters}
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    fresh = [p for mark, p in current.items() if p.requires_grad and mark not in held]
    if fresh:
        for group in optimizer.param_groups:
            group["params"] = [p for p in group["params"] if id(p) in current]
        optimizer.add_param_group({"params": fresh})


class NamedOptimizer:
    """An optimiser of named parameters with its learning-rate schedule and gradient clipping; parameters can be added.

    Args:
        make: a factory of torch optimisers, or a ``pyro.optim`` optimiser. The arguments of the latter may be a
            function of the parameter's name; its scheduler is stepped by the caller, ``scheduler.step()``, as in Pyro.
        schedule: makes a learning-rate schedule of the optimiser, stepped after each update.
        clip_norm: the maximum norm of the gradient of all parameters; ``None`` for no clipping.

    Raises:
        ConfigError: if ``make`` is neither.

    Attributes:
        optimizer, schedule: ``None`` before ``begin``.
        groups: the names of the parameters given to ``begin``, and of those of each ``add``.
        in_graph: the updates that are part of a compiled step.
    """

    def __init__(
        self,
        make: MakeOptimizer | PyroOptim,
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
        clip_norm: float | None = None,
    ) -> None:
        if not callable(make) or isinstance(make, Optimizer):
            given = f"{type(make).__module__}.{type(make).__name__}"
            raise ConfigError(
                f"optim must make a torch optimiser, e.g. partial(torch.optim.Adam, lr=1e-3), or be one of pyro.optim, "
                f"e.g. pyro.optim.Adam({{'lr': 1e-3}}); got {given}"
            )
        self._make, self._make_schedule, self.clip_norm = make, schedule, clip_norm
        self.optimizer: Optimizer | None = None
        self.schedule: LRScheduler | None = None
        self.groups: list[list[str]] = []
        self._clips: list[tuple[Tensor, Mapping[str, float]]] = []
        self._tensors: dict[str, Tensor] = {}
        self._known: set[int] = set()
        self._moved: set[int] = set()
        self.in_graph = UpdatesInGraph()

    def begin(self, named: Mapping[str, Tensor], sites: Mapping[str, Tensor]) -> None:
        """Create the optimiser.

        Args:
            named: the parameters by name.
            sites: the parameters that are Pyro sites, by their site name.
        """
        if isinstance(self._make, PyroOptim):
            self.optimizer = make_optimizer(self._make.pt_optim_constructor, self._arguments(named, sites))
            if isinstance(self._make, PyroLRScheduler):
                self.schedule = self._make.pt_scheduler_constructor(self.optimizer, **self._make.kwargs)
                self._make.optim_objs = {next(iter(named.values())): self.schedule}
        else:
            self.optimizer = make_optimizer(self._make, named.values())
        if self._make_schedule is not None:
            self.schedule = self._make_schedule(self.optimizer)
        self._note(named)

    def add(self, named: Mapping[str, Tensor], sites: Mapping[str, Tensor]) -> None:
        """Add parameters; one whose name is already known replaces the earlier tensor. Arguments as for ``begin``."""
        assert self.optimizer is not None
        for name in [name for name in named if name in self._tensors]:
            self._replace(self._tensors[name], named[name])
            self._known.discard(id(self._tensors[name]))
        replaced = {name: t for name, t in named.items() if name in self._tensors}
        self._remember(replaced)
        named = {name: t for name, t in named.items() if name not in replaced}
        if not named:
            return
        if isinstance(self._make, PyroOptim):
            for group in self._arguments(named, sites):
                self.optimizer.add_param_group(group)
        else:
            self.optimizer.add_param_group({"params": list(named.values())})
        self._note(named)

    def _replace(self, old: Tensor, new: Tensor) -> None:
        """Replace a tensor that its module no longer holds; the optimiser's state of the new one starts empty."""
        assert self.optimizer is not None
        for group in self.optimizer.param_groups:
            group["params"] = [new if p is old else p for p in group["params"]]
        self.optimizer.state.pop(old, None)

    def trains(self, parameter: Tensor) -> bool:
        """Whether the optimiser updates this parameter."""
        return id(parameter) in self._known

    def complete(self, sites: Mapping[str, Tensor], met: Iterable[str]) -> None:
        """Give sites without a gradient a zero gradient, as Pyro does, if they ever had one.

        Momentum then continues to update them; a torch optimiser would skip them. Only for ``pyro.optim`` optimisers.

        Args:
            sites: the parameter sites.
            met: the names of the sites that model and guide reached in this step.
        """
        if not isinstance(self._make, PyroOptim):
            return
        for site in (sites[name] for name in met if name in sites):
            if site.grad is not None:
                self._moved.add(id(site))
            elif id(site) in self._moved:
                site.grad = torch.zeros_like(site)

    def step(self) -> None:
        """Clip the gradients, update the parameters and step the schedule."""
        assert self.optimizer is not None
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], self.clip_norm)
        for parameter, limits in self._clips:
            if "clip_norm" in limits:
                nn.utils.clip_grad_norm_(parameter, limits["clip_norm"])
            if "clip_value" in limits:
                nn.utils.clip_grad_value_(parameter, limits["clip_value"])
        self.optimizer.step()
        self.step_schedule()

    def step_schedule(self) -> None:
        """Step the schedule that was given to this optimiser; that of a ``pyro.optim`` optimiser is the caller's."""
        if self._make_schedule is not None and self.schedule is not None:
            self.schedule.step()

    def next_in_graph(self, guard: Guard) -> GraphUpdate | None:
        """The next update as part of a compiled step; ``None`` if ``step`` must make it."""
        if self.optimizer is None or self._clips:
            return None
        return self.in_graph.next(self.optimizer, guard, self.clip_norm, isinstance(self._make, PyroOptim))

    def _note(self, named: Mapping[str, Tensor]) -> None:
        self.groups.append(list(named))
        self._remember(named)

    def _remember(self, named: Mapping[str, Tensor]) -> None:
        self._tensors |= named
        self._known |= {id(t) for t in named.values()}

    def _arguments(self, named: Mapping[str, Tensor], sites: Mapping[str, Tensor]) -> list[dict[str, Any]]:
        """Parameter groups with Pyro's arguments: one group, or one for each parameter if they depend on the name."""
        optim = self._make
        assert isinstance(optim, PyroOptim)
        called = {id(t): name for name, t in sites.items()}
        pyro_names = {name: called.get(id(t), name.partition(".")[2]) for name, t in named.items()}
        for name, parameter in named.items():
            limits = optim.pt_clip_args
            limits = limits(*_split(pyro_names[name])) if callable(limits) else limits
            if limits:
                self._clips.append((parameter, limits))
        given = optim.pt_optim_args
        if not callable(given):
            return [{"params": list(named.values()), **given}]
        found = []
        for name, parameter in named.items():
            plain = pyro_names[name].replace("$$$", ".")
            settings = given(plain) if optim.pt_optim_args_argc == 1 else given(*_split(pyro_names[name]))
            if not isinstance(settings, dict):
                raise ConfigError(
                    f"the optimiser's arguments for {plain!r} must be a dict; got {type(settings).__name__}"
                )
            found.append({"params": [parameter], **settings})
        return found

    def state_dict(self) -> dict[str, Any]:
        """The state of the optimiser and its schedule, and the names of its parameters."""
        return {
            "optimizer": self.optimizer.state_dict() if self.optimizer else None,
            "schedule": self.schedule.state_dict() if self.schedule else None,
            "groups": self.groups,
        }

    def load_state_dict(
        self, state: Mapping[str, Any], named: Mapping[str, Tensor], sites: Mapping[str, Tensor]
    ) -> None:
        """Create the optimiser with the state that ``state_dict`` returned.

        Args:
            state: that state; without ``groups``, the parameters are those of ``named`` that require a gradient.
            named: every parameter, by name.
            sites: the parameters that are Pyro sites, by their site name.

        Raises:
            KeyError: if a parameter of the state is missing from ``named``, or the optimiser is of another class.
        """
        if state["optimizer"] is None:
            return
        groups = state.get("groups") or [[name for name, t in named.items() if t.requires_grad]]
        fresh = NamedOptimizer(self._make, self._make_schedule, self.clip_norm)
        fresh.begin({name: named[name] for name in groups[0]}, sites)
        for group in groups[1:]:
            fresh.add({name: named[name] for name in group}, sites)
        assert fresh.optimizer is not None
        try:
            load_optimizer(fresh.optimizer, state["optimizer"])
        except ValueError as error:
            raise KeyError(f"the saved optimiser is not of this kind: {error}") from error
        fresh._moved = {id(p) for p in fresh.optimizer.state}
        if fresh.schedule is not None and state["schedule"] is not None:
            fresh.schedule.load_state_dict(state["schedule"])
        self.__dict__.update(fresh.__dict__)


def _split(name: str) -> tuple[str, str]:
    """The names of module and parameter in Pyro's name of a site, ``module$$$parameter``."""
    module, _, parameter = name.rpartition("$$$")
    return module, parameter
