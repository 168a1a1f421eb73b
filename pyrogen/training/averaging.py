"""Which weights a run ends with: the best by validation, or an average along the way."""

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
    """

    def __init__(self, module: Network) -> None:
        self.module = copy.deepcopy(module)
        self.score = float("inf")

    def judge(self, module: nn.Module, score: float) -> None:
        """Take the weights of ``module`` over if its score is the lowest so far."""
        if score < self.score:
            self.score = score
            self.module.load_state_dict(module.state_dict())

    def update(self, module: nn.Module) -> None:
        """After a step there is nothing to do."""

    def state_dict(self) -> dict[str, Any]:
        """The best weights and their score."""
        return {"weights": self.module.state_dict(), "score": self.score}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back ``state_dict``."""
        self.module.load_state_dict(state["weights"])
        self.score = state["score"]


Tensors = tuple[Tensor, ...] | list[Tensor]


def ema(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """An exponential moving average that forgets where training began: ``avg ← d avg + (1 - d) w``.

    ``d = min(decay, (1 + n) / (10 + n))`` after n steps: with a fixed decay the average of a run of less than a few
    ``1 / (1 - decay)`` steps would be one of starting weights. Use as ``AveragedModel(net, multi_avg_fn=ema(0.999))``.

    Args:
        decay: in the end; about ``1 / (1 - decay)`` steps count.
    """

    def update(averaged: Tensors, current: Tensors, n: Tensor | int) -> None:
        # Torch groups what it averages by type. The share stays on the device: nothing waits for it.
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

    def __init__(self, module: Network, decay: float) -> None:
        self.average = AveragedModel(module, multi_avg_fn=ema(decay))

    @property
    def module(self) -> Network:
        """The network with averaged parameters and the newest buffers."""
        return cast(Network, self.average.module)

    def judge(self, module: nn.Module, score: float) -> None:
        """An average takes no side."""

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average towards the newest weights."""
        self.average.update_parameters(module)

    def state_dict(self) -> dict[str, Any]:
        """The average and the number of weights in it."""
        return {"weights": self.average.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back ``state_dict``."""
        self.average.load_state_dict(state["weights"])
