"""The update of an optimiser as the last part of a compiled step.

Loss, gradients, the check that they are finite, clipping and update then run in one call. Weights and the tensors of
the optimiser's state are updated in place, so the optimiser can be saved, inspected and used eagerly at any time.
"""

from collections import defaultdict
from collections.abc import Sequence
from copy import copy
from inspect import unwrap
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from pyrogen import ranks
from pyrogen.compile.checked_graph import CheckedGraph, Gradients, NotInGraph, Update
from pyrogen.compile.graph.replay import REPLAYED
from pyrogen.compile.verified import WARM_UP, argument_key
from pyrogen.steps.guard import Guard, waits
from pyrogen.steps.in_graph.rules import RULES

MAX_CHANGES = 3
"""Successive steps with other settings after which an optimiser makes its updates itself."""


class GraphUpdate(Update):
    """One update of an optimiser, to be traced into a graph and run with it.

    Args:
        optimizer: of a class in ``RULES``.
        clip_norm: the maximum norm of the gradient of all weights; ``None`` for no clipping.
        all_weights: whether the graph must compute a gradient of every weight of the optimiser.
        guard: of the step, whose flag is set by a loss or gradient that is not finite.

    Attributes:
        key: what a graph with this update is specialised to.
        tensors: the arguments of the update: the numbers that change from step to step, and, read and written in place,
            the flag of the guard, the number of updates that it has prevented, and the state of the optimiser.
    """

    def __init__(self, optimizer: Optimizer, clip_norm: float | None, all_weights: bool, guard: Guard) -> None:
        self._optimizer, self._clip_norm, self._all = optimizer, clip_norm, all_weights
        self._rule, groups = RULES[type(optimizer)], optimizer.param_groups
        self._settings = self._read_settings()
        self._ids = self._read_ids()
        self.parameters: list[Tensor] = [p for group in groups for p in group["params"]]
        self._groups = [group for group in groups for _ in group["params"]]
        self._names = [names for g in groups for names in [self._rule.state(g)] * len(g["params"])]
        self._complete, self._counted = self._read_structure()
        self.guard, self._faults = guard, guard.faults
        self._counts: dict[int, tuple[Tensor, int, int]] = {}
        self.tensors: list[Tensor] = []
        self.key = type(optimizer), clip_norm, all_weights, repr(self._settings), *self._complete, *self._counted

    def has_settings_of(self, optimizer: Optimizer) -> bool:
        """Whether it is the update of this optimiser with its present settings."""
        return self._optimizer is optimizer and self._read_settings() == self._settings

    def has_structure(self) -> bool:
        """Whether the parameters, and which of them have a state, are those that the update was made for."""
        return self._read_ids() == self._ids and self._read_structure() == (self._complete, self._counted)

    def _read_ids(self) -> list[int]:
        return [id(p) for group in self._optimizer.param_groups for p in group["params"]]

    def _read_settings(self) -> list[list[Any]]:
        names = (*self._rule.settings, *self._rule.unsupported)
        return [[len(g["params"]), *map(g.get, names)] for g in self._optimizer.param_groups]

    def _read_structure(self) -> tuple[list[bool], list[bool]]:
        """Whether each parameter has all of its state, and whether its updates are counted by a tensor beside it."""
        state = self._optimizer.state
        known = [state.get(p, {}) for p in self.parameters]
        complete = [all(own.get(n) is not None for n in names) for own, names in zip(known, self._names, strict=True)]
        return complete, [_is_beside(own.get("step"), p) for own, p in zip(known, self.parameters, strict=True)]

    def read_state(self) -> None:
        """Collect the tensors of the state, and compute the numbers of the next update."""
        if self._faults != self.guard.faults:  # updates that were prevented were not counted on the device
            self._faults = self.guard.faults
            self._counts.clear()
        state, steps, parts, rows = self._optimizer.state, [], [], []
        scalars: dict[tuple[int, int], tuple[float, ...]] = {}
        for p, group, names, complete in zip(self.parameters, self._groups, self._names, self._complete, strict=True):
            own = state.get(p, {})
            step = own.get("step", 0)
            if _is_beside(step, p):
                steps.append(step)
            if complete:
                parts += [own[name] for name in names]
            place = id(group), self._count(step)
            if place not in scalars:
                scalars[place] = self._rule.scalars(group, place[1] + 1)
            rows.append(scalars[place])
        device = self.parameters[0].device
        numbers = torch.tensor(rows, dtype=torch.float32).to(device)
        self.tensors = [numbers, *self.guard.flags(device), *steps, *parts]

    def _count(self, step: Any) -> int:
        """The number of updates so far; that on a device is read once, and again if something else has changed it."""
        if not isinstance(step, Tensor) or not waits(step):
            return int(step)
        known = self._counts.get(id(step))  # holds the tensor, so that no other gets its id
        if known is None or known[1] != step._version:
            known = self._counts[id(step)] = step, step._version, int(step)
        return known[2]

    def positions(self, weights: Sequence[Tensor]) -> list[int]:
        """The place of each weight among the parameters of the optimiser.

        Raises:
            NotInGraph: if the optimiser does not have a weight or its state, or must have a gradient of more of them.
        """
        known = {id(p): i for i, p in enumerate(self.parameters)}
        places = [known.get(id(w), -1) for w in weights]
        if any(i < 0 or not self._complete[i] for i in places) or (self._all and len(places) < len(known)):
            raise NotInGraph
        return places

    def trace(
        self, value: Tensor, weights: Sequence[Tensor], gradients: Sequence[Tensor], tensors: Sequence[Tensor]
    ) -> None:
        """Update ``weights`` and ``tensors``, which stand for ``self.tensors``, in place."""
        scalars, flag, prevented, *rest = tensors
        n = sum(self._counted)
        steps, parts = rest[:n], iter(rest[n:])
        state = [tuple(next(parts) for _ in names) if full else () for names, full in
                 zip(self._names, self._complete, strict=True)]  # fmt: skip
        counters = iter(steps)
        step_of = [next(counters) if counted else None for counted in self._counted]
        largest = torch.stack([t.abs().amax().to(flag.dtype) for t in (value, *gradients) if t.numel()])
        flag.copy_(torch.maximum(flag, (~largest.isfinite()).any().to(flag.dtype)))
        prevented.copy_(prevented + flag)
        proceed = flag == 0
        if self._clip_norm is not None:
            factor = (self._clip_norm / (get_total_norm(gradients, foreach=False) + 1e-6)).clamp(max=1.0)
            gradients = [g * factor for g in gradients]
        for i, weight, gradient in zip(self.positions(weights), weights, gradients, strict=True):
            new = self._rule.update(weight, gradient, state[i], scalars[i], self._groups[i])
            for old, value in zip((weight, *state[i]), new, strict=True):
                old.copy_(torch.where(proceed, value, old))
            step = step_of[i]
            if step is not None:
                step.copy_(torch.where(proceed, step + 1, step))

    @torch.no_grad()
    def eager(self, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
        """The weights as the optimiser itself would update them; nothing is changed."""
        copies = {id(p): nn.Parameter(p.detach().clone()) for p in self.parameters}
        for weight, gradient in zip(weights, gradients, strict=True):
            copies[id(weight)].grad = torch.empty_like(weight).copy_(gradient)
        twin = copy(self._optimizer)
        twin.param_groups = [{**g, "params": [copies[id(p)] for p in g["params"]]} for g in twin.param_groups]
        twin.state = defaultdict(dict)
        for p, own in self._optimizer.state.items():
            if id(p) in copies:
                twin.state[copies[id(p)]] = {k: v.clone() if isinstance(v, Tensor) else v for k, v in own.items()}
        if self._clip_norm is not None:
            nn.utils.clip_grad_norm_([p for p in copies.values() if p.grad is not None], self._clip_norm)
        unwrap(type(twin).step)(twin)
        return [copies[id(weight)].detach() for weight in weights]

    def finish(self, found: Gradients, t: int) -> None:
        """Finish the update of training step ``t``: update what the optimiser keeps as Python numbers.

        Raises:
            Diverged: as ``Guard.note``; the graph has then changed no weight since the fault.
        """
        self.guard.note(found.values[:1], found.gradients, t)
        self._counts = {key: (step, step._version, n + 1) for key, (step, _, n) in self._counts.items()}
        for group in self._optimizer.param_groups:
            if "lrd" in group:
                group["lr"] *= group["lrd"]
        for weight in found.weights:
            own: dict[str, Any] = self._optimizer.state[weight]
            if "step" in own and not _is_beside(own["step"], weight):
                own["step"] += 1


class UpdatesInGraph:
    """The updates of one optimiser, each to be part of a compiled step where that is possible.

    Attributes:
        exclusive: whether nothing else runs between the steps, see ``exclusive``.
    """

    def __init__(self) -> None:
        self.exclusive = False
        self._last: GraphUpdate | None = None
        self._changes = 0  # of the settings, in successive calls
        self._graph: CheckedGraph | None = None  # of the latest step, if it may run again
        self._arguments: list[Any] = []

    def finish(self, found: Gradients | None, args: Sequence[Any], t: int) -> bool:
        """Finish training step ``t``; return whether its graph has made the update.

        Args:
            found: what the graph returned; ``None`` if there was none.
            args: its arguments, which ``again`` may replace.
            t: the number of the step.

        Raises:
            Diverged: if the loss or a gradient is not finite; the graph has then changed no weight.
        """
        if found is None:
            return False
        if self.exclusive and found.graph is not self._graph:
            self._arguments = [argument_key(argument) for argument in args]
            self._graph = None if None in self._arguments else found.graph
        if not found.updated or self._last is None:
            return False
        self._last.finish(found, t)
        return True

    def again(self, args: Sequence[Any]) -> Gradients | None:
        """Run the graph of the latest step on other arguments of the same kind, without further checks.

        Return ``None`` if something else may have run since, the arguments are of another kind, or the graph is to be
        verified or still warms up, when an error of it makes the step eager.
        """
        graph = self._graph
        if not self.exclusive or graph is None or ranks.share() is not None:
            return None
        if graph.verifies_next or graph.calls < WARM_UP:
            return None
        if [argument_key(argument) for argument in args] != self._arguments:
            return None
        update = self._last if graph.updates else None
        if update is not None:
            update.read_state()
        return graph(list(args), update)

    def forget(self) -> None:
        """Forget the graph of the latest step."""
        self._graph = None

    def next(
        self, optimizer: Optimizer, guard: Guard, clip_norm: float | None = None, all_weights: bool = False
    ) -> GraphUpdate | None:
        """The next update; ``None`` if it must be made by the optimiser itself.

        That is the case for an optimiser without a rule, with a setting that its rule lacks or with hooks, for settings
        that change in every step, other than the learning rate, for weights on several devices, or on a GPU if updates
        are counted by Python numbers, as those that are prevented there are not known at once, and if gradients are
        summed over processes before the update. Arguments as for ``GraphUpdate``.
        """
        rule = RULES.get(type(optimizer))
        if rule is None or optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
            return None
        if self._changes > MAX_CHANGES or ranks.share() is not None:
            return None
        last = self._last
        if last is not None and last.has_settings_of(optimizer):
            self._changes = 0
        else:
            self._changes += 1
            last = None
        if last is None or last.guard is not guard or not last.has_structure():
            for group in optimizer.param_groups:
                if any(group.get(name) for name in rule.unsupported) or isinstance(group["lr"], Tensor):
                    return None
                if not all(_is_plain(p) for p in group["params"]):
                    return None
                if any(waits(p) and type(optimizer.state.get(p, {}).get("step")) is int for p in group["params"]):
                    return None
            devices = {p.device for group in optimizer.param_groups for p in group["params"]}
            if len(devices) != 1 or guard.is_elsewhere(*devices):
                return None
            self._last = GraphUpdate(optimizer, clip_norm, all_weights, guard)
        if self._changes > 1 or self._last is None:
            return None
        self._last.read_state()
        return self._last


def _is_beside(step: Any, p: Tensor) -> bool:
    """Whether a count of updates is a tensor on the device of its parameter, which the graph can write."""
    return isinstance(step, Tensor) and step.device == p.device


def _is_plain(p: Tensor) -> bool:
    """Whether a parameter is an ordinary float32 tensor on a CPU or a GPU."""
    return type(p) in (Tensor, nn.Parameter) and p.device.type in ("cpu", *REPLAYED) and p.dtype == torch.float32
