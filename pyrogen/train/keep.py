"""Which weights a run ends with: the best by validation, or an average along the way."""

import copy
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class Best:
    """The weights of the step with the lowest validation score; ``module`` is a copy that holds them.

    Args:
        module: the network in training.
    """

    def __init__(self, module: nn.Module) -> None:
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


class Average:
    """An exponential moving average of the weights: ``avg ← decay avg + (1 - decay) w`` after each step.

    Args:
        module: the network in training.
        decay: of the average; about ``1 / (1 - decay)`` steps count.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(decay))

    @property
    def module(self) -> nn.Module:
        """The network with averaged parameters and the newest buffers."""
        averaged: nn.Module = self.average.module
        return averaged

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
