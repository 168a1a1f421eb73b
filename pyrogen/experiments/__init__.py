"""``experiment``: models that differ in one thing, trained on several seeds: losses, budgets, sizes of the data.

One experiment, one file; a function's signature is the configuration of its experiment.
"""

from importlib import import_module
from pkgutil import iter_modules

from pyrogen.experiments.config import ExperimentConfig, prepare
from pyrogen.experiments.registry import EXPERIMENTS, Arm, Experiment, Plan, experiment_called, register
from pyrogen.experiments.run import experiment, run_experiment

__all__ = [
    "EXPERIMENTS",
    "Arm",
    "Experiment",
    "ExperimentConfig",
    "Plan",
    "experiment",
    "experiment_called",
    "prepare",
    "register",
    "run_experiment",
]

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)
