"""Benchmarks of training steps beside Pyro, torch, NumPyro and Pythae.

``python -m pyrogen.bench`` prints one table. Nothing else in the package imports this room.
"""

from pyrogen.bench.timing import Contender, Timing, race

__all__ = ["Contender", "Timing", "race"]
