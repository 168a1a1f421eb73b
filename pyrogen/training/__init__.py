"""The loop, checkpoints, run folders and their configuration, devices, and whole runs of a recipe."""

from pyrogen.training.averaging import BestWeights, ExponentialMovingAverage, ema
from pyrogen.training.checkpoint import restore, save
from pyrogen.training.config import Config, RunConfig, configure
from pyrogen.training.device import autocast, pick_device
from pyrogen.training.loop import EarlyStopping, fit
from pyrogen.training.run import Run
from pyrogen.training.trainer import Trained, build, train, trained_model

__all__ = [
    "BestWeights",
    "Config",
    "EarlyStopping",
    "ExponentialMovingAverage",
    "Run",
    "RunConfig",
    "Trained",
    "autocast",
    "build",
    "configure",
    "ema",
    "fit",
    "pick_device",
    "restore",
    "save",
    "train",
    "trained_model",
]
