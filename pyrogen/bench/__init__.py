"""How long a training step takes: pyrogen beside Pyro, torch, NumPyro and Pythae, in one run.

``python -m pyrogen.bench`` prints one table. Nothing else in the package imports this room.
"""
