"""Benchmarks of training steps beside Pyro, torch, NumPyro and Pythae.

``python -m pyrogen.bench`` prints one table. No other sub-package imports this one.
"""

from pyrogen.bench.timing import Contender, Timing, time_interleaved

__all__ = ["Contender", "Timing", "time_interleaved"]
