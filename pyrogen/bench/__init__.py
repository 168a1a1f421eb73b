"""Benchmarks: how long a training step takes in pyrogen, Pyro, torch, NumPyro and Pythae, in one run.

``python -m pyrogen.bench`` prints one table. Nothing else in the package imports this room.
"""

from pyrogen.bench.timing import Contender, Timing, race

__all__ = ["Contender", "Timing", "race"]
