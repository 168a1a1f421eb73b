"""What a run must find again to go on: its checkpoint, its data, and the machine and libraries it began on."""

import os
import warnings
from pathlib import Path
from typing import Any

import pyro
import torch

import pyrogen.training.checkpoint as checkpoint
from pyrogen import ranks
from pyrogen.data.dataset import Dataset
from pyrogen.data.fingerprint import difference, fingerprint
from pyrogen.errors import DataError, RunError, RunWarning
from pyrogen.files import read_regular, seal_json, unseal_json, write_whole
from pyrogen.protocols import Stateful
from pyrogen.recipes import TrainingSetup
from pyrogen.training.config import Config, RunConfig
from pyrogen.training.run import C, Run
from pyrogen.training.seen import note_rows, noted_rows

ENVIRONMENT = "environment.json"
NUMERICS = 2
"""Raised where the same seed gives other numbers than before: 2 since noise in the data is a function of its place."""


def take_up(
    run: Run[RunConfig], config: RunConfig, parts: dict[str, Stateful], setup: TrainingSetup, changed_data: bool
) -> int:
    """Restore the newest checkpoint of a run, note what it is trained with, and return the number of its step.

    Args:
        run: the run.
        config: its configuration from here on.
        parts: what is restored.
        setup: what is trained.
        changed_data: whether to go on with other data than those that training began with.

    Raises:
        DataError: if the data have changed.
        RunError: if more steps are done than the run has, or no checkpoint is valid.
    """
    config = with_data(run, config, setup.data, changed_data)
    start, steps, device = 0, config.options["steps"], next(setup.model.parameters(), torch.empty(0)).device
    if checkpoint.found(run.path):
        start = checkpoint.restore(run.path, **parts)
        if steps < start:
            raise RunError(f"{run.path} has done {start} steps: expected at least as many, got {steps}")
        if start < steps:
            _compare_environment(run.path, environment(device))
    else:
        if ranks.rank() == 0:
            write_whole(run.path / ENVIRONMENT, seal_json(environment(device)).encode())
        if config.weights_from is not None:  # that run may go on, or be removed
            checkpoint.save(run.path, t=0, **parts)
    run.update(config)
    return start


def with_data(run: Run[C], config: C, data: Dataset, changed: bool) -> C:
    """``config`` with the fingerprint of the data.

    Raises:
        DataError: if they have changed since training began, and ``changed`` is false.
    """
    change = changed_since(config, data)
    if change is not None and not changed:
        raise DataError(
            f"{config.data} has changed since {run.path} was begun: {change}; "
            "to go on with what it is now, give --changed-data (changed_data=True)"
        )
    return config.model_copy(update={"fingerprint": fingerprint(data)})


def changed_since(config: Config, data: Dataset) -> str | None:
    """How the data differ from those that training began with; ``None`` if they do not, or this is not known."""
    return None if config.fingerprint is None else difference(config.fingerprint, fingerprint(data))


def load_weights(source: str | Path, setup: TrainingSetup) -> None:
    """Load the weights that another run ended with, those that it is sampled and evaluated with, into a new model.

    Args:
        source: its folder.
        setup: the new model.

    Raises:
        RunError: if there is no checkpoint, or its weights are those of another architecture.
    """
    kept, own = _KeptWeights(), setup.model.state_dict()
    Run.open(source)  # names what is missing of a run folder
    checkpoint.restore(source, kept=kept)
    for name in dict.fromkeys((*own, *kept.weights)):
        here, there = (tuple(each[name].shape) if name in each else "missing" for each in (own, kept.weights))
        if here != there:
            raise RunError(f"the weights of {source} do not fit this model: {name} is {there} there, and {here} here")
    setup.model.load_state_dict(kept.weights)
    for rows in noted_rows(kept):
        note_rows(setup.model, rows)


class _KeptWeights:
    """The weights of a run by whatever rule they were kept."""

    def __init__(self) -> None:
        self.weights: dict[str, torch.Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.weights = dict(state["weights"])
        if self.weights.pop("n_averaged", None) is not None:  # an average: a wrapper around the model
            self.weights = {name.removeprefix("module."): value for name, value in self.weights.items()}


def environment(device: torch.device) -> dict[str, str | int]:
    """What the last bits of a result depend on, beside the configuration and the data."""
    return {
        "pyrogen numerics": NUMERICS,
        "torch": torch.__version__,
        "Pyro": pyro.__version__,
        "CPU capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }


def _compare_environment(folder: Path, now: dict[str, str | int]) -> None:
    """Warn if a run goes on with other libraries or on another machine than it began; version 0.1 noted nothing."""
    path = folder / ENVIRONMENT
    if not os.path.lexists(path):
        return
    began = unseal_json(read_regular(path))
    if began is None:
        warnings.warn(f"{path} is damaged: whether the run goes on as it began is not known", RunWarning, stacklevel=4)
        return
    began = {"pyrogen numerics": 1} | began  # which was not noted
    other = [name for name, value in began.items() if name in now and now[name] != value]
    if other:
        then, here = (", ".join(f"{name} {each[name]}" for name in other) for each in (began, now))
        text = f"the run began with {then} and goes on with {here}: it is not bit-identical to an uninterrupted one"
        warnings.warn(text, RunWarning, stacklevel=4)
