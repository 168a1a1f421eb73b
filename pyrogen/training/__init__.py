"""Training: the loop, checkpoints, run folders, devices, and whole runs of a recipe."""

from pyrogen.training.averaging import Average, Best, ema
from pyrogen.training.checkpoint import load, save
from pyrogen.training.device import autocast, pick_device
from pyrogen.training.loop import EarlyStopping, fit
from pyrogen.training.run import Run
from pyrogen.training.trainer import Trained, build, configure, pictures, restore, train

__all__ = [
    "Average",
    "Best",
    "EarlyStopping",
    "Run",
    "Trained",
    "autocast",
    "build",
    "configure",
    "ema",
    "fit",
    "load",
    "pick_device",
    "pictures",
    "restore",
    "save",
    "train",
]
