"""The loop, checkpoints, run folders and their configuration, devices, and whole runs of a recipe."""

from pyrogen.training.averaging import BestWeights, ExponentialMovingAverage, ema
from pyrogen.training.checkpoint import restore, save
from pyrogen.training.config import Config, RunConfig, configure
from pyrogen.training.device import autocast, pick_device
from pyrogen.training.loop import EarlyStopping, fit
from pyrogen.training.opened import Opened, open
from pyrogen.training.run import Run
from pyrogen.training.start import open_or_train
from pyrogen.training.trainer import Trained, build, train

__all__ = [
    "BestWeights",
    "Config",
    "EarlyStopping",
    "ExponentialMovingAverage",
    "Opened",
    "Run",
    "RunConfig",
    "Trained",
    "autocast",
    "build",
    "configure",
    "ema",
    "fit",
    "open",
    "open_or_train",
    "pick_device",
    "restore",
    "save",
    "train",
]
