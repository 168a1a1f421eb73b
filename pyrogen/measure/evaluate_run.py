"""Evaluate the model of a run folder."""

from collections.abc import Sequence
from typing import Any

from pyrogen.data.datasets import names
from pyrogen.data.loading import load
from pyrogen.errors import ConfigError
from pyrogen.measure.evaluate import evaluate
from pyrogen.training.config import RunConfig
from pyrogen.training.device import pick_device
from pyrogen.training.malloc import retain_heap
from pyrogen.training.run import Run
from pyrogen.training.trainer import trained_model


def evaluate_run(
    run: Run[RunConfig],
    data: str | None = None,
    *,
    data_root: str | None = None,
    k: int = 100,
    seed: int = 0,
    spaces: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure the model of a run, in the form of ``evaluate --json``.

    Args:
        run: the run folder.
        data: a data set in place of the run's own; it must have the same shape and space.
        data_root: where named data sets are kept, in place of the run's own folder.
        k: importance samples for each datum.
        seed: of every random draw.
        spaces: names of feature spaces in which samples are compared with the data.

    Raises:
        ConfigError: if the other data set has another shape or space.
    """
    retain_heap()
    if data_root is not None:
        run = Run(run.path, run.config.model_copy(update={"data_root": data_root}))
    trained = trained_model(run)
    dataset = trained.data
    if data is not None and data != run.config.data:
        options = {} if data in names() else run.config.read_options
        where, seed_of_split = run.config.data_root, run.config.seed
        other = load(data, where, seed_of_split, space=dataset.space, classes=dataset.classes, **options)
        if other.shape != dataset.shape:
            raise ConfigError(
                f"the model was trained on {dataset.name!r}, {dataset.shape}; {other.name!r} is {other.shape}"
            )
        side_fn = dataset.test.side_fn
        dataset = (other.with_side_information(side_fn) if side_fn else other).to(pick_device(run.config.device))
    scores = evaluate(trained.model, dataset, k=k, seed=seed, spaces=spaces)
    return {
        "model": run.config.model,
        "data": dataset.name,
        "split": "test",
        "n": len(dataset.test),
        "scores": {name: score.as_dict() for name, score in scores.items()},
    }
