"""Validation during training: when it is due, and what it measures."""

from typing import Any

from pyrogen.data.step_arguments import select_arguments
from pyrogen.recipes import TrainingSetup

LOGS, CHECKPOINTS = 200, 20
"""How many times in a run metrics are logged and checkpoints are saved."""
VALID_ROWS = 2000
"""How many validation data the validation loss is computed on."""


def due(t: int, steps: int, times: int) -> bool:
    """Whether what is done so many times in a run is due at step t of it."""
    return t % max(steps // times, 1) == 0 or t == steps


def validates(t: int, steps: int) -> bool:
    """Whether weights are judged: at every checkpoint, and often early on, as few data are soon overfitted."""
    return due(t, steps, CHECKPOINTS) or t & (t - 1) == 0


def validate(setup: TrainingSetup, weights: Any, seed: int, t: int, steps: int) -> dict[str, float]:
    """The validation loss, where weights are chosen by it and it is due; the weights are copied if it is the lowest.

    Args:
        setup: what is trained.
        weights: the rule by which the weights that the run ends with are chosen.
        seed: of the noise in the validation data.
        t: the number of the step.
        steps: that of the last step.
    """
    if setup.average is not None or not validates(t, steps):
        return {}
    batch = select_arguments(setup.step, tuple(part[:VALID_ROWS] for part in setup.data.valid.tensors(seed)))
    loss = float(setup.step.evaluate(*batch)["loss"])
    weights.judge(setup.model, loss, t)
    return {"valid_loss": loss}
