"""Measures by fewer trees, training steps and splits, for tests of which scores there are and not of their values."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from pyrogen.measure.annealing import Annealing

FEWER = {
    ("pyrogen.measure.c2st", "TREES"): 5,
    ("pyrogen.measure.c2st", "NETWORK_STEPS"): 5,
    ("pyrogen.measure.verdict.fidelity", "TREES"): 30,
    ("pyrogen.measure.intervals", "SPLITS"): 3,
    ("pyrogen.measure.features.classifier", "EPOCHS"): 4,
    ("pyrogen.measure.annealing.plan", "PILOT"): 5,
    ("pyrogen.measure.annealing.run", "FIRST"): 5,
    ("pyrogen.comparison.config", "QUICK"): Annealing(gap=100.0, n=20, simulated=5, chains=4),
}


def measures(change: Callable[[Any, str, Any], None] = setattr) -> None:
    """Make the measures of this process quick; ``change`` is ``setattr``, or that of a ``monkeypatch``."""
    for (module, name), value in FEWER.items():
        change(import_module(module), name, value)
