"""Evaluate the model of a run folder."""

from collections.abc import Sequence
from typing import Any

from pyrogen.measure.ais.score import Annealing
from pyrogen.measure.evaluate import evaluate
from pyrogen.training.memory import retain_heap
from pyrogen.training.opened import Opened


def evaluate_run(
    opened: Opened,
    data: str | None = None,
    *,
    k: int = 100,
    seed: int = 0,
    spaces: Sequence[str] = (),
    annealing: Annealing | None = None,
) -> dict[str, Any]:
    """Measure the model of a run, in the form of ``evaluate --json``.

    Args:
        opened: the run.
        data: a data set in place of the run's own; it must have the same shape and space.
        k: importance samples for each datum.
        seed: of every random draw.
        spaces: names of feature spaces in which samples are compared with the data.
        annealing: settings of annealed importance sampling, the score ``ais``; it is not computed by default.

    Raises:
        DataError: if the run's own data cannot be loaded or have changed, or the other data do not fit the model.
        ConfigError: if the other data have another shape.
    """
    retain_heap()
    dataset = opened.data if data is None else opened.load(data)
    scores = evaluate(opened.model, dataset, k=k, seed=seed, spaces=spaces, annealing=annealing)
    return {
        "model": opened.config.model,
        "data": dataset.name,
        "split": "test",
        "n": len(dataset.test),
        "scores": {name: score.as_dict() for name, score in scores.items()},
    }
