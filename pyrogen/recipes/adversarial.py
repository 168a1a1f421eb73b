"""What the recipes of adversarially trained models share."""

from collections.abc import Callable
from typing import Any

import torch

from pyrogen.data.dataset import Dataset
from pyrogen.implicit.base import Adversarial, Scale
from pyrogen.objectives.adversarial import AdversarialLoss, Hinge, LeastSquares, Minimax, NonSaturating
from pyrogen.objectives.penalties import R1Penalty
from pyrogen.recipes.setup import (
    TrainingSetup,
    cosine,
    in_unit_box,
    label_counts,
    no_momentum,
    require_labels,
)
from pyrogen.steps.adversarial import AdversarialGame
from pyrogen.steps.optimizers import MakeOptimizer

LOSSES: dict[str, type[AdversarialLoss]] = {
    "non_saturating": NonSaturating,
    "minimax": Minimax,
    "hinge": Hinge,
    "least_squares": LeastSquares,
}
"""The losses of recipes that leave the choice."""


def adversarial_setup(
    model: Adversarial,
    data: Dataset,
    loss: AdversarialLoss,
    steps: int,
    lr: float,
    average: float,
    optim: Any = None,
    **rules: Any,
) -> TrainingSetup:
    """The game of ``model``, by Adam with β = (0, 0.9) where nothing else is said."""
    if model.classes:
        model.shares.copy_(label_counts(data))
    game = AdversarialGame(
        model.generator, model.critic, model.prior, loss, optim or no_momentum(lr), schedule=cosine(steps), **rules
    )
    return TrainingSetup(model, game, data, average)


def two_rates(lr: float, critic_rate: float) -> tuple[MakeOptimizer, MakeOptimizer]:
    """The generator's optimiser, and the critic's with ``critic_rate`` times its learning rate."""
    return no_momentum(lr), no_momentum(critic_rate * lr)


def r1_penalty(weight: float, data: Dataset) -> R1Penalty | None:
    """R1 in units of the data's deviation, in which the critic sees them."""
    if weight == 0:
        return None
    scale = data_scale(data)
    return R1Penalty(weight if scale is None else weight * float(scale.scale.square().mean()))


def log_linear(factor: float, steps: int) -> Callable[[int], float]:
    """From ``factor`` to 1, evenly in its logarithm, over the first 60% of the steps."""
    return lambda t: factor ** max(1 - t / (0.6 * steps), 0.0)


def classes_for(data: Dataset, condition: str, who: str = "condition=label") -> int:
    """How many labels the players are given."""
    if condition == "label":
        require_labels(data, who)
    return 0 if condition == "none" else len(data.classes)


def data_scale(data: Dataset, copies: int = 1) -> Scale | None:
    """The location and scale of real data (of ``copies`` side by side); ``None`` for data in [0, 1]."""
    if in_unit_box(data):
        return None
    x, *_ = data.train.tensors()
    spread = x.std(0).clamp_min(1e-6)
    return Scale(torch.cat([x.mean(0)] * copies), torch.cat([spread] * copies))
