"""Measures by fewer trees, training steps and splits, for tests of which scores there are and not of their values."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

FEWER = {
    ("pyrogen.measure.c2st", "TREES"): 5,
    ("pyrogen.measure.c2st", "NETWORK_STEPS"): 5,
    ("pyrogen.measure.verdict.fidelity", "TREES"): 30,
    ("pyrogen.measure.intervals", "SPLITS"): 3,
    ("pyrogen.measure.features.classifier", "EPOCHS"): 4,
}


def measures(change: Callable[[Any, str, int], None] = setattr) -> None:
    """Make the measures of this process quick; ``change`` is ``setattr``, or that of a ``monkeypatch``."""
    for (module, name), value in FEWER.items():
        change(import_module(module), name, value)
