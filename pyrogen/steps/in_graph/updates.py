"""The updates of one optimiser, each as part of a compiled step where that is possible."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pyrogen import ranks
from pyrogen.compile.checked_graph import CheckedGraph, Gradients, hides_cause
from pyrogen.compile.graph.replay import REPLAYED
from pyrogen.compile.verified import WARM_UP, argument_key
from pyrogen.steps.guard import Guard, waits
from pyrogen.steps.in_graph.rules import RULES
from pyrogen.steps.in_graph.update import GraphUpdate

MAX_CHANGES = 3
"""Successive steps with other settings after which an optimiser makes its updates itself."""


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
        verified or still warms up, when an error of it makes the step eager, or has an error that does not say why.
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
            update.advance()
        for weight in graph.graph.weights:  # the graph writes the new gradients where these are, in a cache
            weight.grad = None
        try:
            return graph(list(args), update)
        except RuntimeError as error:
            if not hides_cause(error):
                raise
            self.forget()  # the step does the same with checks, and deals with the error
            return None

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


def _is_plain(p: Tensor) -> bool:
    """Whether a parameter is an ordinary float32 tensor on a CPU or a GPU."""
    return type(p) in (Tensor, nn.Parameter) and p.device.type in ("cpu", *REPLAYED) and p.dtype == torch.float32
