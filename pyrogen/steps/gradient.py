"""A gradient step for networks that define their own loss."""

from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pyrogen.compile.verified import VerifiedFunction, should_compile
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.pyro_tools.parameters import assign, modules_of, weights_of
from pyrogen.pyro_tools.programs import arity
from pyrogen.random import EVALUATION, scoped_seed
from pyrogen.steps.guard import Guard
from pyrogen.steps.in_graph.updates import UpdatesInGraph
from pyrogen.steps.locate import LossTerm
from pyrogen.steps.optimizers import MakeOptimizer, follow, load_optimizer, make_optimizer
from pyrogen.summary import Facts, Summarised


class GradientStep(Summarised):
    """One optimiser step on ``losses(*batch)["loss"]``; the other scalars that it returns are logged.

    Args:
        losses: ``losses(*batch) -> {"loss": scalar, …}``, a network or a method of one. ``fit`` passes as
            much of a batch as it takes.
        optim: makes a torch optimiser of parameters; ``Adam`` by default.
        schedule: makes a learning-rate schedule of the optimiser, stepped after each update.
        compile: whether the losses and their gradients run as one compiled graph (see ``VerifiedFunction``); by
            default after ``COMPILE_AFTER`` steps.
        constant: names of attributes and variables of the losses that never change (see ``VerifiedFunction``).
    """

    def __init__(
        self,
        losses: Callable[..., dict[str, Tensor]],
        optim: MakeOptimizer | None = None,
        *,
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
        compile: bool | None = None,
        constant: Collection[str] = (),
    ) -> None:
        self.losses, self.compile, self.t = losses, compile, 0
        self.guard = Guard()
        self.takes = {"model": arity(losses)}
        self._verified = VerifiedFunction(losses, constant=constant)
        self._in_graph = UpdatesInGraph()
        self._names: list[str] = []
        self._modules = modules_of(losses, "model")
        self.optimizer = make_optimizer(optim or torch.optim.Adam, self._parameters())
        self.schedule = schedule(self.optimizer) if schedule else None

    def summary(self) -> tuple[str, Facts]:
        """The losses, the optimiser, and how far training is."""
        name = getattr(self.losses, "__qualname__", type(self.losses).__name__)
        return "GradientStep", {"losses": name, "optimizer": type(self.optimizer).__name__, "t": self.t}

    @torch.enable_grad()
    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """Take one optimiser step on the batch; return the losses before the update, detached."""
        found = self._in_graph.again(batch)
        if found is None:
            follow(self.optimizer, self._parameters())
            self.optimizer.zero_grad()
            if self._names and should_compile(self.compile, self.t):
                update = self._in_graph.next(self.optimizer, self.guard)
                found = self._verified(self._terms, batch, begun=True, update=update)
        if found is None:
            losses = dict(self.losses(*batch))
            self._names = ["loss", *(name for name in losses if name != "loss")]
            values = tuple(losses[name] for name in self._names)
            values[0].backward()
        else:
            values = found.values
            found.store()
        if not self._in_graph.finish(found, batch, self.t + 1):
            self.guard.update(self.optimizer, values[:1], self.t + 1, self.optimizer.step)
        if self.schedule is not None:
            self.schedule.step()
        self.t += 1
        return {name: value.detach() for name, value in zip(self._names, values, strict=True)}

    @property
    def updates_in_graph(self) -> list[UpdatesInGraph]:
        """The updates that may be part of its compiled steps, see ``exclusive``."""
        return [self._in_graph]

    def _terms(self, *batch: Tensor) -> tuple[Tensor, ...]:
        """The loss, then the other scalars."""
        losses = dict(self.losses(*batch))
        return losses.pop("loss"), *losses.values()

    def loss_terms(self, *batch: Tensor) -> Iterator[LossTerm]:
        """The loss on the batch with the weights that it trains; see ``steps.locate``."""
        with torch.enable_grad():
            yield LossTerm("loss", self.losses(*batch)["loss"], self.weights())

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers by name; the tensors themselves, not copies."""
        return weights_of(self._modules)

    def _parameters(self) -> list[Tensor]:
        return list({id(p): p for module in self._modules.values() for p in module.parameters()}.values())

    @scoped_seed(EVALUATION)
    def evaluate(self, *batch: Tensor) -> dict[str, Tensor]:
        """The losses with every network in evaluation mode; no parameter or buffer changes.

        Every call has the same random numbers.
        """
        with torch.no_grad(), eval_mode(self):
            return dict(self.losses(*batch))

    def modules(self) -> Iterator[nn.Module]:
        """Every trained network and its submodules."""
        for module in self._modules.values():
            yield from module.modules()

    def state_dict(self) -> dict[str, Any]:
        """The weights, the state of the optimiser and of its schedule, and the number of steps."""
        return {
            "weights": {name: t.detach() for name, t in self.weights().items()},
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict() if self.schedule else None,
            "names": self._names,
            "t": self.t,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned.

        Raises:
            KeyError: if the weights are not those of this network.
        """
        assign({name: t.detach() for name, t in self.weights().items()}, state["weights"])
        load_optimizer(self.optimizer, state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        self._names, self.t = state.get("names", []), state["t"]
