"""The weights that a run ends with: the best by validation loss, or an exponential moving average."""

import copy
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Network = TypeVar("Network", bound=nn.Module)


class BestWeights(Generic[Network]):
    """The weights of the step with the lowest validation score; ``module`` is a copy that holds them.

    Args:
        module: the network in training.

    Attributes:
        score: the lowest validation score.
        step: the step of that score; 0 before the first finite one, ``None`` if a checkpoint did not say.
        since: how many scores since then were not lower.
    """

    def __init__(self, module: Network) -> None:
        self.module = copy.deepcopy(module)
        self.score = float("inf")
        self.step: int | None = 0
        self.since = 0

    @property
    def rule(self) -> str:
        """Why these weights are used."""
        return "initial weights, as no validation loss was finite" if self.step == 0 else "lowest validation loss"

    def judge(self, module: nn.Module, score: float, t: int) -> None:
        """Copy the weights of ``module``, those of step ``t``, if their score is the lowest so far."""
        self.since += 1
        if score < self.score:
            self.score, self.step, self.since = score, t, 0
            self.module.load_state_dict(module.state_dict())

    def update(self, module: nn.Module) -> None:
        """No-op: the weights are selected by ``judge``."""

    def state_dict(self) -> dict[str, Any]:
        """Return the best weights, their score and their step."""
        return {"weights": self.module.state_dict(), "score": self.score, "step": self.step, "since": self.since}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.module.load_state_dict(state["weights"])
        self.score, self.step = state["score"], state.get("step")  # version 0.1 stored no step
        self.since = state.get("since", 0)


Tensors = tuple[Tensor, ...] | list[Tensor]


def ema(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """An exponential moving average with a warm-up of its decay.

    ``avg ← d avg + (1 - d) w``.

    ``d = min(decay, (1 + n) / (10 + n))`` after n steps: with a fixed decay the average of a run shorter than
    a few ``1 / (1 - decay)`` steps would be dominated by the initial weights. Use as
    ``AveragedModel(net, multi_avg_fn=ema(0.999))``.

    Args:
        decay: its final value; the average spans about ``1 / (1 - decay)`` steps.
    """

    def update(averaged: Tensors, current: Tensors, n: Tensor | int) -> None:
        # Torch groups the tensors by dtype. The weight stays on the device: there is no synchronisation.
        share = torch.as_tensor(9 / (10 + n), dtype=averaged[0].dtype).clamp_min(1 - decay)
        for average, weight in zip(averaged, current, strict=True):
            average.lerp_(weight, share)

    return update


class ExponentialMovingAverage(Generic[Network]):
    """An exponential moving average of the weights, by ``ema``.

    Args:
        module: the network in training.
        decay: of the average.
    """

    since = 0  # no score decides

    def __init__(self, module: Network, decay: float) -> None:
        self.average = AveragedModel(module, multi_avg_fn=ema(decay))
        self.decay = decay

    @property
    def step(self) -> int:
        """The last step of the average."""
        return int(self.average.n_averaged)

    @property
    def rule(self) -> str:
        """Why these weights are used."""
        return f"average of weights, with decay {self.decay:g}"

    @property
    def module(self) -> Network:
        """The network with averaged parameters and current buffers."""
        return cast(Network, self.average.module)

    def judge(self, module: nn.Module, score: float, t: int) -> None:
        """No-op: an average ignores validation scores."""

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Update the average with the current weights."""
        self.average.update_parameters(module)

    def state_dict(self) -> dict[str, Any]:
        """Return the average and the number of updates."""
        return {"weights": self.average.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.average.load_state_dict(state["weights"])
