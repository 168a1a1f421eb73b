"""Shared code of recipes of adversarially trained models: step, optimisers, penalty."""

from collections.abc import Callable
from typing import Any

from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError
from pyrogen.nn.conditions import Label
from pyrogen.objectives.adversarial import AdversarialLoss, Hinge, LeastSquares, Minimax, NonSaturating
from pyrogen.objectives.penalties import R1Penalty
from pyrogen.recipes.setup import (
    TrainingSetup,
    adam_without_momentum,
    cosine_schedule,
    label_counts,
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
"""The losses of recipes with a ``loss`` option."""


def adversarial_setup(
    model: Any,
    data: Dataset,
    loss: AdversarialLoss,
    steps: int,
    lr: float,
    average: float,
    optim: Any = None,
    **options: Any,
) -> TrainingSetup:
    """The setup of ``model`` with an adversarial step, by default with Adam with β = (0, 0.9).

    Args:
        model: with ``generator``, ``critic``, ``prior`` and ``condition``.
        data, loss: its training data and its loss.
        steps: the length of the learning-rate schedule.
        lr: learning rate of both networks, if ``optim`` is not given.
        average: decay of the exponential moving average of the weights.
        optim: as for ``AdversarialGame``.
        **options: further options of ``AdversarialGame``.
    """
    if isinstance(model.condition, Label):
        model.condition.set_frequencies(label_counts(data))
    game = AdversarialGame(
        model.generator,
        model.critic,
        model.prior,
        loss,
        optim or adam_without_momentum(lr),
        schedule=cosine_schedule(steps),
        **options,
    )
    return TrainingSetup(model, game, data, average)


def optimizer_pair(lr: float, critic_rate: float) -> tuple[MakeOptimizer, MakeOptimizer]:
    """The optimisers of generator and critic, with learning rates ``lr`` and ``critic_rate * lr``."""
    return adam_without_momentum(lr), adam_without_momentum(critic_rate * lr)


def r1_penalty(weight: float, samples: bool = False) -> R1Penalty | None:
    """R1, with ``samples`` also R2; ``None`` for weight 0."""
    return R1Penalty(weight, samples) if weight else None


def r1_schedule(start: float, weight: float, steps: int) -> Callable[[int], float] | None:
    """The factor of an R1 weight that decreases from ``start`` to ``weight``; ``None`` for a constant one, start 0."""
    if start and not weight:
        raise ConfigError(f"r1_start needs r1 > 0; got r1_start={start}, r1={weight}")
    return log_linear(start / weight, steps) if start else None


def log_linear(factor: float, steps: int) -> Callable[[int], float]:
    """A schedule from ``factor`` to 1, linear in its logarithm, over the first 60% of the steps."""
    return lambda t: factor ** max(1 - t / (0.6 * steps), 0.0)


def classes_for(data: Dataset, condition: str, who: str = "condition=label") -> int:
    """The number of classes on which both networks are conditioned; 0 for an unconditional model."""
    if condition == "label":
        require_labels(data, who)
    return 0 if condition == "none" else len(data.classes)
