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

from pyrogen.compile.checked_graph import Gradients, NotInGraph, Update
from pyrogen.steps.guard import Guard, waits
from pyrogen.steps.in_graph.rules import RULES, Settings

PLANNED = 16
"""The most successive updates whose numbers are computed in one call."""


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
        self._made: list[tuple[Settings, int]] = []  # the different numbers of updates in a group so far
        self._place: list[int] = []  # that of each parameter among them
        self._planned: list[tuple[list[tuple[float, ...]], Tensor]] = []  # numbers of updates to come, last to first
        self._horizon = 0  # the number of updates that were planned last
        self._counted_by_number: list[dict[str, Any]] | None = None  # the states that have a Python number
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
        known = [self._optimizer.state.get(p, {}) for p in self.parameters]
        steps = [own.get("step", 0) for own in known]
        parts = [
            own[n] for own, names, full in zip(known, self._names, self._complete, strict=True) if full for n in names
        ]
        counted = [step for step, p in zip(steps, self.parameters, strict=True) if _is_beside(step, p)]
        counts = [(id(group), self._count(step)) for group, step in zip(self._groups, steps, strict=True)]
        different = dict(zip(counts, self._groups, strict=True))
        self._made = [(group, n) for (_, n), group in different.items()]
        self._place = [list(different).index(count) for count in counts]
        self._counted_by_number = None
        self._planned, self._horizon = [], 0  # something else may run, and change it, after the next update
        device = self.parameters[0].device
        self.tensors = [self._numbers(device), *self.guard.flags(device), *counted, *parts]

    def advance(self) -> None:
        """Compute the numbers of the next update, if since the last one nothing else has changed the state."""
        if self._faults != self.guard.faults:
            self.read_state()
            return
        self._made = [(group, n + 1) for group, n in self._made]
        self.tensors[0] = self._numbers(self.tensors[1].device)

    def _numbers(self, device: torch.device) -> Tensor:
        """What changes from update to update, a row for each parameter."""
        now = self._scalars(1)
        if not self._planned or self._planned[-1][0] != now:
            self._horizon = 1 if self._planned else min(max(2 * self._horizon, 1), PLANNED)
            plan = [self._scalars(i) for i in range(self._horizon, 0, -1)]
            rows = [[numbers[place] for place in self._place] for numbers in plan]
            parts = torch.tensor(rows, dtype=torch.float32).to(device).unbind()
            self._planned = list(zip(plan, parts, strict=True))
        return self._planned.pop()[1]

    def _scalars(self, i: int) -> list[tuple[float, ...]]:
        """What the rule needs in the i-th update from now, if the settings stay as they are."""
        return [self._rule.scalars(group, n + i) for group, n in self._made]

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
        if self._counts:
            self._counts = {key: (step, step._version, n + 1) for key, (step, _, n) in self._counts.items()}
        for group in self._optimizer.param_groups:
            if "lrd" in group:
                group["lr"] *= group["lrd"]
        if self._counted_by_number is None:
            known = [(self._optimizer.state[weight], weight) for weight in found.weights]
            self._counted_by_number = [own for own, p in known if "step" in own and not _is_beside(own["step"], p)]
        for own in self._counted_by_number:
            own["step"] += 1


def _is_beside(step: Any, p: Tensor) -> bool:
    """Whether a count of updates is a tensor on the device of its parameter, which the graph can write."""
    return isinstance(step, Tensor) and step.device == p.device
